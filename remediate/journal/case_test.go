package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

const trouble = "20240719-trouble"

// cure is a plan for n machines that belongs to the incident.
func cure(t testing.TB, n int, change ...func(*plan.Plan)) *plan.Plan {
	t.Helper()
	p := testPlan(t, n)
	p.Incident = trouble
	p.Playbook.Detect = []playbook.Condition{{File: `C:\x.sys`}}
	for _, c := range change {
		c(p)
	}
	must(t, p.Seal())
	return p
}

func cases(t testing.TB, j *journal.Journal) map[string]journal.Case {
	t.Helper()
	all, _, err := j.Cases(t.Context(), trouble, 0)
	must(t, err)
	out := map[string]journal.Case{}
	for _, c := range all {
		out[c.Machine] = c
	}
	return out
}

// rebuilt deletes the cases and derives them anew: they are what they were, and the list of them says the same with the digest of some
// moment before, without one, and with the one of now.
func rebuilt(t testing.TB, j *journal.Journal) {
	t.Helper()
	before, feed, err := j.Cases(t.Context(), trouble, 0)
	must(t, err)
	listed(t, j, before, feed)
	must(t, j.RebuildCases(t.Context()))
	after, same, err := j.Cases(t.Context(), trouble, 0)
	must(t, err)
	if feed != same || !slices.Equal(before, after) {
		t.Errorf("the rebuild differs (feed %d, %d):\n%+v\n%+v", feed, same, before, after)
	}
	listed(t, j, after, feed)
	listed(t, j, after, feed)
}

func listed(t testing.TB, j *journal.Journal, all []journal.Case, number int64) {
	t.Helper()
	list, err := j.CaseList(t.Context(), trouble)
	must(t, err)
	if list.Number() != number || list.Len() != len(all) {
		t.Errorf("%d cases as of %d, the list has %d as of %d", len(all), number, list.Len(), list.Number())
	}
	for _, want := range all {
		if got, ok := list.Case(want.Machine); !ok || got != want {
			t.Errorf("the list has %+v (%v), want %+v", got, ok, want)
		}
	}
	if c, ok := list.Case("nobody's"); ok {
		t.Errorf("the case of nobody: %+v", c)
	}
}

func finish(t testing.TB, s *journal.Session, i int, outcome journal.Outcome) {
	t.Helper()
	if outcome == journal.Unreachable {
		must(t, s.Lease(id(i)), s.Finish(id(i), journal.End{Outcome: outcome, Class: route.Unreachable, Reason: "silent"}))
		return
	}
	must(t, s.Lease(id(i)), s.Begin(id(i), 1), s.Finish(id(i), journal.End{Outcome: outcome, Result: &agent.Result{Outcome: string(outcome)}}))
}

// once is a whole run of a plan in which the machines end so.
func once(t testing.TB, j *journal.Journal, p *plan.Plan, outcomes ...journal.Outcome) string {
	t.Helper()
	s, err := j.Create(t.Context(), p, nil)
	must(t, err)
	for i, o := range outcomes {
		finish(t, s, i, o)
	}
	must(t, s.End(journal.RunDone, ""), s.Close())
	return s.ID()
}

