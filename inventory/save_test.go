package inventory

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// TestAFirstImportIsStoredWhole: however the number of records fits the statements that write them, all are there, and so are the
// indexes, those that got entries and those that did not.
func TestAFirstImportIsStoredWhole(t *testing.T) {
	indexes := func(s *Store) (names []string) {
		err := each(t.Context(), s.db, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name", func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			names = append(names, name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for _, n := range []int{1, 2, sqlitefile.RowsAtOnce - 1, sqlitefile.RowsAtOnce, sqlitefile.RowsAtOnce + 1, 2 * sqlitefile.RowsAtOnce, 2*sqlitefile.RowsAtOnce + 1} {
		s := open(t)
		before := indexes(s)
		var records []Record
		for i := range n {
			records = append(records, record("a", fmt.Sprint(i), "name", fmt.Sprintf("WS%d", i)))
		}
		records[n-1].Fields["owner"] = `CORP\Jane` // one record has what no other has
		if report := put(t, s, "a", records...); report.Added != n || report.MachinesAfter != n {
			t.Errorf("%d records: %+v", n, report)
		}
		if after := indexes(s); !slices.Equal(after, before) || len(before) < len(lookupFields) {
			t.Errorf("%d records: the indexes were %q, are %q", n, before, after)
		}
		if got := len(pick(t, s, "true")); got != n {
			t.Errorf("%d records, %d machines", n, got)
		}
		for _, word := range []string{"jane", fmt.Sprintf("ws%d", n-1)} {
			got, err := s.Lookup(t.Context(), word)
			if err != nil || len(got) != 1 || got[0].Name != fmt.Sprintf("WS%d", n-1) {
				t.Errorf("%d records: %s is %q, %v", n, word, names(got), err)
			}
		}
		var broken string
		if err := s.db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&broken); err != nil || broken != "ok" {
			t.Errorf("%d records: %s, %v", n, broken, err)
		}
		if report := put(t, s, "a", records...); report.Unchanged != n {
			t.Errorf("%d records, once more: %+v", n, report)
		}
	}
}
