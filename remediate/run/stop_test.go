package run_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

func TestStopAndResume(t *testing.T) {
	bubble(t, 50, func(t *testing.T, s *setup) {
		s.waves("10,100%")
		s.input.Options.Forks = 5
		s.fleet.latency = time.Second
		e := s.newEngine()
		time.AfterFunc(4500*time.Millisecond, e.Stop)
		r, err := e.Start(t.Context(), s.plan())
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != journal.RunInterrupted || r.Counts[journal.Held] != 0 || r.Counts[journal.Fixed] == 0 || r.Counts[journal.Fixed] > 25 {
			t.Fatalf("%s %v", r.Status, r.Counts)
		}
		r2, err := s.newEngine().Resume(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(r2, journal.RunDone, journal.Fixed, 50)
		for _, m := range s.fleet.machines {
			if m.changed != 1 || m.calls != 1 {
				t.Errorf("%s: %d calls, %d changes", m.name, m.calls, m.changed)
			}
		}
		if _, err := s.newEngine().Resume(t.Context(), r.ID); !isEnded(err) {
			t.Errorf("resume of a run that is over: %v", err)
		}
	})
}

func isEnded(err error) bool { _, ok := errors.AsType[*journal.EndedError](err); return ok }

func TestSecondCtrlCLeavesMachinesRunning(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 5
		s.fleet.latency = time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Second, cancel)
		r, err := s.newEngine().Start(ctx, s.plan())
		if !errors.Is(err, context.Canceled) || len(hint.Of(err)) == 0 || r == nil || r.Status != journal.RunInterrupted || r.Reason != "stopped at once" {
			t.Fatalf("%+v %v", r, err)
		}
		running := 0
		for _, m := range s.machines(r.ID) {
			if m.State == journal.Running {
				running++
			}
		}
		if running != 5 {
			t.Errorf("%d running", running)
		}
		r, err = s.newEngine().Resume(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(r, journal.RunDone, journal.Fixed, 20)
		for _, m := range s.fleet.machines {
			if m.changed != 1 {
				t.Errorf("%s was changed %d times", m.name, m.changed)
			}
		}
	})
}

func TestPauseApproveAndCancelFromAnotherProcess(t *testing.T) {
	bubble(t, 30, func(t *testing.T, s *setup) {
		s.waves("5,15,100%")
		s.input.Options.Forks, s.input.Options.Approval = 1, true
		s.fleet.latency = 10 * time.Second
		var mu sync.Mutex
		var id string
		var log []string
		s.options.Observer = observer(func(e journal.Event) {
			mu.Lock()
			defer mu.Unlock()
			id = e.Run
			if e.Kind != journal.MachineMove {
				log = append(log, string(e.Kind))
			}
		})
		control := func(after time.Duration, kind journal.ControlKind) {
			time.AfterFunc(after, func() {
				mu.Lock()
				run := id
				mu.Unlock()
				if err := s.journal.Control(context.Background(), run, kind, "eve"); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			})
		}
		control(15*time.Second, journal.Pause)
		control(10*time.Minute, journal.Resume)
		control(20*time.Minute, journal.Approve)
		control(20*time.Minute+35*time.Second, journal.Cancel)
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunCancelled, journal.Fixed, 9, journal.Held, 21)
		if want := "cancelled by eve"; r.Reason != want || time.Since(r.Started) < 20*time.Minute {
			t.Errorf("reason %q", r.Reason)
		}
		want := []string{"run-started", "wave-started", "paused", "unpaused", "approval", "approved", "wave-ended", "wave-started", "stopping", "run-ended"}
		if !slices.Equal(log, want) {
			t.Errorf("events %v", log)
		}
	})
}

func TestApprovalCallback(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		s.waves("1,2,100%")
		s.input.Options.Approval = true
		var asked []run.Wave
		s.options.Approve = func(_ context.Context, w run.Wave) (bool, error) {
			asked = append(asked, w)
			return len(asked) < 2, nil
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunCancelled, journal.Fixed, 3, journal.Held, 3)
		if len(asked) != 2 || asked[1].Number != 2 || asked[1].Machines != 3 || asked[0].Counts[journal.Fixed] != 1 || r.Reason != "wave 3 (100%) was not approved" {
			t.Errorf("%+v %q", asked, r.Reason)
		}
	})
}

