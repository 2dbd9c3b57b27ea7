package keys

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// foldBatch is how many machines are told at once: what a kill can make the audit hear twice, which it notices.
const foldBatch = 500

// Fold tells vault and audit what the machines of rotations said, from the journal, and remembers how far it has read.
// Whoever carries a run out calls it at its end; every use case calls it before, so that a run that was killed, or that
// another process carries out, is told all the same. The audit comes first and recognises what it was told already; the
// marks in the vault and the place up to which was read are one transaction. It may be called at any time, by several
// processes at once.
func Fold(ctx context.Context, d *desk.Desk) error {
	dir, err := d.Folder()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "journal.db")); errors.Is(err, fs.ErrNotExist) {
		return nil // no run was ever made
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	all, err := j.Runs(ctx)
	if err != nil {
		return err
	}
	var read map[string]int64
	for _, r := range all {
		if r.Playbook != runs.RotatePlaybook || r.Mode != agent.Fix {
			continue
		}
		if read == nil {
			vault, err := d.Vault(ctx)
			if err != nil {
				return err
			}
			if read, err = vault.Folded(ctx); err != nil {
				return err
			}
		}
		if err := foldRun(ctx, d, j, r.ID, read[r.ID]); err != nil {
			return err
		}
	}
	return nil
}

// foldRun reads on in one run.
func foldRun(ctx context.Context, d *desk.Desk, j *journal.Journal, id string, after int64) error {
	events, err := j.Events(ctx, id, after)
	if err != nil || len(events) == 0 {
		return err
	}
	last := map[string]int64{} // machine -> its last event that ended it
	for _, e := range events {
		if e.State == journal.Done && e.MachineID != "" {
			last[e.MachineID] = e.Seq
		}
	}
	ended := map[string]journal.Machine{}
	if len(last) > 0 {
		machines, err := j.Machines(ctx, id)
		if err != nil {
			return err
		}
		for _, m := range machines {
			ended[m.Target.ID] = m
		}
	}
	var batch []journal.Machine
	for i, e := range events {
		if m, ok := ended[e.MachineID]; ok && last[e.MachineID] == e.Seq && m.State == journal.Done {
			batch = append(batch, m)
		}
		if len(batch) == foldBatch || i == len(events)-1 {
			if err := tell(ctx, d, id, e.Seq, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

// tell writes what became of machines: first into the audit, then with the place up to which was read into the vault.
func tell(ctx context.Context, d *desk.Desk, id string, seq int64, machines []journal.Machine) error {
	var entries []audit.Entry
	var marks []bitlocker.Rotated
	for _, m := range machines {
		if m.Outcome == journal.Skipped || m.Outcome == journal.Held {
			continue
		}
		fresh, removed := rotatedKeys(m)
		entry := audit.Entry{Action: audit.Rotate, Machine: m.Target.Name, Reason: "run " + id, Run: id, Detail: strings.TrimSuffix(string(m.Outcome)+": "+m.Reason, ": ")}
		if len(removed) == 0 {
			entries = append(entries, entry)
			continue
		}
		marks = append(marks, bitlocker.Rotated{Machine: m.Target.Name, At: m.Ended, Keys: removed})
		for _, old := range removed {
			entry.KeyID, entry.Detail = string(old), string(m.Outcome)+": replaced by "+string(fresh)
			entries = append(entries, entry)
		}
	}
	log, err := d.Audit(ctx)
	if err != nil {
		return err
	}
	if _, err := log.AppendNew(ctx, entries...); err != nil {
		return err
	}
	vault, err := d.Vault(ctx)
	if err != nil {
		return err
	}
	_, err = vault.Fold(ctx, id, seq, marks...)
	return err
}

// newAndRemoved is what the playbook of versions before said in words.
var newAndRemoved = lazyregexp.New(`new recovery password \{([0-9A-Fa-f-]{36})\}(?: is escrowed)?, removed((?: \{[0-9A-Fa-f-]{36}\})*)`)

// rotatedKeys is what a machine says of its protectors.
func rotatedKeys(m journal.Machine) (fresh bitlocker.KeyID, removed []bitlocker.KeyID) {
	if m.Result == nil {
		return "", nil
	}
	said := []string{m.Result.Message}
	for _, s := range m.Result.Steps {
		said = append(said, s.Note)
	}
	for _, text := range said {
		found := newAndRemoved.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		fresh, err := bitlocker.ParseKeyID(found[1])
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(found[2]) {
			if id, err := bitlocker.ParseKeyID(word); err == nil {
				removed = append(removed, id)
			}
		}
		return fresh, removed
	}
	return "", nil
}
