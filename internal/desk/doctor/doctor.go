// Package doctor checks before the day everything that a repair will need: settings, directory, Entra ID, key database, routes,
// vault, inventory and playbooks.
//
// [Examine] makes all checks and gives a [Report] of findings, each with what to do. It changes nothing at the far ends, sends
// each password once at most, reads no recovery password, contacts no machine but those it is told to ask, and prints nothing.
// A check that cannot be made is a finding as well; the others go on.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/bitlocker/mssql"
	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/inventory"
)

// Status is the verdict of a check.
type Status string

// The verdicts.
const (
	OK   Status = "ok"
	Warn Status = "warn" // works, or is not set up: something will be missing on the day
	Fail Status = "fail"
)

// Finding is the result of one check.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // what to do about it
}

// Request says what to look at beyond the settings. The zero value is all of those.
type Request struct {
	DCs      []string // domain controllers in place of those of the settings
	On       string   // selector of machines whose routes are tried, without signing in; "": none
	Playbook string   // name or file of a playbook besides the built-in ones
}

// Report is what was found.
type Report struct {
	Findings []Finding
	Rejected bool // somebody refused a sign-in
}

// Count gives how many findings have a status.
func (r Report) Count(s Status) (n int) {
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Unreadable is the report where the settings cannot be read: nothing else can be checked.
func Unreadable(err error) Report {
	var e examination
	e.fail("settings", err)
	return e.Report
}

// Examine makes all checks. The error is the end of ctx, or says what is wrong with the selector of the request: one that cannot be
// read, or that picks nobody; then nothing was checked.
func Examine(ctx context.Context, d *desk.Desk, r Request) (Report, error) {
	e := &examination{desk: d, request: r}
	if r.On != "" {
		e.chosen, e.unchosen = machines.Select(ctx, d, r.On, nil)
		none, unknown := (*machines.NoMachineError)(nil), (*inventory.UnknownMachinesError)(nil)
		if errors.As(e.unchosen, &none) || errors.As(e.unchosen, &unknown) || hint.IsMistake(e.unchosen) {
			return Report{}, e.unchosen
		}
	}
	for _, check := range []func(context.Context){e.settings, e.secrets, e.directory, e.entra, e.database, e.routes, e.vault, e.inventory, e.playbooks, e.session} {
		if ctx.Err() == nil {
			check(ctx)
		}
	}
	return e.Report, ctx.Err()
}

// examination collects findings.
type examination struct {
	Report
	desk    *desk.Desk
	request Request

	chosen   []inventory.Machine // of the selector
	unchosen error
}

func (e *examination) ok(check, format string, args ...any) {
	e.Findings = append(e.Findings, Finding{check, OK, fmt.Sprintf(format, args...), ""})
}

func (e *examination) warn(check, do, format string, args ...any) {
	e.Findings = append(e.Findings, Finding{check, Warn, fmt.Sprintf(format, args...), do})
}

// fail notes an error with its own advice.
func (e *examination) fail(check string, err error) {
	do := "the message says what was in the way; put that right and ask the doctor again"
	if hints := hint.Of(err); len(hints) > 0 {
		do = strings.Join(hints, ", ")
	}
	e.Rejected = e.Rejected || connect.Rejected(err) || errors.Is(err, entra.ErrSignIn) || errors.Is(err, mssql.ErrSignIn)
	e.Findings = append(e.Findings, Finding{check, Fail, err.Error(), do})
}

func (e *examination) settings(context.Context) {
	if path := e.desk.Settings.Path; path != "" {
		e.ok("settings", "%s is well formed", path)
		return
	}
	e.warn("settings", "write fleetmend.yaml; README.md shows one", "no file of settings was found, the defaults hold")
}

// stale is when what was read counts as old: much happens in a fleet within a week.
const stale = 7 * 24 * time.Hour

// session looks whether a runner that is started here outlives the session of its operator.
func (e *examination) session(context.Context) {
	if why := runs.EndsAtLogoff(); why != "" {
		e.warn("runs", runs.OutlivesLogoff, "%s", why)
	}
}

// inventory says how old what is known is: on the day itself the directory may not answer.
func (e *examination) inventory(ctx context.Context) {
	store, err := e.desk.Inventory(ctx)
	if err != nil {
		e.fail("inventory", err)
		return
	}
	sources, err := store.Sources(ctx)
	if err != nil {
		e.fail("inventory", err)
		return
	}
	const do = "`fleetmend inventory sync`, best every night: what was read stays usable when the directory is down"
	if len(sources) == 0 {
		e.warn("inventory", do, "it is empty")
		return
	}
	for _, s := range sources {
		e.age("inventory", do, fmt.Sprintf("%s: %s", s.Source, prose.Counted(s.Records-s.Gone, "record", "records")), s.ReadAt)
	}
}

// age is a finding about something that was read at some time.
func (e *examination) age(check, do, what string, at time.Time) {
	now := e.desk.Now()
	switch {
	case at.IsZero():
		e.warn(check, do, "%s, never read", what)
	case now.Sub(at) > stale:
		e.warn(check, do, "%s, read %s ago", what, span(now.Sub(at)))
	default:
		e.ok(check, "%s, read %s ago", what, span(now.Sub(at)))
	}
}

// span is a duration in one unit.
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
