package inventory

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func take(t *testing.T, s *Store, r Reading) ImportReport {
	t.Helper()
	report, err := s.Take(t.Context(), "ad", r)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func stamped(key, stamp string, fields ...string) Record {
	r := record("", key, append([]string{"name", key}, fields...)...)
	r.Stamp = stamp
	return r
}

func TestTakeKeepsWhatItDoesNotMention(t *testing.T) {
	s := open(t)
	at := t0
	s.now = func() time.Time { return at.Add(time.Minute) }
	first := Reading{At: at, Records: []Record{stamped("A", "1"), stamped("B", "2"), stamped("C", "3")}, Called: 3, Whole: true, Cursor: "one",
		LeftOut: map[string]LeftOut{"X": {"disabled", "9"}, "Y": {"not Windows", "8"}}}
	if r := take(t, s, first); r.Added != 3 || r.MachinesAfter != 3 {
		t.Fatalf("%+v", r)
	}
	at = at.Add(time.Hour)
	r := take(t, s, Reading{At: at, Records: []Record{stamped("B", "2b", "site", "LON")}, Called: 2, Gone: []string{"C"}, Cursor: "two", LeftOut: map[string]LeftOut{"X": {"disabled", "9b"}}})
	if r.Updated != 1 || r.Gone != 1 || r.MachinesBefore != 3 || r.MachinesAfter != 3 {
		t.Errorf("%+v", r)
	}
	b, err := s.Before(t.Context(), "ad")
	if err != nil || b.Cursor != "two" || len(b.Stamps) != 2 || b.Stamps["A"] != "1" || b.Stamps["B"] != "2b" || len(b.LeftOut) != 1 || b.LeftOut["X"] != (LeftOut{"disabled", "9b"}) {
		t.Errorf("%+v %v", b, err)
	}
	// The source has said again what it said of A, and nothing of C.
	for name, want := range map[string]time.Time{"A": at, "C": t0} {
		if m, err := s.Machine(t.Context(), name); err != nil || !m.Records[0].SeenAt.Equal(want) {
			t.Errorf("%s: %+v %v", name, m.Records, err)
		}
	}
	// One that began before changes nothing, whatever it found; nor does one of whose end a clock that ran ahead speaks.
	old := Reading{At: at.Add(-time.Minute), Records: []Record{stamped("B", "0", "site", "PAR")}, Called: 1, Gone: []string{"A"}, Cursor: "old"}
	if r := take(t, s, old); r.Stale != 1 || r.Gone != 0 || pick(t, s, "B")[0].Site != "LON" {
		t.Errorf("%+v", r)
	}
	if b, err = s.Before(t.Context(), "ad"); err != nil || b.Cursor != "two" {
		t.Errorf("%+v %v", b, err)
	}
	sources, err := s.Sources(t.Context())
	if err != nil || !sources[0].FullAt.Equal(t0) || !sources[0].ReadAt.Equal(at) {
		t.Errorf("%+v %v", sources, err)
	}
}

// TestClockThatRanAhead: what was noted for a time to come must not bar what is read until then.
func TestClockThatRanAhead(t *testing.T) {
	s := open(t)
	at := t0.AddDate(1, 0, 0)
	s.now = func() time.Time { return at }
	future := stamped("A", "1", "site", "LON")
	future.SeenAt = at
	take(t, s, Reading{At: at, Records: []Record{future}, Called: 1})
	at = t0
	if r := take(t, s, Reading{At: at, Records: []Record{stamped("A", "2", "site", "PAR")}, Called: 1}); r.Stale != 0 || pick(t, s, "A")[0].Site != "PAR" {
		t.Errorf("%+v", r)
	}
}

func TestTooManyGoneAreNotMarked(t *testing.T) {
	s := open(t)
	at := t0
	s.now = func() time.Time { return at }
	var records []Record
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("M%03d", i))
		records = append(records, stamped(keys[i], "1"))
	}
	take(t, s, Reading{Records: records, Called: 100, Whole: true})
	at = at.Add(time.Hour)
	if _, err := s.Take(t.Context(), "ad", Reading{Gone: keys, Certain: true}); err == nil || !strings.Contains(err.Error(), "listed no machine") {
		t.Errorf("an empty listing was taken: %v", err)
	}
	if r := take(t, s, Reading{Called: 79, Gone: keys[:21]}); r.Gone != 0 || r.Withheld != 21 || len(pick(t, s, "gone")) != 0 {
		t.Errorf("%+v", r)
	}
	if m, err := s.Machine(t.Context(), keys[0]); err != nil || !m.Records[0].SeenAt.Equal(t0) {
		t.Errorf("it was not listed, and is noted as seen: %+v %v", m.Records, err)
	}
	if r := take(t, s, Reading{Called: 80, Gone: keys[:20]}); r.Gone != 20 || r.Withheld != 0 || len(pick(t, s, "gone")) != 20 {
		t.Errorf("%+v", r)
	}
	if r := take(t, s, Reading{Called: 1, Gone: keys[20:99], Certain: true}); r.Gone != 79 {
		t.Errorf("%+v", r)
	}
	back := stamped("M000", "1")
	back.SeenAt = at
	if r := take(t, s, Reading{Records: []Record{back}, Called: 2}); r.Updated != 1 || len(pick(t, s, "gone")) != 98 {
		t.Errorf("one came back as it was: %+v", r)
	}
}

