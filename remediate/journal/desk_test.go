package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// What is brought up to date is what a fresh look finds, and it says whose cases those were.
func TestAListOfCasesIsBroughtUpToDate(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	once(t, j, cure(t, 3), journal.Affected, journal.Affected, journal.Clean)
	list, err := j.CaseList(ctx, trouble)
	must(t, err)
	before := list.Number()
	s := create(t, j, cure(t, 2), nil)
	finish(t, s, 1, journal.Fixed)
	act, err := j.Mark(ctx, trouble, []string{"elsewhere"}, journal.MarkFixed, "by hand", "ada")
	must(t, err)
	changed, err := j.Update(ctx, list)
	must(t, err)
	slices.Sort(changed)
	if got := strings.Join(changed, " "); got != "elsewhere "+id(1) || list.Number() != act || before >= act || list.Len() != 4 {
		t.Errorf("changed %q up to %d, %d cases", got, list.Number(), list.Len())
	}
	for machine, want := range cases(t, j) {
		if got, ok := list.Case(machine); !ok || got != want {
			t.Errorf("%s: the list has %+v (%v), want %+v", machine, got, ok, want)
		}
	}
	if c, _ := list.Case(id(1)); c.Answer.Word != journal.Fixed || c.Answer.Run != s.ID() {
		t.Errorf("%+v", c)
	}
	if changed, err := j.Update(ctx, list); err != nil || len(changed) != 0 {
		t.Errorf("nothing has changed, but %v %v", changed, err)
	}
}

// The digest of an incident is made when there is none, and anew when a thousand cases have changed since, not with each of them.
func TestWhenAnIncidentIsDigested(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	once(t, j, cure(t, 3), journal.Affected, journal.Affected, journal.Clean)
	machines := make([]string, 1001)
	for i := range machines {
		machines[i] = fmt.Sprintf("x%04d", i)
	}
	first := int64(0)
	for _, c := range []struct {
		mark []string
		rows int
		anew bool
	}{{nil, 3, true}, {machines[:1000], 3, false}, {machines[1000:], 1004, true}} {
		if c.mark != nil {
			_, err := j.Mark(ctx, trouble, c.mark, journal.MarkFixed, "by hand", "ada")
			must(t, err)
		}
		list, err := j.CaseList(ctx, trouble)
		must(t, err)
		number, rows, err := j.Digested(ctx, trouble)
		must(t, err)
		if rows != c.rows || (number == list.Number()) != c.anew || !c.anew && number != first || list.Len() != len(cases(t, j)) {
			t.Errorf("after %d marks: %d cases as of %d of %d", len(c.mark), rows, number, list.Number())
		}
		first = number
	}
}

