package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// routes checks each way to a machine that this build knows.
func (e *examination) routes(ctx context.Context) {
	for _, name := range connect.Routes() {
		check, known := routeChecks[name]
		if !known {
			e.warn(name, "try it with `fleetmend run PLAYBOOK --dry-run --on MACHINE`", "nothing is known of what this route needs")
			continue
		}
		check(e)
	}
	if e.request.On != "" {
		e.reach(ctx)
	}
}

// routeChecks are the checks of routes, by the words of connect.Routes. They connect to nothing.
var routeChecks = map[string]func(*examination){"winrm": (*examination).winrm}

func (e *examination) winrm() {
	w := e.desk.Settings.WinRM
	if _, err := connect.Trusted(w.CA); err != nil {
		e.fail("winrm", fmt.Errorf("winrm.ca: %w", err))
		return
	}
	if w.Auth == winrm.AuthCertificate {
		e.certificate(w)
		return
	}
	switch {
	case w.Credentials == "laps" && e.desk.Settings.Directory.Domain == "":
		e.fail("winrm", hint.Wrap(errors.New("winrm.credentials is laps, but no directory is configured to read the passwords from"), "write a section directory"))
	case w.Credentials == "laps":
		e.ok("winrm", "%s, signs in as the local administrator of each machine, with its password from LAPS", winrmWords(w))
	case w.CCache != "":
		e.ok("winrm", "%s, signs in with the ticket in %s", winrmWords(w), w.CCache)
	case w.User == "":
		e.warn("winrm", `set winrm.user, e.g. user: CORP\fleet-admin, or credentials: laps`, "no account to repair machines with is configured")
	default:
		if _, _, err := winrm.ParseUser(w.User); err != nil {
			e.fail("winrm", fmt.Errorf("winrm.user: %w", err))
			return
		}
		if w.Auth == winrm.AuthBasic && w.Scheme != "https" {
			e.fail("winrm", hint.Wrap(errors.New("basic authentication over http would show the password to the network; it will be refused"), "set winrm.scheme to https, or winrm.auth to ntlm"))
			return
		}
		e.ok("winrm", "%s, signs in as %s", winrmWords(w), w.User)
	}
}

func winrmWords(w settings.WinRM) string {
	scheme, auth, port := w.Scheme, w.Auth, w.Port
	if scheme == "" {
		scheme = "http"
	}
	if auth == "" {
		auth = winrm.AuthNTLM
	}
	if port == 0 {
		port = map[string]int{"http": 5985, "https": 5986}[scheme]
	}
	sealed := ""
	if scheme == "http" {
		sealed = ", every message sealed"
	}
	return fmt.Sprintf("%s on port %d, %s%s", scheme, port, auth, sealed)
}

func (e *examination) certificate(w settings.WinRM) {
	pair, err := connect.KeyPair(w.Certificate, w.Key)
	if err != nil {
		e.fail("winrm", hint.Wrap(fmt.Errorf("read the client certificate: %w", err), "winrm.certificate and winrm.key name PEM files"))
		return
	}
	until, left := pair.Leaf.NotAfter.UTC().Format("2006-01-02 15:04Z"), pair.Leaf.NotAfter.Sub(e.desk.Now())
	switch {
	case w.Scheme != "https":
		e.fail("winrm", hint.Wrap(errors.New("a client certificate needs https"), "set winrm.scheme to https"))
	case left < 0:
		e.fail("winrm", hint.Wrap(fmt.Errorf("the client certificate expired on %s", until), "issue a new one"))
	case left < 14*24*time.Hour:
		e.warn("winrm", "issue a new one in time", "the client certificate expires on %s", until)
	default:
		e.ok("winrm", "%s, client certificate until %s", winrmWords(w), until)
	}
}

// fewMachines is how many machines are asked at most: the doctor is no probe.
const fewMachines = 5

// reach asks a few machines whether their WinRM answers, without signing in.
func (e *examination) reach(ctx context.Context) {
	if e.unchosen != nil {
		e.fail("machines", e.unchosen)
		return
	}
	found := e.chosen
	if !machines.Named(e.request.On) {
		found = slices.DeleteFunc(slices.Clone(found), func(m inventory.Machine) bool { return m.Absence() != "" })
	}
	identifier, port, err := e.desk.Connect.Identifier()
	if err != nil {
		e.fail("machines", err)
		return
	}
	store, err := e.desk.Inventory(ctx)
	if err != nil {
		e.fail("machines", err)
		return
	}
	asked := found[:min(len(found), fewMachines)]
	if more := len(found) - len(asked); more > 0 {
		e.ok("machines", "%s of %d are asked; `fleetmend inventory probe` asks all", prose.Counted(len(asked), "machine", "machines"), len(found))
	}
	err = store.Probe(ctx, asked, inventory.ProbeOptions{Identifier: identifier, Port: port, OnResult: func(m inventory.Machine, p inventory.ProbeResult) {
		if p.WinRM {
			e.ok("machines", "WinRM of %s answers; it offers %s", m.Name, strings.Join(p.Auth, ", "))
			return
		}
		e.warn("machines", "start the machine, enable WinRM on it, or open its port from here", "WinRM of %s does not answer: %s", m.Name, p.Error)
	}})
	if err != nil && ctx.Err() == nil {
		e.fail("machines", err)
	}
}

// secrets looks at the files of passwords that the settings name.
func (e *examination) secrets(context.Context) {
	s := e.desk.Settings
	for _, f := range []struct{ key, file string }{
		{"winrm.password-file", s.WinRM.PasswordFile}, {"directory.password-file", s.Directory.PasswordFile}, {"entra.secret-file", s.Entra.SecretFile},
		{"entra.certificate-password-file", s.Entra.CertificatePassword}, {"mssql.password-file", s.MSSQL.PasswordFile}, {"keys.passphrase-file", s.Keys.PassphraseFile},
	} {
		if f.file != "" {
			e.secretFile(f.key, f.file)
		}
	}
	for _, file := range []string{s.Keys.Identity, s.WinRM.Key, s.Directory.Keytab} {
		if file != "" {
			e.readByOthers(file)
		}
	}
}

// secretFile warns of a password that others can read, or that may be read as another one than was meant.
func (e *examination) secretFile(key, file string) {
	_, remark, err := textfile.Secret(file)
	if err != nil {
		e.fail("secrets", hint.Wrap(fmt.Errorf("%s: %w", key, err), "create the file, readable by you only, or leave the key out and be asked"))
		return
	}
	if remark != "" {
		e.warn("secrets", "write the file anew", "%s: %s", key, remark)
	}
	e.readByOthers(file)
}

func (e *examination) readByOthers(file string) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		e.fail("secrets", err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 && !slices.ContainsFunc(e.Findings, func(f Finding) bool { return f.Do == "chmod 600 "+file }):
		e.warn("secrets", "chmod 600 "+file, "%s can be read by others", file)
	}
}
