package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Frozen is a plan with what lint has to say of its playbook.
type Frozen struct {
	Plan     *plan.Plan
	Findings []playbook.Finding
}

// PermanentError says that a playbook does what cannot be undone, and that nobody has agreed to it yet.
type PermanentError struct {
	Playbook string
	Steps    []string // as [playbook.Playbook.Permanent] has them
}

func (e *PermanentError) Error() string {
	return fmt.Sprintf("playbook %q does what cannot be undone: %s", e.Playbook, strings.Join(e.Steps, "; "))
}

// LintError says that lint finds errors in the playbook; Force goes on all the same. The findings are in it.
type LintError struct {
	File     string
	Findings []playbook.Finding
	Errors   int
}

func (e *LintError) Error() string {
	if e.Errors == 1 {
		return e.File + ": lint finds 1 error"
	}
	return fmt.Sprintf("%s: lint finds %d errors", e.File, e.Errors)
}

// Freeze makes the plan of a request. Nothing is done to any machine. Errors are *LintError, *machines.NoMachineError, a
// [hint.MistakeError] for what cannot be, and those of the stores. stdin is read for the selector "-".
func Freeze(ctx context.Context, d *desk.Desk, r Request, stdin io.Reader) (Frozen, error) {
	if err := r.Check(); err != nil {
		return Frozen{}, err
	}
	source, err := r.source()
	if err != nil {
		return Frozen{}, err
	}
	bound, err := source.Bind(r.Set)
	if err != nil {
		return Frozen{}, &hint.MistakeError{Err: err}
	}
	if err := checkReboot(r.Reboot); err != nil {
		return Frozen{}, err
	}
	if r.Reboot != "" {
		bound.Reboot = playbook.Reboot(r.Reboot)
	}
	findings, err := checked(source, bound, r)
	if err != nil {
		return Frozen{}, err
	}
	book, err := incident(ctx, d, &r, &bound)
	if err != nil {
		return Frozen{}, err
	}
	selected, err := machines.SelectIn(ctx, d, r.On, cases.Options{Incident: book.Only()}, stdin)
	if err != nil {
		return Frozen{}, err
	}
	excluded, err := excluded(ctx, d, r.Exclude, book.Only(), stdin)
	if err != nil {
		return Frozen{}, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return Frozen{}, err
	}
	claimed, err := j.Claims(ctx)
	if err != nil {
		return Frozen{}, err
	}
	named := machines.Named(r.On)
	entries, skipped := triage{book, r.Incident, excluded, claimed, r.Chase || named, named, inventory.Doubles(selected)}.sort(selected)
	if err := KnownAs(ctx, d, entries); err != nil {
		return Frozen{}, err
	}
	made, err := Plan(ctx, d, r, entries, skipped, plan.Source{Playbook: bound, File: sourceFile(r), Digest: source.Digest, Parameters: r.Set})
	return Frozen{made, findings}, err
}

// KnownAs gives the entries the names by which the inventory knows their machines besides, where a certificate may have one of them.
func KnownAs(ctx context.Context, d *desk.Desk, entries []plan.Entry) error {
	if d.Settings.WinRM.Scheme != "https" {
		return nil
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return err
	}
	aliases, err := store.Aliases(ctx)
	for i := range entries {
		entries[i].Aliases = aliases[entries[i].ID]
	}
	return err
}

// Plan freezes entries that are chosen already, by the rules of r.
func Plan(ctx context.Context, d *desk.Desk, r Request, entries []plan.Entry, skipped []plan.Skip, source plan.Source) (*plan.Plan, error) {
	rules := r.Rules.with(d.Settings.Run)
	if r.DryRun && r.Waves == "" {
		rules.Waves = "100%" // nothing is staged by looking
	}
	options, err := rules.options()
	if err == nil {
		options, err = bearing(ctx, d, options)
	}
	if err != nil {
		return nil, err
	}
	sizes, err := plan.ParseWaves(rules.Waves)
	if err != nil {
		return nil, hint.Mistake(fmt.Errorf("--waves: %w", err), "give counts, or percentages of all reached by then: 1,10,10%%,100%%")
	}
	mode := agent.Fix
	if r.DryRun {
		mode = agent.Detect
	}
	on := r.On
	if on == "" {
		on = "all"
	}
	return plan.New(plan.Input{
		Entries: entries, Skipped: skipped, Source: source, Mode: mode, Waves: sizes, Options: options, Incident: r.Incident, Asks: r.asks,
		Operator: d.Operator(), Selector: on, Exclude: r.Exclude, Now: d.Now(), TTL: r.TTL, Limits: connect.Limits(),
	})
}

