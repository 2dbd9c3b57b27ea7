package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/expr-lang/expr/vm"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// stream calls do with every machine as it is in a snapshot, in no order, and holds one of them at a time. do must not keep the
// machine.
func (s *Store) stream(ctx context.Context, do func(*Machine) error) error {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("read inventory: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	made, err := streamIn(ctx, tx, do)
	if err != nil {
		return fmt.Errorf("read inventory: %w", err)
	}
	_ = tx.Rollback() // it has read
	s.keep(ctx, made)
	return nil
}

// flow is a reading under way.
type flow struct {
	contents         // conflicts and what operators said; no records
	probes   *cursor // by machine
	recs     []*rec  // of the present machine
	spare    []*rec  // to be used again
	machine  Machine // the present one
	machines int     // so far
	do       func(*Machine) error
}

// readAll merges every machine from its records, in the order of their IDs.
func readAll(ctx context.Context, q querier, do func(*Machine) error) (err error) {
	f := &flow{contents: contents{machines: map[string][]string{}, overlays: map[string]*overlay{}}, do: do}
	if err := f.loadConflicts(ctx, q); err != nil {
		return err
	}
	if err := f.loadConfirmed(ctx, q); err != nil {
		return err
	}
	if err := f.loadOperator(ctx, q); err != nil {
		return err
	}
	if f.probes, err = openCursor(ctx, q, allProbes); err != nil {
		return err
	}
	defer func() { err = f.probes.close(err) }()
	var packed string
	err = each(ctx, q, "SELECT "+packedRecord+" FROM records ORDER BY machine_id", func(scan func(...any) error) error {
		if err := scan(&packed); err != nil {
			return err
		}
		r := f.fresh()
		if err := f.unpack(r, packed); err != nil {
			return err
		}
		if len(f.recs) > 0 && f.recs[0].machine != r.machine {
			if err := f.flush(f.recs[0].machine); err != nil {
				return err
			}
		}
		f.recs = append(f.recs, r)
		return nil
	})
	if err == nil && len(f.recs) > 0 {
		err = f.flush(f.recs[0].machine)
	}
	if err != nil {
		return err
	}
	return f.bare(ctx, q)
}

// fresh is a record to be filled: one that was used before, where there is one.
func (f *flow) fresh() *rec {
	n := len(f.spare)
	if n == 0 {
		return &rec{}
	}
	r := f.spare[n-1]
	f.spare = f.spare[:n-1]
	*r = rec{}
	return r
}

// flush hands the present machine over.
func (f *flow) flush(id string) error {
	over := f.overlays[id]
	result, err := f.probes.of(id)
	if err != nil {
		return err
	}
	if result != nil {
		p := &ProbeResult{}
		if err := json.Unmarshal(result, p); err != nil {
			return fmt.Errorf("probe of %s: %w", id, err)
		}
		if over == nil {
			over = &overlay{}
		}
		over.probe = p
	}
	sortRecords(f.recs)
	f.machine = Machine{}
	snapshotMachine(&f.machine, id, f.recs, over, f.contents.machines[id])
	f.spare, f.recs = append(f.spare, f.recs...), f.recs[:0]
	f.machines++
	return f.do(&f.machine)
}

// bare hands over the machines of which no record is left, where there are any.
func (f *flow) bare(ctx context.Context, q querier) error {
	var all int
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM machines").Scan(&all); err != nil || all == f.machines {
		return err
	}
	again, err := openCursor(ctx, q, allProbes)
	if err != nil {
		return err
	}
	if err := f.probes.close(nil); err != nil {
		return errors.Join(err, again.close(nil))
	}
	f.probes = again
	return each(ctx, q, "SELECT id FROM machines m WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.machine_id = m.id) ORDER BY id", func(scan func(...any) error) error {
		var id string
		if err := scan(&id); err != nil {
			return err
		}
		return f.flush(id)
	})
}

const allProbes = "SELECT machine_id, result FROM probes ORDER BY machine_id"

// cursor walks through a table in the order of its machines, beside another one.
type cursor struct {
	rows  *sql.Rows
	id    string
	value []byte
	over  bool
}

func openCursor(ctx context.Context, q querier, query string) (*cursor, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &cursor{rows: rows}, nil
}

// of is the value of a machine, nil where it has none. It is asked in the order of the IDs.
func (c *cursor) of(id string) ([]byte, error) {
	for !c.over && c.id < id {
		if !c.rows.Next() {
			c.over = true
			break
		}
		if err := c.rows.Scan(&c.id, &c.value); err != nil {
			return nil, err
		}
	}
	if c.over || c.id != id {
		return nil, c.rows.Err()
	}
	return c.value, nil
}

func (c *cursor) close(err error) error {
	if e := c.rows.Close(); err == nil {
		err = e
	}
	return err
}

