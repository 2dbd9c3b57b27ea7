package keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/desk"
)

// SyncRequest says which sources are read.
type SyncRequest struct {
	From      string // one of connect.KeyKinds; "": each that the settings name
	Full      bool   // all keys, and what is gone is flagged
	Passwords bool   // read the passwords into the vault as well
}

// Synced is what one source gave.
type Synced struct {
	bitlocker.SyncReport
	Passwords *Fetched `json:"passwords,omitempty"`
}

// Fetched says what became of passwords that were read into the vault.
type Fetched struct {
	Sealed  int      `json:"sealed"`
	Denied  int      `json:"denied"`
	Missing int      `json:"missing"`
	Invalid int      `json:"invalid"`
	Failed  []string `json:"failed"`
}

// Sync reads which keys the sources keep. A source that fails keeps no other back: what was read comes with the joined error.
// Passwords need a reason, without which it returns a question.NeededError.
func Sync(ctx context.Context, d *desk.Desk, r SyncRequest, reason string, how desk.Access) ([]Synced, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return nil, err
	}
	if r.Passwords {
		if err := whyReveal(reason); err != nil {
			return nil, err
		}
		if err := d.Unlock(ctx, how); err != nil {
			return nil, err
		}
	}
	sources, err := d.Connect.KeySources(ctx, r.From)
	if err != nil {
		return nil, err
	}
	var out []Synced
	var errs []error
	for _, source := range sources {
		report, err := vault.Sync(ctx, source, r.Full)
		if err != nil { // the other source may answer
			errs = append(errs, err)
			continue
		}
		synced := Synced{SyncReport: report}
		if r.Passwords {
			got, err := vault.FetchMissing(ctx, source, reason)
			if err != nil {
				return out, err
			}
			synced.Passwords = fetched(got)
		}
		out = append(out, synced)
	}
	return out, errors.Join(errs...)
}

func fetched(r bitlocker.FetchReport) *Fetched {
	out := &Fetched{Sealed: r.Sealed, Denied: r.Denied, Missing: r.Missing, Invalid: r.Invalid}
	for _, f := range r.Failed {
		out.Failed = append(out.Failed, fmt.Sprintf("key %s of %s: %v", f.Ref.ID, f.Ref.Machine.Label(), f.Err))
	}
	return out
}

// Table is a table of keys with their passwords.
type Table struct {
	Name   string // of its file, for people
	Data   []byte
	Source string            // "": csv: and the file's name
	Map    map[string]string // header -> field
	Reason string            // "": that it was imported
}

// Imported is what a table gave.
type Imported struct {
	Source  string            `json:"source"`
	Rows    int               `json:"rows"`
	New     int               `json:"new"`
	Changed int               `json:"changed"`
	Sealed  int               `json:"sealed"`
	Columns map[string]string `json:"columns"`
	Ignored []string          `json:"ignored"`
	BadRows []string          `json:"bad_rows"` // left out, or their passwords
	Remarks []string          `json:"remarks"`
}

// Import takes in a table, its keys with their passwords, all or nothing of what can be read. Rows that cannot are in BadRows.
func Import(ctx context.Context, d *desk.Desk, t Table, how desk.Access) (Imported, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return Imported{}, err
	}
	if err := d.Unlock(ctx, how); err != nil {
		return Imported{}, err
	}
	if t.Source == "" {
		t.Source = "csv:" + filepath.Base(t.Name)
	}
	if t.Reason == "" {
		t.Reason = "imported from " + filepath.Base(t.Name)
	}
	sum := sha256.Sum256(t.Data)
	source, report, err := csv.Read(bytes.NewReader(t.Data), csv.Options{Source: t.Source, Map: t.Map})
	if err != nil {
		return Imported{}, fmt.Errorf("read %s: %w", t.Name, err)
	}
	taken, err := vault.Take(ctx, source, t.Reason, fmt.Sprintf("%d passwords, SHA-256 of the file %x", report.Keys, sum))
	if err != nil {
		return Imported{}, err
	}
	out := Imported{Source: t.Source, Rows: report.Rows, New: taken.Added, Changed: taken.Changed, Sealed: taken.Sealed, Columns: report.Columns, Ignored: report.Ignored}
	for _, bad := range report.BadRows {
		out.BadRows = append(out.BadRows, fmt.Sprintf("%s:%d: %s", t.Name, bad.Line, bad.Reason))
	}
	for _, remark := range report.Problems {
		out.Remarks = append(out.Remarks, fmt.Sprintf("%s:%d: %s", t.Name, remark.Line, remark.Reason))
	}
	if len(report.Ignored) > 0 {
		out.Remarks = append(out.Remarks, "columns that mean nothing here: "+strings.Join(report.Ignored, ", "))
	}
	return out, nil
}
