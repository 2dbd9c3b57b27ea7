package signin

import (
	"cmp"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// offence is a sign-in that counts against the account.
//
// A machine hands a sign-in to a controller of its own domain. That hands it on to the account's own domain, which counts it, or, where it
// does not trust that one, takes the name for one of its own accounts and counts it there. From outside both look the same.
type offence struct {
	number int64 // in the book
	what   State
	target route.Target
	domain string // of the machine
	at     time.Time
	clock  int64 // when it was known

	apart  bool     // the account's own domain accepted it later: it can only be counted by that of the machine
	spared []string // domains that accepted it later: whoever they ask does not count it any more
}

// counts reports whether it may be counted where the sign-ins of a domain are; nil is one of which nothing is known.
func (o *offence) counts(d *domain) bool {
	if d == nil {
		return !o.apart
	}
	return o.domain == d.name || !o.apart && !slices.Contains(o.spared, d.name)
}

// accepted takes note that a domain took the account later. Gone: nobody counts it any more. Where is what the book has to be told: a
// domain, or [Others]; "" for nothing new.
func (o *offence) accepted(d *domain) (gone bool, where string) {
	switch {
	case o.domain == d.name:
		return true, ""
	case o.apart || slices.Contains(o.spared, d.name):
		return false, ""
	case d.home:
		o.apart = true
		return false, Others
	}
	o.spared = append(o.spared, d.name)
	return false, d.name
}

// against returns what may be counted where the sign-ins of a domain are. It counts until the last of it is older than the window; until
// then all does, as at a domain controller (MS-SAMR 3.1.1.8.4: its count begins anew when nothing was wrong for that long).
func (l *Ledger) against(a *account, d *domain, now time.Time) (bad []*offence) {
	for _, o := range a.bad {
		if !o.counts(d) {
			continue
		}
		if len(bad) > 0 && !o.at.Before(l.until(bad)) {
			bad = nil
		}
		bad = append(bad, o)
	}
	if len(bad) > 0 && !now.Before(l.until(bad)) {
		return nil
	}
	return bad
}

// until is when some offences do not count any more, if none is added.
func (l *Ledger) until(bad []*offence) time.Time {
	window := l.rule.Window
	for _, o := range bad {
		window = max(window, l.rule.Elsewhere[o.domain].Window)
	}
	return last(bad).Add(window)
}

// last is when the last of some offences was.
func last(all []*offence) (at time.Time) {
	for _, o := range all {
		if o.at.After(at) {
			at = o.at
		}
	}
	return at
}

// ofDomain counts those at machines of a domain.
func ofDomain(bad []*offence, d *domain) (n int) {
	for _, o := range bad {
		if o.domain == d.name {
			n++
		}
	}
	return n
}

// limitOf is what an account bears that is counted by a domain: its own, or another one.
func (l *Ledger) limitOf(d *domain) int {
	if d.home {
		return l.rule.Limit
	}
	return min(l.rule.Limit, l.most(d))
}

// most is how much may be borne at a domain that is not the account's own, whatever somebody says.
func (l *Ledger) most(d *domain) int { return cmp.Or(l.rule.Elsewhere[d.name].Limit, Limit) }

// fits reports whether one more may fail, whoever counts.
func (l *Ledger) fits(a *account, d *domain, bad []*offence) bool {
	known, unknown := a.underWay(d)
	return len(bad)+len(a.out) < l.rule.Limit && ofDomain(bad, d)+known+unknown < l.limitOf(d)
}

// place reports whether there is one for a sign-in that is made at a machine that has taken the account, or at another. The last one is kept
// for the question that settles a doubt, which a machine that has taken it may use meanwhile.
func (l *Ledger) place(a *account, d *domain, took bool) bool {
	free := func(of *domain, limit int) bool {
		known, unknown := a.underWay(of)
		if took {
			return known+unknown < limit
		}
		return unknown+max(known, min(limit-1, 1)) < limit
	}
	return free(nil, l.rule.Limit) && free(d, l.limitOf(d))
}

// underWay counts sign-ins at machines that had taken the account, and at others; of a domain, nil is all.
func (a *account) underWay(d *domain) (known, unknown int) {
	for t := range a.out {
		switch {
		case d != nil && t.d != d:
		case t.known:
			known++
		default:
			unknown++
		}
	}
	return known, unknown
}

// witness returns machines that can settle what counts in a domain: its own, or where it has none those of others in which that counts as
// well, the account's own first, lest they have to pay for it. Without those that refused, and those that have cleared enough by their word.
func (a *account) witness(d *domain, bad []*offence) (*domain, []route.Target) {
	of := func(d *domain) (out []route.Target) {
		for _, t := range d.witnesses {
			if d.proven && d.closed == nil && a.vouched[id(t)] < mostVouched && !slices.ContainsFunc(a.bad, func(o *offence) bool { return o.what == Refused && id(o.target) == id(t) }) {
				out = append(out, t)
			}
		}
		return out
	}
	from, witnesses := d, of(d)
	if len(witnesses) > 0 {
		return d, witnesses
	}
	for _, other := range a.domains {
		counts := slices.ContainsFunc(bad, func(o *offence) bool { return o.counts(other) })
		if out := of(other); counts && len(out) > 0 && (from == d || other.home) {
			from, witnesses = other, out
		}
	}
	return from, witnesses
}

// judged reports whether what counts in a domain is a doubt that a machine can settle which has taken the account.
func (a *account) judged(d *domain, bad []*offence) bool {
	if len(bad) > 0 && !d.proven {
		_, witnesses := a.witness(d, bad)
		return len(witnesses) > 0
	}
	return len(bad) > 0
}

// goesOn reports whether another domain has taken the account, and more may be sent there.
func (l *Ledger) goesOn(a *account, not *domain, now time.Time) bool {
	for _, d := range a.domains {
		if d != not && d.proven && d.closed == nil && len(l.against(a, d, now)) < l.rule.Limit {
			return true
		}
	}
	return false
}

// everywhere reports whether an account that is not sent in a domain any more is sent nowhere.
func (l *Ledger) everywhere(a *account, d *domain, who route.Account, now time.Time) bool {
	return who.Final || !l.goesOn(a, d, now) && (d.home || len(l.against(a, nil, now)) >= l.rule.Limit)
}

// lastOf reports whether the last sign-in that may fail would be this machine's, which has not answered one already: it is kept for
// another, so that no machine alone stops all. While that of others is not known, offences are those of its domain in this run, or all.
func (l *Ledger) lastOf(d *domain, bad []*offence, machine string) bool {
	count := func(all []*offence) (n int) {
		for _, o := range all {
			if o.what == Unanswered && id(o.target) == machine {
				n++
			}
		}
		return n
	}
	return count(d.silent) >= Limit-1 || count(bad) >= max(l.limitOf(d)-1, 1)
}

// silence reports whether nothing was refused.
func silence(bad []*offence) bool {
	return !slices.ContainsFunc(bad, func(o *offence) bool { return o.what == Refused })
}