// TestReadingIsWholeOrNothing stops a reading in the middle of its transaction.
func TestReadingIsWholeOrNothing(t *testing.T) {
	s := open(t)
	take(t, s, Reading{Records: []Record{stamped("A", "1")}, Called: 1, Cursor: "one"})
	db := rawDB(t, s.path)
	if _, err := db.Exec("CREATE TRIGGER stop BEFORE UPDATE OF cursor ON sources BEGIN SELECT raise(ABORT, 'cut here'); END"); err != nil {
		t.Fatal(err)
	}
	before, err := s.Before(t.Context(), "ad")
	if err != nil {
		t.Fatal(err)
	}
	reading := Reading{Before: before, Records: []Record{stamped("A", "2", "site", "LON"), stamped("B", "1")}, Called: 2, Cursor: "two",
		LeftOut: map[string]LeftOut{"X": {"disabled", "9"}}, Groups: map[string]string{"CN=G": "g"}}
	for i := range reading.Records {
		reading.Records[i].SeenAt = time.Time{} // now
	}
	if _, err := s.Take(t.Context(), "ad", reading); err == nil {
		t.Fatal("it was not cut")
	}
	if _, err := db.Exec("DROP TRIGGER stop"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := s.Before(t.Context(), "ad")
	if err != nil || b.Cursor != "one" || len(b.Stamps) != 1 || b.Stamps["A"] != "1" || len(b.LeftOut) != 0 || pick(t, s, "A")[0].Site != "" {
		t.Errorf("%+v %v", b, err)
	}
	if r := take(t, s, reading); r.Updated != 1 || r.Added != 1 || r.MachinesAfter != 2 || pick(t, s, "A")[0].Site != "LON" || len(pick(t, s, "B")) != 1 {
		t.Errorf("tried again: %+v", r)
	}
}

// TestSeenWhenItWasSaidAgain: a reading says of all it does not except that they were seen, and of no others; what is imported into
// its source later keeps its own time, and so does what is gone.
func TestSeenWhenItWasSaidAgain(t *testing.T) {
	s := open(t)
	at := t0
	s.now = func() time.Time { return at }
	seen := func(when string, want map[string]time.Time) {
		t.Helper()
		for name, at := range want {
			if m, err := s.Machine(t.Context(), name); err != nil || !m.Records[0].SeenAt.Equal(at) || !m.Provenance["name"].SeenAt.Equal(at) {
				t.Errorf("%s, %s: %+v %v", when, name, m.Records, err)
			}
		}
	}
	take(t, s, Reading{Records: []Record{stamped("A", "1"), stamped("B", "1"), stamped("C", "1")}, Called: 3})
	put(t, s, "other", stamped("X", "1"))
	at = t0.Add(1 * time.Hour)
	take(t, s, Reading{Called: 3})
	seen("said again", map[string]time.Time{"A": at, "B": at, "C": at, "X": t0})
	at = t0.Add(2 * time.Hour)
	take(t, s, Reading{Called: 2, Unread: []string{"B"}, Gone: []string{"C"}})
	seen("one unread, one gone", map[string]time.Time{"A": at, "B": t0.Add(time.Hour), "C": t0.Add(time.Hour), "X": t0})
	at = t0.Add(3 * time.Hour)
	take(t, s, Reading{Called: 2})
	put(t, s, "ad", stamped("D", "1"))
	seen("one imported", map[string]time.Time{"A": at, "B": at, "C": t0.Add(time.Hour), "D": t0, "X": t0})
	at = t0.AddDate(1, 0, 0) // a clock that ran ahead
	take(t, s, Reading{Called: 3})
	at = t0.Add(4 * time.Hour)
	take(t, s, Reading{Called: 3})
	seen("a clock that ran ahead", map[string]time.Time{"A": at, "B": at, "C": t0.Add(time.Hour), "D": at, "X": t0})
}

func TestGroupsByEveryName(t *testing.T) {
	s := open(t)
	const tills, outer = `CN=Tills (EU)*\, \#1,OU=Groups\; old,DC=fleet,DC=test`, "CN=All Tills,OU=Groups,DC=fleet,DC=test"
	take(t, s, Reading{Called: 3, Groups: map[string]string{tills: "Tills-EU", outer: "all-tills"}, Records: []Record{
		stamped("A", "1", "groups", tills+";", "nested_groups", outer+";"), stamped("B", "1", "groups", outer+";"),
		stamped("C", "1", "groups", tills+";CN=Other,DC=fleet,DC=test;")}})
	for selector, want := range map[string]int{`group:"Tills (EU)*, #1"`: 2, "group:Tills-EU": 2, "group:tills-eu,B": 3, "group:" + tills: 2, `group:"` + tills + `"`: 2,
		"group:All Tills": 2, "group:all-tills": 2, `group:"All Tills",group:Other`: 3, `group:Tills (EU)*\, #1`: 0, "group:Tills": 0, `"` + outer + `" in groups`: 1, `"` + outer + `" in nested_groups`: 1} {
		if got := pick(t, s, selector); len(got) != want {
			t.Errorf("%s: %d machines, want %d", selector, len(got), want)
		}
	}
	if _, err := ParseSelector(`group:"Tills`, nil); err == nil || !strings.Contains(err.Error(), "does not end with one") {
		t.Error(err)
	}
	m, err := s.Machine(t.Context(), "C")
	if text, ok := m.Field("groups"); err != nil || !ok || len(m.Groups) != 2 || len(groupList(text)) != 2 {
		t.Errorf("%q %v", m.Groups, err)
	}
}

// TestInventoryOfSchema3IsBroughtUp: machines are found as before, and the next reading reads all of them again, because
// the records of before have no stamps.
func TestInventoryOfSchema3IsBroughtUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inventory.db")
	db := rawDB(t, path)
	for _, file := range []string{"0001_machines.sql", "0002_sources.sql", "0003_lookup.sql"} {
		script, err := migrations.ReadFile("migrations/" + file)
		if err == nil {
			_, err = db.Exec(string(script))
		}
		if err != nil {
			t.Fatal(file, err)
		}
	}
	for _, text := range []string{"INSERT INTO machines (id) VALUES ('01J00000000000000000000000')", "INSERT INTO sources (source, read_at, cursor) VALUES ('ad', 1, '4711')",
		`INSERT INTO records (source, source_key, machine_id, seen_at, gone, fields) VALUES ('ad', '1', '01J00000000000000000000000', 1, 0,
			'{"claims.object_guid":"2A6B1F0C-52E7-4B8D-9B7E-000000000001","fqdn":"A.fleet.test","name":"CORP\\A$","owner":"CORP\\Jane","serial":"Ser-1"}')`,
		fmt.Sprintf("PRAGMA application_id = %d", applicationID), "PRAGMA user_version = 3"} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(text, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Before(t.Context(), "ad")
	if stamp, known := b.Stamps["1"]; err != nil || b.Cursor != "4711" || !known || stamp != "" {
		t.Errorf("%+v %v", b, err)
	}
	for _, round := range []string{"brought up", "written again"} {
		for _, word := range []string{"a", "a.fleet.test", "jane", `corp\jane`, "ser-1", "2a6b1f0c-52e7-4b8d-9b7e-000000000001"} {
			if m, err := s.Lookup(t.Context(), word); err != nil || len(m) != 1 {
				t.Errorf("%s, %q: %v %v", round, word, m, err)
			}
		}
		if _, err := s.Take(t.Context(), "ad", Reading{Called: 1, Gone: []string{"1"}}); err != nil {
			t.Fatal(err)
		}
	}
}
