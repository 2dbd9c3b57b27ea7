package journal

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
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

// A journal whose cases were kept by an older rule is brought to the present one, and what runs that are over had claimed is free.
func TestCasesOfAnOlderRuleAreDerivedAnew(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "j.db")
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range append(migrations[:4:4], fmt.Sprintf("PRAGMA user_version = 4; PRAGMA application_id = %d", applicationID),
		`UPDATE feed SET n = 3; INSERT INTO incidents (id, playbook, digest, operator, opened, n) VALUES ('trouble', 'p', 'd', 'ada', 1, 1)`,
		`INSERT INTO runs (n, id, started, operator, playbook, mode, undoes, retry_of, status, waves, machines, plan, incident, detect) VALUES
			(1, 'fix', 5, 'ada', 'p', 'fix', '', '', 'done', 1, 1, x'00', 'trouble', 'd'), (2, 'look', 6, 'ada', 'p', 'detect', '', '', 'done', 1, 1, x'00', 'trouble', 'd'),
			(3, 'on', 7, 'ada', 'p', 'fix', '', '', 'interrupted', 1, 1, x'00', 'trouble', 'd')`,
		`INSERT INTO machines (run, pos, id, name, address, site, subnet, class, priority, wave, route, state, outcome, ended, n) VALUES
			(1, 0, 'm1', 'PC', '', '', '', '', 0, 1, 'winrm', 'done', 'fixed', 9, 1), (2, 0, 'm1', 'PC', '', '', '', '', 0, 1, 'winrm', 'done', 'clean', 10, 2)`,
		`INSERT INTO marks (n, incident, machine, word, reason, who, time) VALUES (3, 'trouble', 'm2', 'excluded', 'lab', 'eve', 4)`,
		`INSERT INTO cases (incident, machine, n, answer) VALUES ('trouble', 'm1', 2, 'clean')`,
		`INSERT INTO claims VALUES ('former', 1), ('m3', 3)`) {
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
	cases, feed, err := j.Cases(ctx, "trouble", 0)
	if err != nil || feed != 3 || len(cases) != 2 || cases[0].Answer.Word != Fixed || cases[0].Answer.Run != "fix" || cases[0].Tried.Word != "clean" || cases[1].Mark.Word != MarkExcluded {
		t.Errorf("%+v %d %v", cases, feed, err)
	}
	if err := j.RebuildCases(ctx); err != nil {
		t.Fatal(err)
	}
	if same, _, err := j.Cases(ctx, "trouble", 0); err != nil || !slices.Equal(same, cases) {
		t.Errorf("rebuilt: %+v %v", same, err)
	}
	if claims, err := j.Claims(ctx); err != nil || len(claims) != 1 || claims["m3"].Run != "on" {
		t.Errorf("claims: %v %v", claims, err)
	}
}
