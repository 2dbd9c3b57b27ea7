package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// The ways a rotation goes.
const (
	WayWinRM  = "winrm"  // the playbook runs on the machine
	WayIntune = "intune" // Intune is asked
)

// Ways and Escrows are what a RotateRequest may say; "auto" goes by where the keys are.
var (
	Ways    = []string{"auto", WayWinRM, WayIntune}
	Escrows = []string{"auto", "ad", "entra", "both"}
)

// RotateRequest says whose keys are replaced, and how.
type RotateRequest struct {
	Names    []string // digits of a key ID, host names, serial numbers or users; or
	On       string   // a selector; Stdin is read for "-"
	Exclude  string
	Incident string // whose cases On and Exclude mean; "": the open one
	Via      string // of Ways
	Escrow   string // of Escrows: where machines escrow over WinRM
	Volume   string // "C:"
	DryRun   bool
	Rules    runs.Rules
	Stdin    io.Reader // nil refuses "-"
}

// Row is one machine with the way it goes and what became of it.
type Row struct {
	Name    string            `json:"machine"`
	Way     string            `json:"way,omitempty"`    // empty for one that is left out
	Escrow  string            `json:"escrow,omitempty"` // over WinRM: ad, entra or both
	Why     string            `json:"why"`
	KeyID   bitlocker.KeyID   `json:"key_id,omitempty"`  // the only one to be replaced
	Outcome string            `json:"outcome,omitempty"` // of a run; with intune: asked, failed or held
	Reason  string            `json:"reason,omitempty"`
	Run     string            `json:"run,omitempty"`
	New     bitlocker.KeyID   `json:"new_key_id,omitempty"`
	Removed []bitlocker.KeyID `json:"removed,omitempty"`

	named   bool               // one by one
	machine inventory.Machine  // without an ID where the inventory does not know it
	refs    []bitlocker.KeyRef // where keys of it are or were, those that were rotated too
}

// Rotation is what is going to be done; nothing was done yet.
type Rotation struct {
	RotateRequest
	Rows  []*Row       // in the order they are done, those left out last
	Plans []*plan.Plan // one for each place of escrow, for a plan holds one playbook with its parameters
}

// Included counts the machines that get a new password.
func (r *Rotation) Included() int {
	n := 0
	for _, row := range r.Rows {
		if row.Way != "" {
			n++
		}
	}
	return n
}

// OnlyKey is the key that was named, where it was the only thing named: that password alone is replaced.
func (r *Rotation) OnlyKey() bitlocker.KeyID {
	if len(r.Rows) == 1 {
		return r.Rows[0].KeyID
	}
	return ""
}

// LeftOutError says that no machine would get a new password.
type LeftOutError struct{ Rows []*Row }

func (e *LeftOutError) Error() string {
	return fmt.Sprintf("nothing to rotate: %s is left out: %s", e.Rows[0].Name, e.Rows[0].Why)
}

func (r *RotateRequest) check() error {
	switch {
	case (len(r.Names) == 0) == (r.On == ""):
		return hint.Mistake(errors.New("say which machines: key IDs or host names, or --on with a selector"), "`fleetmend keys rotate 4C4B6D8A`, or --on all for every machine of the inventory")
	case !slices.Contains(Ways, r.Via):
		return hint.Mistake(fmt.Errorf("--via %q is none of %s", r.Via, strings.Join(Ways, ", ")), "take one of them")
	case !slices.Contains(Escrows, r.Escrow):
		return hint.Mistake(fmt.Errorf("--escrow %q is none of %s", r.Escrow, strings.Join(Escrows, ", ")), "take one of them")
	}
	return nil
}

// Rotate finds the machines, decides which way each goes, and freezes the plans. Where every machine is left out, the
// rotation comes with a *LeftOutError.
func Rotate(ctx context.Context, d *desk.Desk, r RotateRequest) (*Rotation, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	vault, err := open(ctx, d)
	if err != nil {
		return nil, err
	}
	rows, err := r.rows(ctx, d, vault)
	if err != nil {
		return nil, err
	}
	out := &Rotation{RotateRequest: r, Rows: rows}
	if out.Plans, err = out.plans(ctx, d); err != nil {
		return nil, err
	}
	if out.Included() == 0 {
		return out, hint.Wrap(&LeftOutError{rows}, "the overview says why each machine is left out")
	}
	return out, nil
}

