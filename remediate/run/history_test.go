package run_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// history is what a run says of itself: what happened to the run and its waves, in order, with its words.
func (s *setup) history(id string) string {
	s.t.Helper()
	events, err := s.journal.Events(context.Background(), id, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	var lines []string
	for _, e := range events {
		if e.Machine == "" {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %d %s", e.Kind, e.Wave, e.Text)))
		}
	}
	return strings.Join(lines, "\n")
}

func (s *setup) wantHistory(id string, want ...string) {
	s.t.Helper()
	if got := s.history(id); got != strings.Join(want, "\n") {
		s.t.Errorf("the history says\n%s\nnot\n%s", got, strings.Join(want, "\n"))
	}
}

// The history of a run is what is read when something went wrong: who let what begin, what was waited for, and what did nothing.
func TestWhatTheHistorySays(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.waves("1,1,100%")
		s.input.Options.Approval, s.input.Options.Soak, s.input.Options.MaxUnreach.Set = true, 5*time.Minute, false
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			if m.name == name(1) {
				return routeError(route.Unreachable, m.name, "connect", "off")
			}
			return nil
		}
		s.wish(t, 2*time.Minute, journal.Pause)
		s.wish(t, 3*time.Minute, journal.Resume)
		s.wish(t, 10*time.Minute, journal.Approve)
		s.wish(t, 20*time.Minute, journal.Pause)
		s.wish(t, 21*time.Minute, journal.Resume)
		s.wish(t, 30*time.Minute, journal.Approve)
		s.wish(t, 31*time.Minute, journal.Stop)
		r := s.start(t.Context())
		s.wantHistory(r.ID, "run-started 0 fix test-playbook on 4 machines in 3 waves",
			"wave-started 1 wave 1 (1): 1 machine", "soak 1 5m0s, then 1 fixed machines are verified again", "paused 0 by eve", "unpaused 0 by eve",
			"approval 1 wave 1 (1) is over; approval of wave 2 (1, 1 machine) is awaited", "approved 1 approved by eve", "wave-ended 1",
			"wave-started 2 wave 2 (1): 1 machine", "unproved 2 wave 2 (1): 0 of 1 machine reached: this wave proved nothing",
			"approval 2 wave 2 (1) is over and proved nothing (0 of 1 machine reached); approval of wave 3 (100%, 2 machines) is awaited", "paused 0 by eve", "unpaused 0 by eve",
			"approved 2 approved by eve", "wave-ended 2", "wave-started 3 wave 3 (100%): 2 machines", "soak 3 5m0s, then 2 fixed machines are verified again",
			"stopping 0 no new machines are started, those in flight end: stopped by eve", "run-ended 0 interrupted: stopped by eve")
		r, err := s.newEngine().Resume(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(s.history(r.ID), "\n")
		if last := strings.Join(got[len(got)-5:], "\n"); last != "run-resumed 0 fix test-playbook on 4 machines in 3 waves\nwave-started 3 wave 3 (100%): 2 machines\n"+
			"soak 3 5m0s, then 2 fixed machines are verified again\nwave-ended 3\nrun-ended 0 done" {
			t.Errorf("resumed:\n%s", last)
		}
	})
	bubble(t, 2, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.RunTimeout = 1, time.Minute
		s.fleet.latency = 2 * time.Minute
		s.wantHistory(s.start(t.Context()).ID, "run-started 0 fix test-playbook on 2 machines in 1 wave", "wave-started 1 wave 1 (100%): 2 machines",
			"stopping 0 the time of the run, 1m0s, is over", "run-ended 0 timeout: the time of the run, 1m0s, is over")
	})
	bubble(t, 2, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 1
		s.fleet.latency = 2 * time.Minute
		s.wish(t, time.Minute, journal.Cancel)
		s.wantHistory(s.start(t.Context()).ID, "run-started 0 fix test-playbook on 2 machines in 1 wave", "wave-started 1 wave 1 (100%): 2 machines",
			"stopping 0 cancelled by eve", "run-ended 0 cancelled: cancelled by eve")
	})
	bubble(t, 2, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 1
		s.fleet.latency = 2 * time.Minute
		time.AfterFunc(time.Minute, func() { s.engine.Stop() })
		r := s.start(t.Context())
		s.wantHistory(r.ID, "run-started 0 fix test-playbook on 2 machines in 1 wave", "wave-started 1 wave 1 (100%): 2 machines",
			"stopping 0 no new machines are started, those in flight end", "run-ended 0 interrupted: stopped by the operator")
	})
}

// A machine that restarts is looked at after two seconds, then less and less often, and at least every twenty seconds.
func TestHowOftenARestartIsLookedAt(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = "if-fixed"
		s.options.Rand = func() float64 { return 0 } // half of each pause
		s.fleet.machine(0).never, s.fleet.machine(0).quick = true, true
		var looks []time.Time
		s.fleet.alive = func(m *fakeMachine) error {
			if m.changed > 0 {
				looks = append(looks, time.Now())
			}
			return nil
		}
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Failed, 1)
		var pauses []string
		for i := range 8 {
			pauses = append(pauses, looks[i+1].Sub(looks[i]).Round(time.Millisecond).String())
		}
		if got := strings.Join(pauses, " "); got != "1s 1.5s 2.25s 3.375s 5.063s 7.594s 10s 10s" {
			t.Errorf("the pauses are %s", got)
		}
		if whole := looks[len(looks)-1].Sub(looks[0]); whole < 15*time.Minute || whole > 15*time.Minute+10*time.Second {
			t.Errorf("looked at for %s", whole)
		}
	})
}

// mute is a fleet that never says why.
type mute struct{ *fakeRoute }

func (f mute) Do(ctx context.Context, t route.Target, r agent.Request) (agent.Result, error) {
	result, err := f.fakeRoute.Do(ctx, t, r)
	result.Message = ""
	return result, err
}

// A machine that relapses and does not say why is said to have done so, after the restart and after the soak.
func TestARelapseWithoutWords(t *testing.T) {
	for reboot, want := range map[playbook.Reboot]string{"if-fixed": "verify does not hold after the restart: the agent did not say why", "never": "did not stay fixed: the second verify does not hold"} {
		bubble(t, 1, func(t *testing.T, s *setup) {
			s.input.Source.Playbook.Reboot, s.input.Options.Soak = reboot, time.Minute
			s.fleet.machine(0).relapse, s.fleet.machine(0).reboots = true, time.Minute
			s.options.Routes["fake"] = mute{s.fleet}
			if m := s.machines(s.start(t.Context()).ID)[0]; m.Outcome != journal.Failed || m.Reason != want {
				t.Errorf("%s: %s %q", reboot, m.Outcome, m.Reason)
			}
		})
	}
}

// A machine that was silent is knocked at before it is asked again: that costs no attempt.
func TestASilentMachineIsKnockedAtFirst(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *setup) {
		s.waves("1,100%") // the first proves the credentials
		s.input.Options.MaxUnreach.Set = false
		began := time.Now()
		down := func(m *fakeMachine) error {
			if m.name == name(1) && time.Since(began) < 5*time.Second {
				return routeError(route.Unreachable, m.name, "connect", "off")
			}
			return nil
		}
		s.fleet.alive = down
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error { return down(m) }
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 2)
		if n := s.machines(r.ID)[1].Attempts; n != 2 {
			t.Errorf("%d attempts", n)
		}
	})
}
