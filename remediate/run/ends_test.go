package run_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// When the time of a run and its last minute are over, each machine that may have been changed and waits to be asked again is said for what it is.
func TestRunTimeoutEndsWhatWaits(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.input.Options.RunTimeout, s.input.Options.Timeout, s.input.Options.Backoff = time.Minute, 5*time.Hour, time.Hour
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			if m.name == name(1) {
				return nil
			}
			return routeError(route.Unknown, m.name, "receive", "the connection broke")
		}
		s.wantCounts(s.start(t.Context()), journal.RunTimeout, journal.Unknown, 3, journal.Fixed, 1)
	})
}

// A wave that proved nothing has canaries of later waves tried, until there is none left; the run goes on and ends then.
func TestCanariesRunOut(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *setup) {
		s.waves("1,100%")
		s.input.Options.MaxFail = plan.Limit{Percent: 10, Set: true}
		s.fleet.alive = func(m *fakeMachine) error {
			return routeError(route.Unreachable, m.name, "connect", "no route to host")
		}
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Unreachable, 2)
	})
}

// Who is asked for approval is through with it when the run is over: nothing of a run goes on behind it.
func TestTheRunWaitsForWhoIsAsked(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.waves("1,100%")
		s.input.Options.Approval, s.input.Options.RunTimeout = true, time.Minute
		over := false
		s.options.Approve = func(ctx context.Context, _ run.Wave) (bool, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			over = true
			return false, ctx.Err()
		}
		s.wantCounts(s.start(t.Context()), journal.RunTimeout, journal.Fixed, 1, journal.Held, 3)
		if !over {
			t.Error("the run was over before the question")
		}
	})
}

// What an undo has nothing to do for says so in these words.
func TestUndoOfARunThatChangedNothing(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *setup) {
		for _, m := range s.fleet.machines {
			m.affected = false
		}
		r := s.start(t.Context())
		_, err := run.UndoPlan(t.Context(), s.journal, r.ID, run.Follow{Now: time.Now()})
		if want := "undo run " + r.ID + ": nothing to do, that run changed no machine: "; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	})
}

// Machines that were found and wait for their turn are this run's until it stops: no other may have them meanwhile, and every other after. At
// the end of a run's time they are held like all that it never came to.
func TestWhoWasFoundAndWaits(t *testing.T) {
	for name_, c := range map[string]struct {
		end    func(s *setup)
		status journal.Status
		state  journal.State
	}{
		"its time is over": {func(s *setup) { s.input.Options.RunTimeout = time.Minute }, journal.RunTimeout, journal.Done},
		"stopped":          {func(s *setup) { s.wish(s.t, time.Minute, journal.Stop) }, journal.RunInterrupted, journal.Pending},
	} {
		t.Run(name_, func(t *testing.T) {
			bubble(t, 40, func(t *testing.T, s *setup) {
				s.input.Options.Forks, s.input.Options.MaxFail = 20, plan.Limit{Percent: 10, Set: true}
				s.fleet.latency = 40 * time.Second
				s.fleet.alive = func(m *fakeMachine) error {
					if m.name == name(0) {
						return routeError(route.Unreachable, m.name, "connect", "no route to host")
					}
					return nil
				}
				states := func(id string) map[journal.State]int {
					seen := map[journal.State]int{}
					for _, m := range s.machines(id) {
						seen[m.State]++
					}
					return seen
				}
				s.at(t, 30*time.Second, func(_ context.Context, id string) error {
					if seen := states(id); seen[journal.Leased] < 30 {
						t.Errorf("in between: %v", seen)
					}
					return nil
				})
				c.end(s)
				r := s.start(t.Context())
				if seen := states(r.ID); r.Status != c.status || seen[c.state] < 20 || seen[journal.Done]+seen[journal.Pending] != 40 {
					t.Errorf("%s: %v", r.Status, seen)
				}
			})
		})
	}
}
