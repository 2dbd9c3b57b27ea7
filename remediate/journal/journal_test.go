package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func testPlan(t testing.TB, n int) *plan.Plan {
	t.Helper()
	p, err := newPlan(n)
	must(t, err)
	return p
}

func newPlan(n int) (*plan.Plan, error) {
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada"}
	in.Source.Playbook.Name = "test-playbook"
	for i := range n {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: id(i), Name: fmt.Sprintf("PC%05d", i), Site: "LON"}, Route: "fake"})
	}
	in.Skipped = []plan.Skip{{ID: "s1", Name: "SKIPPED", Reason: "no route"}}
	return plan.New(in)
}

func id(i int) string { return fmt.Sprintf("m%05d", i) }

func open(t testing.TB, path string, options ...journal.Option) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), path, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func create(t testing.TB, j *journal.Journal, p *plan.Plan, observe func(journal.Event)) *journal.Session {
	t.Helper()
	s, err := j.Create(t.Context(), p, observe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestARunIsRecordedAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder?%41#", "journal.db")
	j := open(t, path)
	var seen []journal.Event
	s := create(t, j, testPlan(t, 4), func(e journal.Event) { seen = append(seen, e) })
	result := agent.Result{Run: s.ID(), Outcome: agent.Fixed, Changed: 2, Uptime: 77, Steps: []agent.StepDone{{Action: "quarantine", Target: `C:\x`, Changed: 2}}}
	must(t, s.Note(journal.RunStarted, 0, "go"), s.Lease(id(0), id(1), id(2)),
		s.Begin(id(0), 1), s.Reboot(id(0), result), s.Finish(id(0), journal.End{Outcome: journal.Fixed, Rebooted: true}),
		s.Begin(id(1), 1), s.BackOff(id(1), route.Busy, "quota"), s.Begin(id(1), 2),
		s.Finish(id(1), journal.End{Outcome: journal.Failed, Result: &agent.Result{Outcome: agent.Failed, Changed: 1, Message: "no"}, Reason: "no"}),
		s.Finish(id(2), journal.End{Outcome: journal.Unreachable, Class: route.Unreachable, Reason: "off"}),
		s.Hold([]string{id(3)}, "gate"), s.FinishWave(1), s.End(journal.RunGated, "too many"))

	ctx := t.Context()
	run, err := j.Run(ctx, s.ID())
	must(t, err)
	if run.Status != journal.RunGated || run.Reason != "too many" || run.Machines != 4 || run.Finished != 1 || run.Operator != "ada" ||
		run.Counts[journal.Fixed] != 1 || run.Counts[journal.Held] != 1 || run.Counts[journal.Skipped] != 1 || run.Ended.IsZero() {
		t.Fatalf("run: %+v", run)
	}
	machines, err := j.Machines(ctx, s.ID())
	must(t, err)
	if len(machines) != 5 || machines[0].Result == nil || machines[0].Result.Steps[0].Target != `C:\x` || !machines[0].Rebooted || machines[0].Changed != 2 ||
		machines[1].Attempts != 2 || machines[1].Changed != 1 || machines[4].Outcome != journal.Skipped || machines[4].Wave != 0 || machines[0].FixedAt.IsZero() {
		t.Fatalf("machines: %+v", machines)
	}
	events, err := j.Events(ctx, s.ID(), 0)
	must(t, err)
	if !slices.Equal(events, seen) {
		t.Fatalf("stored events differ from observed ones:\n%v\n%v", events, seen)
	}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
	}
	if later, err := j.Events(ctx, s.ID(), events[len(events)-3].Seq); err != nil || len(later) != 2 {
		t.Fatalf("events after: %v %v", later, err)
	}
	answers, err := j.Answers(ctx, s.ID())
	must(t, err)
	if first := answers[id(0)]; len(answers) != 2 || first.Outcome != journal.Fixed || !first.At.Equal(machines[0].Ended) || answers[id(1)].Outcome != journal.Failed {
		t.Fatalf("answers: %+v", answers)
	}
	p, err := j.Plan(ctx, s.ID())
	must(t, err)
	if p.Machines() != 4 || p.Digest == "" {
		t.Fatalf("plan: %+v", p)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Fatalf("others can read the journal: %v %v", info.Mode(), err)
	}
}

