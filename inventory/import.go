package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// ImportReport says what an import did.
type ImportReport struct {
	Source    string `json:"source"`
	Given     int    `json:"given"`     // records handed in
	Added     int    `json:"added"`     // records that were new
	Updated   int    `json:"updated"`   // records that changed, or came back after they were gone
	Unchanged int    `json:"unchanged"` // records that say what they said before
	Stale     int    `json:"stale"`     // records older than what the store has; left out
	Gone      int    `json:"gone"`      // records newly marked as gone
	// Withheld counts records that the source did not list and that were not marked, because they were too many.
	Withheld int `json:"withheld,omitempty"`

	MachinesBefore int `json:"machines_before"` // machines in the store before and after
	MachinesAfter  int `json:"machines_after"`
	NewMachines    int `json:"new_machines"`
	JoinedMachines int `json:"joined_machines"` // machines that turned out to be others; their IDs still find them

	// Conflicts of all machines this source knows, one sentence each.
	Conflicts []string `json:"conflicts,omitempty"`
	// Problems are values that could not be read. The record is kept, the value counts for nothing.
	Problems []string `json:"problems,omitempty"`
}

// UpdatedMachines counts the machines known before of which this source said something new, be it for the first time.
func (r *ImportReport) UpdatedMachines() int { return r.Updated + max(0, r.Added-r.NewMachines) }

// Import stores what a source says and merges it with what is known. Importing the same records again changes nothing,
// and the order of sources and records does not matter. Records of the source that are not among these stay as they
// are; [Store.Sync] is for complete listings. A record without SeenAt, or with one in the future, is taken as seen now.
// An older reading of a record never replaces a newer one.
func (s *Store) Import(ctx context.Context, source string, records []Record) (ImportReport, error) {
	return s.change(ctx, source, records, change{})
}

// Sync is [Import] for a complete listing of the source: its other records are marked as gone, none is deleted. An
// empty listing is refused, because it is far more often a failure than an empty directory.
func (s *Store) Sync(ctx context.Context, source string, records []Record) (ImportReport, error) {
	if len(records) == 0 {
		return ImportReport{Source: source}, hint.Wrap(fmt.Errorf("sync %s: the source listed no machine; nothing was changed", source),
			"check the account's rights and the search base")
	}
	return s.change(ctx, source, records, change{full: true})
}

type change struct {
	full bool
	gone []string
}

