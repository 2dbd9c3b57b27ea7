package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/csv"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
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
	// What is read is written and forgotten, some tens of megabytes at a time: rather that than a collector at every turn.
	defer debug.SetGCPercent(debug.SetGCPercent(300))
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

// Table is a file of keys with their passwords, or a folder of such files: a table, or what Windows and manage-bde write.
type Table struct {
	csv.Options           // File names the file or folder; the source is "csv:" and its name where none is given
	Stdin       io.Reader // for the file "-"
	Reason      string    // "": that it was imported
}

// Imported is what a table gave.
type Imported struct {
	Source  string            `json:"source"`
	ReadAs  string            `json:"read_as"`
	Files   int               `json:"files,omitempty"`
	Rows    int               `json:"rows"`
	New     int               `json:"new"`
	Changed int               `json:"changed"`
	Sealed  int               `json:"sealed"`
	Kept    int               `json:"kept"`  // of them, beside another password that the vault held
	NoID    int               `json:"no_id"` // keys without a key ID
	Columns map[string]string `json:"columns"`
	Ignored []string          `json:"ignored"`
	BadRows []string          `json:"bad_rows"` // left out, or their passwords
	Remarks []string          `json:"remarks"`

	Unsealed int `json:"-"` // keys that were taken without a password
}

// Import takes in a table or a folder, its keys with their passwords, all or nothing of what can be read. Rows that cannot
// are in BadRows.
func Import(ctx context.Context, d *desk.Desk, t Table, how desk.Access) (Imported, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return Imported{}, err
	}
	if err := d.Unlock(ctx, how); err != nil {
		return Imported{}, err
	}
	// The table stands in memory while it is taken in; rather the collector works than twice as much of it does.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	name := filepath.Base(t.File)
	t.Source, t.Reason = cmp.Or(t.Source, "csv:"+name), cmp.Or(t.Reason, "imported from "+name)
	source, report, origin, err := t.read(ctx)
	if err != nil {
		return Imported{}, err
	}
	taken, err := vault.Take(ctx, source, t.Reason, fmt.Sprintf("%d passwords, %s", report.Keys, origin))
	if err != nil {
		return Imported{}, err
	}
	out := Imported{
		Source: t.Source, ReadAs: report.ReadAs, Files: report.Files, Rows: report.Rows, New: taken.Added, Changed: taken.Changed, Sealed: taken.Sealed,
		Kept: taken.Kept, NoID: report.NoID, Columns: report.Columns, Ignored: report.Ignored, Remarks: report.Remarks, Unsealed: len(taken.Failed),
	}
	place := func(r csv.BadRow) string {
		if report.Files > 0 || r.Line == 0 {
			return r.String()
		}
		return fmt.Sprintf("%s:%d: %s", t.File, r.Line, r.Reason)
	}
	for _, bad := range report.BadRows {
		out.BadRows = append(out.BadRows, place(bad))
	}
	for _, remark := range report.Problems {
		out.Remarks = append(out.Remarks, place(remark))
	}
	if len(report.Ignored) > 0 {
		out.Remarks = append(out.Remarks, "columns that mean nothing here: "+table.Headers(report.Ignored))
	}
	return out, nil
}

// maxTable bounds a file, which is read into memory: millions of keys.
const maxTable = 512 << 20

// read reads a file, stdin or a folder. The origin tells the audit what was read.
func (t Table) read(ctx context.Context) (source *csv.Source, report csv.Report, origin string, err error) {
	if info, wrong := os.Stat(t.File); wrong == nil && info.IsDir() {
		source, report, err = csv.ReadFolder(ctx, t.File, t.Options)
		return source, report, fmt.Sprintf("%d files of a folder", report.Files), err
	}
	var data []byte
	if t.File == "-" {
		data, err = textfile.ReadAll(t.Stdin, maxTable)
	} else {
		data, err = textfile.Bytes(t.File, maxTable)
	}
	if err != nil {
		return nil, report, "", err
	}
	sum := sha256.Sum256(data)
	if source, report, err = csv.Read(bytes.NewBuffer(data), t.Options); err != nil {
		return nil, report, "", fmt.Errorf("read %s: %w", t.File, err)
	}
	return source, report, fmt.Sprintf("SHA-256 of the file %x", sum), nil
}
