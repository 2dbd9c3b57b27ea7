package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// Before is what the store knows of a source from earlier readings.
type Before struct {
	Cursor  string
	Stamps  map[string]string // records that are not gone, by their key; empty where none was noted
	LeftOut map[string]LeftOut

	known *contents // the store at that moment
}

// LeftOut is an object that is no machine of the source's scope.
type LeftOut struct {
	Why   string // as in "12 disabled"
	Stamp string // as [Record.Stamp]
}

// Reading is what one reading of a source found. It is taken in as a whole or not at all.
type Reading struct {
	Before  Before    // what it began with
	At      time.Time // when it began; zero: now
	Records []Record  // what is new or changed; Stamp says how each was when it was read
	Called  int       // machines of the scope that the source listed, changed or not
	Gone    []string  // keys that it did not list, although it was asked to its end
	Unread  []string  // keys of which it can say nothing; they stay as they are
	Whole   bool      // everything was read, not only what had changed
	Certain bool      // somebody asked for it: marks as gone however many
	LeftOut map[string]LeftOut
	Groups  map[string]string // distinguished name of a group -> its account name; nil leaves them as they are
	Cursor  string
}

// A reading that misses more than mostGone of the records, and more than fewGone of them, is taken for a broken one: lost
// rights look like deleted machines.
const (
	mostGone = 0.2
	fewGone  = 10
)

// Before gives what earlier readings of a source have left, for the next one.
func (s *Store) Before(ctx context.Context, source string) (Before, error) {
	b := Before{Stamps: map[string]string{}}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return b, fmt.Errorf("read what is known of %s: %w", source, err)
	}
	defer func() { _ = tx.Rollback() }()
	err = each(ctx, tx, "SELECT cursor FROM sources WHERE source = ?", func(scan func(...any) error) error { return scan(&b.Cursor) }, source)
	if err == nil {
		b.known, err = load(ctx, tx)
	}
	if err == nil {
		b.LeftOut, err = leftOut(ctx, tx, source)
	}
	if err != nil {
		return b, fmt.Errorf("read what is known of %s: %w", source, err)
	}
	for _, r := range b.known.recs {
		if r.Source == source && !r.Gone {
			b.Stamps[r.SourceKey] = r.Stamp
		}
	}
	return b, nil
}

func leftOut(ctx context.Context, q querier, source string) (map[string]LeftOut, error) {
	out := map[string]LeftOut{}
	return out, each(ctx, q, "SELECT source_key, stamp, why FROM left_out WHERE source = ?", func(scan func(...any) error) error {
		var key string
		var l LeftOut
		err := scan(&key, &l.Stamp, &l.Why)
		out[key] = l
		return err
	}, source)
}

// Take stores what a reading found and merges it with what is known, in one transaction: a program that is killed leaves
// the reading before, with its cursor. What the source did not list is marked as gone and not deleted; where that would be
// more than a fifth of it, nothing is marked and [ImportReport.Withheld] counts them, unless the reading is certain. One
// that listed no machine at all is refused, because it is far more often a failure than an empty directory. A reading that
// began before one that is stored already changes nothing.
func (s *Store) Take(ctx context.Context, source string, r Reading) (ImportReport, error) {
	report := ImportReport{Source: source, Given: len(r.Records)}
	if r.Called == 0 {
		return report, hint.Wrap(fmt.Errorf("sync %s: the source listed no machine; nothing was changed", source),
			"check the account's rights and the search base")
	}
	if err := validSource(source); err != nil {
		return report, err
	}
	now := s.now()
	if r.At.IsZero() || r.At.After(now) {
		r.At = now
	}
	incoming, err := s.prepare(source, r.Records)
	if err != nil {
		return report, fmt.Errorf("import from %s: %w", source, err)
	}
	defer incoming.wait()
	err = s.write(ctx, func(tx *sql.Tx) error {
		t := taking{ctx, tx, source, r, &report}
		return t.run(now, incoming)
	})
	report.Problems = incoming.problems()
	if err != nil {
		return report, fmt.Errorf("import from %s: %w", source, err)
	}
	return report, nil
}

// taking is one Take in its transaction.
type taking struct {
	ctx    context.Context
	tx     *sql.Tx
	source string
	Reading
	report *ImportReport
}

