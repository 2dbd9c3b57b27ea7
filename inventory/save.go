package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// save writes what changed. Into an empty store it writes without the indexes that it gives entries, and makes them at the end,
// which takes half the time.
func (w *importer) save(groups [][]*rec, ids []string, conflicts [][]string) error {
	if err := w.cache(bulkCache); err != nil {
		return err
	}
	var indexes []string
	if w.report.MachinesBefore == 0 && len(w.dirty) > 1 {
		var err error
		if indexes, err = w.unindex(); err != nil {
			return err
		}
	}
	if err := w.saveMachines(ids, conflicts); err != nil {
		return err
	}
	if err := w.saveRecords(groups); err != nil {
		return err
	}
	for _, statement := range indexes {
		if _, err := w.tx.ExecContext(w.ctx, statement); err != nil {
			return err
		}
	}
	if err := w.retire(ids); err != nil {
		return err
	}
	return w.cache(defaultCache)
}

// unindex takes the indexes away that the new records have entries for, and gives the statements that make them.
func (w *importer) unindex() (statements []string, err error) {
	var used columns
	for r := range w.dirty {
		by, err := r.columns()
		if err != nil {
			return nil, err
		}
		for i, v := range by {
			if v != nil {
				used[i] = v
			}
		}
	}
	var drop []string
	err = each(w.ctx, w.tx, "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'records' AND sql IS NOT NULL ORDER BY name", func(scan func(...any) error) error {
		var name, text string
		err := scan(&name, &text)
		for i, f := range lookupFields {
			if used[i] == nil && strings.HasSuffix(text, f.column+" IS NOT NULL") {
				return err
			}
		}
		drop, statements = append(drop, "DROP INDEX "+name), append(statements, text)
		return err
	})
	for _, statement := range drop {
		if err == nil {
			_, err = w.tx.ExecContext(w.ctx, statement)
		}
	}
	return statements, err
}

// defaultCache is SQLite's own.
const defaultCache = 2000

func (w *importer) cache(kilobytes int) error {
	_, err := w.tx.ExecContext(w.ctx, fmt.Sprintf("PRAGMA cache_size = -%d", kilobytes))
	return err
}

// statements prepares each statement when it is first needed. It looks at ctx between them: a driver that watches ctx while each
// of ten thousand runs is busy with that.
type statements struct {
	ctx  context.Context
	tx   *sql.Tx
	open map[string]*sql.Stmt
}

func (s *statements) exec(query string, args ...any) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	put := s.open[query]
	if put == nil {
		var err error
		if put, err = s.tx.PrepareContext(s.ctx, query); err != nil {
			return err
		}
		s.open[query] = put
	}
	_, err := put.ExecContext(context.WithoutCancel(s.ctx), args...)
	return err
}

func (s *statements) close(err error) error {
	for _, put := range s.open {
		err = errors.Join(err, put.Close())
	}
	return err
}

// insertion gathers new rows for one statement: a statement costs the driver as much as its row costs SQLite. OR FAIL keeps
// SQLite from copying every page that a statement of many rows touches; who gets an error takes the transaction back.
type insertion struct {
	put   *statements
	into  string // table and columns
	row   string // (?, ?)
	args  []any
	given int
}

const rowsAtOnce = 32

func (i *insertion) add(args ...any) error {
	i.args = append(i.args, args...)
	if i.given++; i.given < rowsAtOnce {
		return nil
	}
	return i.flush()
}

func (i *insertion) flush() error {
	if i.given == 0 {
		return nil
	}
	err := i.put.exec("INSERT OR FAIL INTO "+i.into+" VALUES "+strings.Repeat(i.row+", ", i.given-1)+i.row, i.args...)
	i.args, i.given = i.args[:0], 0
	return err
}

func (w *importer) saveMachines(ids []string, conflicts [][]string) (err error) {
	put := statements{w.ctx, w.tx, map[string]*sql.Stmt{}}
	defer func() { err = put.close(err) }()
	added := insertion{put: &put, into: "machines (conflicts, id)", row: "(?, ?)"}
	for i, id := range ids {
		old, known := w.c.machines[id]
		if known && slices.Equal(old, conflicts[i]) {
			continue
		}
		text := []byte("[]")
		if len(conflicts[i]) > 0 {
			if text, err = json.Marshal(conflicts[i]); err != nil {
				return err
			}
		}
		if known {
			err = put.exec("UPDATE machines SET conflicts = ? WHERE id = ?", string(text), id)
		} else {
			err = added.add(string(text), id)
		}
		if err != nil {
			return err
		}
	}
	return added.flush()
}

const (
	recordColumns = "records (machine_id, seen_at, gone, fields, stamp, by_name, by_fqdn, by_serial, by_owner, by_account, by_guid, by_device, source, source_key)"
	recordRow     = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	rewriteRecord = `UPDATE records SET machine_id = ?, seen_at = ?, gone = ?, fields = ?, stamp = ?, by_name = ?, by_fqdn = ?, by_serial = ?, by_owner = ?, by_account = ?,
		by_guid = ?, by_device = ? WHERE source = ? AND source_key = ?`
)

// saveRecords takes a statement for each case instead of one that inserts or updates: that one makes SQLite keep a copy
// of every page, in case it fails in the middle.
func (w *importer) saveRecords(groups [][]*rec) (err error) {
	put := statements{w.ctx, w.tx, map[string]*sql.Stmt{}}
	defer func() { err = put.close(err) }()
	fresh := insertion{put: &put, into: recordColumns, row: recordRow}
	for _, g := range groups {
		for _, r := range g {
			var err error
			switch do := w.dirty[r]; {
			case do == 0:
				continue
			case do&(added|rewritten) == 0:
				err = put.exec(`UPDATE records SET seen_at = ?, stamp = ? WHERE source = ? AND source_key = ?`, nanos(r.SeenAt), r.Stamp, r.Source, r.SourceKey)
			default:
				by, failed := r.columns()
				if err = failed; err != nil {
					break
				}
				store := func(args ...any) error { return put.exec(rewriteRecord, args...) }
				if do&added != 0 {
					store = fresh.add
				}
				err = store(r.machine, nanos(r.SeenAt), r.Gone, r.raw, r.Stamp, by[0], by[1], by[2], by[3], by[4], by[5], by[6], r.Source, r.SourceKey)
			}
			if err != nil {
				return fmt.Errorf("record %s: %w", clip(r.SourceKey), err)
			}
		}
	}
	return fresh.flush()
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