func (s *Store) change(ctx context.Context, source string, records []Record, how change) (ImportReport, error) {
	report := ImportReport{Source: source, Given: len(records)}
	if err := validSource(source); err != nil {
		return report, err
	}
	incoming, err := s.prepare(source, records)
	if err != nil {
		return report, fmt.Errorf("import from %s: %w", source, err)
	}
	defer incoming.wait()
	err = s.write(ctx, func(tx *sql.Tx) error {
		if err := settle(ctx, tx, source); err != nil {
			return err
		}
		c, err := load(ctx, tx)
		if err != nil {
			return err
		}
		w := &importer{ctx: ctx, tx: tx, c: c, report: &report, entropy: ulid.Monotonic(ulidEntropy(), 0), at: s.now()}
		if err := w.run(source, incoming, how); err != nil {
			return err
		}
		now, full := w.at.UnixNano(), int64(0)
		if how.full {
			full = now
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sources (source, read_at, full_at) VALUES (?, ?, ?)
			ON CONFLICT (source) DO UPDATE SET read_at = excluded.read_at, full_at = max(full_at, excluded.full_at)`, source, now, full)
		return err
	})
	report.Problems = incoming.problems()
	if err != nil {
		return report, fmt.Errorf("import from %s: %w", source, err)
	}
	return report, nil
}

func validSource(source string) error {
	if source == "" || source == Operator {
		return fmt.Errorf("import from %q: no valid name of a source", source)
	}
	return nil
}

// recordFieldsSorted are the places of the fields in the order of their names.
var recordFieldsSorted = func() (order [len(recordFields)]int) {
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order[:], func(a, b int) int { return strings.Compare(recordFields[a].name, recordFields[b].name) })
	return order
}()

// together does something for each of n numbers, on all processors.
func together(n int, do func(i int)) {
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+batch-1)/batch) {
		running.Go(func() {
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return
				}
				for i := from; i < min(n, from+batch); i++ {
					do(i)
				}
			}
		})
	}
	running.Wait()
}

// encode gives the fields as a JSON object in the order of the names.
func encode(names []string, fields map[string]string) string {
	b := make([]byte, 0, 512)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(quote(b, name), ':')
		b = quote(b, fields[name])
	}
	return string(append(b, '}'))
}

// plain are the bytes that a JSON text holds as they are.
var plain = func() (as [256]bool) {
	for c := byte(' '); c <= '~'; c++ {
		as[c] = strings.IndexByte(`"\<>&`, c) < 0
	}
	return as
}()

// quote appends a JSON text. What needs no escape, as nearly everything, is taken as it is.
func quote(b []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			text, err := json.Marshal(s)
			if err != nil { // a text always encodes
				panic(err)
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// importer is one import in its transaction.
type importer struct {
	ctx     context.Context
	tx      *sql.Tx
	c       *contents
	report  *ImportReport
	entropy *ulid.MonotonicEntropy
	at      time.Time
	dirty   map[*rec]write // records to write
	reach   map[tie]bool   // by what others are tied to the records that change, as they were and as they are

	confirmed bool // who calls notes for all records at once that they were seen again
	partial   bool // machines that have nothing to do with what changes stay as they are
}

func (w *importer) run(source string, incoming *arrivals, how change) error {
	if len(w.c.recs) == 0 && len(w.c.machines) == 0 {
		return w.fill(incoming)
	}
	w.dirty, w.reach = map[*rec]write{}, map[tie]bool{}
	w.take(source, incoming.byKey(), how)
	w.report.MachinesBefore = len(w.c.machines)
	recs, others := w.c.recs, 0
	if w.partial {
		recs, others = w.near(source)
	}
	groups, conflicts := merge(recs)
	ids := w.assign(groups)
	for i, g := range groups {
		for _, r := range g {
			if r.machine != ids[i] {
				r.machine = ids[i]
				w.dirty[r] |= rewritten
			}
		}
		if slices.ContainsFunc(g, func(r *rec) bool { return r.Source == source }) {
			w.report.Conflicts = append(w.report.Conflicts, conflicts[i]...)
		}
	}
	sortSet(&w.report.Conflicts)
	w.report.MachinesAfter = others + len(groups)
	return w.save(groups, ids, conflicts)
}

// take brings the incoming records into the contents.
func (w *importer) take(source string, incoming map[string]*rec, how change) {
	gone := map[string]bool{}
	for _, key := range how.gone {
		gone[key] = true
	}
	for _, old := range w.c.recs {
		if old.Source != source {
			continue
		}
		r := incoming[old.SourceKey]
		switch {
		case r == nil:
			if !old.Gone && (how.full || gone[old.SourceKey]) {
				old.Gone = true
				w.dirty[old] |= rewritten
				w.report.Gone++
			}
			continue
		case r.SeenAt.Before(old.SeenAt) && !old.SeenAt.After(w.at): // what was noted by a clock that ran ahead bars nothing
			w.report.Stale++
		case old.Gone == r.Gone && old.raw == r.raw:
			w.report.Unchanged++
			if r.SeenAt.After(old.SeenAt) && !w.confirmed || r.Stamp != old.Stamp {
				old.SeenAt, old.Stamp = r.SeenAt, r.Stamp
				w.dirty[old] |= touched
			}
		default:
			w.report.Updated++
			w.reachFrom(old)
			old.Record, old.raw, old.facts, old.by = r.Record, r.raw, r.facts, r.by
			w.dirty[old] |= rewritten
		}
		delete(incoming, old.SourceKey)
	}
	for _, key := range slices.Sorted(maps.Keys(incoming)) {
		r := incoming[key]
		w.c.recs = append(w.c.recs, r)
		w.dirty[r] |= added
		w.report.Added++
	}
}

// assign gives each group its machine ID: the one most of its records had, else a new one. A machine that falls apart
// keeps its ID with the larger part; of machines that become one the oldest ID stays.
func (w *importer) assign(groups [][]*rec) []string {
	type part struct{ group, records int }
	parts := map[string][]part{}
	for i, g := range groups {
		n := map[string]int{}
		for _, r := range g {
			if r.machine != "" {
				n[r.machine]++
			}
		}
		for id, count := range n {
			parts[id] = append(parts[id], part{i, count})
		}
	}
	ids := make([]string, len(groups))
	for _, id := range slices.Sorted(maps.Keys(parts)) {
		best := slices.MaxFunc(parts[id], func(a, b part) int {
			if a.records != b.records {
				return a.records - b.records
			}
			return b.group - a.group
		})
		if ids[best.group] == "" { // the smallest ULID is the oldest
			ids[best.group] = id
			continue
		}
		w.c.aliases[id] = ids[best.group]
		w.report.JoinedMachines++
	}
	for i := range ids {
		if ids[i] == "" {
			ids[i] = w.newID()
			w.report.NewMachines++
		}
	}
	return ids
}

func (w *importer) newID() string { return ulid.MustNew(ulid.Timestamp(w.at), w.entropy).String() }