// packedRecord is what loadRecords and stream read of a record.
var packedRecord = sqlitefile.Packed([]string{"seen_at", "gone"}, []string{"source", "source_key", "machine_id", "stamp", "fields"})

// unpack fills a record, which is empty.
func (c *contents) unpack(r *rec, packed string) error {
	row := sqlitefile.Unpack(packed, &r.Source, &r.SourceKey, &r.machine, &r.Stamp, &r.raw)
	r.SeenAt, r.Gone = fromNanos(row.Int()), row.Int() != 0
	if row.Err != nil {
		return fmt.Errorf("record %s of %s: %w", r.SourceKey, r.Source, row.Err)
	}
	if at := c.confirmed[r.Source]; !r.Gone && at.After(r.SeenAt) {
		r.SeenAt = at
	}
	var said values
	if said.parse(r.raw) {
		said.facts(&r.facts)
		return nil
	}
	if err := r.decode(); err != nil {
		return err
	}
	r.facts = readFacts(r.Fields)
	return nil
}

// Each calls do with the machines that [Store.SelectWith] would give, one after the other, in no order, and without holding
// them all where the selector allows it: names need all of them. do must not keep the machine, nor
// change it; the texts of its ID, names, serial number and objects in AD and Entra may be kept at no more cost than theirs.
func (s *Store) Each(ctx context.Context, sel Selector, over Overlay, do func(*Machine) error) error {
	if !sel.streams() || s.holds(ctx) {
		return s.eachHeld(ctx, sel, over, do)
	}
	if over == nil {
		if err := sel.noOverlay(); err != nil {
			return err
		}
	}
	fits := func(*Machine) (bool, error) { return true, nil }
	if text, ok := sel.Expression(); ok {
		program, err := compile(text, s.now(), &fieldCheck{})
		if err != nil {
			return fmt.Errorf("selector %q: %w", clip(text), err)
		}
		var machine vm.VM
		var seen env
		fits = func(m *Machine) (bool, error) {
			seen.fill(m)
			if m.Case != nil {
				seen.lay(m.Case)
			}
			fit, err := fitsProgram(&machine, program, &seen, m)
			if err != nil {
				err = fmt.Errorf("selector %q: %w", clip(text), err)
			}
			return fit, err
		}
	}
	n := 0
	return s.stream(ctx, func(m *Machine) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if over != nil {
			m.Take(over.Case(m))
		}
		if fit, err := fits(m); err != nil || !fit {
			return err
		}
		return do(m)
	})
}

// Hold reads all machines into memory, unless they are there: what is asked next is answered from it.
func (s *Store) Hold(ctx context.Context) error {
	_, err := s.snapshot(ctx)
	return err
}

// Count is how many machines there are.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM machines").Scan(&n); err != nil {
		return 0, fmt.Errorf("count machines: %w", err)
	}
	return n, nil
}

// about is a query for how many machines there are, or were when the digest was made: to count 50,000 takes longer than it is worth
// to whoever makes room for them.
// The number stands in the file beside the digest, unproven, and is bounded: it makes room, and nothing more.
const about = "SELECT coalesce((SELECT min(max(rows), 1000000) FROM digest WHERE rows >= 0), (SELECT count(*) FROM machines))"

// About is how many machines there are, or were a while ago.
func (s *Store) About(ctx context.Context) (n int, err error) {
	if err := s.db.QueryRowContext(ctx, about).Scan(&n); err != nil {
		return 0, fmt.Errorf("count machines: %w", err)
	}
	return n, nil
}

// streams reports whether a machine can be picked without looking at the others.
func (s Selector) streams() bool {
	for i := range s.terms {
		if s.terms[i].kind != 'a' {
			return false
		}
	}
	return true
}

// holds reports whether the present machines are in memory anyway.
func (s *Store) holds(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, err := s.current(ctx)
	return held && err == nil
}

func (s *Store) eachHeld(ctx context.Context, sel Selector, over Overlay, do func(*Machine) error) error {
	snap, picked, err := s.pick(ctx, sel, over, nil)
	if err != nil {
		return err
	}
	for i := range snap.machines {
		if picked != nil && !picked[i] {
			continue
		}
		m := &snap.machines[i]
		if over != nil {
			laid := *m
			laid.Take(over.Case(m))
			m = &laid
		}
		if err := do(m); err != nil {
			return err
		}
	}
	return nil
}

// Watch tells whether anything in the inventory was changed, by this process or another. It is closed before the store.
func (s *Store) Watch(ctx context.Context) (*sqlitefile.Watch, error) { return s.db.Watch(ctx) }

// ByID gives machines by their present IDs, as [Store.Select] does, and no others; IDs of nobody are no error.
func (s *Store) ByID(ctx context.Context, ids ...string) ([]Machine, error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read machines: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	machines, err := loadOnly(ctx, tx, ids)
	if err != nil {
		return nil, fmt.Errorf("read machines: %w", err)
	}
	return machines, nil
}
