package run_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// A machine that writes more than is taken is asked once more, for its record, and holds nobody up after that.
func TestAMachineThatWritesTooMuchIsAskedTwice(t *testing.T) {
	const said = "receive: larger than the limit"
	for _, c := range []struct {
		what   string
		floods func(*fakeMachine, agent.Request) bool
		set    func(*setup)
		end    journal.Outcome
		reason string
		calls  int
	}{
		{"always", func(*fakeMachine, agent.Request) bool { return true }, nil, journal.Unknown, said + "; it was asked twice, no result was among what came, and the request may have run", 2},
		{"once", func(m *fakeMachine, _ agent.Request) bool { return m.calls == 1 }, nil, journal.Fixed, "", 2},
		{"after the restart", func(_ *fakeMachine, r agent.Request) bool { return r.Mode == agent.Verify },
			func(s *setup) { s.input.Source.Playbook.Reboot = playbook.RebootIfFixed }, journal.Unknown, "was fixed and restarted, but could not be verified: " + said, 3},
		{"after the soak", func(_ *fakeMachine, r agent.Request) bool { return r.Mode == agent.Verify },
			func(s *setup) { s.input.Options.Soak = time.Second }, journal.Failed, "was fixed, but cannot be verified after the soak: " + said, 3},
	} {
		bubble(t, 2, func(t *testing.T, s *setup) {
			s.input.Options.Forks, s.input.Options.Retries, s.input.Options.Timeout = 1, 3, 10*time.Hour
			if c.set != nil {
				c.set(s)
			}
			flooded := s.fleet.machine(0)
			s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
				if m == flooded && c.floods(m, r) {
					return routeError(route.Overflow, m.name, "receive", "larger than the limit")
				}
				return nil
			}
			began := time.Now()
			r := s.start(t.Context())
			m := s.machines(r.ID)
			if m[0].Outcome != c.end || m[0].Reason != c.reason || flooded.calls != c.calls || m[1].Outcome != journal.Fixed || flooded.acted != 1 {
				t.Errorf("%s: %s %q after %d requests, fixed %d times; the other is %s", c.what, m[0].Outcome, m[0].Reason, flooded.calls, flooded.acted, m[1].Outcome)
			}
			if strings.HasPrefix(c.what, "a") && m[0].Class != route.Overflow || time.Since(began) > 5*time.Minute {
				t.Errorf("%s: class %s, after %s", c.what, m[0].Class, time.Since(began))
			}
		})
	}
}
