package run_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// bubble runs a test with a setup in a bubble of fake time.
func bubble(t *testing.T, n int, test func(t *testing.T, s *setup), options ...journal.Option) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(t, n, options...)
		defer s.close()
		test(t, s)
	})
}

func TestFixesAFleetInWaves(t *testing.T) {
	bubble(t, 60, func(t *testing.T, s *setup) {
		s.waves("1,10,50%,100%")
		s.input.Options.Forks = 7
		s.fleet.latency = time.Second
		for i := range 20 {
			s.fleet.machine(i * 3).affected = false
		}
		s.fleet.machine(5).failing = true
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Clean, 20, journal.Fixed, 39, journal.Failed, 1)
		if s.fleet.peak > 7 {
			t.Errorf("%d in flight with 7 forks", s.fleet.peak)
		}
		m := s.machines(r.ID)
		if m[5].Reason != "access to the file is denied" || m[1].Changed != 1 || m[1].Result.Steps[0].Target != `C:\bad.sys` || m[59].Wave != 4 || m[10].Wave != 2 {
			t.Errorf("machines: %+v", m[5])
		}
		if r.Finished != 4 || r.Operator != "ada" {
			t.Errorf("run: %+v", r)
		}
	})
}

func TestDryRunUndoAndRetry(t *testing.T) {
	bubble(t, 10, func(t *testing.T, s *setup) {
		ctx := t.Context()
		s.fleet.machine(0).affected = false
		s.input.Mode = agent.Detect
		s.wantCounts(s.start(ctx), journal.RunDone, journal.Clean, 1, journal.Affected, 9)
		if s.fleet.count("PC00001 fix") > 0 {
			t.Error("a dry run fixed something")
		}
		s.input.Mode = agent.Fix
		s.fleet.machine(3).failing = true
		fix := s.start(ctx)
		s.wantCounts(fix, journal.RunDone, journal.Clean, 1, journal.Fixed, 8, journal.Failed, 1)

		s.fleet.machine(3).failing = false
		p, err := run.RetryPlan(ctx, s.journal, fix.ID, run.Follow{Operator: "bob", Now: time.Now()})
		if err != nil || p.Machines() != 1 || p.RetryOf != fix.ID {
			t.Fatalf("retry plan: %+v %v", p, err)
		}
		again, err := s.newEngine().Start(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(again, journal.RunDone, journal.Fixed, 1)
		if _, err := run.RetryPlan(ctx, s.journal, again.ID, run.Follow{Now: time.Now()}); err == nil || len(hint.Of(err)) == 0 {
			t.Errorf("retry of nothing: %v", err)
		}

		p, err = run.UndoPlan(ctx, s.journal, fix.ID, run.Follow{Operator: "bob", Now: time.Now()})
		if err != nil || p.Machines() != 8 || p.Undoes != fix.ID {
			t.Fatalf("undo plan: %+v %v", p, err)
		}
		undo, err := s.newEngine().Start(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(undo, journal.RunDone, journal.Undone, 8)
		if s.fleet.count("PC00001 undo "+fix.ID) != 1 {
			t.Error("undo did not name the run to take back")
		}
		if _, err := run.UndoPlan(ctx, s.journal, undo.ID, run.Follow{Now: time.Now()}); err == nil {
			t.Error("an undo was undone")
		}
	})
}

// Every class of error, what becomes of the machine, and how often it was asked.
func TestClassesDecide(t *testing.T) {
	for _, c := range []struct {
		class   route.Class
		times   int // how many calls fail like this
		outcome journal.Outcome
		calls   int // negative: at least so many
	}{
		{route.Unreachable, 2, journal.Fixed, 3},
		{route.Busy, 3, journal.Fixed, 4},
		{route.Unreachable, 99, journal.Unreachable, 4},
		{route.Unknown, 2, journal.Fixed, 3},
		{route.Unknown, 999, journal.Unknown, -20},
		{route.Denied, 99, journal.Unreachable, 1},
		{route.Untrusted, 99, journal.Unreachable, 1},
		{route.Refused, 99, journal.Unreachable, 1},
		{route.Stopped, 99, journal.Held, 1},
	} {
		t.Run(fmt.Sprintf("%s x%d", c.class, c.times), func(t *testing.T) {
			bubble(t, 1, func(t *testing.T, s *setup) {
				s.fleet.behave = func(m *fakeMachine, call int, _ agent.Request) error {
					if call <= c.times {
						return routeError(c.class, m.name, "connect", "no luck")
					}
					return nil
				}
				r := s.start(t.Context())
				s.wantCounts(r, journal.RunDone, c.outcome, 1)
				m := s.machines(r.ID)[0]
				calls := s.fleet.machine(0).calls
				if m.Attempts != calls || c.calls >= 0 && calls != c.calls || calls < -c.calls {
					t.Errorf("%d calls, %d attempts recorded, want %d", calls, m.Attempts, c.calls)
				}
				if c.outcome != journal.Fixed && !strings.Contains(m.Reason, "no luck") {
					t.Errorf("reason %q", m.Reason)
				}
				if s.fleet.machine(0).changed > 1 {
					t.Errorf("changed %d times", s.fleet.machine(0).changed)
				}
			})
		})
	}
}

// After a lost connection the machine is unknown until it answers, whatever else goes wrong meanwhile.
func TestUnknownStaysUnknownUntilItAnswers(t *testing.T) {
	for _, then := range []route.Class{route.Unreachable, route.Denied, route.Refused, route.Busy} {
		bubble(t, 1, func(t *testing.T, s *setup) {
			s.fleet.behave = func(m *fakeMachine, call int, _ agent.Request) error {
				if call == 1 {
					return routeError(route.Unknown, m.name, "receive", "reset")
				}
				return routeError(then, m.name, "connect", "then this")
			}
			s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Unknown, 1)
		})
	}
}

func TestBackOffIsBoundedByTheDeadline(t *testing.T) {
	bubble(t, 3, func(t *testing.T, s *setup) {
		s.input.Options.Retries, s.input.Options.Timeout, s.input.Options.Backoff = 1000, 5*time.Minute, time.Second
		s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
			return routeError(route.Busy, m.name, "create", "quota")
		}
		began := time.Now()
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Unreachable, 3)
		if took := time.Since(began); took > 6*time.Minute || took < time.Minute {
			t.Errorf("took %s", took)
		}
		if calls := s.fleet.machine(0).calls; calls < 8 || calls > 60 {
			t.Errorf("%d calls in five minutes", calls)
		}
	})
}

