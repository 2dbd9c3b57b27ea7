package inventory

import (
	"path/filepath"
	"slices"
	"testing"
)

// The names of a machine are those of every source that lists it; one with a single name has no other.
func TestAliases(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "inventory.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	record := func(key, name, fqdn string, gone bool) Record {
		return Record{SourceKey: key, Gone: gone, Fields: map[string]string{"name": name, "fqdn": fqdn, "claims.sid": "S-1-5-21-1-2-3-" + key[:4]}}
	}
	for source, records := range map[string][]Record{
		"a": {record("1001", "WS1", "ws1.corp.example", false), record("1002", "WS2", "ws2.corp.example", false), record("1003", "WS3", "", false)},
		"b": {record("1001", "OLD1", "old1.corp.example", false), record("1002", "ws2", "WS2.corp.example", false)},
		"c": {record("1001", "LONG-GONE", "gone.corp.example", true)},
	} {
		if _, err := s.Import(t.Context(), source, records); err != nil {
			t.Fatal(err)
		}
	}
	aliases, err := s.Aliases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Select(t.Context(), Selector{})
	if err != nil || len(found) != 3 {
		t.Fatalf("%d machines, %v", len(found), err)
	}
	for _, m := range found {
		want := map[string][]string{"S-1-5-21-1-2-3-1001": {"old1", "old1.corp.example", "ws1", "ws1.corp.example"}, "S-1-5-21-1-2-3-1002": {"ws2", "ws2.corp.example"}}[m.Claims.SID]
		if !slices.Equal(aliases[m.ID], want) {
			t.Errorf("%s: %v, want %v", m.Name, aliases[m.ID], want)
		}
	}
}
