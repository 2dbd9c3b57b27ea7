package cases_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

const trouble = "20240719-trouble"

// bench is a desk with n machines of two sites and an incident.
type bench struct {
	*testing.T
	*desk.Desk
	store   *inventory.Store
	journal *journal.Journal
	cure    playbook.Playbook
	file    string            // where the cure was read
	set     map[string]string // its parameters
	ids     []string
}

func newBench(t *testing.T, n int) *bench {
	t.Helper()
	d, err := desk.New(desk.Options{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{T: t, Desk: d}
	b.store, err = d.Inventory(t.Context())
	b.must(err)
	b.journal, err = d.Journal(t.Context())
	b.must(err)
	var records []inventory.Record
	for i := range n {
		name := fmt.Sprintf("WS%03d", i)
		records = append(records, inventory.Record{Source: "csv", SourceKey: name, Fields: map[string]string{"name": name, "site": []string{"LON", "PAR"}[i%2], "serial": "S" + name}})
	}
	_, err = b.store.Import(t.Context(), "csv", records)
	b.must(err)
	for _, m := range b.pick("all") {
		b.ids = append(b.ids, m.ID)
	}
	source, err := playbook.Find("crowdstrike-channel-file-291")
	b.must(err)
	b.cure, err = source.Bind(nil)
	b.must(err)
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) pick(selector string) []inventory.Machine {
	b.Helper()
	parsed, err := cases.Parse(selector, nil)
	b.must(err)
	found, err := cases.Select(b.Context(), b.Desk, parsed, cases.Options{})
	b.must(err)
	return found
}

func (b *bench) names(selector string) string {
	b.Helper()
	var names []string
	for _, m := range b.pick(selector) {
		names = append(names, m.Name)
	}
	return strings.Join(names, " ")
}

// run lets the machines end as said, by their place; "" is none of the run.
func (b *bench) run(incident string, mode agent.Mode, undoes string, outcomes ...journal.Outcome) string {
	b.Helper()
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada", Incident: incident, Mode: mode, Undoes: undoes}
	in.Source = plan.Source{Playbook: b.cure, File: b.file, Parameters: b.set}
	for i, o := range outcomes {
		if o != "" {
			in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: b.ids[i], Name: fmt.Sprintf("WS%03d", i)}, Route: "winrm"})
		}
	}
	p, err := plan.New(in)
	b.must(err)
	s, err := b.journal.Create(b.Context(), p, nil)
	b.must(err)
	for i, o := range outcomes {
		switch o {
		case "":
		case journal.Unreachable:
			b.must(s.Lease(b.ids[i]))
			b.must(s.Finish(b.ids[i], journal.End{Outcome: o, Class: route.Unreachable}))
		default:
			b.must(s.Lease(b.ids[i]))
			b.must(s.Begin(b.ids[i], 1))
			b.must(s.Finish(b.ids[i], journal.End{Outcome: o, Result: &agent.Result{Outcome: string(o)}}))
		}
	}
	b.must(s.End(journal.RunDone, ""))
	b.must(s.Close())
	return s.ID()
}

func (b *bench) status() *cases.Status {
	b.Helper()
	s, err := cases.Take(b.Context(), b.Desk, "", inventory.Selector{})
	b.must(err)
	return s
}

