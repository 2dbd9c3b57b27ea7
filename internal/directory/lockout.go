package directory

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Lockout is after how much a domain locks an account (MS-ADA1 2.370 lockoutThreshold, lockOutObservationWindow, lockoutDuration; of a
// fine-grained policy MS-ADA2 2.268 ff., the same names with msDS-).
type Lockout struct {
	Threshold int           // wrong passwords in a row; 0: it locks none
	Window    time.Duration // after so long without one they are forgotten
	Duration  time.Duration // how long an account stays locked; 0: until somebody unlocks it
}

// Lockouts is what a domain says of the locking of accounts.
type Lockouts struct {
	DNS, NetBIOS string
	Domain       Lockout            // what holds where no policy of its own does
	Own          map[string]Lockout // what holds for the accounts asked for, as they were named
	Hidden       bool               // policies of single accounts cannot be seen: those asked for may have one
}

// Lockouts reads after how much the domain of the connection locks accounts, and for some accounts, each a sAMAccountName or the
// first part of a principal name, what holds for it. An account that is not found, or whose policy cannot be read, has no entry. Ordinary users may
// not see the policies of single accounts; the directory does not say so, but shows them no container of those.
func (c *Conn) Lockouts(ctx context.Context, accounts ...string) (Lockouts, error) {
	base := c.Root.DefaultNamingContext
	out := Lockouts{DNS: c.config.Domain, Own: map[string]Lockout{}}
	head, err := c.Get(ctx, base, "lockoutThreshold", "lockOutObservationWindow", "lockoutDuration")
	if err != nil {
		return out, fmt.Errorf("read when the domain locks accounts: %w", err)
	}
	ok := false
	if head != nil {
		out.Domain, ok = lockoutOf(head, "lockoutThreshold", "lockOutObservationWindow", "lockoutDuration")
	}
	if !ok {
		return out, fmt.Errorf("%s does not show when it locks accounts", c.DC)
	}
	partitions, err := c.Domains(ctx)
	if err != nil {
		return out, fmt.Errorf("read the names of the domain: %w", err)
	}
	for _, p := range partitions {
		if strings.EqualFold(p.DN, base) {
			out.NetBIOS = p.NetBIOS
		}
	}
	container, err := c.Get(ctx, "CN=Password Settings Container,CN=System,"+base, "cn")
	if err != nil {
		return out, fmt.Errorf("look for policies of single accounts: %w", err)
	}
	out.Hidden = container == nil
	for _, account := range accounts {
		if err := c.ownLockout(ctx, account, &out); err != nil {
			return out, fmt.Errorf("read when %s is locked: %w", account, err)
		}
	}
	return out, nil
}

// ownLockout adds what holds for one account.
func (c *Conn) ownLockout(ctx context.Context, account string, to *Lockouts) error {
	var found []string
	name := FilterText(account)
	_, err := c.Search(ctx, Query{Filter: "(|(sAMAccountName=" + name + ")(userPrincipalName=" + name + "@" + FilterText(c.config.Domain) + "))", Attributes: []string{"cn"}, Limit: 2},
		func(e *Entry) error { found = append(found, e.DN); return nil })
	if err != nil || len(found) != 1 {
		return err
	}
	user, err := c.Get(ctx, found[0], "msDS-ResultantPSO") // of one object alone: it is computed
	if err != nil || user == nil {
		return err
	}
	policy := user.Text("msDS-ResultantPSO")
	if policy == "" {
		if !to.Hidden {
			to.Own[account] = to.Domain
		}
		return nil
	}
	said, err := c.Get(ctx, policy, "msDS-LockoutThreshold", "msDS-LockoutObservationWindow", "msDS-LockoutDuration")
	if err == nil && said != nil {
		if own, ok := lockoutOf(said, "msDS-LockoutThreshold", "msDS-LockoutObservationWindow", "msDS-LockoutDuration"); ok {
			to.Own[account] = own
		}
	}
	return err
}

func lockoutOf(e *Entry, threshold, window, duration string) (Lockout, bool) {
	n, err := strconv.Atoi(e.Text(threshold))
	out := Lockout{n, interval(e.Text(window)), interval(e.Text(duration))}
	return out, err == nil && n >= 0
}

// interval is a span of time as Active Directory keeps it, a negative number of 100 ns; 0 where it is none or without end.
func interval(text string) time.Duration {
	const never = math.MinInt64
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n >= 0 || n == never || n < -math.MaxInt64/100 {
		return 0
	}
	return time.Duration(-n) * 100
}
