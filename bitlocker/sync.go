package bitlocker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
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
	Missing int    `json:"missing,omitempty"` // not listed by the roll call, and so many that none was flagged: a whole reading decides
}

// overlap is how much of the time before the last reading is read again: clocks differ, and directories replicate.
const overlap = time.Hour

// batch is how many references go into one transaction; a reading that is cut off keeps what it has read.
const batch = 1000

// Sync takes in the key references of a source, no passwords. It reads what is new since the last time; full, or the
// first time, it reads everything and flags what the source no longer lists. Nothing is ever removed. A whole reading
// that lists nothing at all, where there were keys before, is an error and flags nothing: that is how lost rights look.
func (v *Vault) Sync(ctx context.Context, src Source, full bool) (SyncReport, error) {
	report := SyncReport{Source: src.Name(), Full: full}
	started := v.now()
	var synced int64
	var known int
	err := v.db.QueryRowContext(ctx, "SELECT coalesce((SELECT synced FROM sources WHERE source = ?1), 0), (SELECT count(*) FROM refs WHERE source = ?1 AND NOT deleted)",
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
	var pending []KeyRef
	flush := func() error {
		added, changed, err := v.upsert(ctx, started, pending)
		report.Added, report.Changed, pending = report.Added+added, report.Changed+changed, pending[:0]
		return err
	}
	read := func() error {
		err := src.Keys(ctx, since, func(ref KeyRef) error {
			ref.Source = src.Name()
			if ref.ID == "" || ref.SourceKey == "" {
				return fmt.Errorf("a key of %s without key ID or source key", ref.Machine.Label())
			}
			report.Read++
			if pending = append(pending, ref); len(pending) == batch {
				return flush()
			}
			return nil
		})
		return errors.Join(err, flush())
	}
	err = read()
	if roller, ok := src.(Roller); ok && err == nil && !report.Full {
		var unknown int
		if unknown, err = v.roll(ctx, roller, started, &report); err == nil && unknown > 0 {
			// Keys that are old and were never seen: there are new rights. What is visible now is read as a whole.
			report.Full, report.Read, report.Missing, since = true, 0, 0, time.Time{}
			err = read()
		}
	}
	if err != nil {
		return report, fmt.Errorf("sync keys of %s: %w", src.Name(), err)
	}
	if report.Full && report.Read == 0 && known > 0 {
		return report, hint.Wrap(fmt.Errorf("sync keys of %s: it lists no key, but %d are known from it; nothing was flagged: %w", src.Name(), known, ErrListDenied),
			"see whether the account still has the right to list keys")
	}
	err = v.write(ctx, func(tx *sql.Tx) error {
		if report.Full {
			r, err := tx.ExecContext(ctx, "UPDATE refs SET deleted = 1, gone = ?2 WHERE source = ?1 AND seen < ?2 AND NOT deleted", src.Name(), nanos(started))
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			report.Gone += int(n)
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

// Add takes in references that a source gave when it was asked for single keys. It is no reading: what a source does not
// mention stays as it was, and the next [Vault.Sync] begins where it would have.
func (v *Vault) Add(ctx context.Context, refs ...KeyRef) error {
	if _, _, err := v.upsert(ctx, v.now(), refs); err != nil {
		return fmt.Errorf("add keys: %w", err)
	}
	return nil
}

func (v *Vault) upsert(ctx context.Context, seen time.Time, refs []KeyRef) (added, changed int, err error) {
	if len(refs) == 0 {
		return 0, 0, nil
	}
	err = v.write(ctx, func(tx *sql.Tx) error {
		put, err := newPutter(ctx, tx)
		if err != nil {
			return err
		}
		defer put.close()
		for _, ref := range refs {
			_, isNew, isChanged, err := put.ref(ctx, ref, seen)
			if err != nil {
				return err
			}
			if isNew {
				added++
			} else if isChanged {
				changed++
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	return added, changed, nil
}

// putter writes references within one transaction.
type putter struct {
	find, insert, update, touch, password, sealed, held, family *sql.Stmt

	fresh  bool   // no reference of the source was there before: it is not looked for
	before KeyRef // the reference that was written last, as it was before; zero where it is new
	kept   int    // passwords that were there before and differ, see [Vault.keep]
}

func newPutter(ctx context.Context, tx *sql.Tx) (*putter, error) {
	p := &putter{}
	for stmt, text := range map[**sql.Stmt]string{
		&p.find: "SELECT id, " + refColumns + " FROM refs WHERE source = ? AND source_key = ?",
		&p.insert: `INSERT INTO refs (source, source_key, key_id, volume_id, volume, name, fqdn, serial, device_id, dn, guid, created, deleted, stale, stale_cause, seen, gone)
			VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16, iif(?13, ?16, 0))`,
		&p.update: `UPDATE refs SET source = ?1, source_key = ?2, key_id = ?3, volume_id = ?4, volume = ?5, name = ?6, fqdn = ?7, serial = ?8, device_id = ?9, dn = ?10, guid = ?11,
			created = ?12, deleted = ?13, stale = ?14, stale_cause = ?15, seen = max(seen, ?16), gone = CASE WHEN NOT ?13 THEN 0 WHEN gone > 0 THEN gone ELSE ?16 END WHERE id = ?17`,
		&p.touch:    "UPDATE refs SET seen = max(seen, ?) WHERE id = ?",
		&p.password: "INSERT INTO passwords (ref, sealed, at) VALUES (?1, ?2, ?3) ON CONFLICT (ref) DO UPDATE SET sealed = ?2, at = ?3",
		&p.held:     "SELECT sealed FROM passwords WHERE ref = ?",
		&p.family: `SELECT r.source_key, r.key_id, p.sealed FROM refs r LEFT JOIN passwords p ON p.ref = r.id
			WHERE r.source = ?1 AND r.source_key >= ?2 AND r.source_key < ?2 || '$'`, // '$' follows '#'
		&p.sealed: "UPDATE refs SET state = ?, state_note = '', state_at = ? WHERE id = ?",
	} {
		s, err := tx.PrepareContext(ctx, text)
		if err != nil {
			p.close()
			return nil, err
		}
		*stmt = s
	}
	return p, nil
}

func (p *putter) close() {
	for _, s := range []*sql.Stmt{p.find, p.insert, p.update, p.touch, p.password, p.sealed, p.held, p.family} {
		if s != nil {
			_ = s.Close()
		}
	}
}

// ref writes one reference. A key ID that changed under the same source key drops the password sealed for the old one:
// it is bound to it and would not open.
func (p *putter) ref(ctx context.Context, ref KeyRef, seen time.Time) (id int64, isNew, isChanged bool, err error) {
	ref.Machine = ref.Machine.normal()
	ref.Created = fromNanos(nanos(ref.Created)) // without monotonic clock and zone, to compare
	args := func() []any {
		m := ref.Machine
		return []any{ref.Source, ref.SourceKey, ref.ID, ref.VolumeID, ref.Volume, m.Name, m.FQDN, m.Serial, m.DeviceID, m.DN, m.GUID,
			nanos(ref.Created), ref.Deleted, ref.Stale, ref.StaleCause, nanos(seen)}
	}
	var old KeyRef
	if err = sql.ErrNoRows; !p.fresh {
		err = scanRef(p.find.QueryRowContext(ctx, ref.Source, ref.SourceKey), &old, &id)
	}
	p.before = old
	if ref.Machine.GUID == "" {
		ref.Machine.GUID = old.Machine.GUID // a key never changes its computer
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		r, err := p.insert.ExecContext(ctx, args()...)
		if err != nil {
			return 0, false, false, err
		}
		id, err = r.LastInsertId()
		return id, true, false, err
	case err != nil:
		return 0, false, false, err
	case old == ref:
		_, err = p.touch.ExecContext(ctx, nanos(seen), id)
		return id, false, false, err
	case old.ID != ref.ID:
		return 0, false, false, fmt.Errorf("key %s of %s is now %s under the same source key; a source key must stay with its key", old.ID, old.Machine.Label(), ref.ID)
	}
	_, err = p.update.ExecContext(ctx, append(args(), id)...)
	return id, false, true, err
}

const refColumns = "source, source_key, key_id, volume_id, volume, name, fqdn, serial, device_id, dn, guid, created, deleted, stale, stale_cause"

// scanRef reads id, refColumns and what follows.
func scanRef(row interface{ Scan(dest ...any) error }, ref *KeyRef, id *int64, more ...any) error {
	var created int64
	m := &ref.Machine
	err := row.Scan(append([]any{id, &ref.Source, &ref.SourceKey, &ref.ID, &ref.VolumeID, &ref.Volume, &m.Name, &m.FQDN, &m.Serial, &m.DeviceID, &m.DN, &m.GUID,
		&created, &ref.Deleted, &ref.Stale, &ref.StaleCause}, more...)...)
	ref.Created = fromNanos(created)
	return err
}
