package bitlocker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// SyncReport says what a reading changed.
type SyncReport struct {
	Source  string `json:"source"`
	Full    bool   `json:"full"`
	Read    int    `json:"read"`
	Added   int    `json:"added"`
	Changed int    `json:"changed"`
	Moved   int    `json:"moved,omitempty"`   // of computers that were renamed or moved since, found by the roll call
	Gone    int    `json:"gone"`              // flagged as deleted because the source does not list them any more
	Missing int    `json:"missing,omitempty"` // not listed, and so many that none was flagged: a whole reading that is asked for decides
}

// overlap is how much of the time before the last reading is read again: clocks differ, and directories replicate.
const overlap = time.Hour

// Sync takes in the key references of a source, no passwords. It reads what is new since the last time; full, or the
// first time, it reads everything and flags what the source no longer lists. Nothing is ever removed. A whole reading
// that lists nothing at all, where there were keys before, is an error and flags nothing: that is how lost rights look. One
// that was not asked for flags nothing either where that would be more than a fifth of the keys; SyncReport.Missing counts
// them.
func (v *Vault) Sync(ctx context.Context, src Source, full bool) (SyncReport, error) {
	report := SyncReport{Source: src.Name(), Full: full}
	started := v.now()
	var synced int64
	var known int
	err := v.db.QueryRowContext(ctx, "SELECT coalesce((SELECT synced FROM sources WHERE source = ?1), 0), (SELECT count(*) FROM "+allRefs+" WHERE source = ?1 AND NOT deleted)",
		src.Name()).Scan(&synced, &known)
	if err != nil {
		return report, fmt.Errorf("sync keys of %s: %w", src.Name(), err)
	}
	var since time.Time
	if synced == 0 {
		report.Full = true
	} else if !full {
		since = fromNanos(synced).Add(-overlap)
	}
	bulk, err := v.db.Bulk(ctx)
	if err != nil {
		return report, fmt.Errorf("sync keys of %s: %w", src.Name(), sqlitefile.Explain(err))
	}
	read := func() error {
		w := takesIn(ctx, bulk, started, known == 0)
		err := src.Keys(ctx, since, func(ref KeyRef) error {
			ref.Source = src.Name()
			if ref.ID == "" || ref.SourceKey == "" {
				return fmt.Errorf("a key of %s without key ID or source key", ref.Machine.Label())
			}
			report.Read++
			return w.give(ref)
		})
		added, changed, failed := w.end()
		report.Added, report.Changed = report.Added+added, report.Changed+changed
		if failed != nil && !errors.Is(err, failed) {
			err = errors.Join(err, failed)
		}
		return err
	}
	if report.Full && known == 0 {
		err = filling(ctx, bulk, read)
	} else {
		err = read()
	}
	if roller, ok := src.(Roller); ok && err == nil && !report.Full {
		var unknown int
		if unknown, err = v.roll(ctx, roller, started, &report); err == nil && unknown > 0 {
			// Keys that are old and were never seen: there are new rights. What is visible now is read as a whole.
			report.Full, report.Read, report.Missing, since = true, 0, 0, time.Time{}
			err = read()
		}
	}
	if err = errors.Join(err, bulk.Close()); err != nil { // what follows waits for the disk
		return report, fmt.Errorf("sync keys of %s: %w", src.Name(), err)
	}
	if report.Full && report.Read == 0 && known > 0 {
		return report, hint.Wrap(fmt.Errorf("sync keys of %s: it lists no key, but %d are known from it; nothing was flagged: %w", src.Name(), known, ErrListDenied),
			"see whether the account still has the right to list keys")
	}
	err = v.write(ctx, func(tx *sql.Tx) error {
		if report.Full && known > 0 { // of a source of which nothing was known, nothing can be missing
			if err := flag(ctx, tx, started, full, known, &report); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sources (source, synced, full) VALUES (?1, ?2, CASE WHEN ?3 THEN ?2 ELSE 0 END)
			ON CONFLICT (source) DO UPDATE SET synced = max(synced, ?2), full = CASE WHEN ?3 THEN max(full, ?2) ELSE full END`, src.Name(), nanos(started), report.Full)
		return err
	})
	if err != nil {
		return report, fmt.Errorf("sync keys of %s: %w", src.Name(), err)
	}
	return report, nil
}

// allRefs are the references from the first to the last: by the index of a source that has most of them, each would be sought by
// itself.
const allRefs = "refs NOT INDEXED"

// flag marks what a whole reading did not list, unless that is so much that its rights are rather doubted; certain says that
// somebody asked for the whole reading.
func flag(ctx context.Context, tx *sql.Tx, started time.Time, certain bool, known int, report *SyncReport) error {
	const unlisted = "source = ?1 AND seen < ?2 AND NOT deleted"
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM "+allRefs+" WHERE "+unlisted, report.Source, nanos(started)).Scan(&n); err != nil {
		return err
	}
	if !certain && doubtful(n, known) {
		report.Missing = n
		return nil
	}
	report.Gone += n
	_, err := tx.ExecContext(ctx, "UPDATE refs SET deleted = 1, gone = ?2 WHERE "+unlisted, report.Source, nanos(started))
	return err
}

// Add takes in references that a source gave when it was asked for single keys. It is no reading: what a source does not
// mention stays as it was, and the next [Vault.Sync] begins where it would have.
func (v *Vault) Add(ctx context.Context, refs ...KeyRef) error {
	if _, _, err := upsert(ctx, v.db, v.now(), false, refs); err != nil {
		return fmt.Errorf("add keys: %w", err)
	}
	return nil
}