func TestRunTimeout(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.RunTimeout = 2, time.Minute
		s.fleet.latency = 25 * time.Second
		r := s.start(t.Context())
		if r.Status != journal.RunTimeout || r.Counts[journal.Held] == 0 || r.Counts[journal.Fixed]+r.Counts[journal.Held] != 20 {
			t.Errorf("%s %v", r.Status, r.Counts)
		}
	})
}

// A full disk stops the run; nothing is sent that was not recorded before, and what was sent is found running.
func TestFullDisk(t *testing.T) {
	s := newSetup(t, 300, journal.MaxBytes(35*4096))
	defer s.close()
	s.input.Options.Forks = 20
	r, err := s.newEngine().Start(t.Context(), s.plan())
	if _, ok := errors.AsType[*journal.WriteError](err); !ok || r == nil || len(hint.Of(err)) < 2 || !strings.Contains(err.Error(), "full") {
		t.Fatalf("%v %q", err, hint.Of(err))
	}
	if r.Status != journal.RunRunning {
		t.Errorf("status %s", r.Status)
	}
	done := 0
	for i, m := range s.machines(r.ID) {
		f := s.fleet.machine(i)
		if f.calls > 0 && m.State != journal.Running && m.State != journal.Done {
			t.Errorf("%s was asked and is %s", m.Target.Name, m.State)
		}
		if m.State == journal.Done {
			done++
			if f.changed != 1 {
				t.Errorf("%s is claimed %s, changed %d times", m.Target.Name, m.Outcome, f.changed)
			}
		}
	}
	if done == 0 || done == 300 {
		t.Fatalf("%d done: the disk filled too early or too late for this test", done)
	}
}

// Two runs at once: what both want belongs to the one that came first, the rest is done by each.
func TestTwoRunsAtOnce(t *testing.T) {
	s := newSetup(t, 3)
	defer s.close()
	inside := make(chan string)
	leave := map[string]chan struct{}{name(0): make(chan struct{}), name(1): make(chan struct{}), name(2): make(chan struct{})}
	s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
		s.fleet.mu.Unlock()
		defer s.fleet.mu.Lock()
		inside <- m.name
		<-leave[m.name]
		return nil
	}
	all := s.input.Entries
	s.input.Entries = all[:2]
	s.input.Options.Forks = 1
	var first, later sync.WaitGroup
	first.Go(func() { s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 1, journal.Skipped, 1) })
	if at := <-inside; at != name(0) {
		t.Errorf("the first run begins with %s", at)
	}
	s.input.Entries = []plan.Entry{all[0], all[1], all[2]}
	p := s.plan()
	second, err := run.New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	later.Go(func() {
		r, err := second.Start(t.Context(), p)
		if err != nil {
			t.Error(err)
			return
		}
		s.wantCounts(r, journal.RunDone, journal.Skipped, 1, journal.Fixed, 2)
		for _, m := range s.machines(r.ID) {
			if m.Target.Name != name(0) {
				continue
			}
			if m.Outcome != journal.Skipped || !strings.Contains(m.Reason, "of ada has it (process ") || m.Attempts != 0 {
				t.Errorf("%+v", m)
			}
			retry, err := run.RetryPlan(t.Context(), s.journal, r.ID, run.Follow{Operator: "ada", Now: time.Now()})
			if err != nil || retry.Machines() != 1 || retry.Waves[0].Entries[0].Name != name(0) {
				t.Errorf("the retry takes %+v, %v", retry, err)
			}
		}
	})
	if at := <-inside; at != name(1) {
		t.Errorf("the second run begins with %s", at)
	}
	close(leave[name(0)])
	first.Wait()
	close(leave[name(1)])
	<-inside
	close(leave[name(2)])
	later.Wait()
}

// While a process works on a run no other one resumes it.
func TestARunIsResumedOnce(t *testing.T) {
	s := newSetup(t, 2)
	defer s.close()
	inside, leave := make(chan string), make(chan struct{})
	s.fleet.behave = func(_ *fakeMachine, _ int, r agent.Request) error {
		s.fleet.mu.Unlock()
		defer s.fleet.mu.Lock()
		inside <- r.Run
		<-leave
		return nil
	}
	var first sync.WaitGroup
	first.Go(func() { s.start(t.Context()) })
	id := <-inside
	e, err := run.New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Resume(t.Context(), id)
	if l, ok := errors.AsType[*journal.LockedError](err); !ok || l.Owner.PID == 0 || l.Owner.Run != id {
		t.Errorf("second engine: %v", err)
	}
	close(leave)
	<-inside
	first.Wait()
}

