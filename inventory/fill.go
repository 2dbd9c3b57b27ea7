package inventory

import (
	"strings"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// fill stores the first records of an inventory, which is most of all that is ever stored at once. Each is a machine of its own at
// first, so that it is written while the next ones are read and all of them are merged; then those that are one are brought together.
func (w *importer) fill(in *arrivals) error {
	for _, r := range in.recs {
		r.machine = w.newID()
	}
	merged := make(chan struct{})
	var groups [][]*rec
	var conflicts [][]string
	go func() {
		defer close(merged)
		in.until(len(in.order)) // who waits for its parts has a processor of his own
		groups, conflicts = merge(in.recs)
	}()
	err := w.saveFirst(in)
	<-merged
	if err == nil {
		err = w.join(groups, conflicts)
	}
	for _, said := range conflicts {
		w.report.Conflicts = append(w.report.Conflicts, said...)
	}
	sortSet(&w.report.Conflicts)
	w.report.Added, w.report.NewMachines, w.report.MachinesAfter = len(in.recs), len(groups), len(groups)
	return err
}

// saveFirst writes the records without the indexes that it gives entries, and makes them at the end, which takes half the time.
func (w *importer) saveFirst(in *arrivals) (err error) {
	if err := w.cache(bulkCache); err != nil {
		return err
	}
	var indexes []string
	if len(in.recs) > 1 {
		in.until(1)
		if indexes, err = w.unindex(in.recs[:min(batch, len(in.recs))]); err != nil {
			return err
		}
	}
	if err := w.saveAll(in); err != nil {
		return err
	}
	for _, statement := range indexes {
		if _, err := w.tx.ExecContext(w.ctx, statement); err != nil {
			return err
		}
	}
	return w.cache(defaultCache)
}

func (w *importer) saveAll(in *arrivals) (err error) {
	put := sqlitefile.NewStatements(w.ctx, w.tx)
	defer func() { err = put.Close(err) }()
	machines := newMachines(put)
	for _, r := range in.recs {
		if err := machines.Add(r.machine); err != nil {
			return err
		}
	}
	if err := machines.Flush(); err != nil {
		return err
	}
	records := recordsInto(put)
	for n, r := range in.recs {
		if n%batch == 0 {
			in.until(n + 1)
		}
		if err := records.add(r); err != nil {
			return err
		}
	}
	return records.Flush()
}

// join brings records that are one machine together, at the first of them, and writes conflicts.
func (w *importer) join(groups [][]*rec, conflicts [][]string) (err error) {
	put := sqlitefile.NewStatements(w.ctx, w.tx)
	defer func() { err = put.Close(err) }()
	for i, g := range groups {
		for _, r := range g[1:] {
			if err := put.Exec("UPDATE records SET machine_id = ? WHERE source = ? AND source_key = ?", g[0].machine, r.Source, r.SourceKey); err != nil {
				return err
			}
			if err := put.Exec("DELETE FROM machines WHERE id = ?", r.machine); err != nil {
				return err
			}
			r.machine = g[0].machine
		}
		if len(conflicts[i]) > 0 {
			if err := saveConflicts(put, g[0].machine, conflicts[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// unindex takes the indexes away that some records have entries for, and gives the statements that make them.
func (w *importer) unindex(recs []*rec) (statements []string, err error) {
	var used columns
	for _, r := range recs {
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
