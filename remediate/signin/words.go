package signin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// asideFor says why another machine goes first.
func (l *Ledger) asideFor(a *account, d *domain, t route.Target) string {
	if d.late[id(t)] {
		return t.Name + " did not answer when it was signed in to: it is signed in to again when others are through"
	}
	bad := slices.Concat(d.silent, l.against(a, d, time.Now()))
	e := &route.BarredError{Why: fmt.Sprintf("%s did not answer when it was signed in to: it is signed in to again when another machine has taken the account, after %s",
		t.Name, clock(l.until(bad)))}
	if d.home { // what others bear is not what is said
		e.More, e.Locks = l.more(d, bad, l.rule.Limit+1)
	}
	return e.Error()
}

// spent says that too much was not accepted to try once more.
func (l *Ledger) spent(a *account, d *domain, bad []*offence, who route.Account, now time.Time) *route.BarredError {
	var names []string
	refused := 0
	for _, o := range bad {
		if !slices.Contains(names, o.target.Name) {
			names = append(names, o.target.Name)
		}
		if o.what == Refused {
			refused++
		}
	}
	what := "had no answer"
	switch {
	case refused == len(bad):
		what = "were refused"
	case refused > 0:
		what = "were refused or had no answer"
	}
	noun := "sign-ins"
	if len(bad) == 1 {
		noun, what = "sign-in", strings.Replace(what, "were", "was", 1)
	}
	e := &route.BarredError{Account: who, All: l.everywhere(a, d, who, now),
		Why: fmt.Sprintf("%s %s of %s %s (%s) and none was accepted since: see that the password is right, then go on", number(len(bad)), noun, who.Name, what, strings.Join(names, ", "))}
	if l.fits(a, d, l.against(a, d, now)) { // too many for this run alone
		return e
	}
	e.Until = l.until(bad)
	e.Why += " after " + clock(e.Until)
	e.More, e.Locks = l.more(d, bad, len(bad)+1)
	return e
}

// rejects says that a domain rejects an account that its own domain takes.
func (l *Ledger) rejects(d *domain, bad []*offence, who route.Account) *route.BarredError {
	o := l.rejected(d, bad)
	e := &route.BarredError{Account: who, Until: l.until(bad),
		Why: fmt.Sprintf("%s rejected %s at %s, which its own domain takes: it is not sent there again before %s", o.target.Name, who.Name, clock(o.at), clock(l.until(bad)))}
	e.More, e.Locks = l.more(d, bad, len(bad)+1)
	return e
}

// later adds to what bars an account when it may be sent again, where the next run could not at once: so much counts, or its own domain
// takes it, by which a refusal is known as that of this one. That domain may only be about to be asked. What only one machine knows counts
// for no other run.
func (l *Ledger) later(a *account, d *domain, e *route.BarredError, now time.Time) {
	bad := l.against(a, d, now)
	full := len(bad) >= l.rule.Limit || ofDomain(bad, d) >= l.limitOf(d)
	apart := !d.home && ofDomain(bad, d) > 0
	switch {
	case e.Account.Own, len(bad) == 0, !full && !apart:
		return
	case e.All:
		e.Why += ": see that the password is right, then go on after "
	case !full && !a.atHome():
		e.Why += ": if its own domain takes it, it is not sent there again before "
	default:
		e.Why += ": it is not sent there again before "
	}
	e.Until = l.until(bad)
	e.Why += clock(e.Until)
	e.More, e.Locks = l.more(d, bad, len(bad)+1)
}

// atHome reports whether the account's own domain has taken it.
func (a *account) atHome() bool {
	for _, d := range a.domains {
		if d.home && d.proven && d.closed == nil {
			return true
		}
	}
	return false
}

// more is which limit, given for a run, lets another sign-in be made at once where some count: 0 where none helps, or where it may lock the
// account. Locks is how many wrong ones may not lock it for that, where its domain did not tell.
func (l *Ledger) more(d *domain, bad []*offence, limit int) (more, locks int) {
	told := l.rule.Safe > 0 && (d.home || l.rule.Elsewhere[d.name].Limit > 0)
	switch {
	case !d.home && ofDomain(bad, d) >= l.most(d), l.rule.Safe > 0 && limit > l.rule.Safe:
		return 0, 0
	case told:
		return limit, 0
	}
	return limit, 2 * limit
}

func clock(t time.Time) string { return t.Local().Format("15:04") }

func number(n int) string {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}

// doubt says in words what counts against an account of that name.
func (l *Ledger) doubt(a *account, d *domain, name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	bad := l.against(a, d, time.Now())
	if len(bad) == 0 {
		return "a sign-in failed"
	}
	o := bad[len(bad)-1]
	if o.what == Refused {
		return fmt.Sprintf("%s rejected %s", o.target.Name, name)
	}
	return fmt.Sprintf("%s did not answer when %s signed in", o.target.Name, name)
}