// source is the playbook asked for: by name or file, or one made of a script or a command.
func (r Request) source() (*playbook.Source, error) {
	given := 0
	for _, text := range []string{r.Playbook, r.Script, r.Command} {
		if text != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, hint.Mistake(errors.New("give one of: a playbook, --script or --command"), "`fleetmend playbook list` shows the built-in ones")
	case r.Script == "" && r.Detect != "":
		return nil, hint.Mistake(errors.New("--detect needs --script"), "give the script that is to run where --detect ends with 1")
	case r.Script == "" && len(r.Arguments) > 0:
		return nil, hint.Mistake(errors.New("--arg needs --script"), "parameters of a playbook are given with --set")
	case r.Command != "":
		return playbook.FromCommand(r.Command)
	case r.Script != "":
		body, err := textfile.Bytes(r.Script, cases.MaxScript)
		if err != nil {
			return nil, fmt.Errorf("read the script: %w", err)
		}
		if r.Detect == "" {
			return playbook.FromScriptFile(r.Script, body, r.Arguments...)
		}
		look, err := textfile.Bytes(r.Detect, cases.MaxScript)
		if err != nil {
			return nil, fmt.Errorf("read the script that detects: %w", err)
		}
		return playbook.FromPair(r.Detect, look, r.Script, body, r.Arguments...)
	}
	return playbook.Find(r.Playbook)
}

// sourceFile is the absolute path of the playbook or script named, empty for a built-in one, for a command, and for a pair of scripts.
func sourceFile(r Request) string {
	name := cmp.Or(r.Script, r.Playbook)
	if r.Detect != "" || r.Script == "" && !playbook.IsPath(name) {
		return ""
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	return path
}

// checked refuses a playbook in which lint finds errors, unless forced; and, unless it is agreed to, one that does what cannot be undone.
func checked(source *playbook.Source, bound playbook.Playbook, r Request) ([]playbook.Finding, error) {
	findings, worst := playbook.LintBound(source, bound), 0
	for _, f := range findings {
		if f.Severity == playbook.SeverityError && (f.Rule != playbook.RuleFirmware || !r.AcceptPermanent && !r.DryRun) {
			worst++
		}
	}
	if worst > 0 && !r.Force {
		return findings, hint.Wrap(&LintError{source.File, findings, worst}, "mend the playbook, or add --force if you know better")
	}
	// A script or command that somebody gives himself is said in the plan; he need not say twice that he means it.
	if permanent := bound.Permanent(); len(permanent) > 0 && r.Playbook != "" && !r.DryRun && !r.AcceptPermanent {
		return findings, hint.Wrap(&PermanentError{bound.Name, permanent}, "nothing was done; add --accept-permanent if that is meant, or --dry-run to see who is affected")
	}
	return findings, nil
}

func excluded(ctx context.Context, d *desk.Desk, selector, incident string, stdin io.Reader) (map[string]bool, error) {
	if selector == "" {
		return nil, nil
	}
	found, err := machines.SelectIn(ctx, d, selector, cases.Options{Incident: incident}, stdin)
	if none := (*machines.NoMachineError)(nil); err != nil && !errors.As(err, &none) {
		return nil, err
	}
	ids := map[string]bool{}
	for _, m := range found {
		ids[m.ID] = true
	}
	return ids, nil
}

// Unchanged refuses a plan whose playbook is not the one any more that was looked at. A file that is gone changes nothing: the
// plan holds the whole playbook, and remark says so.
func Unchanged(p *plan.Plan) (remark string, err error) {
	source, err := cases.SourceOf(p)
	switch {
	case err == nil:
		return "", p.Check(source.Digest)
	case errors.Is(err, fs.ErrNotExist):
		return cmp.Or(p.PlaybookFile, p.Playbook.Name) + " is gone; the playbook is applied as it stands in the plan", nil
	case p.PlaybookFile == "": // made of a script, by a version that did not say which
		return "", nil
	}
	return "", err
}