func TestAllReadOneState(t *testing.T) {
	b := newBench(t, 6)
	b.run(trouble, agent.Detect, "", journal.Affected, journal.Affected, journal.Affected, journal.Clean, journal.Unreachable)
	if got := b.names(`health == "affected"`); got != "WS000 WS001 WS002" {
		t.Errorf("affected: %q", got)
	}
	s := b.status()
	if s.Left != 3 || s.Machines != 6 || s.Verdicts[casefile.Affected] != 3 || s.Verdicts[casefile.Clean] != 1 || s.Verdicts[casefile.Unknown] != 2 || s.Sites[0].Name != "LON" || s.Sites[0].Left != 2 {
		t.Errorf("%+v", s)
	}
	fix := b.run(trouble, agent.Fix, "", journal.Fixed, journal.Unreachable)
	if got := b.names(`case.verdict == "fixed"`) + "|" + b.names(`case.next == "probe"`); got != "WS000|WS001 WS004 WS005" {
		t.Errorf("after the fix: %q", got)
	}
	b.run("", agent.Fix, "", journal.Clean, journal.Clean, journal.Clean) // something else
	if got := b.names(`health == "affected"`); got != "WS001 WS002" {
		t.Errorf("an unrelated run changed an answer: %q", got)
	}
	b.run("", agent.Undo, fix, journal.Undone)
	if got := b.names(`case.verdict == "undone"`); got != "WS000" {
		t.Errorf("after the undo: %q", got)
	}
	// Silent when probed, too: only a medium reaches it, and nobody is left without a next step.
	b.must(b.store.SetProbe(t.Context(), b.ids[1], inventory.ProbeResult{At: time.Now()}))
	if got := b.names(`case.next == "medium"`); got != "WS001" {
		t.Errorf("medium: %q", got)
	}
	all := 0
	for _, group := range b.status().Next {
		all += group.Machines
		if len(group.Commands) == 0 {
			t.Errorf("%s has no command", group.Verb)
		}
	}
	if all != 5 { // one is clean
		t.Errorf("%d machines have a next step", all)
	}
	r, err := cases.Tell(t.Context(), b.Desk, "", inventory.Selector{})
	b.must(err)
	var page strings.Builder
	b.must(r.WriteHTML(&page))
	if len(r.Rows) != 6 || r.Left != b.status().Left || !strings.Contains(page.String(), fmt.Sprintf(`id="left">%d<`, r.Left)) {
		t.Errorf("the report: %+v", r.Rows)
	}
}

// What is proposed says where the playbook lies and what its parameters are.
func TestTheCureIsProposedAsItWasAskedFor(t *testing.T) {
	b := newBench(t, 1)
	fix := func() string {
		for _, group := range b.status().Next {
			if group.Verb == casefile.Fix {
				return group.Commands[0]
			}
		}
		t.Fatal("nobody is to be fixed")
		return ""
	}
	b.run(trouble, agent.Detect, "", journal.Affected)
	if got := fix(); !strings.HasPrefix(got, "fleetmend run "+b.cure.Name+" --incident "+trouble+" ") {
		t.Errorf("built in: %s", got)
	}
	b.file, b.set = "/srv/mine.yaml", map[string]string{"service": "Bad Agent", "path": "a=b"}
	b.run(trouble, agent.Detect, "", journal.Affected)
	want := commandline.Line("run", b.file, "--set", "path=a=b", "--set", "service=Bad Agent", "--incident", trouble)
	if got := fix(); !strings.HasPrefix(got, want+" ") {
		t.Errorf("a file: %s, want %s", got, want)
	}
	// A medium carries the playbook itself and knows no file: it is not who asked.
	b.must(cases.Await(t.Context(), b.Desk, journal.NewRunID(), &journal.Incident{ID: trouble}, b.cure, b.pick("all")))
	if asked, err := b.journal.Asked(t.Context(), &journal.Incident{ID: trouble, Digest: b.cure.DetectDigest()}); err != nil || asked == nil || asked.PlaybookFile != b.file {
		t.Errorf("after a medium was built: %+v %v", asked, err)
	}
}

// A run stopped with one machine in flight and one before its turn, which another run fixed: only the first is to be resumed.
func TestAStoppedRunKeepsNoMachineThatIsDone(t *testing.T) {
	b := newBench(t, 2)
	b.run(trouble, agent.Detect, "", journal.Affected, journal.Affected)
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada", Incident: trouble, Mode: agent.Fix, Source: plan.Source{Playbook: b.cure}}
	for i, id := range b.ids {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: id, Name: fmt.Sprintf("WS%03d", i)}, Route: "winrm"})
	}
	p, err := plan.New(in)
	b.must(err)
	s, err := b.journal.Create(t.Context(), p, nil)
	b.must(err)
	b.must(s.Lease(b.ids[0]))
	b.must(s.Begin(b.ids[0], 1))
	if got := b.names(`case.next == "wait"`); got != "WS000 WS001" {
		t.Errorf("at work: %q", got)
	}
	b.must(s.Close())
	if got := b.names(`case.next == "resume"`); got != "WS000 WS001" {
		t.Errorf("stopped: %q", got)
	}
	b.run(trouble, agent.Fix, "", "", journal.Fixed)
	if got := b.names(`case.next == "resume"`) + "|" + b.names(`case.next == "none"`); got != "WS000|WS001" {
		t.Errorf("fixed by another run: %q", got)
	}
}

