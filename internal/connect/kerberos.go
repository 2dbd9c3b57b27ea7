package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/inventory/ad"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// kerberosAccount is the account of winrm.user in its domain. The ledger, or where there is none that of the directory, counts what is sent for it.
func (c *Connector) kerberosAccount(ctx context.Context, w settings.WinRM, ledger route.Ledger) (*kerberos.Account, error) {
	k := c.Settings.Kerberos
	domain := c.domainOf(w.User)
	config := kerberos.Config{Realm: strings.ToUpper(domain), Site: k.Site, Parallel: k.Parallel, Logger: c.Logger}
	if k.Realm != "" {
		config.Realm = k.Realm
	}
	switch {
	case w.CCache == "" && w.User == "":
		return nil, hint.Mistake(errors.New("no user to sign in with"), "set winrm.user in the file of settings, e.g. user: fleet-admin@corp.example, or winrm.ccache")
	case config.Realm == "" && w.CCache == "":
		return nil, hint.Mistake(fmt.Errorf("the domain of %s is not known", w.User), "write the user as user@corp.example, or set kerberos.realm")
	case config.Realm == "":
		config.Realm = "(that of the ticket)" // which replaces it
	}
	for _, text := range k.KDCs {
		dc, err := directory.ParseDC(text)
		if err != nil {
			return nil, hint.Mistake(fmt.Errorf("kerberos.kdcs: %w", err), "")
		}
		config.KDCs = append(config.KDCs, kerberos.KDC{Name: dc.Host, Address: dc.Address})
	}
	if d := c.Settings.Directory; len(k.KDCs) == 0 && strings.EqualFold(config.Realm, d.Domain) {
		for _, text := range d.DC {
			dc, err := directory.ParseDC(text)
			if err != nil {
				return nil, hint.Mistake(fmt.Errorf("directory.dc: %w", err), "")
			}
			if host, _, err := net.SplitHostPort(dc.Address); err == nil {
				dc.Address = host // its port is that of LDAP
			}
			config.KDCs = append(config.KDCs, kerberos.KDC{Name: dc.Host, Address: dc.Address})
		}
	}
	credential := kerberos.Credential{User: w.User, Keytab: w.Keytab, CCache: w.CCache}
	if w.Keytab == "" && w.CCache == "" {
		var err error
		if credential.Password, err = c.winrmPassword(ctx, w); err != nil {
			return nil, err
		}
	}
	guard := c.guard(ctx, w.User, domain)
	if ledger != nil { // that of a run
		label, _, _ := strings.Cut(domain, ".")
		guard = guardBy(ctx, w.User, domain, func() (route.Ledger, string, error) { return ledger, strings.ToUpper(label), nil })
	}
	if guard != nil && w.CCache == "" {
		config.Guard = func(kdc string) (func(error), error) {
			settle, err := guard(directory.DC{Host: kdc})
			if err != nil {
				return nil, err
			}
			return func(err error) { settle(directory.VerdictOf(err)) }, nil
		}
	}
	return kerberos.New(config, credential)
}

// domainOf is the DNS name of a user's domain: what follows the @, or that of the directory.
func (c *Connector) domainOf(user string) string {
	if _, of := ad.SplitAccount(user); strings.Contains(of, ".") {
		return of
	}
	return c.Settings.Directory.Domain
}