func TestStartRefuses(t *testing.T) {
	s := newSetup(t, 1)
	defer s.close()
	p := s.plan()
	p.Options.Forks = 5
	if _, err := s.newEngine().Start(t.Context(), p); !is[*plan.EditedError](err) {
		t.Errorf("changed plan: %v", err)
	}
	s.input.Now = time.Now().Add(-48 * time.Hour)
	if _, err := s.newEngine().Start(t.Context(), s.plan()); !is[*plan.ExpiredError](err) {
		t.Errorf("expired plan: %v", err)
	}
	s.input.Now = time.Now()
	s.input.Entries[0].Route = "pigeon"
	if _, err := s.newEngine().Start(t.Context(), s.plan()); err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("unknown route: %v", err)
	}
	if _, err := s.newEngine().Resume(t.Context(), "nope"); !is[*journal.NotFoundError](err) {
		t.Errorf("unknown run: %v", err)
	}
}

func is[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

// The time of a run ends what hangs as well, a minute later: a script that does not come to its end, a restart that nobody sees. What
// was changed is said for what it is.
func TestRunTimeoutEndsWhatHangs(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.RunTimeout, s.input.Options.Timeout = 2, time.Minute, 5*time.Hour
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		s.input.Options.RebootWait = 5 * time.Hour
		s.fleet.machine(0).never = true
		s.fleet.slow = func(m *fakeMachine) time.Duration {
			if m.name == name(1) {
				return time.Hour
			}
			return time.Second
		}
		began := time.Now()
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunTimeout, journal.Unknown, 2, journal.Held, 4)
		if took := time.Since(began); took > 2*time.Minute+time.Second || took < 2*time.Minute {
			t.Errorf("it took %s", took)
		}
		m := s.machines(r.ID)
		if !strings.HasPrefix(m[0].Reason, "was fixed, but not verified after the restart: the time of the run") || !strings.HasPrefix(m[1].Reason, "the time of the run, 1m0s, is over; the request may have run") {
			t.Errorf("%q %q", m[0].Reason, m[1].Reason)
		}
	})
}

// Who waits to be signed in when a run is stopped is not: it is pending for the resumed run.
func TestStopWhileMachinesWaitToBeSignedIn(t *testing.T) {
	bubble(t, 30, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 30
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		s.fleet.account = func(route.Target) error { time.Sleep(10 * time.Second); return nil }
		e := s.newEngine()
		time.AfterFunc(15*time.Second, e.Stop)
		r, err := e.Start(t.Context(), s.plan())
		if err != nil || r.Status != journal.RunInterrupted || r.Counts[journal.Fixed] != 2 || len(s.fleet.signed) != 2 {
			t.Fatalf("%s %v, %d signed in, %v", r.Status, r.Counts, len(s.fleet.signed), err)
		}
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 30)
	})
}

// prover is a route that can tell of the account itself.
type prover struct {
	*fakeRoute
	says error
}

func (p prover) Prove(context.Context, route.Account) error { return p.says }

func TestARouteThatCanTellIsAskedFirst(t *testing.T) {
	for _, c := range []struct {
		says  error
		calls int
		end   journal.Status
	}{
		{nil, 5, journal.RunDone}, {route.ErrNoProof, 5, journal.RunDone}, {errors.New("no controller answers"), 5, journal.RunDone},
		{&route.BarredError{All: true, Why: "the controller rejects ada"}, 0, journal.RunAuth},
	} {
		bubble(t, 5, func(t *testing.T, s *setup) {
			s.options.Routes["fake"] = prover{s.fleet, c.says}
			if r := s.start(t.Context()); r.Status != c.end || len(s.fleet.calls) != c.calls || c.calls == 0 && (r.Reason != "the controller rejects ada" || r.Counts[journal.Held] != 5) {
				t.Errorf("%v: %s %s %v, %d calls", c.says, r.Status, r.Reason, r.Counts, len(s.fleet.calls))
			}
		})
	}
}