func TestAnIDThatCannotBeIsAMistake(t *testing.T) {
	b := newBench(t, 1)
	if _, err := cases.Open(t.Context(), b.Desk, cases.Opening{ID: "X_Y", Playbook: b.cure.Name}); !hint.IsMistake(err) || !strings.Contains(err.Error(), "X_Y") {
		t.Errorf("%v", err)
	}
}

// Two machines turn out to be one: the newest of what was known of each counts, and nothing is lost.
func TestAMergeKeepsTheNewerAnswer(t *testing.T) {
	b := newBench(t, 3)
	b.run(trouble, agent.Detect, "", journal.Affected, journal.Affected, journal.Clean)
	b.run(trouble, agent.Fix, "", journal.Fixed)
	before := b.status()
	// WS000 and WS001 have one serial number and SID: so says a second source.
	joined := []inventory.Record{
		{Source: "ad", SourceKey: "a", Fields: map[string]string{"name": "WS000", "serial": "SWS000", "claims.sid": "S-1-5-21-1"}},
		{Source: "csv2", SourceKey: "b", Fields: map[string]string{"name": "WS001", "serial": "SWS001", "claims.sid": "S-1-5-21-1"}},
	}
	for _, r := range joined {
		_, err := b.store.Import(t.Context(), r.Source, []inventory.Record{r})
		b.must(err)
	}
	if n := len(b.pick("all")); n != 2 {
		t.Fatalf("%d machines: they were not joined", n)
	}
	after := b.status()
	if after.Verdicts[casefile.Fixed] != 1 || after.Left != 0 || after.Number != before.Number {
		t.Errorf("%+v", after)
	}
	file, err := cases.History(t.Context(), b.Desk, b.pick(`case.verdict == "fixed"`)[0].ID, "")
	b.must(err)
	if len(file.Visits) != 3 {
		t.Errorf("its history has %d runs, want those of both", len(file.Visits))
	}
	b.must(b.journal.RebuildCases(t.Context()))
	if again := b.status(); again.Verdicts[casefile.Fixed] != 1 || again.Left != 0 {
		t.Errorf("after a rebuild: %+v", again)
	}
}

func TestSeveralOpenIncidents(t *testing.T) {
	b := newBench(t, 2)
	b.run(trouble, agent.Detect, "", journal.Clean, journal.Affected)
	b.run("20240720-other", agent.Detect, "", journal.Affected, journal.Clean)
	if got := b.names(`health == "affected"`); got != "WS000 WS001" {
		t.Errorf("health is the worst: %q", got)
	}
	parsed, err := cases.Parse(`case.next == "fix"`, nil)
	b.must(err)
	_, err = cases.Select(t.Context(), b.Desk, parsed, cases.Options{})
	if !hint.IsMistake(err) || !strings.Contains(err.Error(), trouble) || !strings.Contains(err.Error(), "20240720-other") {
		t.Errorf("case.* of two: %v", err)
	}
	if found, err := cases.Select(t.Context(), b.Desk, parsed, cases.Options{Incident: "20240720"}); err != nil || len(found) != 1 || found[0].Name != "WS000" {
		t.Errorf("case.* of one: %v %v", found, err)
	}
	if _, err := cases.One(t.Context(), b.Desk, ""); !hint.IsMistake(err) {
		t.Errorf("which one: %v", err)
	}
	if _, err := cases.One(t.Context(), b.Desk, "20240719-troubel"); !hint.IsMistake(err) || !strings.Contains(strings.Join(hint.Of(err), " "), trouble) {
		t.Errorf("a name that is nearly one: %v %q", err, hint.Of(err))
	}
	if _, err := cases.For(t.Context(), b.Desk, &b.cure, b.cure.Name, nil, ""); !hint.IsMistake(err) || !strings.Contains(err.Error(), "2 open incidents ask") {
		t.Errorf("for: %v", err)
	}
}

