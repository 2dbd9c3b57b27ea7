package inventory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A machine that is read in passing is the machine that is kept in memory, whatever was said of it, and is picked by the same
// selectors.
func TestReadInPassingIsReadWhole(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			ctx := t.Context()
			path := filepath.Join(t.TempDir(), "i.db")
			s, err := Open(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			muddle(t, s, rand.New(rand.NewPCG(seed, 1)))
			fresh, err := Open(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			defer fresh.Close()
			for _, text := range []string{"all", `site == "LON"`, `probe.winrm || "canary" in tags`, `health == "affected" || conflicts > 0`, "tag:canary", "WS1*", `case.verdict == "fixed"`} {
				sel, err := ParseSelector(text, nil)
				if err != nil {
					t.Fatal(err)
				}
				over := odd{}
				whole, err := s.SelectWith(ctx, sel, over)
				if err != nil {
					t.Fatal(err)
				}
				var passing []Machine
				err = fresh.Each(ctx, sel, over, func(m *Machine) error {
					passing = append(passing, *m)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if sel.streams() == (fresh.snap != nil) {
					t.Errorf("%s: streams %v, but the machines in memory are %v", text, sel.streams(), fresh.snap)
				}
				fresh.snap = nil
				slices.SortFunc(passing, compareMachines)
				if len(whole) != len(passing) {
					t.Fatalf("%s: %d machines, in passing %d", text, len(whole), len(passing))
				}
				for i := range whole {
					if !reflect.DeepEqual(whole[i], passing[i]) {
						t.Fatalf("%s:\n%+v\nin passing\n%+v", text, whole[i], passing[i])
					}
				}
			}
		})
	}
}

// odd is an overlay that knows some machines.
type odd struct{}

func (odd) Case(m *Machine) *Case {
	if len(m.Name)%2 == 0 {
		return nil
	}
	return &Case{Verdict: "fixed", Health: HealthAffected, Because: m.Name}
}

// muddle fills a store with machines of several sources, some of which are the same, some gone, some in conflict, with what people and
// probes said of them, and one that no record is left of.
func muddle(t *testing.T, s *Store, r *rand.Rand) {
	t.Helper()
	ctx := t.Context()
	for source := range 3 {
		var records []Record
		for n := range 40 {
			fields := map[string]string{"name": fmt.Sprintf("WS%d", n), "serial": fmt.Sprintf("S%d", r.IntN(30)), "model": "M"}
			for _, maybe := range []struct{ name, value string }{{"site", []string{"LON", "PAR"}[r.IntN(2)]}, {"tags", "canary,x"}, {"health", "affected"}, {"enabled", "no"},
				{"claims.smbios", fmt.Sprintf("4c4c4544-0000-4000-8000-%012d", r.IntN(50))}, {"groups", `CN=A\, "b",DC=x`}, {"last_seen", "2024-07-1" + strconv.Itoa(r.IntN(9)) + "T00:00:00Z"}, {"owner", `CORP\e"ve`}} {
				if r.IntN(2) == 0 {
					fields[maybe.name] = maybe.value
				}
			}
			if r.IntN(4) > 0 {
				records = append(records, Record{SourceKey: strconv.Itoa(n), SeenAt: t0.Add(time.Duration(r.IntN(100)) * time.Hour), Fields: fields})
			}
		}
		records = append(records, Record{SourceKey: "last", SeenAt: t0, Fields: map[string]string{"name": fmt.Sprintf("ONLY%d", source)}})
		name := fmt.Sprintf("csv:%d", source)
		put(t, s, name, records...)
		if source == 1 { // a part of it is gone
			if _, err := s.Sync(ctx, name, records[:len(records)-5]); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := s.Select(ctx, Selector{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		switch r.IntN(4) {
		case 0:
			err = errors.Join(err, s.SetProbe(ctx, all[i].ID, ProbeResult{At: t0, Open: true, WinRM: r.IntN(2) == 0, Auth: []string{"Negotiate"}}))
		case 1:
			err = errors.Join(err, s.Tag(ctx, []string{all[i].ID}, []string{"canary"}, []string{"x"}))
		case 2:
			err = errors.Join(err, s.SetField(ctx, all[i].ID, "site", "LON"))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var merged, conflicts, gone, probed bool
	for _, m := range pick(t, s, "all") {
		merged, conflicts, gone, probed = merged || len(m.Sources) > 1, conflicts || len(m.Conflicts) > 0, gone || m.Gone, probed || m.Probe != nil
	}
	if !merged || !conflicts || !gone || !probed {
		t.Fatalf("too simple: merged %v, conflicts %v, gone %v, probed %v", merged, conflicts, gone, probed)
	}
	for _, statement := range []string{"INSERT INTO machines (id) VALUES ('0BARE'), ('ZBARE')", `INSERT INTO probes VALUES ('ZBARE', '{"open":true}')`, "UPDATE generation SET n = n + 1"} {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
}
