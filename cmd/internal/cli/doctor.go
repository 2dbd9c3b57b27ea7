package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// The verdicts of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
)

// finding is the result of one check.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn, fail
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // what to do about it
}

// doctor collects findings.
type doctor struct {
	app      *app
	findings []finding
	rejected bool // a sign-in was rejected
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{check, checkOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, do, format string, args ...any) {
	d.findings = append(d.findings, finding{check, checkWarn, fmt.Sprintf(format, args...), do})
}

// fail notes an error with its own advice.
func (d *doctor) fail(check string, err error) {
	do := "the message says what was in the way; put that right and ask the doctor again"
	if hints := hint.Of(err); len(hints) > 0 {
		do = joined(hints)
	}
	if exitCode(err) == exitAuth {
		d.rejected = true
	}
	d.findings = append(d.findings, finding{check, checkFail, err.Error(), do})
}

func newDoctor(a *app) *cobra.Command {
	var dcs []string
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Check before the day: names, ports, clocks, sign-in, rights, settings",
		GroupID: "start",
		Long: `Check everything that a repair will need, without changing anything: the settings, the domain controllers (name, port, clock,
certificate, sign-in), what the account may do there (list machines, list recovery keys, read them, read LAPS passwords),
the settings of WinRM, and how old the inventory is.

Every line says ok, warn or fail, and what to do. A password is sent once, so that no account gets locked, and no
recovery key and no password that is read for the check is shown or kept.`,
		Example: "fleetmend doctor\nfleetmend doctor --dc dc1.corp.example=10.0.0.5\nfleetmend doctor -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{app: a}
			d.examine(cmd.Context(), dcs)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return d.report()
		},
	}
	cmd.Flags().StringSliceVar(&dcs, "dc", nil, "domain controllers to ask: dc1.corp.example, or dc1.corp.example=10.0.0.5 without DNS")
	exits(cmd, exitAuth)
	return cmd
}

func (d *doctor) examine(ctx context.Context, dcs []string) {
	c, err := d.app.config()
	if err != nil {
		d.fail("settings", err)
		return
	}
	if c.Path == "" {
		d.warn("settings", "write fleetmend.yaml; README.md shows one", "no file of settings was found, the defaults hold")
	} else {
		d.ok("settings", "%s is well formed", c.Path)
	}
	if c.Directory.Domain == "" && len(dcs) == 0 {
		d.warn("directory", "write a section directory with domain, user and password-file to read machines, recovery keys and LAPS passwords from Active Directory", "no directory is configured")
	} else {
		d.directory(ctx, dcs)
	}
	d.winrm(c)
	d.inventory(ctx)
}

// winrm checks the settings of the route; it connects to nothing.
func (d *doctor) winrm(c config) {
	w := c.WinRM
	for _, f := range []struct{ key, file string }{{"winrm.password-file", w.PasswordFile}, {"directory.password-file", c.Directory.PasswordFile}} {
		d.secretFile(f.key, f.file)
	}
	if _, err := trusted(w.CA); err != nil {
		d.fail("winrm", fmt.Errorf("winrm.ca: %w", err))
		return
	}
	if w.Auth == winrm.AuthCertificate {
		d.certificate(w)
		return
	}
	switch {
	case w.Credentials == "laps" && c.Directory.Domain == "":
		d.fail("winrm", hint.Wrap(errorf("winrm.credentials is laps, but no directory is configured to read the passwords from"), "write a section directory"))
	case w.Credentials == "laps":
		d.ok("winrm", "%s, signs in as the local administrator of each machine, with its password from LAPS", winrmWords(w))
	case w.User == "":
		d.warn("winrm", `set winrm.user, e.g. user: CORP\fleet-admin, or credentials: laps`, "no account to repair machines with is configured")
	default:
		if _, _, err := winrm.ParseUser(w.User); err != nil {
			d.fail("winrm", fmt.Errorf("winrm.user: %w", err))
			return
		}
		if w.Auth == winrm.AuthBasic && w.Scheme != "https" {
			d.fail("winrm", hint.Wrap(errorf("basic authentication over http would show the password to the network; it will be refused"), "set winrm.scheme to https, or winrm.auth to ntlm"))
			return
		}
		d.ok("winrm", "%s, signs in as %s", winrmWords(w), w.User)
	}
}

