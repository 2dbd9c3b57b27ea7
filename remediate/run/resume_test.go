package run_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// cut starts the run and ends it at once after a time, as a second Ctrl-C does.
func (s *setup) cut(after time.Duration) *journal.Run {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	time.AfterFunc(after, cancel)
	r, err := s.newEngine().Start(ctx, s.plan())
	if !errors.Is(err, context.Canceled) {
		s.t.Fatalf("%+v %v", r, err)
	}
	return r
}

func (s *setup) resume(id string) *journal.Run {
	s.t.Helper()
	r, err := s.newEngine().Resume(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// What machines said in earlier runs, and before a run was resumed, goes with the request: their agent need not be sent.
func TestWhatMachinesHaveKeptIsTold(t *testing.T) {
	for keeps, want := range map[string]int{agent.Digest(): 3, strings.Repeat("0", 64): 0, "": 0} {
		bubble(t, 3, func(t *testing.T, s *setup) {
			s.fleet.keeps = keeps
			s.wantCounts(s.start(context.Background()), journal.RunDone, journal.Fixed, 3)
			if s.fleet.told != 0 {
				t.Errorf("%d machines were said to have kept what they were never sent", s.fleet.told)
			}
			s.start(context.Background())
			if s.fleet.told != want {
				t.Errorf("agent %q: %d requests, not %d", keeps, s.fleet.told, want)
			}
		})
	}
}

func TestResumeWhileARestartIsAwaited(t *testing.T) {
	bubble(t, 3, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		for _, m := range s.fleet.machines {
			m.reboots = 5 * time.Minute
		}
		r := s.cut(time.Minute)
		if m := s.machines(r.ID)[0]; m.State != journal.Rebooting || m.Changed != 1 {
			t.Fatalf("%+v", m)
		}
		<-time.After(time.Hour) // the machines are long back
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 3)
		if m := s.machines(r.ID)[0]; !m.Rebooted || s.fleet.machine(0).changed != 1 || s.fleet.count(name(0)+" fix") != 1 {
			t.Errorf("%+v, calls %v", m, s.fleet.calls)
		}
	})
}

// The connection is lost while the fix runs, the machine restarts, the engine is away: its record answers.
func TestResumeAfterTheRestartOfAMachineThatWasLost(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		s.fleet.latency = 10 * time.Second
		s.fleet.machine(0).reboots = time.Minute
		r := s.cut(5 * time.Second)
		if m := s.machines(r.ID)[0]; m.State != journal.Running {
			t.Fatalf("%+v", m)
		}
		<-time.After(time.Hour)
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 1)
		if m := s.machines(r.ID)[0]; !m.Rebooted || m.Attempts != 2 || !m.Result.Repeated || s.fleet.machine(0).changed != 1 {
			t.Errorf("%+v", m)
		}
	})
}

func TestResumeInTheSoakSoaksAgain(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.waves("2,100%")
		s.input.Options.Soak = time.Hour
		r := s.cut(30 * time.Minute)
		s.fleet.machine(1).relapse = true
		began := time.Now()
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 3, journal.Failed, 1)
		if took := time.Since(began); took < 2*time.Hour || took > 2*time.Hour+10*time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

func TestResumeWaitsForApprovalAgain(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.waves("2,100%")
		s.input.Options.Approval = true
		r := s.cut(30 * time.Minute)
		asked := 0
		s.options.Approve = func(context.Context, run.Wave) (bool, error) { asked++; return true, nil }
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 4)
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// A wish that was left while nobody was at work is obeyed before anything is started; machines in flight are still asked.
func TestCancelOfADeadRun(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.waves("15,100%")
		s.input.Options.Forks = 4
		s.fleet.latency = 10 * time.Second
		r := s.cut(25 * time.Second)
		before := s.fleetTouched()
		if err := s.journal.Control(t.Context(), r.ID, journal.Cancel, "eve"); err != nil {
			t.Fatal(err)
		}
		s.wantCounts(s.resume(r.ID), journal.RunCancelled, journal.Fixed, before, journal.Held, 20-before)
		if after := s.fleetTouched(); after != before {
			t.Errorf("%d machines touched, %d before the cancel", after, before)
		}
	})
}

// A machine that was in flight when the credentials went bad cannot be asked. It stays as it is, the run is not over, and with a good
// password it goes on to its end.
func TestRejectedCredentialsOnResume(t *testing.T) {
	bubble(t, 10, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 3
		s.fleet.latency = 10 * time.Second
		r := s.cut(15 * time.Second) // three are in flight for the second time
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		s.fleet.account = func(t route.Target) error { return routeError(route.Auth, t.Name, "authenticate", "401") }
		s.wantCounts(s.resume(r.ID), journal.RunInterrupted, journal.Fixed, 3)
		if n := len(s.fleet.signed); n != 1 {
			t.Errorf("%d attempts", n)
		}
		s.fleet.account = func(route.Target) error { return nil }
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 10)
	})
}