// An incident keeps what it was opened with, and its window can be changed.
func TestAnIncidentKeepsItsWindowAndItsPlaybook(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	first, last := time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC), time.Date(2024, 7, 19, 5, 27, 0, 0, time.UTC)
	opened := journal.Incident{ID: trouble, Playbook: "p", Digest: "d", Operator: "ada", Start: first, File: "/books/p.yaml", Parameters: map[string]string{"channel": "291"}}
	must(t, j.OpenIncident(ctx, opened))
	before, err := j.Incident(ctx, trouble)
	must(t, err)
	if before.File != opened.File || before.Parameters["channel"] != "291" || len(before.Parameters) != 1 || !before.Start.Equal(first) || !before.End.IsZero() || before.Opened.IsZero() {
		t.Errorf("%+v", before)
	}
	must(t, j.SetWindow(ctx, trouble, first.Add(time.Minute), last))
	after, err := j.Incident(ctx, trouble)
	must(t, err)
	if !after.Start.Equal(first.Add(time.Minute)) || !after.End.Equal(last) || after.Number <= before.Number || after.File != opened.File {
		t.Errorf("%+v", after)
	}
	for what, err := range map[string]error{
		"change": j.SetWindow(ctx, "none", first, last), "close": j.CloseIncident(ctx, "none", "ada"), "open": j.ReopenIncident(ctx, "none"),
	} {
		if none := (*journal.NoIncidentError)(nil); !errors.As(err, &none) || none.ID != "none" || !strings.HasPrefix(fmt.Sprint(err), what+" incident none: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, j.CloseIncident(ctx, trouble, "eve"))
	closed, err := j.Incident(ctx, trouble)
	must(t, err)
	if closed.IsOpen() || closed.ClosedBy != "eve" || closed.Number <= after.Number {
		t.Errorf("%+v", closed)
	}
	must(t, j.ReopenIncident(ctx, trouble))
	if again, err := j.Incident(ctx, trouble); err != nil || !again.IsOpen() || again.ClosedBy != "" || again.Number <= closed.Number {
		t.Errorf("%+v %v", again, err)
	}
}

// A run that would be counted in an incident which meanwhile asks something else is refused, unless somebody has named it on purpose.
func TestAnotherQuestionUnderTheSameName(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	must(t, j.OpenIncident(ctx, journal.Incident{ID: trouble, Digest: "another"}))
	_, err := j.Create(ctx, cure(t, 1, func(p *plan.Plan) { p.Asks = true }), nil)
	if other := (*journal.OtherQuestionError)(nil); !errors.As(err, &other) || other.ID != trouble || !strings.Contains(strings.Join(hint.Of(err), " "), trouble) {
		t.Errorf("counted in it: %v", err)
	}
	if runs, err := j.Runs(ctx); err != nil || len(runs) != 0 {
		t.Errorf("it was recorded: %+v %v", runs, err)
	}
	s := create(t, j, cure(t, 1), nil)
	finish(t, s, 0, journal.Clean)
	if c := cases(t, j)[id(0)]; c.Answer.Run != s.ID() {
		t.Errorf("%+v", c)
	}
}

// Whose machines are still with a run, whether somebody works on it, and which of them may have been changed.
func TestUnfinishedMachines(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	once(t, j, cure(t, 1), journal.Clean)
	dead := create(t, j, cure(t, 3), nil)
	must(t, dead.Lease(id(0), id(1)), dead.Begin(id(1), 1))
	finish(t, dead, 2, journal.Fixed)
	must(t, dead.Close())
	other := create(t, j, testPlan(t, 1), nil) // of no incident
	atWork := create(t, j, cure(t, 5), nil)
	must(t, atWork.Lease(id(3)), atWork.Begin(id(3), 1))
	all, err := j.Unfinished(ctx, trouble)
	must(t, err)
	got := map[string]string{}
	for _, u := range all {
		got[fmt.Sprint(u.Machine, map[string]string{dead.ID(): " dead", atWork.ID(): " at work", other.ID(): " of no incident"}[u.Run])] = fmt.Sprint(u.Live, u.Begun)
	}
	want := map[string]string{id(0) + " dead": "false true", id(1) + " dead": "false true", id(0) + " at work": "true false", id(1) + " at work": "true false",
		id(2) + " at work": "true false", id(3) + " at work": "true true", id(4) + " at work": "true false"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n%v, want\n%v", got, want)
	}
	must(t, dead.Close(), j.Abandon(ctx, dead.ID(), "eve"), atWork.Close())
	if all, err := j.Unfinished(ctx, trouble); err != nil || len(all) != 5 || all[0].Live {
		t.Errorf("after a cancel: %+v %v", all, err)
	}
}

// The newest run that asked the question of an incident says how it is asked: neither one that asked something else, nor a medium.
func TestWhoAskedLast(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	must(t, j.OpenIncident(ctx, journal.Incident{ID: trouble, Digest: cure(t, 1).Playbook.DetectDigest()}))
	i, err := j.Incident(ctx, trouble)
	must(t, err)
	if p, err := j.Asked(ctx, i); p != nil || err != nil {
		t.Errorf("nobody has asked: %+v %v", p, err)
	}
	from := func(file string) func(*plan.Plan) {
		return func(p *plan.Plan) { p.PlaybookFile, p.Parameters = file, map[string]string{"of": file} }
	}
	once(t, j, cure(t, 1, from("first.yaml")), journal.Affected)
	once(t, j, cure(t, 1, from("second.yaml")), journal.Affected)
	once(t, j, cure(t, 1, from("other.yaml"), func(p *plan.Plan) { p.Playbook.Detect = []playbook.Condition{{File: `C:\other.sys`}} }), journal.Clean)
	onStick := func(p *plan.Plan) { p.Waves[0].Entries[0].Route = journal.RouteMedium }
	must(t, j.CreateForMedium(ctx, journal.NewRunID(), cure(t, 1, from("stick.yaml"), onStick)))
	p, err := j.Asked(ctx, i)
	must(t, err)
	if p.PlaybookFile != "second.yaml" || p.Parameters["of"] != "second.yaml" || p.Playbook.Name != "test-playbook" || len(p.Waves) != 0 {
		t.Errorf("%+v", p)
	}
}

// A wave is refused by its number: that of another one, or of one that waits no more, does nothing.
func TestAWaveIsRefused(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	s := create(t, j, testPlan(t, 1), nil)
	must(t, s.SetStatus(journal.RunWaiting, journal.Approval, 1, ""))
	if err := j.Refuse(ctx, s.ID(), 1, "eve"); !isNotAwaited(err) {
		t.Errorf("refused a wave that is over: %v", err)
	}
	must(t, j.Refuse(ctx, s.ID(), 2, "eve"))
	left, err := s.Controls(ctx, 0)
	if err != nil || len(left) != 1 || left[0].Kind != journal.Cancel || left[0].Wave != 2 || left[0].Who != "eve" || left[0].Time.IsZero() {
		t.Errorf("%+v %v", left, err)
	}
	must(t, s.SetStatus(journal.RunPaused, journal.Paused, 1, "")) // it waits while it is paused, too
	if wave, err := j.Approve(ctx, s.ID(), 0, "bob"); wave != 2 || err != nil {
		t.Errorf("approved wave %d: %v", wave, err)
	}
	must(t, s.SetStatus(journal.RunRunning, journal.Approved, 1, "by bob"), s.Note(journal.WaveStarted, 2, ""))
	err = j.Refuse(ctx, s.ID(), 2, "eve")
	if !isNotAwaited(err) || !strings.Contains(err.Error(), "wave 2 (it is running)") {
		t.Errorf("refused a wave that has begun: %v", err)
	}
	if wave, err := j.Approve(ctx, s.ID(), 0, "bob"); wave != 0 || !isNotAwaited(err) || !strings.Contains(err.Error(), "wait for approval (it is running)") {
		t.Errorf("approved wave %d: %v", wave, err)
	}
	must(t, s.SetStatus(journal.RunPaused, journal.Paused, 2, ""))
	if wave, err := j.Approve(ctx, s.ID(), 0, "bob"); wave != 0 || !isNotAwaited(err) {
		t.Errorf("approved wave %d of a run that is paused in the middle of one: %v", wave, err)
	}
}

// A follower stays as long as somebody works on the run, whatever it waits for, and goes when it is over or he has enough.
func TestAFollowerStaysWhileTheRunGoesOn(t *testing.T) {
	for _, status := range []journal.Status{journal.RunRunning, journal.RunPaused, journal.RunWaiting, journal.RunInterrupted} {
		j := open(t, filepath.Join(t.TempDir(), "j.db"))
		s := create(t, j, testPlan(t, 1), nil)
		must(t, s.SetStatus(status, journal.Paused, 1, "first"))
		texts, stays := "", status != journal.RunInterrupted
		run, err := j.Follow(t.Context(), s.ID(), 0, func(events []journal.Event) error {
			for _, e := range events {
				texts += e.Text + " "
			}
			if texts == "first " && stays { // he would be gone by the second one
				must(t, s.Note(journal.Paused, 1, "second"), s.End(journal.RunInterrupted, "x"))
			}
			return nil
		})
		if want := map[bool]string{true: "first second interrupted: x ", false: "first "}[stays]; err != nil || texts != want || run.Status != journal.RunInterrupted {
			t.Errorf("%s: followed %q, want %q (%+v %v)", status, texts, want, run, err)
		}
	}
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	s := create(t, j, testPlan(t, 1), nil)
	must(t, s.Note(journal.Paused, 1, "first"))
	enough := errors.New("enough")
	if run, err := j.Follow(t.Context(), s.ID(), 0, func([]journal.Event) error { return enough }); run != nil || !errors.Is(err, enough) {
		t.Errorf("%+v %v", run, err)
	}
}

// A watch tells of what another process has changed, once.
func TestAWatchTellsOfChanges(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "j.db")
	j, other := open(t, path), open(t, path)
	w, err := j.Watch(ctx)
	must(t, err)
	defer w.Close() //nolint:errcheck // the test is over
	see := func(want bool) {
		t.Helper()
		if got, err := w.Changed(ctx); err != nil || got != want {
			t.Errorf("changed: %v (%v), want %v", got, err, want)
		}
	}
	_, err = w.Changed(ctx)
	must(t, err)
	see(false)
	must(t, other.OpenIncident(ctx, journal.Incident{ID: trouble}))
	see(true)
	see(false)
}

