package cli

import (
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// directorySettings turns the section directory of the settings into what a connection needs. It reads the password
// file, or asks where a person can be asked. dcs replace those of the settings.
func (a *app) directorySettings(dcs []string) (directory.Config, directoryConfig, error) {
	c, err := a.config()
	if err != nil {
		return directory.Config{}, directoryConfig{}, err
	}
	d := c.Directory
	if d.Domain == "" {
		return directory.Config{}, d, usage(errorf("no directory is configured"), "write a section directory with domain, user and password-file into fleetmend.yaml; README.md shows one")
	}
	if len(dcs) > 0 {
		d.DC = dcs
	}
	out := directory.Config{Domain: d.Domain, Method: directory.Method(d.Bind), Logger: a.logger}
	if d.Bind == "sspi" {
		out.Method, out.Credential.LoggedOn = directory.KerberosLDAPS, true
	}
	for _, text := range d.DC {
		dc, err := directory.ParseDC(text)
		if err != nil {
			return out, d, coded(exitUsage, fmt.Errorf("directory.dc: %w", err))
		}
		out.DCs = append(out.DCs, dc)
	}
	if out.RootCAs, err = trusted(d.CA); err != nil {
		return out, d, fmt.Errorf("directory.ca: %w", err)
	}
	if out.Credential.LoggedOn {
		return out, d, nil
	}
	return out, d, a.directoryCredential(d, &out.Credential)
}

func (a *app) directoryCredential(d directoryConfig, out *directory.Credential) error {
	out.User, out.Keytab, out.CCache = d.User, d.Keytab, d.CCache
	if d.Keytab != "" || d.CCache != "" {
		return nil
	}
	if d.User == "" {
		return usage(errorf("no user to sign in at the directory with"), "set directory.user in the file of settings, e.g. user: reader@%s", d.Domain)
	}
	if d.PasswordFile == "" {
		if !a.canAsk() {
			return usage(errorf("no password for %s", d.User), "set directory.password-file, keytab or ccache")
		}
		text, err := a.streams.askSecret("Password of " + d.User + ": ")
		out.Password = secret.New(text)
		return err
	}
	var err error
	out.Password, err = a.secretFrom(d.PasswordFile, "directory.password-file names a file with the password in its first line")
	return err
}

// secretFrom reads a password, passphrase, token or secret from the first line of a file; advice says which file that is.
func (a *app) secretFrom(file, advice string) (secret.String, error) {
	value, remark, err := textfile.Secret(file)
	if err != nil {
		return secret.String{}, hint.Wrap(fmt.Errorf("read the secret: %w", err), advice)
	}
	if remark != "" {
		a.say("remark: %s", oneLine(remark))
	}
	return value, nil
}

// directoryCode gives the exit code that a failure of the directory stands for: 4 where the sign-in was rejected.
func directoryCode(err error) (int, bool) {
	var failure *directory.Error
	if !errors.As(err, &failure) {
		return 0, false
	}
	switch failure.Kind {
	case directory.WrongPassword, directory.PasswordExpired, directory.Locked, directory.Disabled:
		return exitAuth, true
	}
	return exitError, true
}
