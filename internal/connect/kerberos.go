package connect

import (
	"context"
	"errors"
	"fmt"
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
	named, err := controllersOf("kerberos.kdcs", k.KDCs)
	if err != nil {
		return nil, err
	}
	for _, dc := range named { // a port is its own
		config.KDCs = append(config.KDCs, kerberos.KDC{Name: dc.Host, Address: dc.Address})
	}
	if d := c.Settings.Directory; len(named) == 0 && strings.EqualFold(config.Realm, d.Domain) {
		dcs, err := controllersOf("directory.dc", d.DC)
		if err != nil {
			return nil, err
		}
		config.KDCs = directory.KDCs(dcs)
	}
	credential := kerberos.Credential{User: w.User, Keytab: w.Keytab, CCache: w.CCache}
	if w.Keytab == "" && w.CCache == "" {
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
