package connect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/inventory/ad"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Directory turns the section directory of the settings into what a connection needs. It reads the password file, or asks
// where a person can be asked. dcs replace those of the settings.
func (c *Connector) Directory(ctx context.Context, dcs []string) (directory.Config, error) {
	out, err := c.reach(dcs)
	if err != nil || out.Credential.LoggedOn {
		return out, err
	}
	d := c.Settings.Directory
	if d.CCache == "" {
		out.Guard = c.guard(ctx, d.User, d.Domain)
	}
	return out, c.directoryCredential(ctx, d, &out.Credential)
}

// reach is where and how the directory is reached, by nobody yet.
func (c *Connector) reach(dcs []string) (directory.Config, error) {
	d := c.Settings.Directory
	if d.Domain == "" {
		return directory.Config{}, hint.Mistake(errors.New("no directory is configured"), "write a section directory with domain, user and password-file into fleetmend.yaml; README.md shows one")
	}
	if len(dcs) > 0 {
		d.DC = dcs
	}
	out := directory.Config{Domain: d.Domain, Method: directory.Method(d.Bind), Logger: c.Logger}
	if d.Bind == "sspi" {
		out.Method, out.Credential.LoggedOn = directory.KerberosLDAPS, true
	}
	var err error
	if out.DCs, err = controllersOf("directory.dc", d.DC); err != nil {
		return out, err
	}
	if out.RootCAs, err = Trusted(d.CA); err != nil {
		return out, fmt.Errorf("directory.ca: %w", err)
	}
	return out, nil
}

// controllersOf reads the servers that a setting names.
func controllersOf(setting string, texts []string) (out []directory.DC, err error) {
	for _, text := range texts {
		dc, err := directory.ParseDC(text)
		if err != nil {
			return nil, hint.Mistake(fmt.Errorf("%s: %w", setting, err), "")
		}
		out = append(out, dc)
	}
	return out, nil
}

func (c *Connector) directoryCredential(ctx context.Context, d settings.Directory, out *directory.Credential) error {
	out.User, out.Keytab, out.CCache = d.User, d.Keytab, d.CCache
	if d.Keytab != "" || d.CCache != "" {
		return nil
	}
	if d.User == "" {
		return hint.Mistake(errors.New("no user to sign in at the directory with"), "set directory.user in the file of settings, e.g. user: reader@%s", d.Domain)
	}
	var err error
	if d.PasswordFile == "" {
		out.Password, err = c.password(ctx, "directory.password", "Password of "+d.User, "no password for "+d.User, "set directory.password-file, keytab or ccache")
		return err
	}
	out.Password, err = c.Secret(d.PasswordFile, "directory.password-file names a file with the password in its first line")
	return err
}

// Computers is the source of machines in the directory of the settings. dcs replace the domain controllers of the settings.
func (c *Connector) Computers(ctx context.Context, dcs []string) (*ad.Source, error) {
	config, err := c.Directory(ctx, dcs)
	if err != nil {
		return nil, err
	}
	d := c.Settings.Directory
	s := &ad.Source{Config: config, Bases: d.OUs, Groups: d.Groups, Forest: d.Forest, Accounts: c.Accounts()}
	if d.Base != "" {
		s.Bases = append([]string{d.Base}, s.Bases...)
	}
	return s, nil
}

// Accounts are those of the settings whose passwords are sent.
func (c *Connector) Accounts() (names []string) {
	for _, name := range []string{c.Settings.WinRM.User, c.Settings.Directory.User} {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Rejected reports whether err is a directory's refusal of the credentials, which are tried no second time.
func Rejected(err error) bool {
	var failure *directory.Error
	if !errors.As(err, &failure) {
		return false
	}
	if barred := (*route.BarredError)(nil); errors.As(err, &barred) {
		return true
	}
	switch failure.Kind {
	case directory.WrongPassword, directory.PasswordExpired, directory.Locked, directory.Disabled:
		return true
	}
	return false
}