func TestForFindsTheIncidentOfAPlaybook(t *testing.T) {
	ctx := t.Context()
	b := newBench(t, 1)
	fresh, err := cases.For(ctx, b.Desk, &b.cure, b.cure.Name, nil, "")
	b.must(err)
	if !strings.HasSuffix(fresh, "-crowdstrike-channel-file-291") || !journal.ValidIncident(fresh) {
		t.Errorf("a fresh one: %q", fresh)
	}
	b.run(fresh, agent.Detect, "", journal.Clean)
	if same, err := cases.For(ctx, b.Desk, &b.cure, b.cure.Name, nil, ""); err != nil || same != fresh {
		t.Errorf("the open one: %q %v", same, err)
	}
	edited := b.cure
	edited.Detect = append(slices.Clone(edited.Detect), playbook.Condition{File: `C:\other.sys`})
	if _, err := cases.For(ctx, b.Desk, &edited, "./mine.yaml", nil, ""); !hint.IsMistake(err) || !strings.Contains(strings.Join(hint.Of(err), " "), "--playbook ./mine.yaml --replaces "+fresh) {
		t.Errorf("edited: %v %q", err, hint.Of(err))
	}
	if id, err := cases.For(ctx, b.Desk, &edited, edited.Name, map[string]string{"service": "Bad Agent"}, ""); err != nil || !strings.HasSuffix(id, "-bad-agent") {
		t.Errorf("with parameters it is another question: %q %v", id, err)
	}
	if id, err := cases.For(ctx, b.Desk, &edited, edited.Name, nil, fresh); err != nil || id != fresh {
		t.Errorf("named: %q %v", id, err)
	}
	tool := b.cure
	tool.Tool = true
	if id, err := cases.For(ctx, b.Desk, &tool, tool.Name, nil, ""); err != nil || id != "" {
		t.Errorf("a tool: %q %v", id, err)
	}
	_, err = cases.Close(ctx, b.Desk, fresh)
	b.must(err)
	if id, err := cases.For(ctx, b.Desk, &b.cure, b.cure.Name, nil, ""); err != nil || id != fresh+"-2" {
		t.Errorf("after it was closed: %q %v", id, err)
	}
	if _, err := cases.For(ctx, b.Desk, &b.cure, b.cure.Name, nil, fresh); !hint.IsMistake(err) || !strings.Contains(err.Error(), "was closed by") {
		t.Errorf("a closed one: %v", err)
	}
	if _, err := cases.Open(ctx, b.Desk, cases.Opening{ID: fresh}); !hint.IsMistake(err) || !strings.Contains(err.Error(), "was closed by") || !strings.Contains(strings.Join(hint.Of(err), " "), "--again") {
		t.Errorf("a closed one opened by its ID alone: %v %q", err, hint.Of(err))
	}
	_, err = cases.Open(ctx, b.Desk, cases.Opening{ID: fresh, Again: true})
	b.must(err)
	if _, err := cases.Open(ctx, b.Desk, cases.Opening{ID: fresh}); !hint.IsMistake(err) || !strings.Contains(err.Error(), "is open already") {
		t.Errorf("an open one opened by its ID alone: %v", err)
	}
	if _, err := cases.Open(ctx, b.Desk, cases.Opening{ID: "nobody-knows-it"}); !hint.IsMistake(err) || !strings.Contains(err.Error(), "needs a playbook") {
		t.Errorf("a new ID without a playbook: %v", err)
	}
}

// The inventory says which words a selector may compare with; they are those of the cases.
func TestTheWordsOfSelectorsAreThoseOfCases(t *testing.T) {
	same := func(what string, selector []string, cases []string) {
		slices.Sort(selector)
		slices.Sort(cases)
		if !slices.Equal(selector, cases) {
			t.Errorf("%s: %q, %q", what, selector, cases)
		}
	}
	same("verdicts", inventory.CaseVerdicts(), text(casefile.Verdicts()))
	same("routes", inventory.CaseRoutes(), casefile.Routes())
	same("keys", inventory.CaseKeys(), text(casefile.KeyStates()))
	same("steps", inventory.CaseSteps(), text(casefile.Verbs()))
}

