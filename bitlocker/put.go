package bitlocker

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// batch is how many references go into one transaction; a reading that is cut off keeps what it has read. The first one is small,
// so that the writing begins.
const (
	batch      = 4000
	firstBatch = 500
)

// takingIn writes references in batches while their source is read on.
type takingIn struct {
	pending        []KeyRef
	size           int
	batches        chan []KeyRef
	ended          chan struct{} // closed when nothing more is written; then the others are set
	added, changed int
	err            error
}

// takesIn begins; its goroutine ends with takingIn.end, which must be called.
func takesIn(ctx context.Context, to writer, seen time.Time, fresh bool) *takingIn {
	w := &takingIn{size: firstBatch, batches: make(chan []KeyRef), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for refs := range w.batches {
			added, changed, err := upsert(ctx, to, seen, fresh, refs)
			w.added, w.changed = w.added+added, w.changed+changed
			if err != nil {
				w.err = err
				return
			}
		}
	}()
	return w
}

// give takes one more reference. An error is that of an earlier one.
func (w *takingIn) give(ref KeyRef) error {
	if w.pending = append(w.pending, ref.normal()); len(w.pending) < w.size {
		return nil
	}
	w.size = batch
	return w.hand()
}

func (w *takingIn) hand() error {
	select {
	case w.batches <- w.pending:
		w.pending = make([]KeyRef, 0, batch)
		return nil
	case <-w.ended:
		return w.err
	}
}

// end writes what is left and says what became of all.
func (w *takingIn) end() (added, changed int, err error) {
	if len(w.pending) > 0 {
		_ = w.hand() // the error stays
	}
	close(w.batches)
	<-w.ended
	return w.added, w.changed, w.err
}

// upsert writes references in one transaction. Those of a fresh source are hardly there before, and are looked for where they are.
func upsert(ctx context.Context, to writer, seen time.Time, fresh bool, refs []KeyRef) (added, changed int, err error) {
	if len(refs) == 0 {
		return 0, 0, nil
	}
	err = write(ctx, to, func(tx *sql.Tx) error {
		put, err := newPutter(ctx, tx)
		if err != nil {
			return err
		}
		defer put.close()
		if fresh {
			if added, refs, err = put.firsts(refs, seen); err != nil {
				return err
			}
		}
		if err := put.look(refs); err != nil {
			return err
		}
		for _, ref := range refs {
			at, err := put.ref(ref, seen, StateUnknown)
			if err != nil {
				return err
			}
			if at.isNew {
				added++
			} else if at.isChanged {
				changed++
			}
		}
		return put.touch(seen)
	})
	if err != nil {
		return 0, 0, err
	}
	return added, changed, nil
}

// putter writes references within one transaction. It looks at ctx between its statements: a driver that watches ctx while
// each of a hundred thousand runs is busy with that.
type putter struct {
	ctx context.Context
	tx  *sql.Tx

	find, insert, update, password, sealed, held, family *sql.Stmt

	known   map[place]row // what was looked up and is there
	touched []int64       // rows that say what they said, for touch
	before  KeyRef        // the reference that was written last, as it was before; zero where it is new
	kept    int           // passwords that were there before and differ, see [Vault.keep]
}

// place is where a source keeps a key.
type place struct{ source, key string }

// row is a stored reference.
type row struct {
	id  int64
	ref KeyRef
}

// placed says where a reference was written.
type placed struct {
	id               int64
	isNew, isChanged bool
}

func newPutter(ctx context.Context, tx *sql.Tx) (*putter, error) {
	p := &putter{ctx: ctx, tx: tx, known: map[place]row{}}
	for stmt, text := range map[**sql.Stmt]string{
		&p.find:   "SELECT id, " + refColumns + " FROM refs WHERE source = ? AND source_key IN (SELECT value FROM json_each(?))",
		&p.insert: "INSERT INTO refs (" + newColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, source_key) DO NOTHING",
		&p.update: `UPDATE refs SET source = ?1, source_key = ?2, key_id = ?3, volume_id = ?4, volume = ?5, name = ?6, fqdn = ?7, serial = ?8, device_id = ?9, dn = ?10, guid = ?11,
			created = ?12, deleted = ?13, stale = ?14, stale_cause = ?15, seen = max(seen, ?16), gone = CASE WHEN NOT ?13 THEN 0 WHEN gone > 0 THEN gone ELSE ?16 END WHERE id = ?17`,
		&p.password: "INSERT INTO passwords (ref, sealed, at) VALUES (?, ?, ?) ON CONFLICT (ref) DO UPDATE SET sealed = excluded.sealed, at = excluded.at",
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
	for _, s := range []*sql.Stmt{p.find, p.insert, p.update, p.password, p.sealed, p.held, p.family} {
		if s != nil {
			_ = s.Close()
		}
	}
}

// exec runs one of the statements.
func (p *putter) exec(s *sql.Stmt, args ...any) (sql.Result, error) {
	if err := p.ctx.Err(); err != nil {
		return nil, err
	}
	return s.ExecContext(context.WithoutCancel(p.ctx), args...)
}