func TestATimeoutOfARunningFixIsUnknown(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Options.Timeout = time.Minute
		s.fleet.latency = time.Hour
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Unknown, 1)
	})
}

func TestRestart(t *testing.T) {
	for _, c := range []struct {
		name    string
		set     func(m *fakeMachine)
		outcome journal.Outcome
		seen    bool
		reason  string
		atMost  time.Duration
	}{
		{"comes back", func(m *fakeMachine) { m.reboots = 90 * time.Second }, journal.Fixed, true, "", 3 * time.Minute},
		{"within a blink", func(m *fakeMachine) { m.reboots = 0 }, journal.Fixed, true, "", time.Minute},
		{"never", func(m *fakeMachine) { m.never = true }, journal.Failed, false, `did not come back within 15m0s after the restart (1 change was made: quarantine C:\bad.sys): connect: no route to host`, 16 * time.Minute},
		{"does not go", func(m *fakeMachine) { m.lazy = true }, journal.Failed, false, "did not restart within 15m0s", 16 * time.Minute},
		{"relapses", func(m *fakeMachine) { m.reboots, m.relapse = 60*time.Second, true }, journal.Failed, true, "verify does not hold after the restart: the file is there again", 3 * time.Minute},
		{"blind", func(m *fakeMachine) { m.reboots, m.blind = 60*time.Second, true }, journal.Fixed, true, "", 3 * time.Minute},
		{"had just started, and is down for a moment", func(m *fakeMachine) {
			m.booted, m.reboots, m.quick = time.Now().Add(-time.Second), 800*time.Millisecond, true
		}, journal.Fixed, true, "", 40 * time.Second},
		{"blind, and down for a moment", func(m *fakeMachine) { m.blind, m.reboots = true, 400*time.Millisecond }, journal.Fixed, true, "", 40 * time.Second},
		{"blind, not seen", func(m *fakeMachine) { m.blind, m.lazy = true, true }, journal.Fixed, false, "the restart was not observed", 3 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, 1, func(t *testing.T, s *setup) {
				s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
				c.set(s.fleet.machine(0))
				began := time.Now()
				r := s.start(t.Context())
				s.wantCounts(r, journal.RunDone, c.outcome, 1)
				m := s.machines(r.ID)[0]
				if m.Rebooted != c.seen || !strings.Contains(m.Reason, c.reason) || m.Changed != 1 || m.Result.Steps == nil {
					t.Errorf("rebooted %v, reason %q, changed %d", m.Rebooted, m.Reason, m.Changed)
				}
				if took := time.Since(began); took > c.atMost {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestSiteLimitsDoNotHoldOthersBack(t *testing.T) {
	bubble(t, 100, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.PerSite, s.input.Options.PerSubnet = 50, 3, 2
		for i := range s.input.Entries {
			e := &s.input.Entries[i]
			e.Site, e.Subnet = "BIG", fmt.Sprint("big", i%2)
			if i >= 90 {
				e.Site, e.Subnet = fmt.Sprint("S", i), ""
			}
		}
		s.fleet.latency = time.Minute
		ended := map[string]time.Time{}
		s.options.Observer = observer(func(e journal.Event) {
			if e.State == journal.Done {
				ended[e.Machine] = e.Time
			}
		})
		began := time.Now()
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 100)
		if s.fleet.sitePeak["BIG"] != 3 {
			t.Errorf("%d at once in the big site", s.fleet.sitePeak["BIG"])
		}
		if late := ended[name(99)].Sub(began); late > 5*time.Minute {
			t.Errorf("the last small site was done after %s", late)
		}
		if took := time.Since(began); took < 30*time.Minute || took > 34*time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

type observer func(journal.Event)

func (o observer) Observe(e journal.Event) { o(e) }

func TestChaseDeliversAsSoonAsAMachineIsUp(t *testing.T) {
	bubble(t, 40, func(t *testing.T, s *setup) {
		s.input.Options.Chase, s.input.Options.Retries, s.input.Options.Forks, s.input.Options.Timeout = true, 0, 5, time.Hour
		up := func() bool { return time.Now().Unix()%300 < 8 } // eight seconds in five minutes
		s.fleet.alive = func(m *fakeMachine) error {
			if m.name < name(30) && !up() {
				return routeError(route.Unreachable, m.name, "connect", "off")
			}
			if m.name == name(39) {
				return routeError(route.Unreachable, m.name, "connect", "dead")
			}
			return nil
		}
		began := time.Now()
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 39, journal.Unreachable, 1)
		if took := time.Since(began); took < 59*time.Minute || took > 61*time.Minute {
			t.Errorf("took %s", took)
		}
		if m := s.machines(r.ID); m[0].Attempts != 1 || m[39].Attempts != 1 || m[0].Ended.Sub(began) > 11*time.Minute {
			t.Errorf("attempts %d %d, ended after %s", m[0].Attempts, m[39].Attempts, m[0].Ended.Sub(began))
		}
	})
}