func text[T ~string](all []T) (out []string) {
	for _, w := range all {
		out = append(out, string(w))
	}
	return out
}

// Two first plans whose names differ in punctuation alone have one ID for their incidents. The run that comes second is not counted
// in the incident of the first.
func TestARunIsNotCountedWhereAnotherQuestionIsAsked(t *testing.T) {
	ctx := t.Context()
	b := newBench(t, 1)
	other := b.cure
	other.Detect = append(slices.Clone(other.Detect), playbook.Condition{File: `C:\other.sys`})
	first, err := cases.For(ctx, b.Desk, &b.cure, b.cure.Name, map[string]string{"service": "a.b"}, "")
	b.must(err)
	second, err := cases.For(ctx, b.Desk, &other, other.Name, map[string]string{"service": "a-b"}, "")
	b.must(err)
	if first != second {
		t.Fatalf("this test is about one ID for both: %q, %q", first, second)
	}
	j, err := b.Desk.Journal(ctx)
	b.must(err)
	for n, p := range []playbook.Playbook{b.cure, b.cure, other, other} {
		in := plan.Input{Source: plan.Source{Playbook: p}, Options: plan.DefaultOptions(), Incident: first, Asks: n < 3, Now: time.Now(),
			Entries: []plan.Entry{{Target: route.Target{ID: "m", Name: "M"}, Route: "winrm"}}}
		made, err := plan.New(in)
		b.must(err)
		s, err := j.Create(ctx, made, nil)
		if asks := (*journal.OtherQuestionError)(nil); errors.As(err, &asks) != (n == 2) || n == 2 && len(hint.Of(err)) == 0 {
			t.Errorf("run %d: %v", n, err)
		}
		if err == nil {
			b.must(s.Close())
		}
	}
}

// What an incident was opened with is proposed, before a run has asked its question: a file with its parameters, or a built-in one.
func TestWhatAnIncidentWasOpenedWithIsProposed(t *testing.T) {
	ctx := t.Context()
	b := newBench(t, 2)
	file := filepath.Join(t.TempDir(), "my cure.yaml")
	text, err := os.ReadFile("../../../remediate/playbook/builtin/disable-service.yaml")
	b.must(err)
	b.must(os.WriteFile(file, text, 0o600))
	for _, asked := range []string{file, "disable-service"} {
		b.must(os.WriteFile(file, text, 0o600))
		i, err := cases.Open(ctx, b.Desk, cases.Opening{Playbook: asked, Set: map[string]string{"service": "BadAgent"}})
		b.must(err)
		for _, m := range b.ids { // neither needs to be probed first: it answers
			b.must(b.store.SetProbe(ctx, m, inventory.ProbeResult{At: time.Now(), Open: true, WinRM: true}))
		}
		all, err := cases.Parse("all", nil)
		b.must(err)
		s, err := cases.Take(ctx, b.Desk, i.ID, all)
		b.must(err)
		want := commandline.Line("run", asked, "--set", "service=BadAgent", "--incident", i.ID, "--on", `case.next == "fix"`)
		if len(s.Next) != 1 || !slices.Contains(s.Next[0].Commands, want) {
			t.Errorf("%+v, want %s", s.Next, want)
		}
		b.must(os.WriteFile(file, []byte("playbook: other"), 0o600))
		s, err = cases.Take(ctx, b.Desk, i.ID, all)
		b.must(err)
		if edited := asked == file; len(s.Next) != 1 || slices.Contains(s.Next[0].Commands, want) == edited {
			t.Errorf("%s was edited: %+v", file, s.Next)
		}
	}
}

func TestWhoWasNeitherAskedNorProbedIsCounted(t *testing.T) {
	b := newBench(t, 3)
	b.run(trouble, agent.Detect, "", journal.Clean)
	all, err := cases.Parse("all", nil)
	b.must(err)
	s, err := cases.Take(t.Context(), b.Desk, trouble, all)
	b.must(err)
	if !slices.ContainsFunc(s.Missing, func(m string) bool { return strings.HasPrefix(m, "2 machines were neither asked nor probed") }) {
		t.Errorf("%+v: %q", s.Verdicts, s.Missing)
	}
}
