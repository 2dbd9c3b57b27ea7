package collect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/collect"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// newRun is a journal with one run that is over: the first machine was fixed, the others could not be reached.
func newRun(t *testing.T, machines int) (*journal.Journal, string) {
	t.Helper()
	var names []string
	for i := range machines {
		names = append(names, fmt.Sprintf("PC%d", i))
	}
	return newRunOf(t, names...)
}

func newRunOf(t *testing.T, names ...string) (*journal.Journal, string) {
	t.Helper()
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada"}
	in.Source.Playbook.Name = "book"
	for i, name := range names {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: fmt.Sprintf("m%d", i), Name: name}, Route: "fake"})
	}
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := j.Create(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		id, end := fmt.Sprintf("m%d", i), journal.End{Outcome: journal.Unreachable, Class: route.Unreachable, Reason: "off"}
		if err := s.Lease(id); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			end = journal.End{Outcome: journal.Fixed, Result: &agent.Result{Outcome: agent.Fixed, Changed: 1}}
			if err := s.Begin(id, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Finish(id, end); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.End(journal.RunDone, ""), s.Close()); err != nil {
		t.Fatal(err)
	}
	return j, s.ID()
}

// stick is a medium with results, by the names of their files.
func stick(t *testing.T, results map[string]aboard.Result) fstest.MapFS {
	t.Helper()
	root := fstest.MapFS{}
	for name, r := range results {
		r.Version = 1
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		root["fleetmend/results/"+name] = &fstest.MapFile{Data: b}
	}
	return root
}

func done(run, machine, outcome string) aboard.Result {
	return aboard.Result{Run: run, Outcome: outcome, Message: "It is " + outcome + ".", Machine: aboard.Machine{Name: machine}}
}

func into(t *testing.T, j *journal.Journal, root fstest.MapFS, o collect.Options) map[string]collect.Line {
	t.Helper()
	lines, err := collect.Into(t.Context(), j, root, o)
	if err != nil {
		t.Fatal(err)
	}
	byFile := map[string]collect.Line{}
	for _, l := range lines {
		byFile[l.File] = l
	}
	return byFile
}

