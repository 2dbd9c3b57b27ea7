package inventory

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2024, 7, 19, 6, 0, 0, 0, time.UTC)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "inventory ä#%?.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func record(source, key string, fields ...string) Record {
	r := Record{Source: source, SourceKey: key, SeenAt: t0, Fields: map[string]string{}}
	for i := 0; i < len(fields); i += 2 {
		r.Fields[fields[i]] = fields[i+1]
	}
	return r
}

func put(t testing.TB, s *Store, source string, records ...Record) ImportReport {
	t.Helper()
	report, err := s.Import(context.Background(), source, records)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func pick(t testing.TB, s *Store, selector string) []Machine {
	t.Helper()
	sel, err := ParseSelector(selector, nil)
	if err != nil {
		t.Fatalf("parse %q: %v", selector, err)
	}
	got, err := s.Select(context.Background(), sel)
	if err != nil {
		t.Fatalf("select %q: %v", selector, err)
	}
	return got
}

func TestImportSelect(t *testing.T) {
	s := open(t)
	r := put(t, s, "csv:a", record("", "ws1", "name", "ws1.fleet.test", "os.version", "10.0 (22631)", "address", "10.1.2.3:5985", "site", "LON"),
		record("", "ws2", "name", "WS2", "os.build", "19045"))
	if r.Added != 2 || r.NewMachines != 2 || r.MachinesAfter != 2 {
		t.Fatalf("report %+v", r)
	}
	for sel, want := range map[string]int{"all": 2, "ws1": 1, "WS1,ws2": 2, "ws*": 2, "os.build < 22631": 1, `site == "LON" && name == "ws1"`: 1,
		"10.1.2.3": 1, "last_seen < ago(\"30d\")": 2, "ws1.fleet.test": 1, `glob(name, "ws?")`: 2, "enabled": 2, "!enabled": 0, `"csv:a" in sources`: 2} {
		if got := pick(t, s, sel); len(got) != want {
			t.Errorf("%s: %d machines, want %d", sel, len(got), want)
		}
	}
	m, err := s.Machine(t.Context(), "ws1")
	if err != nil || m.Subnet != "10.1.2.0/24" || m.Domain != "fleet.test" || m.OS.Build != 22631 || len(m.Records) != 1 || m.Provenance["site"].Source != "csv:a" {
		t.Fatalf("%+v %v", m, err)
	}
}

func rawDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String())
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestWhatVanishedIsMarked(t *testing.T) {
	s := open(t)
	one, two := record("", "1", "name", "WS1", "tags", "till"), record("", "2", "name", "WS2")
	put(t, s, "ad", one, two)
	put(t, s, "csv", record("", "x", "name", "WS1", "site", "LON"))
	if _, err := s.Sync(t.Context(), "ad", nil); err == nil || len(pick(t, s, "gone")) != 0 {
		t.Fatalf("an empty listing was taken: %v", err)
	}
	r, err := s.Sync(t.Context(), "ad", []Record{one})
	if err != nil || r.Gone != 1 || r.Unchanged != 1 || len(pick(t, s, "gone")) != 1 || pick(t, s, "gone")[0].Name != "WS2" {
		t.Fatalf("%+v %v", r, err)
	}
	if r, err = s.Take(t.Context(), "ad", Reading{Called: 1, Gone: []string{"1", "unheard of"}}); err != nil || r.Gone != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	m := pick(t, s, "WS1")[0]
	if m.Gone || len(m.Tags) != 0 || m.Site != "LON" {
		t.Errorf("WS1, still in the table: %+v", m)
	}
	if r = put(t, s, "ad", one, two); r.Updated != 2 || len(pick(t, s, "gone")) != 0 || len(pick(t, s, "all")) != 2 {
		t.Errorf("they came back: %+v", r)
	}
	sources, err := s.Sources(t.Context())
	if err != nil || len(sources) != 2 || sources[0].FullAt.IsZero() || !sources[1].FullAt.IsZero() || s.SetCursor(t.Context(), "ad", "4711") != nil || s.SetCursor(t.Context(), "x", "1") == nil {
		t.Errorf("%+v %v", sources, err)
	}
}