func TestRefusedTransitionsLeaveNothing(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	s := create(t, j, testPlan(t, 2), nil)
	for name, err := range map[string]error{
		"begin nobody":    s.Begin("nobody", 1),
		"lease one wrong": s.Lease(id(0), "nobody"),
		"finish pending":  s.Finish(id(1), journal.End{Outcome: journal.Fixed}),
		"back off":        s.BackOff(id(0), route.Unknown, "may have run"),
		"end too early":   s.End(journal.RunDone, ""),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	machines, err := j.Machines(t.Context(), s.ID())
	must(t, err)
	for _, m := range machines[:2] {
		if m.State != journal.Pending {
			t.Errorf("%s is %s", m.Target.Name, m.State)
		}
	}
	if events, err := j.Events(t.Context(), s.ID(), 0); err != nil || len(events) != 0 {
		t.Errorf("refused changes left events: %v %v", events, err)
	}
	must(t, s.Lease(id(0))) // a refusal breaks nothing
}

func TestManyWorkersShareCommits(t *testing.T) {
	const n = 400
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	var last int64
	s := create(t, j, testPlan(t, n), func(e journal.Event) {
		if e.Seq != last+1 {
			t.Errorf("event %d after %d", e.Seq, last)
		}
		last = e.Seq
	})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := errors.Join(s.Lease(id(i)), s.Begin(id(i), 1), s.Finish(id(i), journal.End{Outcome: journal.Clean})); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	must(t, s.End(journal.RunDone, ""), s.Close())
	if last != 3*n+1 {
		t.Errorf("%d events", last)
	}
	if err := s.Note(journal.Paused, 0, ""); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	if _, err := j.Resume(t.Context(), s.ID(), nil); !isEnded(err) || !strings.Contains(strings.Join(hint.Of(err), " "), "runs retry "+s.ID()) {
		t.Errorf("resume of a run that is over: %v", err)
	}
}

func isEnded(err error) bool { _, ok := errors.AsType[*journal.EndedError](err); return ok }

func TestResumeFindsEverythingAsItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	s := create(t, j, testPlan(t, 3), nil)
	must(t, s.Lease(id(0), id(1)), s.Begin(id(0), 1), s.End(journal.RunInterrupted, "operator"), s.Close())
	j2 := open(t, path)
	var seen []journal.Event
	s2, err := j2.Resume(t.Context(), s.ID(), func(e journal.Event) { seen = append(seen, e) })
	must(t, err)
	defer s2.Close()
	must(t, s2.SetStatus(journal.RunRunning, journal.RunResumed, 0, ""), s2.Release(id(1)), s2.Begin(id(0), 2))
	if seen[0].Seq != 5 || s2.Plan().Machines() != 3 {
		t.Errorf("resumed at event %d", seen[0].Seq)
	}
	run, err := j.Run(t.Context(), s.ID())
	must(t, err)
	if run.Status != journal.RunRunning || !run.Ended.IsZero() || run.Reason != "" {
		t.Errorf("run %+v", run)
	}
}

func TestControls(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	s := create(t, j, testPlan(t, 1), nil)
	other := open(t, path)
	if err := other.Control(ctx, s.ID(), journal.Approve, "bob"); err == nil {
		t.Error("approved a run that does not wait")
	}
	must(t, other.Control(ctx, s.ID(), journal.Pause, "bob"), s.SetStatus(journal.RunWaiting, journal.Approval, 1, ""), other.Control(ctx, s.ID(), journal.Approve, "eve"))
	if _, err := other.Approve(ctx, s.ID(), 3, "bob"); !isNotAwaited(err) || !strings.Contains(err.Error(), "wave 2, not of wave 3") {
		t.Errorf("approved a wave that does not wait: %v", err)
	}
	controls, err := s.Controls(ctx, s.ControlSeq())
	must(t, err)
	if len(controls) != 2 || controls[0].Kind != journal.Pause || controls[1].Who != "eve" || controls[1].Wave != 2 {
		t.Fatalf("controls: %+v", controls)
	}
	must(t, s.Obeyed(controls[0].Seq), s.Hold([]string{id(0)}, "x"), s.End(journal.RunInterrupted, ""), s.Close())
	for _, kind := range []journal.ControlKind{journal.Pause, journal.Stop, journal.StopNow} {
		if err := other.Control(ctx, s.ID(), kind, "bob"); !isIdle(err) {
			t.Errorf("%s where nobody works: %v", kind, err)
		}
	}
	s2, err := j.Resume(ctx, s.ID(), nil)
	must(t, err)
	if left, err := s2.Controls(ctx, s2.ControlSeq()); err != nil || len(left) != 1 {
		t.Errorf("left after resume: %v %v", left, err)
	}
	must(t, s2.End(journal.RunCancelled, ""), s2.Close())
	if err := other.Control(ctx, s.ID(), journal.Pause, "bob"); !isEnded(err) || !strings.Contains(strings.Join(hint.Of(err), " "), "runs retry "+s.ID()) {
		t.Errorf("control of a run that is over: %v", err)
	}
}

