package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// winrmRoute makes the route from the settings and asks for a password where none is stored.
func (a *app) winrmRoute(ctx context.Context, passwordFile string) (route.Route, error) {
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	w := c.WinRM
	if passwordFile != "" {
		w.PasswordFile = passwordFile
	}
	settings := winrm.Config{
		Scheme: w.Scheme, Port: w.Port, Auth: w.Auth, ConnectTimeout: w.ConnectTimeout, Logger: a.logger,
	}
	if settings.RootCAs, err = trusted(w.CA); err != nil {
		return nil, err
	}
	if w.Auth == "certificate" {
		pair, err := tls.LoadX509KeyPair(w.Certificate, w.Key)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read the client certificate: %w", err), "winrm.certificate and winrm.key name PEM files")
		}
		settings.Certificate = &pair
		return winrm.New(settings)
	}
	if w.Credentials == "laps" && passwordFile == "" {
		return a.lapsRoute(ctx, settings)
	}
	credential, err := a.credential(w)
	if err != nil {
		return nil, err
	}
	settings.Credential = func(context.Context, route.Target) (winrm.Credential, error) { return credential, nil }
	return winrm.New(settings)
}

// credential reads the user and the password, from the file named or from a person.
func (a *app) credential(w winrmConfig) (winrm.Credential, error) {
	if w.User == "" {
		return winrm.Credential{}, coded(exitUsage, hint.Wrap(errorf("no user to sign in with"), `set winrm.user in the file of settings, e.g. user: CORP\fleet-admin`))
	}
	user, domain, err := winrm.ParseUser(w.User)
	if err != nil {
		return winrm.Credential{}, fmt.Errorf("winrm.user: %w", err)
	}
	c := winrm.Credential{User: user, Domain: domain}
	if w.PasswordFile != "" {
		c.Password, err = a.secretFrom(w.PasswordFile, "winrm.password-file or --password-file names a file with the password in its first line; without it you are asked")
		return c, err
	}
	if !a.canAsk() {
		return c, usage(errorf("no password for %s", w.User), "set winrm.password-file, or give --password-file FILE")
	}
	text, err := a.streams.askSecret("Password of " + w.User + ": ")
	c.Password = secret.New(text)
	return c, err
}

// trusted returns the system's authorities and those in the PEM file; nil where there is no file.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := textfile.Bytes(file, maxCA)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the authorities to trust: %w", err), "it must be a PEM file")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if certificates, err := x509.ParseCertificates(data); err == nil && len(certificates) > 0 { // DER, as Windows exports .cer
		for _, c := range certificates {
			pool.AddCert(c)
		}
		return pool, nil
	}
	if text, err := textfile.Decode(data); err != nil || !pool.AppendCertsFromPEM([]byte(text.Content)) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}

// maxCA bounds a file of certificates; the roots of all systems together have some 200 KB.
const maxCA = 16 << 20

// identifier lets the inventory ask a machine who it is.
type identifier struct{ config winrm.IdentifyConfig }

func (i identifier) Identify(ctx context.Context, address string) (inventory.Identity, error) {
	id, err := winrm.Identify(ctx, i.config, address)
	return inventory.Identity{Auth: id.Auth, Product: strings.TrimSpace(id.Vendor + " " + id.Product), Latency: id.Latency}, err
}