func TestPrecedenceAndOperator(t *testing.T) {
	s := open(t)
	newer := record("", "1", "name", "WS1", "site", "PAR", "os.version", "10.0.22631.3880")
	newer.SeenAt = t0.Add(time.Hour)
	put(t, s, "falcon", newer)
	put(t, s, "ad", record("", "1", "name", "WS1", "site", "LON", "owner", "eve", "class", "dc"))
	id := pick(t, s, "WS1")[0].ID
	m, err := s.Machine(t.Context(), id)
	if err != nil || m.Site != "PAR" || m.Provenance["site"].Source != "falcon" || m.Owner != "eve" || m.Provenance["owner"].Source != "ad" || m.OS.Build != 22631 || m.Priority != DCPriority {
		t.Fatalf("%+v %v", m, err)
	}
	for field, value := range map[string]string{"site": "BER", "health": "affected", "priority": "-1", "groups": "A;B"} {
		if err := s.SetField(t.Context(), id, field, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(t.Context(), []string{id}, []string{"canary"}, nil); err != nil {
		t.Fatal(err)
	}
	newer.SeenAt = newer.SeenAt.Add(time.Hour)
	newer.Fields["tags"] = "old"
	put(t, s, "falcon", newer)
	if m, err = s.Machine(t.Context(), id); err != nil || m.Site != "BER" || m.Provenance["site"].Source != Operator || m.Priority != -1 || m.Health != HealthAffected ||
		!slices.Equal(m.Tags, []string{"canary", "old"}) || !slices.Equal(m.Groups, []string{"A", "B"}) {
		t.Fatalf("%+v %v", m, err)
	}
	if err := s.Tag(t.Context(), []string{id}, nil, []string{"old", "canary"}); err != nil || len(pick(t, s, "WS1")[0].Tags) != 0 {
		t.Errorf("tags: %v", err)
	}
	if err := s.SetField(t.Context(), id, "site", ""); err != nil || pick(t, s, "WS1")[0].Site != "PAR" {
		t.Errorf("taken back: %v", err)
	}
	for field, want := range map[string]string{"sight": `unknown field "sight"`, "claims.sid": "cannot be set by hand", "os.build": "is no build number", "health": "is none of"} {
		if err := s.SetField(t.Context(), id, field, "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := s.SetField(t.Context(), "01NOBODY", "site", "x"); err == nil {
		t.Error("a machine that is not there was changed")
	}
	if err := s.Tag(t.Context(), []string{id}, []string{"two words"}, nil); err == nil {
		t.Error("a tag of two words was taken")
	}
	// An older reading never replaces a newer one; one of the future counts as of now.
	old := record("", "1", "name", "WS1", "site", "OLD")
	if r := put(t, s, "falcon", old); r.Stale != 1 || pick(t, s, "WS1")[0].Site != "PAR" {
		t.Errorf("%+v", r)
	}
	old.SeenAt = time.Now().AddDate(30, 0, 0)
	put(t, s, "falcon", old)
	if m, err = s.Machine(t.Context(), id); err != nil || m.Site != "OLD" || m.Provenance["site"].SeenAt.After(time.Now()) {
		t.Errorf("%+v %v", m, err)
	}
}

func TestIDsOutliveJoinsAndRenames(t *testing.T) {
	s := open(t)
	put(t, s, "ad", record("", "guid", "name", "WS1", "claims.sid", "S-1-5-21-1"))
	put(t, s, "falcon", record("", "aid", "name", "TILL9", "claims.falcon_aid", "a1"))
	ad, falcon := pick(t, s, "WS1")[0].ID, pick(t, s, "TILL9")[0].ID
	if err := s.Tag(t.Context(), []string{falcon}, []string{"canary"}, nil); err != nil {
		t.Fatal(err)
	}
	renamed := record("", "guid", "name", "WS2", "claims.sid", "S-1-5-21-1")
	renamed.SeenAt = t0.Add(time.Minute)
	put(t, s, "ad", renamed)
	if m := pick(t, s, "WS2")[0]; m.ID != ad {
		t.Errorf("the ID changed with the name: %s, was %s", m.ID, ad)
	}
	r := put(t, s, "cm", record("", "7", "claims.sid", "S-1-5-21-1", "claims.falcon_aid", "a1"))
	if r.JoinedMachines != 1 || r.MachinesAfter != 1 {
		t.Errorf("%+v", r)
	}
	for _, id := range []string{ad, falcon} {
		m, err := s.Machine(t.Context(), id)
		if err != nil || m.ID != min(ad, falcon) || len(m.Records) != 3 || !slices.Equal(m.Tags, []string{"canary"}) {
			t.Errorf("%+v %v", m, err)
		}
	}
	if err := s.SetProbe(t.Context(), max(ad, falcon), ProbeResult{At: t0, Open: true}); err != nil || len(pick(t, s, "probe.open")) != 1 {
		t.Errorf("probe by a former ID: %v", err)
	}
}

func TestImportReportsConflictsAndProblems(t *testing.T) {
	s := open(t)
	put(t, s, "ad", record("", "1", "name", "WS1", "claims.sid", "S-1-5-21-1"))
	r := put(t, s, "cm", record("", "2", "name", "WS1", "claims.sid", "S-1-5-21-2", "os.build", "abc", "sight", "x"))
	if len(r.Conflicts) != 1 || !strings.Contains(r.Conflicts[0], "WS1 (ad, 1) and WS1 (cm, 2) share the name WS1 but have different values of the SID") {
		t.Errorf("%q", r.Conflicts)
	}
	if len(r.Problems) != 2 || !strings.Contains(r.Problems[0], `did you mean "site"`) && !strings.Contains(r.Problems[0], `unknown field "sight"`) || !strings.Contains(r.Problems[1], "is no build number") {
		t.Errorf("%q", r.Problems)
	}
	for _, m := range pick(t, s, "conflicts > 0") {
		if !slices.Equal(m.Conflicts, r.Conflicts) {
			t.Errorf("%s: %q", m.ID, m.Conflicts)
		}
	}
	var two *AmbiguousNameError
	if _, err := s.Machine(t.Context(), "ws1"); !errors.As(err, &two) || len(two.Machines) != 2 {
		t.Errorf("%v", err)
	}
	if len(pick(t, s, "ws1")) != 2 {
		t.Error("a name of two machines picks both")
	}
	for _, bad := range []Record{{SourceKey: ""}, {Source: "other", SourceKey: "k"}} {
		if _, err := s.Import(t.Context(), "csv", []Record{bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