func TestEachFileCountsOncePerMachine(t *testing.T) {
	j, run := newRun(t, 4)
	fixed := done(run, "pc1", agent.Fixed)
	step := agent.StepDone{Action: "quarantine", Target: `C:\x`, Changed: 2}
	for _, name := range []string{"first", "second"} {
		fixed.Playbooks = append(fixed.Playbooks, aboard.Done{Playbook: name, Volume: `D:\`, Result: agent.Result{Outcome: agent.Fixed, Changed: 2, Steps: []agent.StepDone{step}}})
	}
	nameless := done(run, "", agent.Failed)
	nameless.Machine.UUID = "u-2"
	root := stick(t, map[string]aboard.Result{
		"a.json": done(run, "PC0", agent.Failed), "b.json": fixed, "c.json": nameless,
		"d.json": done(run, "STRANGER", agent.Fixed), "e.json": done("medium-0123", "PC3", agent.Fixed), "f.json": done("another-run", "PC3", agent.Fixed),
	})
	root["fleetmend/results/g.json"] = &fstest.MapFile{Data: []byte(`{"v":1,`)}
	find := func(m aboard.Machine) string { return map[string]string{"u-2": "m2"}[m.UUID] }

	for round := range 2 {
		lines := into(t, j, root, collect.Options{Find: find})
		if len(lines) != 7 {
			t.Fatalf("%+v", lines)
		}
		for file, want := range map[string]struct {
			machine string
			counted bool
		}{"a.json": {"PC0", false}, "b.json": {"PC1", true}, "c.json": {"PC2", true}} {
			if l := lines[file]; l.Problem != "" || l.Machine != want.machine || l.New != (round == 0) || l.Counted != (want.counted && round == 0) {
				t.Errorf("round %d, %s: %+v", round, file, l)
			}
		}
		for file, want := range map[string]string{"d.json": "no machine of run", "e.json": "built for no run", "f.json": "is not in this journal", "g.json": "cut short or damaged"} {
			if l := lines[file]; !strings.Contains(l.Problem, want) || l.New || l.Counted {
				t.Errorf("round %d, %s: %+v", round, file, l)
			}
		}
	}
	r, err := j.Run(t.Context(), run)
	if err != nil || r.Counts[journal.Fixed] != 2 || r.Counts[journal.Failed] != 1 || r.Counts[journal.Unreachable] != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	machines, err := j.Machines(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	if m := machines[1]; m.Changed != 4 || m.Result == nil || len(m.Result.Steps) != 2 || m.Result.Steps[1].Note != `second on D:\.` {
		t.Errorf("%+v %+v", m, m.Result)
	}
	if m := machines[2]; m.Reason != "It is failed." {
		t.Errorf("%+v", m)
	}

	// The same medium, said to belong to a run: what was built for none is taken there.
	lines := into(t, j, root, collect.Options{Run: run, Find: find})
	if l := lines["e.json"]; l.Run != run || !l.New || !l.Counted {
		t.Errorf("%+v", l)
	}
	if l := lines["f.json"]; l.Run != run || !l.New || l.Counted { // another file about the same machine, which is fixed by now
		t.Errorf("%+v", l)
	}
}

// Machines of two domains share their short name: what the machine itself is known by decides, and a name never against it.
func TestAResultIsNotBookedToANamesake(t *testing.T) {
	serials := map[string]string{"SERA": "m1", "SERB": "m2", "ELSEWHERE": "m9", "OLD": "was"}
	o := collect.Options{
		Find: func(m aboard.Machine) string { return serials[m.Serial] },
		Joined: func(id string) string {
			return map[string]string{"was": "m3"}[id] + map[bool]string{true: id}[id != "was"]
		},
	}
	for _, c := range []struct{ serial, name, id, problem string }{
		{"SERA", "WS-X", "m1", ""},
		{"SERB", "ws-x", "m2", ""},
		{"SERB", "MININT-1", "m2", ""},
		{"", "WS-X", "", "2 machines of run RUN are called WS-X, and neither serial number nor UUID tells which of them it is"},
		{"UNHEARD", "WS-X", "", "2 machines of run RUN are called WS-X"},
		{"ELSEWHERE", "WS-X", "", "by its serial number or UUID it is not the WS-X of run RUN, but a machine that this run does not have"},
		{"ELSEWHERE", "PC3", "", "by its serial number or UUID it is not the PC3 of run RUN"},
		{"OLD", "MININT-2", "m3", ""}, // two that were joined meanwhile
		{"UNHEARD", "PC3", "m3", ""},
		{"", "", "", "no machine of run RUN has this name, serial number or UUID"},
	} {
		j, run := newRunOf(t, "PC0", "WS-X", "WS-X", "PC3")
		r := done(run, c.name, agent.Fixed)
		r.Machine.Serial = c.serial
		l := into(t, j, stick(t, map[string]aboard.Result{"a.json": r}), o)["a.json"]
		if want := strings.ReplaceAll(c.problem, "RUN", run); l.ID != c.id || !strings.HasPrefix(l.Problem, want) || (want == "") != (l.Problem == "") || l.New != (c.id != "") {
			t.Errorf("serial %q, name %q: %+v", c.serial, c.name, l)
		}
	}
}

func TestNothingToCollect(t *testing.T) {
	j, run := newRun(t, 1)
	for _, root := range []fstest.MapFS{{}, {"fleetmend/results/.WS1.json.tmp": {Data: []byte("half")}, "fleetmend/results/README.txt": {}}} {
		if lines, err := collect.Into(t.Context(), j, root, collect.Options{}); !errors.Is(err, collect.ErrNoResults) {
			t.Errorf("%+v, %v", lines, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collect.Into(gone, j, stick(t, map[string]aboard.Result{"a.json": done(run, "PC0", agent.Fixed)}), collect.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if lines := into(t, j, stick(t, map[string]aboard.Result{"a.json": done(run, "PC0", agent.Fixed)}), collect.Options{}); !lines["a.json"].New {
		t.Errorf("a cancelled reading left something behind: %+v", lines)
	}
}
