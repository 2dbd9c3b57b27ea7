package inventory

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAFirstImportIsAsAnyOther: what is written into an empty inventory while it is still read and merged is what an import into one
// that holds a machine gives: machines, conflicts, indexes and report.
func TestAFirstImportIsAsAnyOther(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 4))
		records := chaos(rng, []int{1, 2, 40, 300}[seed%4])
		for i := range records {
			records[i].Source = "a"
			if i%50 == 7 { // listed twice, and with what is no field
				records[i].SourceKey = records[i-1].SourceKey
				records[i].Fields["nme"] = "x"
			}
		}
		empty, other := open(t), open(t)
		put(t, other, "other", record("other", "1", "name", "ELSEWHERE"))
		first, later := put(t, empty, "a", records...), put(t, other, "a", records...)
		later.MachinesBefore, later.MachinesAfter = later.MachinesBefore-1, later.MachinesAfter-1
		if !reflect.DeepEqual(first, later) {
			t.Fatalf("seed %d: the first import says\n%+v\nanother\n%+v", seed, first, later)
		}
		want := stored(t, other)
		delete(want, "other/1")
		if got := stored(t, empty); !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Fatalf("seed %d:\n%q\nwant\n%q", seed, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		for _, s := range []*Store{empty, other} {
			asMerged(t, fmt.Sprintf("seed %d", seed), s, ImportReport{MachinesAfter: len(pick(t, s, "all"))})
		}
		for _, m := range pick(t, empty, "all") {
			if found, err := empty.Lookup(t.Context(), m.Name); err != nil || m.Name != "" && !slices.ContainsFunc(found, func(f Machine) bool { return f.ID == m.ID }) {
				t.Fatalf("seed %d: %s is not found by its name: %v %v", seed, m.Name, names(found), err)
			}
		}
		sound(t, empty)
	}
}

// sound demands of SQLite that rows, indexes and references agree, and of the machines that each has a record.
func sound(t *testing.T, s *Store) {
	t.Helper()
	for question, want := range map[string]string{"SELECT group_concat(integrity_check) FROM pragma_integrity_check": "ok", "SELECT count(*) FROM pragma_foreign_key_check": "0",
		"SELECT count(*) FROM machines WHERE id NOT IN (SELECT machine_id FROM records)": "0"} {
		var got string
		if err := s.db.QueryRowContext(t.Context(), question).Scan(&got); err != nil || got != want {
			t.Fatalf("%s: %q, %v", question, got, err)
		}
	}
}

// TestKillTheFirstImport: of an import into an empty inventory all is there or nothing.
func TestKillTheFirstImport(t *testing.T) {
	half, done := 0, 0
	for round := range 12 {
		path := filepath.Join(t.TempDir(), "inventory.db")
		cmd, _, _ := writer(t, path)
		for begun := time.Now(); ; { // until the file has its tables
			if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
				break
			}
			if time.Since(begun) > time.Minute {
				t.Fatal("the writer did not begin")
			}
		}
		time.Sleep(time.Duration(round*2) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		s, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if whole(t, s) == "" {
			half++
		} else {
			done++
		}
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("killed before the end %d times, after it %d times", half, done)
}

// TestALateColumn: a record with a value for looking up that none of those before it had, beyond what is looked at for the indexes.
func TestALateColumn(t *testing.T) {
	s := open(t)
	var records []Record
	for i := range 2*batch + 3 {
		records = append(records, record("a", fmt.Sprintf("%04d", i), "name", fmt.Sprintf("WS%d", i)))
	}
	records[batch+5].Fields["owner"], records[2*batch+1].Fields["serial"] = `CORP\Jane`, "SER-1"
	put(t, s, "a", records...)
	for word, want := range map[string]string{"jane": fmt.Sprint("WS", batch+5), "ser-1": fmt.Sprint("WS", 2*batch+1), "ws0": "WS0", fmt.Sprint("ws", 2*batch+2): fmt.Sprint("WS", 2*batch+2)} {
		if got, err := s.Lookup(t.Context(), word); err != nil || names(got) != want {
			t.Errorf("%s is %q, want %s (%v)", word, names(got), want, err)
		}
	}
	sound(t, s)
}

// TestListedTwice: of a key that comes several times, wherever it stands, the newest record counts; of two of one time the same one,
// in whatever order they come; and each but the first is named.
func TestListedTwice(t *testing.T) {
	said := func(key, site string, hours int) Record {
		r := record("a", key, "name", key, "site", site)
		r.SeenAt = t0.Add(time.Duration(hours) * time.Hour)
		return r
	}
	records := []Record{said("C", "LON", 0), said("A", "OLD", 0), said("B", "ONE", 5), said("A", "NEW", 5), said("D", "LON", 0), said("A", "OLD", 1), said("B", "TWO", 5)}
	for order := range 20 {
		s := open(t)
		rand.New(rand.NewPCG(uint64(order), 5)).Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		report := put(t, s, "a", records...)
		if report.Added != 4 || report.Given != 7 || len(report.Problems) != 3 || !strings.Contains(report.Problems[0], "listed more than once, the newest was taken") {
			t.Errorf("order %d: %+v", order, report)
		}
		for name, site := range map[string]string{"A": "NEW", "B": "TWO"} {
			if got := pick(t, s, name); len(got) != 1 || got[0].Site != site {
				t.Errorf("order %d: %s is %+v, want %s", order, name, got, site)
			}
		}
	}
}