// What waits to be signed in to while the account is rejected is not held where the run can be resumed, for machines that may have been
// changed: it is pending, and has its turn then.
func TestWhatWaitsForASignInStaysForTheResume(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 3
		s.fleet.latency = 10 * time.Second
		r := s.cut(5 * time.Second) // three are in flight
		s.options.Rules = func(o plan.Options) (plan.Options, error) { o.Forks = 30; return o, nil }
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		s.fleet.account = func(t route.Target) error {
			time.Sleep(time.Second) // all others wait then
			return routeError(route.Auth, t.Name, "authenticate", "401")
		}
		r = s.resume(r.ID)
		states, rejecting := map[journal.State]int{}, 0
		for _, m := range s.machines(r.ID) {
			if states[m.State]++; m.Class == route.Auth {
				rejecting++
			}
		}
		if r.Status != journal.RunInterrupted || r.Counts[journal.Held] != 0 || states[journal.Running] != 3 || states[journal.Pending] != 17-rejecting || len(s.fleet.signed) != 1 {
			t.Errorf("%s %v, %v, %d signed in to", r.Status, r.Counts, states, len(s.fleet.signed))
		}
		s.fleet.account = func(route.Target) error { return nil }
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		if r = s.resume(r.ID); r.Status != journal.RunDone || r.Reason != "" || r.Counts[journal.Fixed] != 20-rejecting || rejecting > 1 {
			t.Errorf("resumed: %s %q %v, %d had rejected", r.Status, r.Reason, r.Counts, rejecting)
		}
	})
	bubble(t, 20, func(t *testing.T, s *setup) { // where nothing may have been changed the run is over, and they are held
		s.input.Options.Forks = 30
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		s.fleet.account = func(t route.Target) error {
			time.Sleep(time.Second)
			return routeError(route.Auth, t.Name, "authenticate", "401")
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunAuth, journal.Held, 19, journal.Unreachable, 1)
		for _, m := range s.machines(r.ID) {
			if want := "not started: " + s.fleet.signed[0] + " rejected ada"; m.Outcome == journal.Held && (m.Reason != want || m.Class != "") {
				t.Errorf("%s: %s %q", m.Target.Name, m.Class, m.Reason)
			}
		}
	})
}

// That a domain did not take the account is known to every later life of the run.
func TestADomainThatRejectedTheAccountBeforeTheKill(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.waves("10,100%")
		s.fleet.latency = 10 * time.Second
		for i := range s.input.Entries {
			s.input.Entries[i].Site = map[bool]string{true: "OTHER", false: "CORP"}[i < 10 && i%2 == 1]
		}
		ledger := func() *signin.Ledger { return signin.New(s.journal.SignIns(), signin.Rule{}) }
		s.fleet.ledger = ledger()
		s.fleet.account = func(t route.Target) error {
			if t.Site == "OTHER" {
				return routeError(route.Auth, t.Name, "authenticate", "401")
			}
			return nil
		}
		r := s.cut(15 * time.Second) // in the second wave, which has none of that domain
		s.wantCounts(r, journal.RunInterrupted, journal.Fixed, 5, journal.Held, 4, journal.Unreachable, 1)
		s.fleet.ledger = ledger()
		r = s.resume(r.ID)
		s.wantCounts(r, journal.RunAuth, journal.Fixed, 15, journal.Held, 4, journal.Unreachable, 1)
		if !strings.Contains(r.Reason, " rejected ada: ") || !strings.HasSuffix(r.Reason, " (domain OTHER)"+journal.ElseDone) {
			t.Error(r.Reason)
		}
	})
}

