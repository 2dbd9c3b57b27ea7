package inventory

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func lookupStore(t *testing.T) *Store {
	s := open(t)
	put(t, s, "a", record("a", "1", "name", "WS1", "fqdn", "ws1.fleet.test", "serial", "SER-1", "owner", `CORP\Jane`, "claims.object_guid", "{2A6B1F0C-52E7-4B8D-9B7E-000000000001}"),
		record("a", "2", "name", `CORP\WS2$`, "owner", "joe@fleet.test", "claims.entra_device_id", "2a6b1f0c52e74b8d9b7e000000000002"),
		record("a", "3", "name", "ws3.fleet.test", "serial", "ser-3"), record("a", "4", "name", `\\WS4`, "owner", "MÜLLER"),
		record("a", "5", "fqdn", "ws5.fleet.test"), record("a", "6", "name", "WS6", "owner", "jane"))
	put(t, s, "b", record("b", "x", "name", "WS1", "fqdn", "ws1.fleet.test", "owner", "boss"))
	return s
}

func TestLookup(t *testing.T) {
	s, ctx := lookupStore(t), context.Background()
	all, err := s.Select(ctx, Selector{})
	if err != nil {
		t.Fatal(err)
	}
	six := all[slices.IndexFunc(all, func(m Machine) bool { return m.Name == "WS6" })].ID
	if err := s.SetField(ctx, six, "serial", "BY-HAND"); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"ws1": "WS1", "WS1.Fleet.Test": "WS1", "ser-1": "WS1", "SER-3": "WS3", "boss": "", "ws2": "WS2", "WS3": "WS3", "WS4": "WS4", "ws5": "WS5",
		"joe": "WS2", "JOE@fleet.test": "WS2", "jane": "WS1 WS6", `corp\jane`: "WS1", "müller": "WS4", "by-hand": "WS6", "ws": "", "nobody": "", "": "", "%": "", "*": "",
		"2a6b1f0c-52e7-4b8d-9b7e-000000000001": "WS1", "2A6B1F0C-52E7-4B8D-9B7E-000000000002": "WS2", "ws1 ws2 jane nobody": "WS1 WS2 WS6",
	} {
		got, err := s.Lookup(ctx, strings.Split(words, " ")...)
		if err != nil || names(got) != want {
			t.Errorf("%q: %q, %v; want %q", words, names(got), err, want)
		}
		for _, m := range got { // as the whole inventory has it
			if i := slices.IndexFunc(all, func(o Machine) bool { return o.ID == m.ID }); i < 0 || m.ID != six && fmt.Sprintf("%+v", all[i]) != fmt.Sprintf("%+v", m) {
				t.Errorf("%+v is not among %+v", m, all)
			}
		}
	}
}

// TestLookupReadsNoTable asks SQLite how it would answer: no part may walk all records.
func TestLookupReadsNoTable(t *testing.T) {
	s := lookupStore(t)
	searches := 0
	err := each(context.Background(), bound{s.db, `["ws1"]`}, "EXPLAIN QUERY PLAN "+strings.Join(lookups, " UNION "), func(scan func(...any) error) error {
		var id, parent, unused int
		var detail sql.NullString
		if err := scan(&id, &parent, &unused, &detail); err != nil {
			return err
		}
		if strings.Contains(detail.String, "SCAN records") {
			t.Error(detail.String)
		}
		if strings.Contains(detail.String, "SEARCH records USING INDEX records_") {
			searches++
		}
		return nil
	})
	if err != nil || searches != len(lookups)-1 {
		t.Errorf("%d searches, %v", searches, err)
	}
}
