package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// write says what of a record is to be written. A record that says what it said before costs no index an entry.
type write uint8

const (
	touched   write = 1 << iota // only when it was seen, and its stamp
	rewritten                   // all of a record that is stored
	added                       // a record that is new
)

// bulkCache is how many kilobytes of SQLite's cache an import may fill before pages go to the disk, and fetched once more
// from there, in the middle of it.
const bulkCache = 64 << 10

// save writes what changed.
func (w *importer) save(groups [][]*rec, ids []string, conflicts [][]string) error {
	if err := w.cache(bulkCache); err != nil {
		return err
	}
	if err := w.saveMachines(ids, conflicts); err != nil {
		return err
	}
	if err := w.saveRecords(groups); err != nil {
		return err
	}
	if err := w.retire(ids); err != nil {
		return err
	}
	return w.cache(defaultCache)
}

// defaultCache is SQLite's own.
const defaultCache = 2000

func (w *importer) cache(kilobytes int) error {
	_, err := w.tx.ExecContext(w.ctx, fmt.Sprintf("PRAGMA cache_size = -%d", kilobytes))
	return err
}

// newMachines writes machines without conflicts.
func newMachines(put *sqlitefile.Statements) *sqlitefile.Rows {
	return put.Rows("INSERT OR FAIL", "machines", "id")
}

// newRecords writes new records.
type newRecords struct{ *sqlitefile.Rows }

func recordsInto(put *sqlitefile.Statements) newRecords {
	columns := []string{"source", "source_key", "machine_id", "seen_at", "gone", "fields", "stamp"}
	for _, f := range lookupFields {
		columns = append(columns, f.column)
	}
	return newRecords{put.Rows("INSERT OR FAIL", "records", columns...)}
}

func (n newRecords) add(r *rec) error {
	by, err := r.columns()
	if err != nil {
		return err
	}
	var values [7 + len(lookupFields)]any
	return n.Add(append(append(values[:0], r.Source, r.SourceKey, r.machine, nanos(r.SeenAt), r.Gone, r.raw, r.Stamp), by[:]...)...)
}

func (w *importer) saveMachines(ids []string, conflicts [][]string) (err error) {
	put := sqlitefile.NewStatements(w.ctx, w.tx)
	defer func() { err = put.Close(err) }()
	added := newMachines(put)
	for i, id := range ids {
		old, known := w.c.machines[id]
		switch {
		case known && slices.Equal(old, conflicts[i]):
			continue
		case !known:
			err = added.Add(id)
		}
		if err == nil && (known || len(conflicts[i]) > 0) {
			err = errors.Join(added.Flush(), saveConflicts(put, id, conflicts[i]))
		}
		if err != nil {
			return err
		}
	}
	return added.Flush()
}

func saveConflicts(put *sqlitefile.Statements, id string, are []string) error {
	text := []byte("[]")
	if len(are) > 0 {
		var err error
		if text, err = json.Marshal(are); err != nil {
			return err
		}
	}
	return put.Exec("UPDATE machines SET conflicts = ? WHERE id = ?", string(text), id)
}

const rewriteRecord = `UPDATE records SET machine_id = ?, seen_at = ?, gone = ?, fields = ?, stamp = ?, by_name = ?, by_fqdn = ?, by_serial = ?, by_owner = ?, by_account = ?,
	by_guid = ?, by_device = ? WHERE source = ? AND source_key = ?`

// saveRecords takes a statement for each case instead of one that inserts or updates: that one makes SQLite keep a copy
// of every page, in case it fails in the middle.
func (w *importer) saveRecords(groups [][]*rec) (err error) {
	put := sqlitefile.NewStatements(w.ctx, w.tx)
	defer func() { err = put.Close(err) }()
	fresh := recordsInto(put)
	for _, g := range groups {
		for _, r := range g {
			var err error
			switch do := w.dirty[r]; {
			case do == 0:
				continue
			case do&(added|rewritten) == 0:
				err = put.Exec(`UPDATE records SET seen_at = ?, stamp = ? WHERE source = ? AND source_key = ?`, nanos(r.SeenAt), r.Stamp, r.Source, r.SourceKey)
			case do&added != 0:
				err = fresh.add(r)
			default:
				by, failed := r.columns()
				if err = failed; err != nil {
					break
				}
				err = put.Exec(rewriteRecord, r.machine, nanos(r.SeenAt), r.Gone, r.raw, r.Stamp, by[0], by[1], by[2], by[3], by[4], by[5], by[6], r.Source, r.SourceKey)
			}
			if err != nil {
				return fmt.Errorf("record %s: %w", clip(r.SourceKey), err)
			}
		}
	}
	return fresh.Flush()
}

// retire hands what people said of machines that turned out to be others to those, and removes them.
func (w *importer) retire(ids []string) error {
	live := make(map[string]bool, len(ids))
	for _, id := range ids {
		live[id] = true
	}
	for _, old := range slices.Sorted(maps.Keys(w.c.machines)) {
		if live[old] {
			continue
		}
		to := w.c.aliases[old]
		for _, move := range []string{
			`UPDATE OR IGNORE operator_fields SET machine_id = ? WHERE machine_id = ?`,
			`UPDATE OR IGNORE operator_tags SET machine_id = ? WHERE machine_id = ?`,
			`UPDATE OR IGNORE probes SET machine_id = ? WHERE machine_id = ?`,
			`UPDATE aliases SET machine_id = ? WHERE machine_id = ?`,
			`INSERT INTO aliases (machine_id, old_id) VALUES (?, ?)`,
		} {
			if _, err := w.tx.ExecContext(w.ctx, move, to, old); err != nil {
				return fmt.Errorf("join machine %s into %s: %w", old, to, err)
			}
		}
		if _, err := w.tx.ExecContext(w.ctx, "DELETE FROM machines WHERE id = ?", old); err != nil {
			return fmt.Errorf("join machine %s into %s: %w", old, to, err)
		}
	}
	return nil
}
