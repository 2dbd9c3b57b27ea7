package directory

import (
	"context"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/network"
)

// maxDCs bounds how many domain controllers are tried.
const maxDCs = 32

// Discover lists the domain controllers to try, best first: the given ones, else those of the site, then those of the
// whole domain, each in the order of priority and weight (RFC 2782).
func Discover(ctx context.Context, c Config) ([]DC, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return c.discover(ctx)
}

func (c *Config) discover(ctx context.Context) ([]DC, error) {
	if len(c.DCs) > 0 {
		return c.DCs, nil
	}
	names := []string{"dc._msdcs." + c.Domain}
	if c.Site != "" {
		names = []string{c.Site + "._sites.dc._msdcs." + c.Domain, names[0]}
	}
	var out []DC
	var last error
	seen := map[string]bool{}
	for _, name := range names {
		_, found, err := c.Resolver.LookupSRV(ctx, "ldap", "tcp", name)
		if err != nil {
			last = network.Plain("", err)
			continue
		}
		for _, srv := range found { // LookupSRV has sorted them
			host := strings.ToLower(strings.TrimSuffix(srv.Target, "."))
			if host != "" && !seen[host] && len(out) < maxDCs {
				seen[host] = true
				out = append(out, DC{Host: host})
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if last == nil {
		last = fmt.Errorf("look up _ldap._tcp.%s: no answer names a domain controller", names[0])
	}
	return nil, &Error{Kind: NoDC, Err: hint.Wrapf(fmt.Errorf("find a domain controller of %s: %w", c.Domain, last),
		"name them yourself: --dc dc1.%s or, without DNS, --dc dc1.%s=10.0.0.5", c.Domain, c.Domain)}
}