// What these errors say is what somebody reads at night: who, which, and why.
func TestErrorsSayWhich(t *testing.T) {
	since := time.Date(2024, 7, 19, 4, 12, 33, 0, time.Local)
	owner := journal.Owner{PID: 4711, Host: "HOST", Run: "r1", Since: since}
	claim := journal.Claim{Run: "r1", Operator: "eve", Owner: &owner}
	for want, err := range map[string]error{
		"the journal of run r1 cannot be written: disk":                                                              &journal.WriteError{Run: "r1", Err: errors.New("disk")},
		"run r1 is over (gated)":                                                                                     &journal.EndedError{Run: "r1", Status: journal.RunGated},
		"nobody works on run r1":                                                                                     &journal.IdleError{Run: "r1"},
		`no run "r9" in the journal`:                                                                                 &journal.NotFoundError{ID: "r9"},
		`run "r" is ambiguous: r2, r1`:                                                                               &journal.AmbiguousError{Prefix: "r", Matches: []string{"r2", "r1"}},
		`no incident "i"`:                                                                                            &journal.NoIncidentError{ID: "i"},
		`there is an incident "i" already`:                                                                           &journal.IncidentExistsError{ID: "i"},
		"incident i was closed by eve at 2024-07-19 04:12":                                                           &journal.ClosedIncidentError{ID: "i", By: "eve", At: since},
		"incident i was opened meanwhile, and asks another question than this plan":                                  &journal.OtherQuestionError{ID: "i"},
		"machine PC cannot go from pending to done (fixed): why":                                                     &journal.TransitionError{Machine: "PC", From: journal.Pending, To: journal.Done, Outcome: journal.Fixed, Why: "why"},
		"machine PC cannot go from done to leased":                                                                   &journal.TransitionError{Machine: "PC", From: journal.Done, To: journal.Leased},
		"run r1 waits for the approval of wave 2, not of wave 3: nothing was approved":                               &journal.NotAwaitedError{Run: "r1", Wave: 3, Awaited: 2},
		"run r1 does not wait for the approval of wave 3 (it is running): nothing was approved":                      &journal.NotAwaitedError{Run: "r1", Wave: 3, Status: journal.RunRunning},
		"run r1 does not wait for approval (it is running): nothing was approved":                                    &journal.NotAwaitedError{Run: "r1", Status: journal.RunRunning},
		"run r1 is at work elsewhere (process 4711 on HOST, since 2024-07-19 04:12:33)":                              &journal.LockedError{Owner: owner},
		"the journal is being brought to a new version (process 4711 on HOST, since 2024-07-19 04:12:33)":            &journal.LockedError{Owner: journal.Owner{PID: 4711, Host: "HOST", Since: since}},
		"the run is at work in another process":                                                                      &journal.LockedError{},
		"machine PC: run r1 of eve has it (process 4711 on HOST, since 2024-07-19 04:12:33)":                         &journal.ClaimedError{Machine: "PC", Claim: claim},
		"machine PC: run r1 of eve has it, and nobody works on that run: resume or cancel it first":                  &journal.ClaimedError{Machine: "PC", Claim: journal.Claim{Run: "r1", Operator: "eve"}},
		"machine PC: it is the machine OLD of the same run: the inventory has joined them since the plan was frozen": &journal.ClaimedError{Machine: "PC", Claim: journal.Claim{Run: "r1", Same: "OLD"}},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

// What a cancel of a run leaves behind that nobody works on says why, machine by machine.
func TestACancelSaysWhatBecameOfEach(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	const many = 2001 // more than are held at once
	s := create(t, j, testPlan(t, many+1), nil)
	must(t, s.Lease(id(0)), s.Begin(id(0), 1), s.Close(), j.Abandon(ctx, s.ID(), "eve"))
	machines, err := j.Machines(ctx, s.ID())
	must(t, err)
	for i, m := range machines[:many+1] {
		outcome, reason := journal.Held, "not started: cancelled by eve"
		if i == 0 {
			outcome, reason = journal.Unknown, "was not asked what became of it: the run was cancelled by eve while nobody worked on it"
		}
		if m.Outcome != outcome || m.Reason != reason {
			t.Fatalf("machine %d: %s %q", i, m.Outcome, m.Reason)
		}
	}
}

// An error after which something may have run is no reason to ask again as if nothing had.
func TestABackOffNeedsAnErrorBeforeAnythingRan(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	s := create(t, j, testPlan(t, 1), nil)
	must(t, s.Lease(id(0)), s.Begin(id(0), 1))
	err := s.BackOff(id(0), route.Unknown, "cut off")
	if refused := (*journal.TransitionError)(nil); !errors.As(err, &refused) || refused.From != journal.Running || refused.To != journal.Leased || !strings.HasSuffix(err.Error(), "with an error of class unknown something may have run") {
		t.Fatalf("backed off: %v", err)
	}
	must(t, s.BackOff(id(0), route.Busy, "quota"))
	machines, err := j.Machines(t.Context(), s.ID())
	must(t, err)
	if m := machines[0]; m.State != journal.Leased || m.Class != route.Busy || m.Reason != "quota" {
		t.Errorf("%+v", m)
	}
}

// A medium reports what a machine started from it can say, and nothing else; what it decides is recorded as a run would.
func TestWhatAMediumMayReport(t *testing.T) {
	ctx := t.Context()
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	run := journal.NewRunID()
	must(t, j.CreateForMedium(ctx, run, cure(t, 2, func(p *plan.Plan) {
		for i := range p.Waves[0].Entries {
			p.Waves[0].Entries[i].Route = journal.RouteMedium
		}
	})))
	made, err := j.Run(ctx, run)
	must(t, err)
	machines, err := j.Machines(ctx, run)
	must(t, err)
	events, err := j.Events(ctx, run, 0)
	must(t, err)
	if made.Status != journal.RunDone || made.Finished != 1 || made.Ended.IsZero() || made.Counts[journal.Held] != 2 || machines[0].Reason != "awaits its boot medium" || machines[0].Ended.IsZero() ||
		len(events) != 1 || events[0].Kind != journal.RunStarted || events[0].Text != "a boot medium was built" || events[0].Machine != "" {
		t.Errorf("%+v %+v %+v", made, machines[0], events)
	}
	for _, outcome := range []string{agent.Affected, agent.Undone, "unknown", ""} {
		if _, err := j.RecordByMedium(ctx, run, []journal.ByMedium{{Machine: id(0), Digest: "d" + outcome, Result: agent.Result{Outcome: outcome}}}); err == nil {
			t.Errorf("a medium reports %q", outcome)
		}
	}
	_, err = j.RecordByMedium(ctx, run, []journal.ByMedium{{Machine: id(1), Digest: "e", Result: agent.Result{Outcome: agent.Failed, Changed: 2}, Text: "locked"}})
	must(t, err)
	machines, err = j.Machines(ctx, run)
	must(t, err)
	if m := machines[1]; m.Outcome != journal.Failed || m.Reason != "locked" || m.Changed != 2 || m.Started.IsZero() || m.State != journal.Done || machines[0].Outcome != journal.Held {
		t.Errorf("%+v", machines)
	}
	if c := cases(t, j)[id(1)]; c.Answer.Word != journal.Failed || c.Answer.Route != journal.RouteMedium || c.Tried.Reason != "locked" {
		t.Errorf("%+v", c)
	}
	events, err = j.Events(ctx, run, 1)
	must(t, err)
	if len(events) != 1 || events[0].Text != "by medium: locked" || events[0].MachineID != id(1) || events[0].Wave != 1 || events[0].Outcome != journal.Failed || events[0].State != journal.Done {
		t.Errorf("%+v", events)
	}
}

// Who waits for a lock goes when he is told to, and one that its owner is about to write has no name yet.
func TestALockThatIsJustBeingWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j, other := open(t, path), open(t, path)
	s := create(t, j, testPlan(t, 1), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := journal.Quiet(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("waited on: %v", err)
	}
	lock := filepath.Join(path+".locks", s.ID()+".lock")
	must(t, os.Truncate(lock, 0))
	if owner, held, err := other.Owner(s.ID()); !held || err != nil || owner.PID != 0 {
		t.Errorf("%+v %v %v", owner, held, err)
	}
	_, err := other.Resume(t.Context(), s.ID(), nil)
	if !isLocked(err) || !strings.Contains(strings.Join(hint.Of(err), " "), "try again") {
		t.Errorf("%v", err)
	}
	must(t, s.Close())
	if owner, held, err := other.Owner(s.ID()); held || err != nil || owner != (journal.Owner{}) {
		t.Errorf("nobody: %+v %v %v", owner, held, err)
	}
	if _, held, err := other.Owner("../x"); held || err == nil {
		t.Errorf("no ID of a run: %v %v", held, err)
	}
	must(t, os.WriteFile(lock, []byte(`{"pid":1,"run":"`+s.ID()+`"}`), 0o600)) // what somebody left who died
	if owner, held, err := other.Owner(s.ID()); held || err != nil || owner.PID != 0 {
		t.Errorf("who died: %+v %v %v", owner, held, err)
	}
}
