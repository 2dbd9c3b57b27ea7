package journal

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
)

// A journal of the version before the cases keeps its runs; they belong to no incident.
func TestAnOlderJournalIsBroughtUpToDate(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "j.db")
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range append(migrations[:2:2], fmt.Sprintf("PRAGMA user_version = 2; PRAGMA application_id = %d", applicationID),
		`INSERT INTO runs (n, id, started, operator, playbook, mode, undoes, retry_of, status, waves, machines, plan) VALUES (1, 'old', 5, 'ada', 'p', 'fix', '', '', 'running', 1, 1, x'00')`,
		`INSERT INTO machines (run, pos, id, name, address, site, subnet, class, priority, wave, route, state, outcome, ended) VALUES (1, 0, 'm1', 'PC', '', '', '', '', 0, 1, 'winrm', 'done', 'fixed', 9), (1, 1, 'm2', 'PD', '', '', '', '', 0, 1, 'winrm', 'running', '', 0)`) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	j, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	visits, err := j.History(ctx, "m1")
	if err != nil || len(visits) != 1 || visits[0].Run != "old" || visits[0].Machine.Outcome != Fixed || visits[0].Incident != "" {
		t.Fatalf("%+v %v", visits, err)
	}
	if claims, err := j.Claims(ctx); err != nil || len(claims) != 1 || claims["m2"].Run != "old" {
		t.Fatalf("claims of what was in flight: %v %v", claims, err)
	}
	if err := j.RebuildCases(ctx); err != nil {
		t.Fatal(err)
	}
	if cases, feed, err := j.Cases(ctx, "", 0); err != nil || len(cases) != 0 || feed != 0 {
		t.Fatalf("%+v %d %v", cases, feed, err)
	}
}
