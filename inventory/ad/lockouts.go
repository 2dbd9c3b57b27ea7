package ad

import (
	"context"
	"strings"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
)

// Lockouts asks the domain of a connection after how much it locks accounts, and those of accounts that are its own. Accounts of other
// domains, or without one, are left out.
func Lockouts(ctx context.Context, c *directory.Conn, accounts []string) (inventory.Lockouts, error) {
	said, err := c.Lockouts(ctx)
	if err != nil {
		return inventory.Lockouts{}, err
	}
	out := inventory.Lockouts{DNS: said.DNS, NetBIOS: said.NetBIOS, Domain: inventory.Lockout(said.Domain), Own: map[string]inventory.Lockout{}, Hidden: said.Hidden}
	var own []string
	for _, a := range accounts {
		if user, domain := SplitAccount(a); out.Is(domain) {
			own = append(own, user)
		}
	}
	if said, err = c.Lockouts(ctx, own...); err != nil {
		return inventory.Lockouts{}, err
	}
	for user, l := range said.Own {
		out.Own[strings.ToLower(user)] = inventory.Lockout(l)
	}
	return out, nil
}

// SplitAccount splits DOMAIN\user and user@domain; an account without a domain has none.
func SplitAccount(name string) (user, domain string) {
	if domain, user, ok := strings.Cut(name, `\`); ok {
		return user, domain
	}
	user, domain, _ = strings.Cut(name, "@")
	return user, domain
}