func TestTheNewestAnswerWinsAndAnAttemptErasesNone(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	look := once(t, j, cure(t, 4), journal.Affected, journal.Affected, journal.Clean, journal.Unreachable)
	want := func(step string, answers ...journal.Outcome) {
		t.Helper()
		got := cases(t, j)
		for i, a := range answers {
			if got[id(i)].Answer.Word != a {
				t.Errorf("%s: machine %d: answer %q, want %q", step, i, got[id(i)].Answer.Word, a)
			}
		}
		rebuilt(t, j)
	}
	want("look", journal.Affected, journal.Affected, journal.Clean, "")
	if c := cases(t, j)[id(3)]; c.Tried.Word != "unreachable" || c.Tried.Class != route.Unreachable || c.Tried.Reason != "silent" || c.Tried.Run != look {
		t.Errorf("the attempt: %+v", c)
	}
	fix := once(t, j, cure(t, 4), journal.Fixed, journal.Unknown, journal.Held, journal.Unreachable)
	want("fix", journal.Fixed, journal.Affected, journal.Clean, "")
	if c := cases(t, j)[id(1)]; c.Tried.Word != "unknown" || c.Tried.Run != fix || c.Answer.Run != look {
		t.Errorf("an attempt without an answer: %+v", c)
	}
	undo := func(p *plan.Plan) { p.Mode, p.Undoes, p.Incident = agent.Undo, fix, "" }
	once(t, j, cure(t, 2, undo), journal.Failed, journal.Failed)
	want("an undo that failed", journal.Fixed, journal.Affected)
	back := once(t, j, cure(t, 1, undo), journal.Undone)
	want("undo", journal.Undone)
	run, err := j.Run(t.Context(), back)
	must(t, err)
	if run.Incident != trouble {
		t.Errorf("an undo left its run's incident: %+v", run)
	}
	// What has nothing to do with the incident, and what examines nothing.
	once(t, j, testPlan(t, 1), journal.Clean)
	script := func(p *plan.Plan) { p.Playbook.Detect = nil }
	once(t, j, cure(t, 1, script), journal.Fixed)
	want("others", journal.Undone)
	if c := cases(t, j)[id(0)]; c.Tried.Word != "fixed" {
		t.Errorf("a script is an attempt: %+v", c)
	}
}

// A machine that a run left alone was not tried: what the attempt before it found stays, in the live case and in the rebuild.
func TestHeldAndSkippedAreNoAttempts(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	silent := once(t, j, cure(t, 3), journal.Unreachable, journal.Unreachable, journal.Failed)
	s := create(t, j, cure(t, 4), nil)
	must(t, s.Hold([]string{id(0), id(2), id(3)}, "the gate"), s.Finish(id(1), journal.End{Outcome: journal.Skipped, Reason: "another run has it"}))
	got := cases(t, j)
	for i, want := range []string{"unreachable", "unreachable", "failed", "held"} {
		if c := got[id(i)]; c.Tried.Word != want || i < 3 && (c.Tried.Run != silent || c.Number <= c.Tried.Number) || i < 2 && (c.Tried.Class != route.Unreachable || c.Tried.Reason != "silent") {
			t.Errorf("machine %d: %+v", i, c)
		}
	}
	rebuilt(t, j)
	must(t, s.Close())
	must(t, j.CreateForMedium(t.Context(), journal.NewRunID(), cure(t, 1, func(p *plan.Plan) { p.Waves[0].Entries[0].Route = journal.RouteMedium })))
	if c := cases(t, j)[id(0)]; c.Tried.Word != "held" || c.Tried.Route != journal.RouteMedium {
		t.Errorf("on a medium: %+v", c)
	}
	rebuilt(t, j)
}

func TestARestartIsAnAttemptUntilItIsVerified(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	s := create(t, j, cure(t, 2), nil)
	must(t, s.Lease(id(0), id(1)), s.Begin(id(0), 1), s.Reboot(id(0), agent.Result{Outcome: agent.Fixed, Changed: 2}))
	if c := cases(t, j)[id(0)]; c.Tried.Word != "rebooting" || c.Answer.Word != "" || c.Tried.Changed != 2 {
		t.Errorf("while it restarts: %+v", c)
	}
	rebuilt(t, j)
	must(t, s.Finish(id(0), journal.End{Outcome: journal.Fixed}))
	if c := cases(t, j)[id(0)]; c.Answer.Word != journal.Fixed {
		t.Errorf("verified: %+v", c)
	}
	must(t, s.Finish(id(0), journal.End{Outcome: journal.Failed, Reason: "came back"}))
	if c := cases(t, j)[id(0)]; c.Answer.Word != journal.Failed {
		t.Errorf("after the soak: %+v", c)
	}
	rebuilt(t, j)
}