func isIdle(err error) bool       { _, ok := errors.AsType[*journal.IdleError](err); return ok }
func isNotAwaited(err error) bool { _, ok := errors.AsType[*journal.NotAwaitedError](err); return ok }

func TestACancelledDeadRunLeavesNothing(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	s := create(t, j, testPlan(t, 5), nil)
	must(t, s.Lease(id(0), id(1), id(2), id(3)), s.Begin(id(0), 1), s.Begin(id(1), 1), s.Reboot(id(1), agent.Result{Changed: 1}), s.Begin(id(2), 1),
		s.Finish(id(2), journal.End{Outcome: journal.Clean}))
	if err := j.Abandon(ctx, s.ID(), "eve"); !isLocked(err) {
		t.Fatalf("abandoned a run at work: %v", err)
	}
	must(t, s.Close(), j.Abandon(ctx, s.ID(), "eve"))
	run, err := j.Run(ctx, s.ID())
	must(t, err)
	if want := "map[clean:1 held:2 skipped:1 unknown:2]"; fmt.Sprint(run.Counts) != want || run.Status != journal.RunCancelled || run.Reason != "cancelled by eve" {
		t.Errorf("%v, want %s (%s %s)", run.Counts, want, run.Status, run.Reason)
	}
	if claims, err := j.Claims(ctx); err != nil || len(claims) != 0 {
		t.Errorf("claims left: %v %v", claims, err)
	}
	if err := j.Abandon(ctx, s.ID(), "eve"); !isEnded(err) {
		t.Errorf("abandoned twice: %v", err)
	}
}

// A follower who does not read for the whole run loses nothing, and nothing is kept for him.
func TestAFollowerLosesNothing(t *testing.T) {
	const n = 1500
	path := filepath.Join(t.TempDir(), "j.db")
	j, other := open(t, path), open(t, path)
	s := create(t, j, testPlan(t, n), nil)
	must(t, s.Note(journal.RunStarted, 0, ""))
	over, followed := make(chan struct{}), make(chan error, 1)
	var seen []journal.Event
	var last *journal.Run
	go func() {
		var err error
		last, err = other.Follow(context.Background(), s.ID(), 0, func(events []journal.Event) error {
			<-over
			if len(events) > 1000 {
				t.Errorf("%d events at a time", len(events))
			}
			seen = append(seen, events...)
			return nil
		})
		followed <- err
	}()
	for i := range n {
		must(t, s.Lease(id(i)), s.Begin(id(i), 1), s.Finish(id(i), journal.End{Outcome: journal.Clean}))
	}
	must(t, s.End(journal.RunDone, ""), s.Close())
	close(over)
	must(t, <-followed)
	for i, e := range seen {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has number %d", i, e.Seq)
		}
	}
	if len(seen) != 3*n+2 || last.Status != journal.RunDone {
		t.Errorf("%d events, %+v", len(seen), last)
	}
}

