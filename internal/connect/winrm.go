package connect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// winrmRoute makes the route from the settings and asks for a password where none is stored.
func winrmRoute(ctx context.Context, c *Connector, how RouteOptions) (route.Route, error) {
	w := c.Settings.WinRM
	if how.PasswordFile != "" {
		w.PasswordFile = how.PasswordFile
	}
	config := winrm.Config{
		Scheme: w.Scheme, Port: w.Port, Auth: w.Auth, ConnectTimeout: w.ConnectTimeout, Logger: c.Logger, Ledger: how.Ledger,
	}
	var err error
	if config.RootCAs, err = Trusted(w.CA); err != nil {
		return nil, err
	}
	if w.Auth == "certificate" {
		pair, err := KeyPair(w.Certificate, w.Key)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read the client certificate: %w", err), "winrm.certificate and winrm.key name PEM files")
		}
		config.Certificate = &pair
		return winrm.New(config)
	}
	if w.Auth == winrm.AuthKerberos {
		if config.Account, err = c.kerberosAccount(ctx, w, how.Ledger); err != nil {
			return nil, err
		}
		return winrm.New(config)
	}
	if w.Credentials == "laps" && how.PasswordFile == "" {
		return c.lapsRoute(ctx, config)
	}
	credential, err := c.credential(ctx, w)
	if err != nil {
		return nil, err
	}
	config.Credential = func(context.Context, route.Target) (winrm.Credential, error) { return credential, nil }
	if how.Ledger != nil {
		config.Ledger = askingControllers{how.Ledger, c, credential}
	}
	return winrm.New(config)
}

// credential reads the user and the password, from the file named or from a person.
func (c *Connector) credential(ctx context.Context, w settings.WinRM) (winrm.Credential, error) {
	if w.User == "" {
		return winrm.Credential{}, hint.Mistake(errors.New("no user to sign in with"), `set winrm.user in the file of settings, e.g. user: CORP\fleet-admin`)
	}
	user, domain, err := winrm.ParseUser(w.User)
	if err != nil {
		return winrm.Credential{}, fmt.Errorf("winrm.user: %w", err)
	}
	out := winrm.Credential{User: user, Domain: domain}
	out.Password, err = c.winrmPassword(ctx, w)
	return out, err
}

func (c *Connector) winrmPassword(ctx context.Context, w settings.WinRM) (secret.String, error) {
	if w.PasswordFile != "" {
		return c.Secret(w.PasswordFile, "winrm.password-file or --password-file names a file with the password in its first line; without it you are asked")
	}
	return c.password(ctx, "winrm.password", "Password of "+w.User, "no password for "+w.User, "set winrm.password-file, or give --password-file FILE")
}

// Identifier asks machines who they are as the settings say, and gives the port that their WinRM has.
func (c *Connector) Identifier() (inventory.Identifier, int, error) {
	w := c.Settings.WinRM
	roots, err := Trusted(w.CA)
	if err != nil {
		return nil, 0, err
	}
	port := w.Port
	if port == 0 && w.Scheme == "https" {
		port = 5986
	}
	return identifier{winrm.IdentifyConfig{Scheme: w.Scheme, Port: w.Port, RootCAs: roots, ConnectTimeout: w.ConnectTimeout}}, port, nil
}

// identifier lets the inventory ask a machine who it is.
type identifier struct{ config winrm.IdentifyConfig }

func (i identifier) Identify(ctx context.Context, address string, names []string) (inventory.Identity, error) {
	config := i.config
	config.Names = names
	id, err := winrm.Identify(ctx, config, address)
	return inventory.Identity{Auth: id.Auth, Product: strings.TrimSpace(id.Vendor + " " + id.Product), Latency: id.Latency}, err
}