func TestAnOldMediumDoesNotReplaceWhatIsKnownBetter(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	first := once(t, j, cure(t, 3), journal.Unreachable, journal.Unreachable, journal.Unreachable)
	once(t, j, cure(t, 3), journal.Fixed, journal.Clean, journal.Affected)
	medium := func(run string, i int, digest, outcome string) {
		t.Helper()
		_, err := j.RecordByMedium(t.Context(), run, []journal.ByMedium{{Machine: id(i), Digest: digest, Result: agent.Result{Outcome: outcome}, Text: "x"}})
		must(t, err)
		rebuilt(t, j)
	}
	for i := range 3 {
		medium(first, i, "a", agent.Failed)
	}
	got := cases(t, j)
	if got[id(0)].Answer.Word != journal.Fixed || got[id(1)].Answer.Word != journal.Clean || got[id(2)].Answer.Word != journal.Failed || got[id(0)].Tried.Route != "medium" {
		t.Errorf("%+v", got)
	}
	medium(first, 1, "b", agent.Fixed)
	if c := cases(t, j)[id(1)]; c.Answer.Word != journal.Fixed || c.Answer.Route != "medium" {
		t.Errorf("fixed by medium: %+v", c)
	}
	// A stick that was made afterwards knows better than an undo.
	fixed := once(t, j, cure(t, 1), journal.Fixed)
	once(t, j, cure(t, 1, func(p *plan.Plan) { p.Mode, p.Undoes = agent.Undo, fixed }), journal.Undone)
	later := once(t, j, cure(t, 1), journal.Unreachable)
	medium(later, 0, "c", agent.Fixed)
	if c := cases(t, j)[id(0)]; c.Answer.Word != journal.Fixed {
		t.Errorf("a newer stick: %+v", c)
	}
}

// Whatever comes in whatever order, what was written as it came is what all of it together gives. A stick may replace what its run
// had found, and from which something else had followed.
func TestCasesEqualARebuildWhateverComes(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	fixed := once(t, j, cure(t, 1), journal.Fixed)
	found := once(t, j, cure(t, 1), journal.Affected)
	record := func(run, digest, outcome string) {
		t.Helper()
		_, err := j.RecordByMedium(t.Context(), run, []journal.ByMedium{{Machine: id(0), Digest: digest, Result: agent.Result{Outcome: outcome}, Text: "x"}})
		must(t, err)
		rebuilt(t, j)
	}
	record(found, "a", agent.Clean)
	if c := cases(t, j)[id(0)]; c.Answer.Word != journal.Fixed || c.Answer.Run != fixed || c.Tried.Run != found {
		t.Errorf("it was fixed, and is clean: %+v", c)
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
	runs := []string{fixed, found}
	outcomes := []journal.Outcome{journal.Fixed, journal.Clean, journal.Affected, journal.Failed, journal.Unreachable}
	for n := range 60 {
		switch random.IntN(4) {
		case 0:
			_, err := j.Mark(t.Context(), trouble, []string{id(0)}, journal.MarkFixed, "by hand", "eve")
			must(t, err)
		case 1, 2:
			record(runs[random.IntN(len(runs))], fmt.Sprint(n), []string{agent.Fixed, agent.Clean, agent.Failed}[random.IntN(3)])
		default:
			runs = append(runs, once(t, j, cure(t, 1), outcomes[random.IntN(len(outcomes))]))
		}
		rebuilt(t, j)
	}
}

func TestMarksAndTheirUndo(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	once(t, j, cure(t, 2), journal.Affected, journal.Unreachable)
	for _, bad := range []struct {
		word   journal.Word
		reason string
		ids    []string
	}{{"suspect", "x", []string{id(0)}}, {journal.MarkFixed, " ", []string{id(0)}}, {journal.MarkFixed, "x", nil}} {
		if _, err := j.Mark(ctx, trouble, bad.ids, bad.word, bad.reason, "ada"); err == nil {
			t.Errorf("accepted: %+v", bad)
		}
	}
	act, err := j.Mark(ctx, trouble, []string{id(0), "elsewhere", id(0)}, journal.MarkReplaced, "new laptop", "ada")
	must(t, err)
	got := cases(t, j)
	if c := got[id(0)]; c.Mark.Word != journal.MarkReplaced || c.Mark.By != "ada" || c.Mark.Reason != "new laptop" || c.Number != act || c.Answer.Word != journal.Affected {
		t.Errorf("%+v", c)
	}
	if got["elsewhere"].Mark.Word != journal.MarkReplaced {
		t.Errorf("a machine of no run: %+v", got)
	}
	rebuilt(t, j)
	second, err := j.Mark(ctx, trouble, []string{id(0)}, journal.MarkFixed, "by hand", "eve")
	must(t, err)
	rebuilt(t, j)
	if n, err := j.Unmark(ctx, trouble, second, "eve"); err != nil || n != 1 {
		t.Errorf("unmark: %d %v", n, err)
	}
	if c := cases(t, j)[id(0)]; c.Mark.Word != journal.MarkReplaced || c.Mark.Number != act || c.Number <= second {
		t.Errorf("the former mark stands again: %+v", c)
	}
	rebuilt(t, j)
	if _, err := j.Unmark(ctx, trouble, second, "eve"); err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("taken back twice: %v", err)
	}
	if acts, err := j.Acts(ctx, trouble); err != nil || len(acts) != 2 || acts[0].Undone == 0 || acts[0].UndoneBy != "eve" || acts[1].Machines != 2 ||
		acts[1].Number != act || acts[1].Incident != trouble || acts[1].Time.IsZero() || acts[1].Who != "ada" || acts[1].Word != journal.MarkReplaced || acts[1].Reason != "new laptop" {
		t.Errorf("acts: %+v %v", acts, err)
	}
	after, _, err := j.Cases(ctx, trouble, second)
	if err != nil || len(after) != 1 || after[0].Machine != id(0) {
		t.Errorf("changed after %d: %+v %v", second, after, err)
	}
}

