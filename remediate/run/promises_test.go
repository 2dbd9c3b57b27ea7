package run_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Each of these fails when the line is taken out that keeps the promise it names.

// TestWaitingForATurnIsNotTheMachinesTime lets the first machine take its time, while the others wait for their turn to prove the
// credentials: they still have all of their own.
func TestWaitingForATurnIsNotTheMachinesTime(t *testing.T) {
	bubble(t, 3, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.Timeout, s.input.Options.Retries = 3, 20*time.Second, 0
		s.input.Options.MaxFail.Set = false
		s.fleet.latency = 15 * time.Second // after the wait of 15 for the first more than the 20 of a machine
		for i := range 3 {
			s.fleet.machine(i).stays = true
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 3)
	})
}

// A pilot is one machine, and its relapse is as good as a failure: three more are tried, each with its own soak, and nobody else.
func TestAPilotThatRelapsesStopsTheRun(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.waves("1,100%")
		s.input.Options.Soak = 30 * time.Minute
		s.input.Options.MaxFail = plan.Limit{Percent: 10, Set: true}
		for i := range 20 {
			s.fleet.machine(i).relapse = true
		}
		began := time.Now()
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunGated, journal.Failed, 4, journal.Held, 16)
		if took := time.Since(began); took < 2*time.Hour {
			t.Errorf("four machines one after the other, with half an hour of soak each, took %s", took)
		}
		for _, m := range s.machines(r.ID)[4:] {
			if !strings.HasPrefix(m.Reason, "not started: wave 1 (1): 4 of 4 treated machines failed") {
				t.Fatalf("%s is held and does not say why: %q", m.Target.Name, m.Reason)
			}
		}
	})
}

// hanging is a fleet where the last hundred machines take whatever time they are given.
type hanging struct {
	*fakeRoute
	begun *atomic.Int64
}

func (f hanging) Do(ctx context.Context, t route.Target, r agent.Request) (agent.Result, error) {
	if t.Name < name(200) {
		return f.fakeRoute.Do(ctx, t, r)
	}
	f.begun.Add(1)
	<-ctx.Done()
	return agent.Result{}, routeError(route.Unknown, t.Name, "receive", "interrupted")
}

// A journal that cannot be written stops the run now, not when the machines in flight have answered.
func TestALostJournalEndsAtOnce(t *testing.T) {
	bubble(t, 300, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.Timeout, s.input.Options.MaxFail = 300, 3*time.Hour, plan.Limit{} // no gate: all are in flight
		var begun atomic.Int64
		s.options.Routes["fake"] = hanging{s.fleet, &begun}
		began := time.Now()
		_, err := s.newEngine().Start(t.Context(), s.plan())
		if _, ok := errors.AsType[*journal.WriteError](err); !ok {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Hour || begun.Load() == 0 {
			t.Errorf("the run went on for %s with %d machines that hang", took, begun.Load())
		}
	}, journal.MaxBytes(45*4096))
}

// When a machine may be asked again is not rounded to the second in which the engine looks for wishes.
func TestAPauseEndsWhenItIsOver(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Options.Backoff, s.options.Rand = 200*time.Millisecond, func() float64 { return 0.5 }
		var asked []time.Duration
		began := time.Now()
		s.fleet.behave = func(m *fakeMachine, call int, _ agent.Request) error {
			asked = append(asked, time.Since(began))
			if call == 1 {
				return routeError(route.Busy, m.name, "create", "quota")
			}
			return nil
		}
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 1)
		if len(asked) != 2 || asked[1]-asked[0] != 100*time.Millisecond {
			t.Errorf("asked at %v", asked)
		}
	})
}

// A silent machine is knocked at about twice a second: it may be up for less.
func TestASilentMachineIsKnockedAtOften(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Options.Backoff, s.input.Options.Retries = 5*time.Second, 3
		began, knocks := time.Now(), 0
		s.fleet.alive = func(m *fakeMachine) error {
			knocks++
			return routeError(route.Unreachable, m.name, "connect", "no route to host")
		}
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Unreachable, 1)
		took := time.Since(began)
		if took < 35*time.Second || took > 38*time.Second { // as long as the attempts would have taken: 5 + 10 + 20
			t.Errorf("given up after %s", took)
		}
		if seconds := int(took.Seconds()); knocks < seconds || knocks > 4*seconds+1 {
			t.Errorf("%d knocks in %s", knocks, took)
		}
	})
}

// A machine whose answer was lost cannot be asked any more once the credentials are rejected: it stays as it is, and is asked when the run
// is resumed.
func TestALostMachineStaysOnceCredentialsAreRejected(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.Backoff, s.options.Rand = 1, time.Minute, func() float64 { return 1 }
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			switch m.name {
			case name(0), name(1):
				return routeError(route.Unknown, m.name, "receive", "reset")
			case name(2):
				return routeError(route.Auth, m.name, "sign in", "401")
			}
			return nil
		}
		r := s.start(t.Context())
		for _, lost := range s.machines(r.ID)[:2] {
			if r.Status != journal.RunInterrupted || lost.State != journal.Running || !strings.HasSuffix(r.Reason, "; 2 machines that may have been changed are"+journal.AskedLater) {
				t.Errorf("%s %v: %s %s %q", r.Status, r.Counts, lost.State, lost.Outcome, lost.Reason)
			}
		}
		if len(s.fleet.calls) != 3 {
			t.Errorf("asked after the rejection: %q", s.fleet.calls)
		}
		s.fleet.behave = nil
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 3, journal.Unreachable, 1)
	})
}

// deaf is a fleet where nobody says anything, not even no.
type deaf struct{ *fakeRoute }

func (deaf) Alive(ctx context.Context, t route.Target) error {
	<-ctx.Done()
	return routeError(route.Stopped, t.Name, "connect", "no answer")
}

func (d deaf) Do(ctx context.Context, t route.Target, _ agent.Request) (agent.Result, error) {
	return agent.Result{}, d.Alive(ctx, t)
}

// What our own deadline ends is a machine that is not there, not one that somebody held back.
func TestADeafMachineIsUnreachable(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Options.Timeout = time.Minute
		s.options.Routes["fake"] = deaf{s.fleet}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Unreachable, 1)
		if m := s.machines(r.ID)[0]; m.Class != route.Unreachable || !strings.HasPrefix(m.Reason, "gave up after 1m0s: ") {
			t.Errorf("%+v", m)
		}
	})
}
