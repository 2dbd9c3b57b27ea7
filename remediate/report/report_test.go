package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/report"
	"github.com/fleetmend/fleetmend/remediate/route"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); go test -update writes it anew:\n%s", name, diff)
	}
}

func TestGolden(t *testing.T) {
	r := fleet(60)
	for name, write := range map[string]func(*bytes.Buffer) error{
		"fleet.txt":        func(b *bytes.Buffer) error { return r.WriteText(b, report.TextOptions{}) },
		"fleet-narrow.txt": func(b *bytes.Buffer) error { return r.WriteText(b, report.TextOptions{Width: 50}) },
		"fleet-color.txt":  func(b *bytes.Buffer) error { return r.WriteText(b, report.TextOptions{Color: true, Width: 100}) },
		"fleet.json":       func(b *bytes.Buffer) error { return r.WriteJSON(b) },
		"fleet.csv":        func(b *bytes.Buffer) error { return r.WriteCSV(b) },
		"fleet.junit.xml":  func(b *bytes.Buffer) error { return r.WriteJUnit(b) },
		"fleet.html": func(b *bytes.Buffer) error {
			return r.WriteHTMLFor(b, report.HTMLOptions{Location: time.FixedZone("CEST", 2*3600), Program: "fleetmend test"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		})
	}
}

func TestTextFitsTheTerminalAndIsASCII(t *testing.T) {
	for _, width := range []int{40, 60, 80, 120} {
		var b bytes.Buffer
		if err := fleet(400).WriteText(&b, report.TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimRight(line, "\n")
			// A command stays whole so that it can be copied, and so does a word that is longer than the line.
			if len(line) > width && strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(line, "fleetmend ") {
				t.Errorf("width %d: %q", width, line)
			}
			if i := strings.IndexFunc(line, func(c rune) bool { return c > 126 || c < 32 }); i >= 0 {
				t.Errorf("width %d: not ASCII: %q", width, line)
			}
		}
	}
}

// one is a machine that ended as told.
func one(name string, outcome journal.Outcome, reason string) journal.Machine {
	return journal.Machine{
		Target: route.Target{ID: "id-" + name, Name: name, Address: strings.ToLower(name) + ".corp.example"}, Wave: 1, Route: "winrm",
		State: journal.Done, Outcome: outcome, Reason: reason, Started: began, Ended: began.Add(time.Second),
	}
}

func TestSummary(t *testing.T) {
	done := func(outcomes ...journal.Outcome) (list []journal.Machine) {
		for i, o := range outcomes {
			list = append(list, one("PC"+string(rune('A'+i)), o, ""))
		}
		return list
	}
	pending := journal.Machine{Target: route.Target{Name: "Z"}, Wave: 1, State: journal.Pending}
	moving := journal.Machine{Target: route.Target{Name: "Y"}, Wave: 1, State: journal.Rebooting}
	for _, test := range []struct {
		name     string
		run      journal.Run
		machines []journal.Machine
		want     string
	}{
		{"empty", journal.Run{Mode: agent.Fix, Status: journal.RunDone}, nil, "No machine was in this run."},
		{"all", journal.Run{Mode: agent.Fix, Status: journal.RunDone}, done(journal.Fixed), "1 of 1 machine is fixed."},
		{"mixed", journal.Run{Mode: agent.Fix, Status: journal.RunDone}, done(journal.Fixed, journal.Fixed, journal.Clean, journal.Unreachable),
			"2 of 4 machines are fixed. 1 was not affected. 1 could not be reached."},
		{"nothing fixed", journal.Run{Mode: agent.Fix, Status: journal.RunDone}, done(journal.Unknown, journal.Failed, journal.Skipped),
			"0 of 3 machines are fixed. 1 failed. 1 is in doubt: the work may have begun there, and no answer came back. 1 was skipped."},
		{"detect", journal.Run{Mode: agent.Detect, Status: journal.RunDone}, done(journal.Affected, journal.Clean, journal.Clean),
			"1 of 3 machines are affected. 2 were not affected."},
		{"undo", journal.Run{Mode: agent.Undo, Status: journal.RunDone}, done(journal.Undone, journal.Clean),
			"1 of 2 machines are back as they were. 1 had nothing to take back."},
		{"gate", journal.Run{Mode: agent.Fix, Status: journal.RunGated, Reason: "3 of 10 failed in wave 2, 10 % are allowed."}, done(journal.Held, journal.Failed),
			"0 of 2 machines are fixed. 1 failed. 1 was held back and not touched. A gate stopped the run: 3 of 10 failed in wave 2, 10 % are allowed."},
		{"auth in one domain", journal.Run{Mode: agent.Fix, Status: journal.RunAuth, Reason: "WS1 rejected it (domain BRANCH)" + journal.ElseDone}, done(journal.Held), "0 of 1 machine is fixed. 1 was held back and not touched. The account was not accepted everywhere: WS1 rejected it (domain BRANCH); all else is done."},
		{"auth", journal.Run{Mode: agent.Fix, Status: journal.RunAuth}, done(journal.Held), "0 of 1 machine is fixed. 1 was held back and not touched. The run stopped because the account was not accepted."},
		{"under way", journal.Run{Mode: agent.Fix, Status: journal.RunRunning}, []journal.Machine{pending, moving},
			"0 of 2 machines are fixed. 1 is in progress. 1 is waiting. The run has not ended yet."},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := report.Build(test.run, test.machines, nil, nil).Summary; got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestNumbersAddUp(t *testing.T) {
	for _, n := range []int{1, 2, 11, 12, 500, 3000} {
		r := fleet(n)
		sum := 0
		for _, c := range r.Totals {
			sum += c.Machines
		}
		if sum != n || len(r.Machines) != n {
			t.Fatalf("%d machines: totals say %d, list %d", n, sum, len(r.Machines))
		}
		sum = 0
		for _, w := range r.Waves {
			inWave := 0
			for _, c := range w.Counts {
				inWave += c.Machines
			}
			if inWave != w.Machines {
				t.Errorf("wave %d: %d machines, counts say %d", w.Number, w.Machines, inWave)
			}
			sum += inWave
		}
		if sum != n {
			t.Errorf("%d machines, waves say %d", n, sum)
		}
		attention := r.Total("failed", "unreachable", "unknown", "held", "skipped")
		for _, reason := range r.Reasons {
			attention -= len(reason.Machines)
		}
		if attention != 0 {
			t.Errorf("%d machines are in no group of reasons", attention)
		}
		started := 0
		for _, m := range r.Machines {
			if m.Took > 0 {
				started++
			}
		}
		for _, b := range r.Durations.Bins {
			started -= b.Machines
		}
		if started != 0 {
			t.Errorf("%d machines are in no bin of durations", started)
		}
		if len(r.Burndown) > 400 {
			t.Errorf("%d points", len(r.Burndown))
		}
		for i := 1; i < len(r.Burndown); i++ {
			if r.Burndown[i].Left > r.Burndown[i-1].Left || r.Burndown[i].Time.Before(r.Burndown[i-1].Time) {
				t.Fatalf("burn-down rises or runs backwards at %d", i)
			}
		}
		if last := r.Burndown[len(r.Burndown)-1].Left; last != 0 {
			t.Errorf("burn-down ends at %d", last)
		}
	}
}

func TestOrderOfInputDoesNotMatter(t *testing.T) {
	run := journal.Run{ID: "r", Started: began, Mode: agent.Fix, Status: journal.RunDone}
	list := []journal.Machine{one("B", journal.Failed, "x"), one("A", journal.Failed, "x"), one("C", journal.Fixed, "")}
	list[2].Wave = 0
	events := []journal.Event{{Seq: 1, Time: began, Kind: "run-started"}, {Seq: 2, Time: began.Add(-time.Hour), Kind: "gate"}, {Seq: 3, Kind: "machine", Machine: "A"}}
	a := report.Build(run, list, events, nil)
	slices.Reverse(list)
	slices.Reverse(events)
	if diff := cmp.Diff(a, report.Build(run, list, events, nil)); diff != "" {
		t.Error(diff)
	}
	if len(a.Timeline) != 2 || a.Timeline[1].Kind != "gate" || a.Machines[0].Name != "A" || a.Machines[2].Wave != 0 {
		t.Errorf("wrong order: %+v %+v", a.Timeline, a.Machines)
	}
}

func TestReasonsComeTogether(t *testing.T) {
	list := []journal.Machine{
		one("PC1", journal.Unreachable, "PC1: connect: dial tcp 10.0.0.1:5985: i/o timeout"),
		one("PC10", journal.Unreachable, "PC10: connect: dial tcp 10.0.0.10:5985: i/o timeout"),
		one("PC11", journal.Unreachable, "PC11: connect: dial tcp [fe80::1%eth0]:5985: i/o timeout"),
		one("PC2", journal.Failed, "cannot write to \\\\pc2\\C$ while PC20 is\nthere \x1b[31m"),
		one("PC3", journal.Failed, "fault 0x80338012 on pc3.corp.example"),
		one("PC4", journal.Failed, "fault 0x80338012 on pc4.corp.example"),
		one("PC5", journal.Failed, "fault 0x80338013 on pc5.corp.example"),
		one("PC6", journal.Failed, ""),
		one("PC7", journal.Failed, `connect: the name "pc7.corp.example" cannot be resolved, PC7 did not answer`),
		one("PC8", journal.Failed, `connect: the name "pc8.corp.example" cannot be resolved, PC8 did not answer`),
		one("PC9", journal.Failed, "cannot write to \\\\pc9\\C$ while PC20 is there [31m"),
	}
	for i := range 3 {
		list[i].Class = route.Unreachable
	}
	r := report.Build(journal.Run{ID: "r", Mode: agent.Fix, Status: journal.RunDone}, list, nil, nil)
	var got []string
	for _, reason := range r.Reasons {
		if reason.Advice == "" {
			t.Errorf("no advice for %q", reason.Text)
		}
		got = append(got, reason.Text+" <"+strings.Join(reason.Machines, " ")+">")
	}
	want := []string{
		"connect: dial tcp (address): i/o timeout <PC1 PC10 PC11>",
		`cannot write to \\(machine)\C$ while PC20 is there [31m <PC2 PC9>`,
		"connect: its name cannot be resolved, the machine did not answer <PC7 PC8>",
		"fault 0x80338012 on the machine <PC3 PC4>",
		"fault 0x80338013 on pc5.corp.example <PC5>",
		"no reason was recorded <PC6>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// withPlan is what do says while p is set to a plan.
func withPlan(p **plan.Plan, to *plan.Plan, do func() string) string {
	*p = to
	defer func() { *p = nil }()
	return do()
}

// What did not go as it was meant is said where all are fixed, too; and when a retry is of use, where that is not now.
func TestTheSumSaysMore(t *testing.T) {
	m := one("A", journal.Fixed, "")
	m.Result = &agent.Result{Steps: []agent.StepDone{{Action: "script", Failed: true}, {Action: "service"}}}
	if got := report.Build(journal.Run{ID: "r", Mode: agent.Fix, Status: journal.RunDone}, []journal.Machine{m, one("B", journal.Fixed, "")}, nil, nil).Summary; got != "2 of 2 machines are fixed. On 1 of them an optional step failed." {
		t.Error(got)
	}
	barred := journal.Run{ID: "r", Mode: agent.Fix, Status: journal.RunAuth, Reason: `two sign-ins of CORP\admin were refused (PC1, PC2): see that the password is right, then go on after 04:32, or at once with --sign-ins 3`}
	if got := report.Build(barred, []journal.Machine{one("A", journal.Held, "")}, nil, nil).Next[0].For; got != "Try 1 machine again that is not done, when user and password are right, after 04:32" {
		t.Error(got)
	}
	claimed := report.Build(journal.Run{ID: "r", Mode: agent.Fix, Status: journal.RunDone}, []journal.Machine{one("A", journal.Skipped, "run R0 of ada"+journal.HasIt)}, nil, nil)
	if !strings.Contains(claimed.Reasons[0].Advice, "retry this one") {
		t.Errorf("%+v", claimed.Reasons)
	}
}

// TestAnUndoSaysWhatStays has a machine that is back and two on which a script ran that nothing takes back.
func TestAnUndoSaysWhatStays(t *testing.T) {
	p := &plan.Plan{Playbook: playbook.Playbook{Fix: []playbook.Action{{Script: &playbook.Script{Shell: "cmd", Body: "exit"}}, {Service: &playbook.StartChange{Name: "x"}}}}}
	stays := p.Playbook.Permanent()
	list := []journal.Machine{one("A", journal.Undone, ""), one("B", journal.Undone, ""), one("C", journal.Undone, ""), one("D", journal.Failed, "no")}
	for i, m := range list {
		e := plan.Entry{Target: m.Target}
		if i > 0 {
			e.Stays = stays
		}
		p.Waves = append(p.Waves, plan.Wave{Entries: []plan.Entry{e}})
	}
	r := report.Build(journal.Run{ID: "r", Mode: agent.Undo, Status: journal.RunDone}, list, nil, p)
	if want := "1 of 4 machines are back as they were. 2 are back but for what cannot be undone. 1 failed."; r.Summary != want {
		t.Errorf("%s", r.Summary)
	}
	var text, data, page bytes.Buffer
	if err := errors.Join(r.WriteText(&text, report.TextOptions{}), r.WriteJSON(&data), r.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	for form, want := range map[*bytes.Buffer][]string{
		&text: {"Not taken back on 2 machines: step 1, script: the script has no undo."},
		&data: {`"step": "step 1, script: the script has no undo",`, `"machines": 2`, `"stays": [`},
		&page: {"step 1, script: the script has no undo (2 machines)", "25"},
	} {
		for _, words := range want {
			if !strings.Contains(form.String(), words) {
				t.Errorf("%q is not in\n%.3000s", words, form)
			}
		}
	}
	for i, want := range []int{0, 1, 1, 0} {
		if len(r.Machines[i].Stays) != want {
			t.Errorf("%+v", r.Machines[i])
		}
	}
}

func TestNextCommands(t *testing.T) {
	done := func(m journal.Machine, changed int) journal.Machine { m.Changed = changed; return m }
	owner := &journal.Owner{Host: "h"}
	permanent := &plan.Plan{Playbook: playbook.Playbook{Fix: []playbook.Action{{Script: &playbook.Script{Shell: "cmd", Body: "exit"}}}}}
	var p *plan.Plan
	lines := func(run journal.Run, machines ...journal.Machine) string {
		run.ID = "R1"
		var all []string
		for _, c := range report.Build(run, machines, nil, p).Next {
			all = append(all, strings.TrimPrefix(c.Line, "fleetmend "))
		}
		return strings.Join(all, "; ")
	}
	for _, test := range []struct{ got, want string }{
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunDone}, done(one("A", journal.Fixed, ""), 1)), "runs undo R1; runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunDone}, one("A", journal.Failed, "")), "runs retry R1; runs show R1"}, // it changed nothing
		{withPlan(&p, permanent, func() string {
			return lines(journal.Run{Mode: agent.Fix, Status: journal.RunDone}, done(one("A", journal.Fixed, ""), 1))
		}), "runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunGated}, one("A", journal.Held, "")), "runs retry R1; runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunDone}, one("A", journal.Skipped, "run R0 of ada"+journal.HasIt)), "runs retry R1; runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunInterrupted}, done(one("A", journal.Fixed, ""), 1), one("B", journal.Unknown, "")), "runs resume R1; runs show R1"},
		{lines(journal.Run{Mode: agent.Detect, Status: journal.RunDone, Playbook: "p"}, one("A", journal.Affected, "")), "run p; runs show R1"},
		{lines(journal.Run{Mode: agent.Undo, Status: journal.RunDone}, one("A", journal.Undone, "")), "runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunRunning}, one("A", journal.Clean, "")), "runs resume R1; runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunRunning, Owner: owner}, done(one("A", journal.Fixed, ""), 1)), "runs watch R1; runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunWaiting, Owner: owner}, one("A", journal.Fixed, "")), "runs watch R1; runs approve R1; runs show R1"},
		{lines(journal.Run{Mode: agent.Fix, Status: journal.RunPaused, Owner: owner}, one("A", journal.Fixed, "")), "runs watch R1; runs resume R1; runs show R1"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
	for status, is := range map[journal.Status]bool{journal.RunDone: true, journal.RunInterrupted: false} {
		r := report.Build(journal.Run{ID: "R1", Mode: agent.Fix, Status: status}, []journal.Machine{done(one("A", journal.Failed, "x"), 1)}, nil, nil)
		if strings.Contains(r.Reasons[0].Advice, "taken back with undo") != is {
			t.Errorf("%s: %s", status, r.Reasons[0].Advice)
		}
	}
}

func TestCSVCannotCarryFormulas(t *testing.T) {
	bad := []string{"=HYPERLINK(\"x\")", "+1", "-1-1", "@SUM(A1)", "\t=1", " =1", "\r\n=1", "＝1", "|calc", "%0A=1", "\ufeff=1"}
	var list []journal.Machine
	for i, text := range bad {
		m := one("N", journal.Failed, text)
		m.Target.ID, m.Target.Name, m.Target.Site, m.Target.Address = string(rune('a'+i)), text, text, text
		list = append(list, m)
	}
	var b bytes.Buffer
	if err := report.Build(journal.Run{}, list, nil, nil).WriteCSVFor(&b, report.CSVOptions{Comma: ';', BOM: true}); err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(b.String(), "\ufeff")
	if !ok {
		t.Error("no byte order mark")
	}
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comma = ';'
	rows, err := reader.ReadAll()
	if err != nil || len(rows) != len(bad)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		for column, cell := range row {
			if trimmed := strings.TrimSpace(cell); trimmed != "" && strings.ContainsAny(string([]rune(trimmed)[0]), "=+-@|%＝") {
				t.Errorf("%s: %q", rows[0][column], cell)
			}
		}
	}
}

func TestJSONIsVersionedAndComplete(t *testing.T) {
	var b bytes.Buffer
	r := fleet(40)
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back report.Report
	decoder := json.NewDecoder(bytes.NewReader(b.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if back.V != report.Version || !bytes.HasPrefix(b.Bytes(), []byte("{\n  \"v\": 1,")) {
		t.Errorf("no version in front: %.40s", b.String())
	}
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyReportHasListsNotNull(t *testing.T) {
	var b bytes.Buffer
	r := report.Build(journal.Run{ID: "r", Status: journal.RunDone, Counts: map[journal.Outcome]int{}}, nil, nil, nil)
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "null") {
		t.Errorf("null in %s", b.String())
	}
	for _, write := range []func() error{func() error { return r.WriteHTML(&b) }, func() error { return r.WriteJUnit(&b) }, func() error { return r.WriteText(&b, report.TextOptions{}) }} {
		if err := write(); err != nil {
			t.Error(err)
		}
	}
}

func TestJUnit(t *testing.T) {
	list := []journal.Machine{
		one("A", journal.Fixed, ""), one("B", journal.Failed, "bad <&> \x00 \x1b[1m text"), one("C", journal.Unreachable, "off"), one("D", journal.Unknown, "lost"),
		one("E", journal.Held, "gate"), one("F", journal.Skipped, "no route"), one("G", journal.Clean, ""),
		{Target: route.Target{Name: "H"}, Wave: 2, State: journal.Running},
	}
	list[5].Wave = 0
	var b bytes.Buffer
	if err := report.Build(journal.Run{ID: "r", Playbook: "p", Started: began, Ended: began.Add(time.Minute)}, list, nil, nil).WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	type result struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
	}
	var doc struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Tests int    `xml:"tests,attr"`
			Cases []struct {
				Name                    string `xml:"name,attr"`
				Class                   string `xml:"classname,attr"`
				Failure, Error, Skipped *result
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	text := strings.NewReplacer("<failure ", "<Failure ", "</failure>", "</Failure>", "<error ", "<Error ", "</error>", "</Error>",
		"<skipped ", "<Skipped ", "</skipped>", "</Skipped>").Replace(b.String())
	if err := xml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v in %s", err, b.String())
	}
	if doc.Tests != 8 || doc.Failures != 1 || doc.Errors != 2 || doc.Skipped != 3 || len(doc.Suites) != 3 {
		t.Errorf("counts %d %d %d %d, %d suites", doc.Tests, doc.Failures, doc.Errors, doc.Skipped, len(doc.Suites))
	}
	failed := doc.Suites[0].Cases[1]
	if failed.Name != "B" || failed.Class != "p" || failed.Failure == nil || failed.Failure.Message != "Failed: bad <&> [1m text" {
		t.Errorf("failed case: %+v", failed)
	}
	if lost := doc.Suites[0].Cases[3]; lost.Error == nil || lost.Error.Type != "unknown" {
		t.Errorf("unknown case: %+v", lost)
	}
}