// look finds out which references are stored already, in one question for each source.
func (p *putter) look(refs []KeyRef) error {
	bySource := map[string][]string{}
	for _, ref := range refs {
		bySource[ref.Source] = append(bySource[ref.Source], ref.SourceKey)
	}
	for source, keys := range bySource {
		list, err := json.Marshal(keys)
		if err != nil {
			return err
		}
		rows, err := p.find.QueryContext(p.ctx, source, string(list))
		if err != nil {
			return err
		}
		for rows.Next() {
			var r row
			if err := scanRef(rows, &r.ref, &r.id); err != nil {
				_ = rows.Close()
				return err
			}
			p.known[place{r.ref.Source, r.ref.SourceKey}] = r
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

// ref writes one reference; a new one gets the state, with the time seen. One that was not looked for is taken for new first.
func (p *putter) ref(ref KeyRef, seen time.Time, state State) (placed, error) {
	ref = ref.normal()
	where := place{ref.Source, ref.SourceKey}
	old := p.known[where]
	if old.id == 0 {
		id, err := p.add(ref, nanos(seen), state)
		if err != nil || id != 0 {
			p.before = KeyRef{}
			return placed{id: id, isNew: true}, err
		}
		if err := p.look([]KeyRef{ref}); err != nil {
			return placed{}, err
		}
		if old = p.known[where]; old.id == 0 {
			return placed{}, fmt.Errorf("key %s of %s: its source key %q is no text", ref.ID, ref.Machine.Label(), ref.SourceKey)
		}
	}
	p.before = old.ref
	if ref.Machine.GUID == "" {
		ref.Machine.GUID = old.ref.Machine.GUID // a key never changes its computer
	}
	at := nanos(seen)
	switch {
	case old.ref == ref:
		p.touched = append(p.touched, old.id)
		return placed{id: old.id}, nil
	case old.ref.ID != ref.ID:
		return placed{}, fmt.Errorf("key %s of %s is now %s under the same source key; a source key must stay with its key", old.ref.ID, old.ref.Machine.Label(), ref.ID)
	}
	_, err := p.exec(p.update, append(args(ref, at), old.id)...)
	p.known[where] = row{old.id, ref}
	return placed{id: old.id, isChanged: true}, err
}

// add writes a new reference; it gives no row where there is one already.
func (p *putter) add(ref KeyRef, at int64, state State) (id int64, err error) {
	r, err := p.exec(p.insert, newArgs(ref, at, state)...)
	if err != nil {
		return 0, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return 0, err
	}
	return r.LastInsertId()
}

// firsts writes new references, in normal form, many with one statement, and gives those of which some were there already, to be written one by one:
// what was just written of them says what it said.
func (p *putter) firsts(refs []KeyRef, seen time.Time) (added int, rest []KeyRef, err error) {
	put := sqlitefile.NewStatements(p.ctx, p.tx)
	defer func() { err = put.Close(err) }()
	rows := put.Rows("INSERT OR IGNORE", "refs", strings.Split(newColumns, ", ")...)
	for some := range slices.Chunk(refs, sqlitefile.RowsAtOnce) {
		before := rows.Written()
		for _, ref := range some {
			if err := rows.Add(newArgs(ref, nanos(seen), StateUnknown)...); err != nil {
				return 0, nil, err
			}
		}
		if err := rows.Flush(); err != nil {
			return 0, nil, err
		}
		n := int(rows.Written() - before)
		if added += n; n < len(some) {
			rest = append(rest, some...)
		}
	}
	return added, rest, nil
}

// touch notes when references were seen that say what they said.
func (p *putter) touch(seen time.Time) error {
	if len(p.touched) == 0 {
		return nil
	}
	list, err := json.Marshal(p.touched)
	if err == nil {
		_, err = p.tx.ExecContext(p.ctx, "UPDATE refs SET seen = max(seen, ?) WHERE id IN (SELECT value FROM json_each(?))", nanos(seen), string(list))
	}
	p.touched = p.touched[:0]
	return err
}

// args are the columns of a reference, up to seen.
func args(ref KeyRef, seen int64) []any {
	m := ref.Machine
	return []any{ref.Source, ref.SourceKey, string(ref.ID), ref.VolumeID, string(ref.Volume), m.Name, m.FQDN, m.Serial, m.DeviceID, m.DN, m.GUID,
		nanos(ref.Created), ref.Deleted, ref.Stale, ref.StaleCause, seen}
}

// newArgs are the newColumns of a new reference with a state.
func newArgs(ref KeyRef, at int64, state State) []any {
	gone, stateAt := int64(0), int64(0)
	if ref.Deleted {
		gone = at
	}
	if state != StateUnknown {
		stateAt = at
	}
	return append(args(ref, at), gone, string(state), stateAt)
}

const newColumns = refColumns + ", seen, gone, state, state_at"

// normal is the reference as it is stored.
func (k KeyRef) normal() KeyRef {
	k.Machine = k.Machine.normal()
	k.Created = fromNanos(nanos(k.Created)) // without monotonic clock and zone, to compare
	return k
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