func winrmWords(w winrmConfig) string {
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

// secretFile warns of a password that others can read, or that may be read as another one than was meant.
func (d *doctor) secretFile(key, file string) {
	if file == "" {
		return
	}
	_, remark, err := textfile.Secret(file)
	if err != nil {
		d.fail("secrets", hint.Wrap(fmt.Errorf("%s: %w", key, err), "create the file, readable by you only, or leave the key out and be asked"))
		return
	}
	if remark != "" {
		d.warn("secrets", "write the file anew", "%s: %s", key, remark)
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		d.fail("secrets", fmt.Errorf("%s: %w", key, err))
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		d.warn("secrets", "chmod 600 "+file, "%s can be read by others", file)
	}
}

func (d *doctor) certificate(w winrmConfig) {
	pair, err := tls.LoadX509KeyPair(w.Certificate, w.Key)
	if err != nil {
		d.fail("winrm", hint.Wrap(fmt.Errorf("read the client certificate: %w", err), "winrm.certificate and winrm.key name PEM files"))
		return
	}
	left := time.Until(pair.Leaf.NotAfter)
	switch {
	case w.Scheme != "https":
		d.fail("winrm", hint.Wrap(errorf("a client certificate needs https"), "set winrm.scheme to https"))
	case left < 0:
		d.fail("winrm", hint.Wrap(errorf("the client certificate expired on %s", when(pair.Leaf.NotAfter)), "issue a new one"))
	case left < 14*24*time.Hour:
		d.warn("winrm", "issue a new one in time", "the client certificate expires on %s", when(pair.Leaf.NotAfter))
	default:
		d.ok("winrm", "%s, client certificate until %s", winrmWords(w), when(pair.Leaf.NotAfter))
	}
}

// inventory says how old what is known is: on the day itself the directory may not answer.
func (d *doctor) inventory(ctx context.Context) {
	store, err := d.app.openStore(ctx)
	if err != nil {
		d.fail("inventory", err)
		return
	}
	sources, err := store.Sources(ctx)
	if err != nil {
		d.fail("inventory", err)
		return
	}
	const stale = 7 * 24 * time.Hour
	do := "fleetmend inventory sync, best every night: what was read stays usable when the directory is down"
	if len(sources) == 0 {
		d.warn("inventory", do, "it is empty")
		return
	}
	for _, s := range sources {
		text := fmt.Sprintf("%s: %s, read %s", s.Source, counted(s.Records, "record", "records"), ago(s.ReadAt, time.Now()))
		if time.Since(s.ReadAt) > stale {
			d.warn("inventory", do, "%s", text)
		} else {
			d.ok("inventory", "%s", text)
		}
	}
}

// report prints the findings; the worst decides the exit code.
func (d *doctor) report() error {
	failed, warned := 0, 0
	for _, f := range d.findings {
		switch f.Status {
		case checkFail:
			failed++
		case checkWarn:
			warned++
		}
	}
	out := d.app.out
	columns := []column[finding]{
		{"check", false, func(f finding) string { return f.Check }}, {"status", false, func(f finding) string { return f.Status }},
		{"detail", false, func(f finding) string { return f.Detail }}, {"do", false, func(f finding) string { return f.Do }},
	}
	var err error
	if out.Format == "table" || out.Format == "wide" {
		err = d.write(d.app.streams.Out, failed, warned)
	} else {
		err = list(out, d.app.streams.Out, d.findings, columns)
	}
	switch {
	case err != nil:
		return err
	case d.rejected:
		return silently(exitAuth)
	case failed > 0:
		return silently(exitError)
	}
	return nil
}

func (d *doctor) write(w io.Writer, failed, warned int) error {
	var errs []error
	for _, f := range d.findings {
		_, err := fmt.Fprintf(w, "%s%s%s\n", pad(f.Status, 6), pad(f.Check, 14), oneLine(f.Detail))
		errs = append(errs, err)
		if f.Do != "" {
			_, err = fmt.Fprintf(w, "%sdo: %s\n", pad("", 20), oneLine(f.Do))
			errs = append(errs, err)
		}
	}
	verdict := "All is well."
	if failed+warned > 0 {
		verdict = fmt.Sprintf("%s, %s.", counted(failed, "check failed", "checks failed"), counted(warned, "warning", "warnings"))
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return errors.Join(append(errs, err)...)
}