// rows finds the machines that are named, each once.
func (r *RotateRequest) rows(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault) ([]*Row, error) {
	t := &rowSet{byID: map[string]*Row{}}
	if r.On != "" {
		selected, err := machines.SelectIn(ctx, d, r.On, cases.Options{Incident: r.Incident}, r.Stdin)
		if err != nil {
			return nil, err
		}
		for _, m := range selected {
			t.add(m, "").named = machines.Named(r.On)
		}
	}
	all, err := optional(machines.Select(ctx, d, "all", nil))
	if err != nil {
		return nil, err
	}
	t.index = indexMachines(all)
	for _, text := range r.Names {
		if err := t.name(ctx, d, vault, text); err != nil {
			return nil, err
		}
	}
	err = vault.All(ctx, func(m bitlocker.Match) error {
		if known, ok := t.index.find(m.Machine); ok && !m.Deleted {
			if row := t.byID[known.ID]; row != nil {
				row.refs = append(row.refs, m.KeyRef)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	excluded := map[string]bool{}
	if r.Exclude != "" {
		out, err := optional(machines.SelectIn(ctx, d, r.Exclude, cases.Options{Incident: r.Incident}, nil))
		if err != nil {
			return nil, err
		}
		for _, m := range out {
			excluded[m.ID] = true
		}
	}
	for _, row := range t.list {
		row.choose(r, excluded[row.machine.ID])
	}
	slices.SortStableFunc(t.list, func(a, b *Row) int {
		return cmp.Or(-cmp.Compare(a.Way, b.Way), cmp.Compare(a.Escrow, b.Escrow))
	})
	return t.list, nil
}

// optional takes no machine for an answer.
func optional(found []inventory.Machine, err error) ([]inventory.Machine, error) {
	if none := (*machines.NoMachineError)(nil); errors.As(err, &none) {
		return nil, nil
	}
	return found, err
}

type rowSet struct {
	index index
	list  []*Row
	byID  map[string]*Row
}

// add takes a machine in. Two keys of one machine mean all of its keys.
func (t *rowSet) add(m inventory.Machine, key bitlocker.KeyID) *Row {
	if row := t.byID[m.ID]; row != nil {
		if row.KeyID != key {
			row.KeyID = ""
		}
		return row
	}
	row := &Row{Name: m.Name, KeyID: key, machine: m}
	t.byID[m.ID], t.list = row, append(t.list, row)
	return row
}

// name takes in the machine of a key, or of a host name, serial number or user.
func (t *rowSet) name(ctx context.Context, d *desk.Desk, vault *bitlocker.Vault, text string) error {
	var matches []bitlocker.Match
	var key bitlocker.KeyID
	if _, bad := bitlocker.ParsePrefix(text); bad == nil {
		found, err := one(ctx, vault, text)
		if err != nil && !notStored(err) {
			return err
		}
		key = found.ID
		for _, p := range found.Places {
			matches = append(matches, p.Match)
		}
	}
	if key == "" {
		known, err := machinesOf(ctx, d, text)
		if err != nil {
			return err
		}
		for _, m := range known {
			t.add(m, "").named = true
		}
		if len(known) > 0 {
			return nil
		}
		found, err := vault.Find(ctx, bitlocker.Query{Host: text, Serial: text})
		if err != nil {
			return err
		}
		matches = found.Matches
	}
	for _, m := range matches {
		if known, ok := t.index.find(m.Machine); ok {
			t.add(known, key).named = true
			continue
		}
		id := "key of " + m.Machine.Label() // no ID of the inventory
		row := t.byID[id]
		if row == nil {
			row = &Row{Name: m.Machine.Label(), KeyID: key}
			t.byID[id], t.list = row, append(t.list, row)
		}
		if !m.Deleted {
			row.refs = append(row.refs, m.KeyRef)
		}
	}
	return nil
}

// mostInEntra is how many recovery keys Entra ID keeps of a device, as Microsoft's guide to BitLocker policies says; the next
// is refused.
const mostInEntra = 200

// places are the sources of one kind that keep keys of the machine, and how many keys they list.
func (r *Row) places(kind string) (sources []string, keys int) {
	seen := map[bitlocker.KeyID]bool{}
	for _, ref := range r.refs {
		if is, _, _ := strings.Cut(ref.Source, ":"); is == kind {
			sources, seen[ref.ID] = appendNew(sources, ref.Source), true
		}
	}
	return sources, len(seen)
}

// choose decides which way a machine goes, and says why.
func (r *Row) choose(f *RotateRequest, excluded bool) {
	ad, _ := r.places("ad")
	entra, inEntra := r.places("entra")
	places := strings.Join(slices.Concat(ad, entra), " and ")
	switch {
	case excluded:
		r.Why = "excluded by --exclude"
	case f.Via == WayIntune && len(entra) == 0:
		r.Why = "no key of it is known in Entra ID, so its device is not known there"
	case f.Via == WayIntune:
		r.Way, r.Why = WayIntune, "--via intune; its keys are in "+places
	case f.Via == WayWinRM:
		r.Way, r.Why = WayWinRM, "--via winrm"
	case len(ad) > 0:
		r.Way, r.Why = WayWinRM, "its keys are in "+places
	case len(entra) > 0:
		r.Way, r.Why = WayIntune, "its keys are in "+places+" alone"
	case len(r.refs) > 0:
		r.Why = "its keys are known from " + r.refs[0].Source + " alone, which nobody escrows to: give --via winrm and --escrow"
	default:
		r.Why = "no recovery key of it is known: run `fleetmend keys sync`, or give --via winrm"
	}
	if r.Way == WayWinRM {
		r.chooseEscrow(f, ad, entra)
	}
	if inEntra >= mostInEntra && (r.Way == WayIntune || r.Escrow == "entra" || r.Escrow == "both") {
		r.Way, r.Escrow = "", ""
		r.Why = fmt.Sprintf("Entra ID keeps %d recovery keys of a device and has %d of it, so a new one would be refused: delete old ones there first, then `fleetmend keys sync --full`", mostInEntra, inEntra)
	}
}

func (r *Row) chooseEscrow(f *RotateRequest, ad, entra []string) {
	switch {
	case r.machine.ID == "":
		r.Way, r.Why = "", "the inventory does not know it: bring it in with `fleetmend inventory sync` or import"
	case r.machine.Absence() != "" && (!r.named || !r.machine.Enabled):
		r.Way, r.Why = "", r.machine.Absence().Words()
	case f.Escrow != "auto":
		r.Escrow = f.Escrow
	case len(ad) > 0 && len(entra) > 0:
		r.Escrow = "both"
	case len(entra) > 0:
		r.Escrow = "entra"
	default:
		r.Escrow = "ad"
	}
}

// plans freezes one plan for each place of escrow.
func (r *Rotation) plans(ctx context.Context, d *desk.Desk) ([]*plan.Plan, error) {
	source, err := playbook.Builtin(runs.RotatePlaybook)
	if err != nil {
		return nil, err
	}
	minute := time.Minute
	request := runs.Request{On: strings.TrimSpace(strings.Join(append(slices.Clone(r.Names), r.On), " ")), DryRun: r.DryRun, Rules: r.Rules}
	request.RebootWait = &minute
	var plans []*plan.Plan
	for _, escrow := range []string{"ad", "both", "entra"} { // in the order of the rows
		var entries []plan.Entry
		for _, row := range r.Rows {
			if row.Way == WayWinRM && row.Escrow == escrow {
				entries = append(entries, runs.Entry(row.machine, row.Why))
			}
		}
		if len(entries) == 0 {
			continue
		}
		if err := runs.KnownAs(ctx, d, entries); err != nil {
			return nil, err
		}
		request.Set = map[string]string{"volume": r.Volume, "escrow": escrow, "protector": "all"}
		if key := r.OnlyKey(); key != "" {
			request.Set["protector"] = string(key)
		}
		bound, err := source.Bind(request.Set)
		if err != nil {
			return nil, &hint.MistakeError{Err: err}
		}
		frozen, err := runs.Plan(ctx, d, request, entries, nil, plan.Source{Playbook: bound, Digest: source.Digest, Parameters: request.Set})
		if err != nil {
			return nil, err
		}
		plans = append(plans, frozen)
	}
	return plans, nil
}
