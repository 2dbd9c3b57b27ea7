package inventory

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
)

// arrivals are the records of a reading. They are brought into normal form while whoever stores them has other things to do.
type arrivals struct {
	recs    []*rec // one for each key, in the order of the keys
	given   []rec  // as they came
	unknown [][]string
	order   []int // of given, by key
	begun   atomic.Int64
	read    []chan struct{} // for each batch in that order: closed when it is in normal form
	twice   map[*rec]bool   // those whose key came before
}

// batch is how many records are handed to a processor at once.
const batch = 256

// prepare checks the records and keeps the newest of each key.
func (s *Store) prepare(source string, records []Record) (*arrivals, error) {
	now := s.now().UTC()
	a := &arrivals{given: make([]rec, len(records)), unknown: make([][]string, len(records))}
	a.order = make([]int, len(records))
	for i := range records {
		r := &a.given[i]
		r.Record, a.order[i] = records[i], i
		if r.Source == "" {
			r.Source = source
		}
		if r.Source != source {
			return nil, fmt.Errorf("record %d is from %s", i+1, r.Source)
		}
		if r.SourceKey == "" {
			return nil, fmt.Errorf("record %d has no key", i+1)
		}
		if r.SeenAt.IsZero() || r.SeenAt.After(now) {
			r.SeenAt = now
		}
		r.SeenAt = r.SeenAt.UTC()
	}
	byKey := func(i, j int) int { return strings.Compare(a.given[i].SourceKey, a.given[j].SourceKey) }
	if !slices.IsSortedFunc(a.order, byKey) {
		slices.SortStableFunc(a.order, byKey)
	}
	a.recs = make([]*rec, len(a.order))
	for n, i := range a.order {
		a.recs[n] = &a.given[i]
	}
	a.begin()
	a.newest()
	return a, nil
}

// begin starts to read the records on all processors but one. Whoever has the arrivals waits for the end of it.
func (a *arrivals) begin() {
	a.read = make([]chan struct{}, (len(a.order)+batch-1)/batch)
	for n := range a.read {
		a.read[n] = make(chan struct{})
	}
	for range min(max(1, runtime.GOMAXPROCS(0)-1), len(a.read)) {
		go a.work()
	}
}

// work reads batches until none is left that nobody has begun.
func (a *arrivals) work() {
	for {
		n := int(a.begun.Add(1)) - 1
		if n >= len(a.read) {
			return
		}
		for _, i := range a.order[n*batch : min(len(a.order), (n+1)*batch)] {
			a.unknown[i] = a.given[i].read()
		}
		close(a.read[n])
	}
}

// until waits for the first n of the records.
func (a *arrivals) until(n int) {
	for i := range min(len(a.read), (n+batch-1)/batch) {
		<-a.read[i]
	}
}

// wait helps to read, until all are read.
func (a *arrivals) wait() {
	a.work()
	a.until(len(a.order))
}

// newest takes of several records of a key the newest.
func (a *arrivals) newest() {
	same := func(n int) bool { return n > 0 && a.recs[n].SourceKey == a.recs[n-1].SourceKey }
	n := 0
	for n < len(a.recs) && !same(n) {
		n++
	}
	if n == len(a.recs) {
		return
	}
	a.wait() // what they say decides between two of one time
	a.twice = map[*rec]bool{}
	var kept []*rec
	for n, r := range a.recs {
		if !same(n) {
			kept = append(kept, r)
			continue
		}
		a.twice[r] = true
		last := &kept[len(kept)-1]
		if c := (*last).SeenAt.Compare(r.SeenAt); c < 0 || c == 0 && (*last).raw < r.raw {
			*last = r
		}
	}
	a.recs = kept
}

// byKey gives the records by their keys.
func (a *arrivals) byKey() map[string]*rec {
	a.wait()
	out := make(map[string]*rec, len(a.recs))
	for _, r := range a.recs {
		out[r.SourceKey] = r
	}
	return out
}

// problems says what of the records could not be read.
func (a *arrivals) problems() (said []string) {
	a.wait()
	for i := range a.given {
		r := &a.given[i]
		for _, name := range a.unknown[i] {
			said = append(said, fmt.Sprintf("%s: %v", clip(r.SourceKey), unknownField(name, RecordFields())))
		}
		for _, bad := range r.facts.bad {
			said = append(said, clip(r.SourceKey)+": "+bad)
		}
		if a.twice[r] {
			said = append(said, fmt.Sprintf("%s: listed more than once, the newest was taken", clip(r.SourceKey)))
		}
	}
	return said
}

// read brings what the record says into normal form and into the forms it is stored in. It gives names that are no fields.
func (r *rec) read() (unknown []string) {
	var said values
	var named [len(recordFields)]string
	names := named[:0]
	for _, i := range recordFieldsSorted {
		if v, ok := r.Fields[recordFields[i].name]; ok {
			said[i] = v
			names = append(names, recordFields[i].name)
		}
	}
	if len(names) < len(r.Fields) {
		for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
			if recordFieldByName(name) == nil {
				unknown = append(unknown, name)
			}
		}
		names = append(names, unknown...)
		slices.Sort(names)
	}
	said.facts(&r.facts)
	r.by = said.columns()
	r.raw = encode(names, r.Fields)
	return unknown
}
