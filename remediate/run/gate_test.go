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
	"github.com/fleetmend/fleetmend/remediate/signin"
)

func TestGates(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  string
		broken func(i int) bool
		reason string
		least  int // held
	}{
		{"percentage", "10%", func(i int) bool { return i > 20 && i%3 == 0 }, "wave 3 (100%): ", 100},
		{"count", "2", func(i int) bool { return i > 20 }, "wave 3 (100%): 3 of ", 150},
		{"canaries", "10%", func(i int) bool { return true }, "wave 1 (1): 4 of 4 treated machines failed (100 %), more than the allowed 10 %", 196},
		{"canaries under a wide gate", "60%", func(i int) bool { return true }, "wave 1 (1): 4 treated machines failed, and not one went well", 196},
		{"nothing may fail", "0", func(i int) bool { return i == 4 }, "wave 2 (20): 1 of ", 170},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, 200, func(t *testing.T, s *setup) {
				s.waves("1,20,100%")
				s.input.Options.Forks = 8
				s.input.Options.MaxFail, _ = plan.ParseLimit(c.limit)
				s.fleet.latency = time.Second
				for i := range 200 {
					s.fleet.machine(i).failing = c.broken(i)
				}
				r := s.start(t.Context())
				if r.Status != journal.RunGated || !strings.HasPrefix(r.Reason, c.reason) || strings.Contains(r.Reason, "\n") {
					t.Errorf("%s: %s", r.Status, r.Reason)
				}
				if r.Counts[journal.Held] < c.least {
					t.Errorf("held %d of 200: %v", r.Counts[journal.Held], r.Counts)
				}
				total := 0
				for _, n := range r.Counts {
					total += n
				}
				if total != 200 {
					t.Errorf("outcomes add up to %d", total)
				}
				for i, m := range s.machines(r.ID) { // what was in flight ended, what was not was not touched
					if touched := s.fleet.machine(i).calls > 0; touched == (m.Outcome == journal.Held) {
						t.Errorf("%s: %d calls, %s", m.Target.Name, s.fleet.machine(i).calls, m.Outcome)
					}
				}
			})
		})
	}
}

func TestGateLetsThoseInFlightEnd(t *testing.T) {
	bubble(t, 30, func(t *testing.T, s *setup) {
		s.waves("1,100%")
		s.input.Options.Forks = 10
		s.input.Options.MaxFail = plan.Limit{Set: true}
		s.fleet.machine(25).failing = true
		s.fleet.behave = func(m *fakeMachine, call int, _ agent.Request) error {
			if m.name != name(0) && m.name != name(25) && call == 1 {
				return routeError(route.Unknown, m.name, "receive", "reset") // in flight, must be asked on
			}
			return nil
		}
		s.fleet.latency = 10 * time.Second
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunGated, journal.Failed, 1, journal.Fixed, s.fleetTouched()-1, journal.Held, 30-s.fleetTouched())
		if s.fleetTouched() < 28 {
			t.Errorf("only %d were touched: nobody was in flight beside the one that failed", s.fleetTouched())
		}
	})
}

func (s *setup) fleetTouched() int {
	n := 0
	for _, m := range s.fleet.machines {
		if m.calls > 0 {
			n++
		}
	}
	return n
}

func TestUnreachableHaveAGateOfTheirOwn(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.Retries = 5, 0
		s.input.Options.MaxFail, s.input.Options.MaxUnreach = plan.Limit{Set: true}, plan.Limit{Percent: 50, Set: true}
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			if m.name > name(20) {
				return routeError(route.Unreachable, m.name, "connect", "off")
			}
			return nil
		}
		r := s.start(t.Context())
		if r.Status != journal.RunGated || !strings.Contains(r.Reason, "were unreachable") || r.Counts[journal.Unreachable] < 50 || r.Counts[journal.Unreachable] > 62 {
			t.Errorf("%s %s %v", r.Status, r.Reason, r.Counts)
		}
	})
}

// One attempt in the whole fleet, however many workers there are.
func TestRejectedCredentialsStopTheRun(t *testing.T) {
	bubble(t, 3000, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 1000
		s.fleet.alive = func(m *fakeMachine) error {
			if m.name < name(10) {
				return routeError(route.Unreachable, m.name, "connect", "off")
			}
			return nil
		}
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		s.fleet.account = func(t route.Target) error { return routeError(route.Auth, t.Name, "authenticate", "401") }
		r := s.start(t.Context())
		if r.Status != journal.RunAuth || !strings.HasSuffix(r.Reason, " rejected ada") {
			t.Errorf("%s %s", r.Status, r.Reason)
		}
		if len(s.fleet.signed) != 1 {
			t.Errorf("%d attempts", len(s.fleet.signed))
		}
		if r.Counts[journal.Unreachable] != 1 || r.Counts[journal.Held] != 2999 {
			t.Errorf("%v", r.Counts)
		}
	})
}

func TestCredentialsRejectedLaterStopTheRun(t *testing.T) {
	bubble(t, 500, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 50
		s.fleet.latency = time.Second
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			if m.name == name(100) {
				return routeError(route.Auth, m.name, "authenticate", "401")
			}
			return nil
		}
		r := s.start(t.Context())
		if r.Status != journal.RunAuth || r.Counts[journal.Unreachable] != 1 || r.Counts[journal.Fixed]+r.Counts[journal.Held] != 499 || r.Counts[journal.Fixed] > 160 {
			t.Errorf("%s %s %v", r.Status, r.Reason, r.Counts)
		}
	})
}

func TestSoakFindsRelapses(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.waves("10,100%")
		s.input.Options.Soak = 30 * time.Minute
		s.input.Options.MaxFail = plan.Limit{Percent: 10, Set: true}
		for i := 2; i < 8; i++ { // of ten, fewer might be chance
			s.fleet.machine(i).relapse = true
		}
		began := time.Now()
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunGated, journal.Fixed, 4, journal.Failed, 6, journal.Held, 10)
		if took := time.Since(began); took < 30*time.Minute || took > 31*time.Minute {
			t.Errorf("took %s", took)
		}
		if m := s.machines(r.ID)[2]; m.Reason != "did not stay fixed: the file is there again" || m.Changed != 1 {
			t.Errorf("%+v", m)
		}
	})
}

// A canary that was silent is no canary: it is said, in a word of its own, and to who is asked whether the next wave may begin.
func TestAWaveThatReachedNobodyProvedNothing(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.waves("1,2,100%")
		s.input.Options.Approval, s.input.Options.Timeout = true, time.Minute
		m := s.fleet.machine(0)
		m.downFrom, m.downTill = time.Now(), time.Now().Add(24*time.Hour)
		s.options.Approve = func(context.Context, run.Wave) (bool, error) { return true, nil }
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Unreachable, 1, journal.Fixed, 3)
		events, err := s.journal.Events(t.Context(), r.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		var unproved, asked []string
		for _, e := range events {
			switch e.Kind {
			case journal.WaveUnproved:
				unproved = append(unproved, e.Text)
			case journal.Approval:
				asked = append(asked, e.Text)
			}
		}
		if len(unproved) != 1 || unproved[0] != "wave 1 (1): 0 of 1 machine reached: this wave proved nothing" {
			t.Errorf("%q", unproved)
		}
		if len(asked) != 2 || !strings.HasPrefix(asked[0], "wave 1 (1) is over and proved nothing (0 of 1 machine reached); approval") || !strings.HasPrefix(asked[1], "wave 2 (2) is over; approval") {
			t.Errorf("%q", asked)
		}
	})
}
