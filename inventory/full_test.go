package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// A full disk is told as one, with what to do, and leaves nothing of an import.
func TestDiskFullSaysSo(t *testing.T) {
	s := open(t)
	s.db.SetMaxOpenConns(1) // a limit of SQLite's is of the connection
	var pages int
	if err := s.db.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages+3)); err != nil {
		t.Fatal(err)
	}
	var records []Record
	for i := range 2 * batch {
		records = append(records, Record{SourceKey: fmt.Sprint(i), Fields: map[string]string{"name": fmt.Sprint("WS", i)}})
	}
	_, err := s.Import(t.Context(), "csv:t", records)
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || len(hint.Of(err)) == 0 {
		t.Errorf("%v (hints %q)", err, hint.Of(err))
	}
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if report, err := s.Import(t.Context(), "csv:t", records); err != nil || report.NewMachines != len(records) {
		t.Errorf("with room again: %+v, %v", report, err)
	}
}