func TestIncidents(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	once(t, j, cure(t, 3), journal.Affected, journal.Clean, journal.Fixed) // opens it
	_, err := j.Mark(ctx, trouble, []string{id(2)}, journal.MarkExcluded, "a lab machine", "ada")
	must(t, err)
	i, err := j.Incident(ctx, trouble)
	must(t, err)
	if i.Playbook != "test-playbook" || i.Digest == "" || i.Operator != "ada" || !i.IsOpen() {
		t.Errorf("%+v", i)
	}
	next := journal.Incident{ID: "again", Playbook: "test-playbook", Digest: "other", Operator: "eve", Replaces: trouble}
	must(t, j.OpenIncident(ctx, next))
	carried, _, err := j.Cases(ctx, "again", 0)
	must(t, err)
	if len(carried) != 3 || carried[0].Mark.Word != journal.MarkSuspect || carried[1].Mark.Word != journal.MarkSuspect || carried[2].Mark.Word != journal.MarkExcluded || carried[0].Answer.Word != "" {
		t.Errorf("carried over: %+v", carried)
	}
	must(t, j.RebuildCases(ctx))
	if same, _, err := j.Cases(ctx, "again", 0); err != nil || !slices.Equal(same, carried) {
		t.Errorf("rebuilt: %+v %v", same, err)
	}
	for what, bad := range map[string]journal.Incident{"twice": next, "name": {ID: "A b"}, "replaces nothing": {ID: "x", Replaces: "none"}} {
		if err := j.OpenIncident(ctx, bad); err == nil || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, j.CloseIncident(ctx, trouble, "ada"), j.CloseIncident(ctx, trouble, "eve"))
	var closed *journal.ClosedIncidentError
	if _, err := j.Create(ctx, cure(t, 1), nil); !errors.As(err, &closed) || closed.By != "ada" || len(hint.Of(err)) == 0 {
		t.Errorf("a run in a closed incident: %v", err)
	}
	if _, err := j.Mark(ctx, trouble, []string{id(0)}, journal.MarkFixed, "x", "ada"); !errors.As(err, &closed) {
		t.Errorf("a mark in a closed incident: %v", err)
	}
	must(t, j.ReopenIncident(ctx, trouble))
	once(t, j, cure(t, 1), journal.Clean)
	if all, err := j.Incidents(ctx); err != nil || len(all) != 2 || all[0].ID != "again" {
		t.Errorf("%+v %v", all, err)
	}
	if visits, err := j.History(ctx, id(0)); err != nil || len(visits) != 2 || visits[0].Machine.Outcome != journal.Clean || visits[1].Incident != trouble {
		t.Errorf("history: %+v %v", visits, err)
	}
}
