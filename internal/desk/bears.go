package desk

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// Bearing is how many sign-ins an account bears that are not accepted.
type Bearing struct {
	Rule  signin.Rule // complete
	Known bool        // its domain told
	Why   string      // "half of FLEET's threshold of 10"
}

// What a domain said of its accounts is believed for so long; and where it locks none, or after many wrong passwords, no more are sent
// than this: somebody else may count as well.
const (
	lockoutsLast = 30 * 24 * time.Hour
	mostBorne    = 10
)

// Bears says how many sign-ins an account bears, by what the inventory keeps of its domain.
func (d *Desk) Bears(ctx context.Context, user string) (Bearing, error) {
	all, err := d.lockouts(ctx)
	return BearsOf(all, user, d.Now()), err
}

// lockouts are what domains said of locking accounts.
func (d *Desk) lockouts(ctx context.Context) ([]inventory.Lockouts, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	return store.Lockouts(ctx)
}

// counting is the ledger of a user of the directory: that of all runs. Where there is no journal yet, it is made.
func (d *Desk) counting(ctx context.Context, user, domain string) (route.Ledger, string, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, "", err
	}
	all, err := d.lockouts(ctx)
	if err != nil {
		return nil, "", err
	}
	rule, netbios := RuleOf(all, user, d.Now()), ""
	if n := d.Settings.Run.SignIns; n != nil && *n > 0 {
		rule.Limit, rule.Said = *n, true
	}
	if at := slices.IndexFunc(all, func(l inventory.Lockouts) bool { return l.Is(domain) }); at >= 0 {
		netbios = all[at].NetBIOS
	}
	return signin.New(j.SignIns(), rule), netbios, nil
}

// SignInRule is how sign-ins of an account are counted in all domains, by what the inventory keeps of them.
func (d *Desk) SignInRule(ctx context.Context, user string) (signin.Rule, error) {
	all, err := d.lockouts(ctx)
	return RuleOf(all, user, d.Now()), err
}

// RuleOf is [Desk.SignInRule] by what domains said: of the account's own, of its name elsewhere, or of accounts at all.
func RuleOf(all []inventory.Lockouts, user string, now time.Time) signin.Rule {
	rule := BearsOf(all, user, now).Rule
	rule.Elsewhere = map[string]signin.Rule{}
	name, domain := ad.SplitAccount(user)
	for _, l := range all {
		if domain == "" || domain == "." || l.Is(domain) || l.Hidden || now.Sub(l.ReadAt) > lockoutsLast {
			continue
		}
		said := l.Domain
		if own, ok := l.Own[strings.ToLower(name)]; ok {
			said = own
		}
		for _, as := range []string{l.NetBIOS, l.DNS} {
			if as != "" {
				rule.Elsewhere[strings.ToUpper(as)] = known(said, false, as, name).Rule
			}
		}
	}
	return rule
}

// BearsOf is [Desk.Bears] by what domains said.
func BearsOf(all []inventory.Lockouts, user string, now time.Time) Bearing {
	unknown := func(format string, args ...any) Bearing {
		return Bearing{Rule: signin.Rule{Limit: signin.Limit, Window: signin.Window}, Why: fmt.Sprintf(format, args...)}
	}
	name, domain := ad.SplitAccount(user)
	if domain == "" || domain == "." {
		return unknown("nobody tells after how many wrong passwords machines lock accounts of their own")
	}
	for _, l := range all {
		if !l.Is(domain) {
			continue
		}
		of, old := strings.ToUpper(domain), now.Sub(l.ReadAt)
		if l.NetBIOS != "" {
			of = l.NetBIOS
		}
		own, ok := l.Own[strings.ToLower(name)]
		switch {
		case old > lockoutsLast:
			return unknown("what %s said of its threshold is %d days old, `fleetmend inventory sync` asks again", of, int(old.Hours()/24))
		case !ok && l.Hidden:
			return unknown("whether %s has a threshold of its own for %s is hidden from the account that reads the directory", of, name)
		case !ok:
			return unknown("%s did not say what holds for %s, `fleetmend inventory sync` asks", of, name)
		}
		return known(own, own != l.Domain, of, name)
	}
	return unknown("the threshold of %s is not known, `fleetmend inventory sync` asks for it", strings.ToUpper(domain))
}

func known(l inventory.Lockout, single bool, of, name string) Bearing {
	half := max(l.Threshold/2, 1)
	b := Bearing{Rule: signin.Rule{Limit: min(half, mostBorne), Safe: half, Window: l.Window}, Known: true}
	if b.Rule.Window <= 0 {
		b.Rule.Window = signin.Window
	}
	threshold := fmt.Sprintf("%s's threshold of %d", of, l.Threshold)
	if single {
		threshold = fmt.Sprintf("the threshold of %d that %s has for %s", l.Threshold, of, name)
	}
	switch {
	case l.Threshold == 0:
		b.Rule.Limit, b.Rule.Safe, b.Why = mostBorne, math.MaxInt, of+" locks no account"
		if single {
			b.Why = of + " never locks " + name
		}
	case l.Threshold == 1:
		b.Why = "fewer cannot be, though one wrong password locks it in " + of
	case l.Threshold/2 > mostBorne:
		b.Why = "less than half of " + threshold
	default:
		b.Why = "half of " + threshold
	}
	return b
}
