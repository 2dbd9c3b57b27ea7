package machines

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
)

// Synced is what one source gave.
type Synced struct {
	Source     string         `json:"source"`
	DC         string         `json:"dc"`
	Mode       string         `json:"mode"` // full, or changes
	Why        string         `json:"why,omitempty"`
	Unseen     string         `json:"unseen,omitempty"` // what a reading of changes cannot see
	Called     int            `json:"called"`           // machines that the directory lists
	Read       int            `json:"read"`             // of those, read
	New        int            `json:"new"`
	Updated    int            `json:"updated"`
	Unchanged  int            `json:"unchanged"`
	Gone       int            `json:"gone"`
	Withheld   int            `json:"withheld,omitempty"` // not listed any more, and too many to be marked as gone
	LeftOut    map[string]int `json:"left_out,omitempty"` // reason -> objects that are no machine to repair
	DurationMS int64          `json:"duration_ms"`
	Referrals  []string       `json:"referrals,omitempty"`
	Remarks    []string       `json:"remarks"`
	Conflicts  []string       `json:"conflicts"`
}

// StaleError says that a source could not be read, and what of it stays usable.
type StaleError struct {
	Err    error
	Usable []Usable
}

// Usable is what was read of a source before.
type Usable struct {
	Source   string
	ReadAt   time.Time
	Machines int
}

func (e *StaleError) Error() string { return e.Err.Error() }
func (e *StaleError) Unwrap() error { return e.Err }

// Sync reads the directory of the settings into the inventory: what changed, or with full all of it. dcs replace the domain
// controllers of the settings. A directory that cannot be read is a *StaleError where something of it is known.
func Sync(ctx context.Context, d *desk.Desk, dcs []string, full bool) (Synced, error) {
	source, err := d.Connect.Computers(ctx, dcs)
	if err != nil {
		return Synced{}, err
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return Synced{}, err
	}
	// What is read is kept until it is stored: a collector that runs as often as ever finds nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	began := time.Now()
	read, report, err := source.Sync(ctx, store, full)
	if err != nil {
		return Synced{}, stale(ctx, store, source.Name(), err)
	}
	s := Synced{
		Source: source.Name(), DC: strings.Join(read.DCs, ", "), Mode: "changes", Why: read.Why, Unseen: read.Unseen, Called: read.Called,
		Read: read.Machines, LeftOut: read.LeftOut, Referrals: read.Referrals, DurationMS: time.Since(began).Milliseconds(),
		New: report.NewMachines, Updated: report.UpdatedMachines(), Unchanged: report.Unchanged, Gone: report.Gone, Withheld: report.Withheld,
		Remarks: append(read.Problems, report.Problems...), Conflicts: report.Conflicts,
	}
	if read.Full {
		s.Mode = "full"
	}
	return s, nil
}

func stale(ctx context.Context, store *inventory.Store, prefix string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	sources, failed := store.Sources(ctx)
	if failed != nil {
		return err
	}
	e := &StaleError{Err: err}
	for _, s := range sources {
		if strings.HasPrefix(s.Source, prefix) && s.Records > 0 {
			e.Usable = append(e.Usable, Usable{s.Source, s.ReadAt, s.Records - s.Gone})
		}
	}
	if len(e.Usable) == 0 {
		return err
	}
	return e
}

// Tag gives machines of the inventory tags, or takes them away, and returns how many.
func Tag(ctx context.Context, d *desk.Desk, found []inventory.Machine, add, remove []string) (int, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return 0, err
	}
	ids := make([]string, len(found))
	for i, m := range found {
		ids[i] = m.ID
	}
	return len(ids), store.Tag(ctx, ids, add, remove)
}

// ProbeOptions bound a probe.
type ProbeOptions struct {
	Forks int           // machines at once
	Wait  time.Duration // for one machine
	Each  func(inventory.Machine, inventory.ProbeResult)
}

// Probe asks machines whether they answer, and keeps the answers in the inventory and in found. No credential is sent. Each is called
// once for each machine, from one goroutine at a time, and may be nil.
func Probe(ctx context.Context, d *desk.Desk, found []inventory.Machine, o ProbeOptions) error {
	store, err := d.Inventory(ctx)
	if err != nil {
		return err
	}
	identifier, port, err := d.Connect.Identifier()
	if err != nil {
		return err
	}
	answers := make(map[string]*inventory.ProbeResult, len(found))
	heard := func(m inventory.Machine, r inventory.ProbeResult) {
		answers[m.ID] = &r
		if o.Each != nil {
			o.Each(m, r)
		}
	}
	if err := store.Probe(ctx, found, inventory.ProbeOptions{Identifier: identifier, Port: port, Concurrency: o.Forks, Timeout: o.Wait, OnResult: heard}); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	for i := range found {
		if r := answers[found[i].ID]; r != nil {
			found[i].Probe = r
		}
	}
	return nil
}
