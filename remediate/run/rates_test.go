package run_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// fastFailures is a fleet where a failure answers at once and a fix takes its time, as fleets do.
func fastFailures(s *setup, seed uint64, failing int) {
	machines := len(s.fleet.machines)
	dice := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test draws machines
	for _, i := range dice.Perm(machines)[:failing] {
		s.fleet.machine(i).failing = true
	}
	s.waves("1,10,10%,100%")
	s.input.Options.Forks, s.input.Options.MaxFail = 200, plan.Limit{Percent: 10, Set: true}
	s.fleet.slow = func(m *fakeMachine) time.Duration {
		if m.failing {
			return 50 * time.Millisecond
		}
		return time.Duration(20+dice.IntN(40)) * time.Second
	}
}

func TestAFewFailuresStopNoRun(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, 400, func(t *testing.T, s *setup) {
				fastFailures(s, seed, 8)
				s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 392, journal.Failed, 8)
			})
		})
	}
}

func TestManyFailuresStopARunSoon(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, 400, func(t *testing.T, s *setup) {
				fastFailures(s, seed, 120)
				r := s.start(t.Context())
				if treated := r.Counts[journal.Fixed] + r.Counts[journal.Failed]; r.Status != journal.RunGated || treated >= 160 {
					t.Errorf("%s after %d treated machines: %v", r.Status, treated, r.Counts)
				}
			})
		})
	}
}

// Clean machines must not thin the gate: whatever their order, the few that the fix breaks are seen.
func TestFailuresAmongCleanMachinesStopARun(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, 179, func(t *testing.T, s *setup) {
				fastFailures(s, seed, 14)
				for _, m := range s.fleet.machines {
					m.affected = m.failing
				}
				r := s.start(t.Context())
				if r.Status != journal.RunGated || r.Counts[journal.Failed] > 14 {
					t.Errorf("%s: %v", r.Status, r.Counts)
				}
			})
		})
	}
}

// What is at risk at once is never more than the gate could bear to lose, and grows with what went well.
func TestAWaveBeginsWithFew(t *testing.T) {
	bubble(t, 600, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.MaxFail = 200, plan.Limit{Percent: 10, Set: true}
		s.fleet.latency = 10 * time.Second
		good := 0
		s.fleet.behave = func(*fakeMachine, int, agent.Request) error { // the fleet's own lock is held
			if most := s.input.Options.MaxFail.Bearable(0, good); s.fleet.inside > most {
				t.Errorf("%d machines are at risk after %d that went well; the gate bears %d", s.fleet.inside, good, most)
			}
			return nil
		}
		s.fleet.ended = func(*fakeMachine) { good++ }
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 600)
		if s.fleet.peak < 60 {
			t.Errorf("never more than %d machines were at work at once", s.fleet.peak)
		}
	})
}

// A machine that restarts is at risk until its verify holds.
func TestARestartingMachineIsAtRisk(t *testing.T) {
	bubble(t, 12, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		for _, m := range s.fleet.machines {
			m.reboots = time.Minute
		}
		s.input.Options.Forks, s.input.Options.MaxFail = 12, plan.Limit{Percent: 10, Set: true}
		s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
			down := 0
			for _, other := range s.fleet.machines {
				if other != m && other.changed > 0 && other.verified == 0 {
					down++
				}
			}
			if r.Mode == agent.Fix && down > 6 {
				t.Errorf("%s is asked while %d machines restart", m.name, down)
			}
			return nil
		}
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 12)
	})
}

// Machines that are switched off hold no place among those at risk: they are looked for before.
func TestSilentMachinesHoldNoPlace(t *testing.T) {
	bubble(t, 60, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.MaxFail, s.input.Options.Retries = 60, plan.Limit{Percent: 10, Set: true}, 0
		for i := range 60 {
			if m := s.fleet.machine(i); i%2 == 0 {
				m.downFrom, m.downTill = time.Now(), time.Now().Add(24*time.Hour)
			}
		}
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			if !m.up() && m.name > name(3) {
				t.Errorf("%s was given a place, though nobody is there", m.name)
			}
			return nil
		}
		s.fleet.latency = time.Second
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 30, journal.Unreachable, 30)
	})
}