func TestFollowingEndsWhereNobodyWorks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	s := create(t, j, testPlan(t, 1), nil)
	must(t, s.Note(journal.RunStarted, 0, ""), s.Close()) // as if it died
	run, err := j.Follow(t.Context(), s.ID(), 0, func([]journal.Event) error { return nil })
	if err != nil || !run.Idle() || run.Status != journal.RunRunning {
		t.Errorf("%+v %v", run, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	again, err := j.Resume(ctx, s.ID(), nil)
	must(t, err)
	if _, err := j.Follow(ctx, s.ID(), 0, func([]journal.Event) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, again.Close())
}

// A journal that is deleted in mid-run is said, and what it held is kept.
func TestADeletedJournalIsRescued(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not delete a file that is open")
	}
	parent := t.TempDir()
	state := filepath.Join(parent, "state")
	j := open(t, filepath.Join(state, "journal.db"))
	s, err := j.Create(t.Context(), testPlan(t, 2), nil)
	must(t, err, s.Lease(id(0)), os.RemoveAll(state), s.Begin(id(0), 1), s.Finish(id(0), journal.End{Outcome: journal.Fixed}))
	_, err = s.Controls(t.Context(), 0)
	if lost := (*journal.WriteError)(nil); !errors.As(err, &lost) || !errors.Is(err, journal.ErrGone) {
		t.Fatalf("not noticed: %v", err)
	}
	err = s.Close()
	copies, _ := filepath.Glob(filepath.Join(parent, "state-rescued-*", "journal.db")) //nolint:errcheck // the pattern is right
	if !errors.Is(err, journal.ErrGone) || len(copies) != 1 || !regexp.MustCompile(`state-rescued-[0-9]+$`).MatchString(filepath.Dir(copies[0])) || !strings.Contains(err.Error(), filepath.Dir(copies[0])) || len(hint.Of(err)) == 0 {
		t.Fatalf("%v %v", err, copies)
	}
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there again: %v", err)
	}
	machines, err := open(t, copies[0]).Machines(t.Context(), s.ID())
	if err != nil || machines[0].Outcome != journal.Fixed || machines[1].State != journal.Pending {
		t.Errorf("%+v %v", machines, err)
	}
}

func TestResolve(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	if _, err := j.Resolve(t.Context(), "last"); err == nil {
		t.Error("last of none")
	}
	var ids []string
	for range 2 {
		s := create(t, j, testPlan(t, 1), nil)
		must(t, s.Close())
		ids = append(ids, s.ID())
	}
	for _, full := range ids {
		if got, err := j.Resolve(t.Context(), full); got != full || err != nil {
			t.Errorf("%s: %s %v", full, got, err)
		}
		if got, err := j.Resolve(t.Context(), full[:20]); got != full || err != nil {
			t.Errorf("%s: %s %v", full[:20], got, err)
		}
	}
	if got, err := j.Resolve(t.Context(), "last"); got != ids[1] || err != nil {
		t.Errorf("last: %s %v", got, err)
	}
	_, err := j.Resolve(t.Context(), ids[0][:4])
	if a, ok := errors.AsType[*journal.AmbiguousError](err); !ok || len(a.Matches) != 2 {
		t.Errorf("ambiguous: %v", err)
	}
	for _, none := range []string{"", "zzz", "%"} {
		if _, err := j.Resolve(t.Context(), none); !isNotFound(err) {
			t.Errorf("%q: %v", none, err)
		}
	}
	if runs, err := j.Runs(t.Context()); err != nil || len(runs) != 2 || runs[0].ID != ids[1] {
		t.Errorf("runs: %+v %v", runs, err)
	}
}

func isNotFound(err error) bool { _, ok := errors.AsType[*journal.NotFoundError](err); return ok }

// Who goes on with a run reads no answers but those that announced a restart: there may be 50,000 of them.
func TestLeftBringsTheAnswersThatAreNeeded(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	s := create(t, j, testPlan(t, 3), nil)
	result := agent.Result{Outcome: agent.Fixed, Reboot: "scheduled", Uptime: 7}
	ids := []string{s.Plan().Waves[0].Entries[0].ID, s.Plan().Waves[0].Entries[1].ID}
	for _, err := range []error{s.Lease(ids...), s.Begin(ids[0], 1), s.Begin(ids[1], 1), s.Reboot(ids[0], result),
		s.Finish(ids[1], journal.End{Outcome: journal.Fixed, Result: &result})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	left, err := j.Left(t.Context(), s.ID())
	if err != nil || len(left) != 4 || left[0].Result == nil || left[0].Result.Uptime != 7 || left[1].Result != nil || left[1].Outcome != journal.Fixed {
		t.Errorf("%+v %v", left, err)
	}
}
