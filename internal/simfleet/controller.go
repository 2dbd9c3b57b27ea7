package simfleet

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
)

// The accounts of the directory besides the fleet's own, which may do everything.
const (
	Lister    = "lister"    // sees machines and recovery keys, but no password of either
	HelpDesk  = "helpdesk"  // sees machines, nothing below them
	Newcomer  = "newcomer"  // sees no machine
	Forgetful = "forgetful" // its password has expired
)

func (f *Fleet) makeAccounts() {
	f.accounts = []directory.Account{{
		User: f.account.user, Rights: directory.AllRights,
		Check: func(password string) bool {
			good := f.account.right(password)
			f.account.record(good)
			return good
		},
	}}
	for _, a := range []directory.Account{
		{User: Lister, Rights: directory.ListMachines | directory.ListKeys}, {User: HelpDesk, Rights: directory.ListMachines},
		{User: Newcomer}, {User: Forgetful, Rights: directory.AllRights, Refuse: "532"},
	} {
		a.Password = newPassword()
		f.accounts = append(f.accounts, a)
	}
}

func newPassword() secret.String {
	var raw [12]byte
	_, _ = rand.Read(raw[:]) // never fails since Go 1.24
	return secret.New("Sim-" + base64.RawURLEncoding.EncodeToString(raw[:]) + "1!")
}

// DirectoryPassword returns the password of an account of the directory: [Lister], [HelpDesk], [Newcomer], [Forgetful]
// or the fleet's own.
func (f *Fleet) DirectoryPassword(user string) (secret.String, error) {
	if user == f.account.user {
		return f.account.current(), nil
	}
	for _, a := range f.accounts {
		if a.User == user {
			return a.Password, nil
		}
	}
	return secret.String{}, fmt.Errorf("password of %q: the simulated directory has no such account", user)
}

// controllerPlace is the FQDN and the site of the domain controller that serves the directory.
func (f *Fleet) controllerPlace() (name, site string) {
	for _, h := range f.members {
		if h.info.Class == "dc" {
			return h.info.FQDN, h.info.Site
		}
	}
	return "dc1." + dnsDomain, sites[0]
}

func (f *Fleet) controllerName() string {
	name, _ := f.controllerPlace()
	return name
}

// StartDirectory is [Fleet.Start] for the directory alone: no machine listens, and none has an address.
func (f *Fleet) StartDirectory(ctx context.Context) error {
	f.gate.Lock()
	defer f.gate.Unlock()
	if f.started || f.closing {
		return errors.New("start simulated directory: the fleet was started before")
	}
	f.started = true
	if err := f.serveDirectory(ctx); err != nil {
		return fmt.Errorf("start simulated directory: %w", err)
	}
	return nil
}

// serveDirectory fills the directory and starts its server.
func (f *Fleet) serveDirectory(ctx context.Context) error {
	tree, err := f.contents()
	if err != nil {
		return err
	}
	name, site := f.controllerPlace()
	server, err := directory.New(directory.Config{
		Tree: tree, NetBIOS: netbiosDomain, HostName: name, Site: site, Accounts: f.accounts,
		Certificate: f.authority.leaf(name), Skew: f.options.ClockSkew,
		Mapped: func(c *x509.Certificate) string {
			if f.authority.isClient(c) {
				return f.account.user
			}
			return ""
		},
		Listen: func() (net.Listener, error) { return f.ports.listen(new(int)) },
	})
	if err != nil {
		return err
	}
	f.tree, f.controller = tree, server
	return server.Start(ctx)
}

// Directory returns the contents of the directory, to change them as an administrator would. Nil before Start.
func (f *Fleet) Directory() *directory.Tree { return f.tree }

// LDAPS returns where the directory is served with TLS, host:port; empty before Start.
func (f *Fleet) LDAPS() string {
	if f.controller == nil {
		return ""
	}
	return f.controller.LDAPS()
}

// LDAP returns where the directory is served in clear, with StartTLS; empty before Start.
func (f *Fleet) LDAP() string {
	if f.controller == nil {
		return ""
	}
	return f.controller.LDAP()
}

// Incident returns when the faulty update reached the fleet.
func (f *Fleet) Incident() time.Time { return f.options.Incident }