// A request that was cut off keeps its machine at risk, and its next attempt needs no other place: a run whose gate bears one
// machine at a time goes on.
func TestARunThatBearsOneGoesOn(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.MaxFail = 5, plan.Limit{Set: true}
		s.fleet.behave = func(m *fakeMachine, call int, _ agent.Request) error {
			if call == 1 {
				return routeError(route.Unknown, m.name, "receive", "reset")
			}
			return nil
		}
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 20)
	})
}

// Machines that are silent or clean are no canaries: the next ones go ahead of their wave, one by one, and it is said.
func TestAnotherCanary(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.waves("1,100%")
		s.input.Options.MaxFail, s.input.Options.Retries = plan.Limit{Percent: 10, Set: true}, 0
		m := s.fleet.machine(0)
		m.downFrom, m.downTill = time.Now(), time.Now().Add(24*time.Hour)
		s.fleet.machine(1).affected = false
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Unreachable, 1, journal.Clean, 1, journal.Fixed, 18)
		events, err := s.journal.Events(t.Context(), r.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		began := 0
		for _, e := range events {
			switch {
			case e.Kind == journal.WaveUnproved:
				said = append(said, e.Text)
			case e.Kind == journal.WaveStarted && e.Wave == 2:
				began = len(said)
			}
		}
		want := []string{
			"wave 1 (1): 0 of 1 machine reached: this wave proved nothing; PC00001 goes first of those to come",
			"wave 1 (1): 0 of 2 machines needed it: this wave proved nothing; PC00002 goes first of those to come",
		}
		if fmt.Sprint(said) != fmt.Sprint(want) || began != 2 {
			t.Errorf("%q, before wave 2: %d", said, began)
		}
	})
}

// A machine that is up 0.7 s in every 15 is caught, whether it is chased or not, and those that are off keep nobody waiting.
func TestMachinesThatComeAndGoAreCaught(t *testing.T) {
	for _, chase := range []bool{false, true} {
		bubble(t, 60, func(t *testing.T, s *setup) {
			s.waves("1,10,100%")
			s.input.Options.Chase = chase
			began := time.Now()
			s.fleet.alive = func(m *fakeMachine) error {
				phase := time.Duration(m.name[len(m.name)-1]-'0') * time.Second
				switch at := time.Since(began) + phase; {
				case m.name < name(5), m.name >= name(20):
					return nil
				case m.name < name(12) && at%(15*time.Second) < 700*time.Millisecond:
					return nil
				case m.name < name(12), m.name < name(20) && time.Since(began) < 2*time.Hour: // and eight are off
					return routeError(route.Unreachable, m.name, "connect", "off")
				}
				return nil
			}
			r := s.start(t.Context())
			s.wantCounts(r, journal.RunDone, journal.Fixed, 52, journal.Unreachable, 8)
			for _, m := range s.machines(r.ID) {
				if m.Target.Name >= name(20) && m.Ended.Sub(began) > 5*time.Second {
					t.Errorf("%s waited %s", m.Target.Name, m.Ended.Sub(began))
				}
			}
		})
	}
}

// A wave passes while its silent machines are knocked at, a resumed run knows them, and each gets its outcome.
func TestAWavePassesWhileSomeAreSilent(t *testing.T) {
	bubble(t, 40, func(t *testing.T, s *setup) {
		s.waves("10,100%")
		s.fleet.latency = time.Second
		began := time.Now()
		off := func(m *fakeMachine) error {
			if m.name >= name(5) && m.name < name(8) && time.Since(began) < 25*time.Second {
				return routeError(route.Unreachable, m.name, "connect", "off")
			}
			return nil
		}
		s.fleet.alive = off
		r := s.cut(12 * time.Second)
		second := 0
		for _, m := range s.machines(r.ID) {
			if m.State == journal.Done && m.Wave == 2 {
				second++
			}
		}
		if r.Finished != 1 || second == 0 {
			t.Errorf("%d waves are over, %d of the second wave are done", r.Finished, second)
		}
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 40)
	})
}

