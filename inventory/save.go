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

// newMachines gathers machines without conflicts.
func newMachines(put *statements) insertion {
	return insertion{put: put, into: "machines (id)", row: "(?)"}
}

// newRecords gathers new records. Columns for looking up that none of them has a value for are left out: what is bound to a
// statement costs the driver as much as storing it.
type newRecords struct {
	insertion
	wide uint // columns that are not left out
}

func (n *newRecords) add(r *rec) error {
	by, err := r.columns()
	if err != nil {
		return err
	}
	has := uint(0)
	for i, v := range by {
		if v != nil {
			has |= 1 << i
		}
	}
	if n.into == "" || has&^n.wide != 0 {
		if err := n.flush(); err != nil {
			return err
		}
		n.widen(has)
	}
	n.args = append(n.args, r.Source, r.SourceKey, r.machine, nanos(r.SeenAt), r.Gone, r.raw, r.Stamp)
	for i, v := range by {
		if n.wide&(1<<i) != 0 {
			n.args = append(n.args, v)
		}
	}
	return n.insertion.add()
}

func (n *newRecords) widen(has uint) {
	n.wide |= has
	n.into, n.row = "records (source, source_key, machine_id, seen_at, gone, fields, stamp", "(?, ?, ?, ?, ?, ?, ?"
	for i, f := range lookupFields {
		if n.wide&(1<<i) != 0 {
			n.into, n.row = n.into+", "+f.column, n.row+", ?"
		}
	}
	n.into, n.row = n.into+")", n.row+")"
}

func (w *importer) saveMachines(ids []string, conflicts [][]string) (err error) {
	put := statements{w.ctx, w.tx, map[string]*sql.Stmt{}}
	defer func() { err = put.close(err) }()
	added := newMachines(&put)
	for i, id := range ids {
		old, known := w.c.machines[id]
		switch {
		case known && slices.Equal(old, conflicts[i]):
			continue
		case !known:
			err = added.add(id)
		}
		if err == nil && (known || len(conflicts[i]) > 0) {
			err = errors.Join(added.flush(), put.conflicts(id, conflicts[i]))
		}
		if err != nil {
			return err
		}
	}
	return added.flush()
}

// conflicts writes those of a machine.
func (s *statements) conflicts(id string, are []string) error {
	text := []byte("[]")
	if len(are) > 0 {
		var err error
		if text, err = json.Marshal(are); err != nil {
			return err
		}
	}
	return s.exec("UPDATE machines SET conflicts = ? WHERE id = ?", string(text), id)
}

const rewriteRecord = `UPDATE records SET machine_id = ?, seen_at = ?, gone = ?, fields = ?, stamp = ?, by_name = ?, by_fqdn = ?, by_serial = ?, by_owner = ?, by_account = ?,
	by_guid = ?, by_device = ? WHERE source = ? AND source_key = ?`

// saveRecords takes a statement for each case instead of one that inserts or updates: that one makes SQLite keep a copy
// of every page, in case it fails in the middle.
func (w *importer) saveRecords(groups [][]*rec) (err error) {
	put := statements{w.ctx, w.tx, map[string]*sql.Stmt{}}
	defer func() { err = put.close(err) }()
	fresh := newRecords{insertion: insertion{put: &put}}
	for _, g := range groups {
		for _, r := range g {
			var err error
			switch do := w.dirty[r]; {
			case do == 0:
				continue
			case do&(added|rewritten) == 0:
				err = put.exec(`UPDATE records SET seen_at = ?, stamp = ? WHERE source = ? AND source_key = ?`, nanos(r.SeenAt), r.Stamp, r.Source, r.SourceKey)
			case do&added != 0:
				err = fresh.add(r)
			default:
				by, failed := r.columns()
				if err = failed; err != nil {
					break
				}
				err = put.exec(rewriteRecord, r.machine, nanos(r.SeenAt), r.Gone, r.raw, r.Stamp, by[0], by[1], by[2], by[3], by[4], by[5], by[6], r.Source, r.SourceKey)
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
