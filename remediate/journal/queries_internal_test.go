package journal

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// What a run does for each machine must not look at all machines: a run of 50,000 would never end. SQLite says how it goes
// about each statement (https://www.sqlite.org/eqp.html).
func TestNoStatementOfARunLooksAtEveryMachine(t *testing.T) {
	ctx := t.Context()
	j, err := Open(ctx, filepath.Join(t.TempDir(), "j.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	p := &plan.Plan{Version: plan.Version, Mode: agent.Fix, Operator: "ada", Incident: "trouble",
		Playbook: playbook.Playbook{Name: "p", Detect: []playbook.Condition{{File: `C:\x.sys`}}}}
	p.Waves = []plan.Wave{{Name: "100%"}}
	for _, id := range []string{"a", "b", "c", "d"} {
		p.Waves[0].Entries = append(p.Waves[0].Entries, plan.Entry{Target: route.Target{ID: id, Name: id}, Route: "winrm"})
	}
	s, err := j.Create(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	steps := []func() error{
		func() error { return s.Lease("a", "b", "c") },
		func() error { return s.Begin("a", 1) },
		func() error { return s.BackOff("a", route.Unreachable, "x") },
		func() error { return s.Begin("a", 2) },
		func() error { return s.Reboot("a", agent.Result{Outcome: agent.Fixed}) },
		func() error { return s.Finish("a", End{Outcome: Fixed, Result: &agent.Result{Outcome: agent.Fixed}}) },
		func() error { return s.Finish("b", End{Outcome: Unreachable}) },
		func() error { return s.Release("c") },
		func() error { return s.Hold([]string{"c", "d"}, "x") },
		func() error { return s.Note(WaveStarted, 1, "x") },
	}
	for n, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
	}
	explained := 0
	for query := range s.prepare {
		if word, _, _ := strings.Cut(strings.TrimSpace(query), " "); word == "BEGIN" || word == "COMMIT" {
			continue
		}
		explained++
		rows, err := s.conn.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, make([]any, 20)[:strings.Count(query, "?")]...)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		details, err := collect(rows, func(rows *sql.Rows) (detail string, err error) {
			var id, parent, unused int
			return detail, rows.Scan(&id, &parent, &unused, &detail)
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range details {
			if strings.HasPrefix(d, "SCAN") && !strings.Contains(d, "CONSTANT ROW") && !strings.Contains(d, "json_each") && !strings.Contains(d, "(subquery") && d != "SCAN feed" {
				t.Errorf("%s\n%s", d, query)
			}
		}
	}
	if explained < 10 {
		t.Errorf("%d statements only: %v", explained, s.prepare)
	}
}