// A machine that is there and never lets us in is given up when its time is over, chased or not.
func TestAChaseEnds(t *testing.T) {
	bubble(t, 3, func(t *testing.T, s *setup) {
		s.input.Options.Chase, s.input.Options.Timeout = true, time.Hour
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			if m.name == name(1) {
				return routeError(route.Unreachable, m.name, "authenticate", "reset")
			}
			return nil
		}
		began := time.Now()
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 2, journal.Unreachable, 1)
		if took := time.Since(began); took > 61*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// A wave does not pass while a gate has to know how many are silent, nor while nobody has answered.
func TestAWaveWaitsForWhatDecides(t *testing.T) {
	off := func(began time.Time, some func(*fakeMachine) bool, wait time.Duration) func(*fakeMachine) error {
		return func(m *fakeMachine) error {
			if some(m) && time.Since(began) < wait {
				return routeError(route.Unreachable, m.name, "connect", "off")
			}
			return nil
		}
	}
	bubble(t, 30, func(t *testing.T, s *setup) {
		s.waves("10,100%")
		s.input.Options.MaxUnreach = plan.Limit{Count: 3, Set: true}
		s.fleet.alive = off(time.Now(), func(m *fakeMachine) bool { return m.name >= name(4) && m.name < name(10) }, time.Hour)
		if r := s.start(t.Context()); r.Status != journal.RunGated || r.Counts[journal.Fixed] != 4 {
			t.Errorf("%s %v", r.Status, r.Counts)
		}
	})
	bubble(t, 5, func(t *testing.T, s *setup) {
		s.waves("1,100%")
		began := time.Now()
		s.fleet.alive = off(began, func(m *fakeMachine) bool { return m.name == name(0) }, 10*time.Second)
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 5)
		if m := s.machines(r.ID); m[1].Started.Sub(began) < 10*time.Second {
			t.Errorf("the second wave began after %s", m[1].Started.Sub(began))
		}
	})
}

// A machine that refuses a good account after its restart is asked three times, for its domain may not be found yet, and is unknown then.
func TestAMachineThatRefusesAfterItsRestart(t *testing.T) {
	for refusals, want := range map[int]journal.Outcome{2: journal.Fixed, 99: journal.Unknown} {
		bubble(t, 1, func(t *testing.T, s *setup) {
			s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
			s.fleet.machine(0).reboots = time.Second
			began, refused := time.Now(), 0
			s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
				if r.Mode != agent.Verify || refused == refusals {
					return nil
				}
				refused++
				return routeError(route.Denied, m.name, "authenticate", "401")
			}
			s.wantCounts(s.start(t.Context()), journal.RunDone, want, 1)
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("%d refusals: it took %s", refusals, took)
			}
		})
	}
}

// One of two domains rejects the account: its machines are held, all others are done, and the run says that it is not.
func TestADomainThatRejectsTheAccount(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.waves("1,5,100%")
		for i := range s.input.Entries {
			s.input.Entries[i].Site = []string{"CORP", "OTHER"}[i%2]
		}
		s.fleet.ledger = signin.New(s.journal.SignIns(), signin.Rule{})
		s.fleet.account = func(t route.Target) error {
			if t.Site == "OTHER" {
				return routeError(route.Auth, t.Name, "authenticate", "401")
			}
			return nil
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunAuth, journal.Fixed, 10, journal.Held, 9, journal.Unreachable, 1)
		if !regexp.MustCompile(` rejected ada: (if its own domain takes it, )?it is not sent there again before \d\d:\d\d, or at once with --sign-ins 2 where fewer than 4 wrong passwords lock no account \(domain OTHER\); all else is done$`).MatchString(r.Reason) {
			t.Error(r.Reason)
		}
	})
}