// A run that was killed while it signed in to its only canary does not stand still: another machine is signed in to first, and where none is
// there, or nothing more may be sent, it ends at once, says why, and can be resumed.
func TestKilledInTheFirstSignIn(t *testing.T) {
	for what, c := range map[string]struct {
		down   bool
		silent bool
		status journal.Status
		reason string
	}{
		"others are there":  {status: journal.RunDone},
		"nobody is there":   {down: true, status: journal.RunInterrupted, reason: name(0) + " did not answer when it was signed in to: "},
		"others are silent": {silent: true, status: journal.RunInterrupted, reason: "two sign-ins of ada had no answer (" + name(0) + ", " + name(1) + ")"},
	} {
		bubble(t, 6, func(t *testing.T, s *setup) {
			s.waves("1,100%")
			s.fleet.latency = 10 * time.Second
			r := s.cut(5 * time.Second)
			m := s.machines(r.ID)[0].Target
			book := s.journal.SignIns()
			if _, err := book.Add(t.Context(), signin.Entry{Account: "ada", Target: m, Time: time.Now(), State: signin.Sent}); err != nil {
				t.Fatal(err)
			}
			machines := s.plan().Targets()
			ledger := func() *signin.Ledger { return signin.New(book, signin.Rule{}).Among(machines) }
			s.fleet.ledger = ledger()
			s.fleet.account = func(m route.Target) error {
				if c.silent && m.Name != name(0) {
					return routeError(route.Unreachable, m.Name, "sign in", "cut")
				}
				return nil
			}
			s.fleet.alive = func(m *fakeMachine) error {
				if c.down && m.name != name(0) {
					return routeError(route.Unreachable, m.name, "connect", "no route to host")
				}
				return nil
			}
			began := time.Now()
			r = s.resume(r.ID)
			if r.Status != c.status || !strings.HasPrefix(r.Reason, c.reason) || time.Since(began) > 2*time.Minute || (c.reason != "") != strings.HasSuffix(r.Reason, "; 1 machine that may have been changed is"+journal.AskedLater) {
				t.Errorf("%s: %s %q after %s", what, r.Status, r.Reason, time.Since(began))
			}
			if c.reason != "" && (s.machines(r.ID)[0].State != journal.Running || s.machines(r.ID)[2].State != journal.Pending) {
				t.Errorf("%s: %s, the others %s", what, s.machines(r.ID)[0].State, s.machines(r.ID)[2].State)
			}
			time.Sleep(signin.Window)
			c.down, c.silent, s.fleet.ledger = false, false, ledger()
			if c.reason != "" {
				s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 6)
			}
		})
	}
}

func TestGateHoldsAfterAResume(t *testing.T) {
	bubble(t, 30, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 1
		s.fleet.latency = 10 * time.Second
		for i := range 3 {
			s.fleet.machine(i).failing = true
		}
		s.input.Options.MaxFail = plan.Limit{Count: 2, Set: true}
		r := s.cut(25 * time.Second)
		r = s.resume(r.ID)
		if r.Status != journal.RunGated || !strings.HasPrefix(r.Reason, "wave 1 (100%): 3 of 3") {
			t.Errorf("%s %s", r.Status, r.Reason)
		}
	})
}

func TestProgress(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *setup) {
		s.waves("10,100%")
		s.input.Options.Forks, s.input.Options.Approval, s.input.Options.Soak = 10, true, time.Minute
		s.fleet.latency = 10 * time.Second
		for i := range 20 {
			s.fleet.machine(i * 5).affected = false
		}
		s.fleet.machine(1).relapse = true
		p := s.plan()
		g := run.NewProgress(p)
		s.options.Observer = g
		var waiting run.Snapshot
		later := make(chan run.Snapshot, 1)
		s.options.Approve = func(context.Context, run.Wave) (bool, error) {
			waiting = g.Snapshot(time.Now())
			time.AfterFunc(45*time.Second, func() { later <- g.Snapshot(time.Now()) })
			return true, nil
		}
		r, err := s.newEngine().Start(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if waiting.Status != journal.RunWaiting || waiting.Done != 10 || waiting.Waves[0].Outcomes[journal.Failed] != 1 || waiting.ETA != 0 {
			t.Errorf("while waiting: %+v", waiting)
		}
		if under := <-later; under.Wave != 2 || under.Done != 50 || under.Rate < 0.7 || under.Rate > 1.4 || under.ETA < 30*time.Second || under.ETA > 80*time.Second || under.States[journal.Running] != 10 {
			t.Errorf("under way: wave %d done %d rate %g eta %s %v", under.Wave, under.Done, under.Rate, under.ETA, under.States)
		}
		end := g.Snapshot(time.Now())
		if end.Status != r.Status || end.Done != 100 || end.Outcomes[journal.Fixed] != r.Counts[journal.Fixed] || end.Outcomes[journal.Failed] != 1 || !end.Waves[1].Ended ||
			end.States[journal.Done] != 100 || end.States[journal.Pending] != 0 {
			t.Errorf("at the end: %+v", end)
		}
		// One who only watches comes to the same numbers from the journal.
		watch := run.NewProgress(p)
		events, err := s.journal.Events(t.Context(), r.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			watch.Observe(e)
			watch.Observe(e) // twice does no harm
		}
		if w := watch.Snapshot(time.Now()); w.Done != end.Done || w.Seq != end.Seq || w.Outcomes[journal.Clean] != end.Outcomes[journal.Clean] {
			t.Errorf("watched: %+v", w)
		}
	})
}
