package inventory

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestReadingsOfChangesMergeAsWholeOnes: after readings of changes, each of which looks only at what hangs together with what it
// brought, machines and conflicts are those that a merge of everything gives, and the report names the conflicts of the whole source.
func TestReadingsOfChangesMergeAsWholeOnes(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := open(t)
		at := t0
		s.now = func() time.Time { return at }
		records := chaos(rng, 25)
		for i := range records { // what others say stays; the directory has some of the records, and changes
			records[i].Source = []string{"ad", "other", "third"}[i%3]
			records[i].SourceKey = fmt.Sprint(i)
		}
		bySource := map[string][]Record{}
		for _, r := range records {
			bySource[r.Source] = append(bySource[r.Source], r)
		}
		put(t, s, "other", bySource["other"]...)
		put(t, s, "third", bySource["third"]...)
		here := map[string]bool{}
		for round := range 12 {
			at = at.Add(time.Hour)
			b, err := s.Before(t.Context(), "ad")
			if err != nil {
				t.Fatal(err)
			}
			r := Reading{Before: b, Called: 1, Certain: true, Cursor: fmt.Sprint(round)}
			said := chaos(rng, 25)
			for i, old := range bySource["ad"] {
				switch now := said[i]; {
				case rng.IntN(3) > 0:
					continue
				case here[old.SourceKey] && rng.IntN(3) == 0:
					delete(here, old.SourceKey)
					r.Gone = append(r.Gone, old.SourceKey)
				default:
					here[old.SourceKey] = true
					now.Source, now.SourceKey, now.Gone, now.SeenAt = "ad", old.SourceKey, false, at
					r.Records = append(r.Records, now)
				}
			}
			if round%4 == 3 { // somebody writes between the reading and its taking in
				put(t, s, "other", bySource["other"][rng.IntN(len(bySource["other"]))])
				put(t, s, "third", said[len(said)-1].from("third", "0x"))
			}
			report := take(t, s, r)
			when := fmt.Sprintf("seed %d, round %d", seed, round)
			asMerged(t, when, s, report)
			after, err := s.Before(t.Context(), "ad")
			if err != nil || !slices.Equal(slices.Sorted(maps.Keys(after.Stamps)), slices.Sorted(maps.Keys(here))) {
				t.Fatalf("%s: %v are there, want %v (%v)", when, after.Stamps, here, err)
			}
		}
	}
}

func (r Record) from(source, key string) Record {
	r.Source, r.SourceKey, r.Gone, r.SeenAt = source, key, false, t0
	return r
}

// asMerged compares what is stored with a merge of all that is stored.
func asMerged(t *testing.T, when string, s *Store, report ImportReport) {
	t.Helper()
	c, err := load(t.Context(), s.db)
	if err != nil {
		t.Fatal(err)
	}
	groups, conflicts := merge(c.recs)
	taken := map[string]bool{}
	said := map[string]bool{}
	for i, g := range groups {
		id := g[0].machine
		if taken[id] {
			t.Fatalf("%s: machine %s has records of two groups", when, id)
		}
		taken[id] = true
		for _, r := range g {
			if r.machine != id {
				t.Fatalf("%s: %s/%s is of machine %s and not of %s", when, r.Source, r.SourceKey, r.machine, id)
			}
		}
		if !slices.Equal(conflicts[i], c.machines[id]) {
			t.Fatalf("%s: conflicts of %s:\n%q\nwant\n%q", when, id, c.machines[id], conflicts[i])
		}
		if slices.ContainsFunc(g, func(r *rec) bool { return r.Source == "ad" }) {
			for _, sentence := range conflicts[i] {
				said[sentence] = true
			}
		}
	}
	if len(taken) != report.MachinesAfter {
		t.Fatalf("%s: %d machines, %d reported", when, len(taken), report.MachinesAfter)
	}
	if want := slices.Sorted(maps.Keys(said)); report.Given > 0 && !slices.Equal(want, report.Conflicts) {
		t.Fatalf("%s: conflicts reported\n%q\nwant\n%q", when, report.Conflicts, want)
	}
}