func (t *taking) run(now time.Time, incoming *arrivals) error {
	var newest int64
	var known int
	err := t.tx.QueryRowContext(t.ctx, "SELECT coalesce((SELECT read_at FROM sources WHERE source = ?1), 0), (SELECT count(*) FROM records WHERE source = ?1 AND gone = 0)",
		t.source).Scan(&newest, &known)
	if err != nil {
		return err
	}
	if at := fromNanos(newest); at.After(t.At) && !at.After(now) {
		t.report.Stale = len(t.Records)
		return nil
	}
	unmarked := t.Gone
	if n := len(t.Gone); t.Certain || n <= fewGone || float64(n) <= mostGone*float64(known) {
		unmarked = nil
	} else {
		t.report.Withheld, t.Gone = n, nil
	}
	if len(incoming.recs)+len(t.Gone) > 0 {
		err = t.merge(now, incoming)
	} else if err = t.tx.QueryRowContext(t.ctx, "SELECT count(*) FROM machines").Scan(&t.report.MachinesBefore); err == nil {
		t.report.MachinesAfter = t.report.MachinesBefore
	}
	if err != nil {
		return err
	}
	if err := t.note(); err != nil {
		return err
	}
	at, whole := nanos(t.At), int64(0)
	if t.Whole {
		whole = at
	}
	_, err = t.tx.ExecContext(t.ctx, `INSERT INTO sources (source, read_at, full_at, cursor) VALUES (?, ?, ?, ?)
		ON CONFLICT (source) DO UPDATE SET read_at = excluded.read_at, full_at = max(full_at, excluded.full_at), cursor = excluded.cursor`, t.source, at, whole, t.Cursor)
	if err != nil {
		return err
	}
	return t.confirm(now, slices.Concat(unmarked, t.Unread))
}

func (t *taking) merge(now time.Time, incoming *arrivals) error {
	c, err := t.contents()
	if err != nil {
		return err
	}
	w := &importer{ctx: t.ctx, tx: t.tx, c: c, report: t.report, entropy: ulid.Monotonic(ulidEntropy(), 0), at: now, confirmed: true, partial: !t.Whole}
	return w.run(t.source, incoming, change{gone: t.Gone})
}

// contents is what the store holds: what was read before the reading, if nobody wrote since.
func (t *taking) contents() (*contents, error) {
	known := t.Before.known
	if known == nil {
		return load(t.ctx, t.tx)
	}
	var generation int64
	if err := t.tx.QueryRowContext(t.ctx, "SELECT n FROM generation").Scan(&generation); err != nil {
		return nil, err
	}
	if known.generation != generation {
		return load(t.ctx, t.tx)
	}
	known.generation = 0 // it is changed from here on, and serves once
	return known, nil
}

// confirm notes for all records that the source said them again, but for those of which it said nothing.
func (t *taking) confirm(now time.Time, except []string) error {
	if len(except) == 0 { // what was noted by a clock that ran ahead counts no longer
		_, err := t.tx.ExecContext(t.ctx, "UPDATE sources SET confirmed_at = iif(confirmed_at > ?1, ?2, max(confirmed_at, ?2)) WHERE source = ?3", nanos(now), nanos(t.At), t.source)
		return err
	}
	keys, err := json.Marshal(except)
	if err != nil {
		return err
	}
	_, err = t.tx.ExecContext(t.ctx, `UPDATE records SET seen_at = ?1 WHERE source = ?2 AND gone = 0 AND seen_at < ?1
		AND source_key NOT IN (SELECT value FROM json_each(?3))`, nanos(t.At), t.source, string(keys))
	return err
}

// settle writes into the records of a source that it confirmed them, before others come to them that it did not.
func settle(ctx context.Context, tx *sql.Tx, source string) error {
	for _, statement := range []string{
		`UPDATE records SET seen_at = s.confirmed_at FROM sources s WHERE s.source = records.source AND s.source = ? AND gone = 0 AND seen_at < s.confirmed_at`,
		`UPDATE sources SET confirmed_at = 0 WHERE source = ? AND confirmed_at > 0`,
	} {
		if _, err := tx.ExecContext(ctx, statement, source); err != nil {
			return err
		}
	}
	return nil
}

// note writes what was left out, and the names of groups, as far as they are others than before.
func (t *taking) note() (err error) {
	had, err := leftOut(t.ctx, t.tx, t.source)
	if err != nil {
		return err
	}
	put := sqlitefile.NewStatements(t.ctx, t.tx)
	defer func() { err = put.Close(err) }()
	for _, key := range slices.Sorted(maps.Keys(t.LeftOut)) {
		if l := t.LeftOut[key]; had[key] != l && err == nil {
			err = put.Exec("INSERT OR REPLACE INTO left_out (source, source_key, stamp, why) VALUES (?, ?, ?, ?)", t.source, key, l.Stamp, l.Why)
		}
		delete(had, key)
	}
	for _, key := range slices.Sorted(maps.Keys(had)) {
		if err == nil {
			err = put.Exec("DELETE FROM left_out WHERE source = ? AND source_key = ?", t.source, key)
		}
	}
	if err != nil || t.Groups == nil {
		return err
	}
	if err = put.Exec("DELETE FROM group_names WHERE source = ?", t.source); err != nil {
		return err
	}
	for _, dn := range slices.Sorted(maps.Keys(t.Groups)) {
		if err = put.Exec("INSERT INTO group_names (source, dn, name) VALUES (?, ?, ?)", t.source, dn, t.Groups[dn]); err != nil {
			return err
		}
	}
	return nil
}
