package errand

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func TestRestarted(t *testing.T) {
	for _, c := range []struct {
		name      string
		then, now int64         // uptimes in seconds
		elapsed   time.Duration // between the two answers
		down      bool
		want      bool
	}{
		{"not yet", 5000, 5030, 30 * time.Second, false, false},
		{"not yet, the network blinked", 5000, 5030, 30 * time.Second, true, false},
		{"restarted", 5000, 20, 90 * time.Second, true, true},
		{"restarted between two looks", 5000, 3, 30 * time.Second, false, true},
		{"two clocks apart", 5000, 5026, 30 * time.Second, false, false},
		{"just started, fixed, not restarted", 3, 33, 30 * time.Second, false, false},
		{"just started, fixed, restarted", 3, 10, 30 * time.Second, false, true},
		{"just started, restarted quickly and seen", 1, 28, 30 * time.Second, true, true},
		{"an hour later, restarted", 100, 3500, time.Hour, false, true},
		{"an hour later, not restarted", 100, 3700, time.Hour, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tk := &Errand{fixed: &agent.Result{Uptime: c.then}, fixedAt: time.Now()}
			<-time.After(c.elapsed)
			if got := tk.restarted(c.now, c.down); got != c.want {
				t.Errorf("%s: %v", c.name, got)
			}
		})
	}
}

// Who restarts is looked for, glanced at or asked, as its uptime allows; what it says is its end.
func TestTheWaitForARestart(t *testing.T) {
	none := fail(route.Unreachable, "connect", "no route")
	up := func(uptime int64) answer { return answer{result: agent.Result{Outcome: agent.Fixed, Uptime: uptime}} }
	does := func(a answer, message string) answer {
		a.result.Outcome, a.result.Message = agent.Failed, message
		return a
	}
	down := answer{err: none}
	for name, c := range map[string]struct {
		uptime  int64 // when it was fixed
		alive   []error
		answers []answer // to verify
		want    string
		said    string // with the time of each
	}{
		"back":               {5000, nil, []answer{down, up(3)}, "fixed ", "verify 2s|verify 4s"},
		"back, and affected": {5000, nil, []answer{down, does(up(3), "file is\nthere")}, "failed : verify does not hold after the restart: file is there", "verify 2s|verify 4s"},
		"back without words": {5000, nil, []answer{down, does(up(3), "")}, "failed : verify does not hold after the restart: the agent did not say why", "verify 2s|verify 4s"},
		"between two looks":  {5000, nil, []answer{up(1)}, "fixed ", "verify 2s"},
		"not gone yet": {5000, []error{nil, none, nil}, []answer{up(5002), up(2)}, "fixed ",
			"verify 2s|knock 4s|knock 7s|verify 11.5s"},
		"asked again once it was looked for long enough": {5000, nil, []answer{up(5002), up(5026), up(2)}, "fixed ",
			"verify 2s|knock 4s|knock 7s|knock 11.5s|knock 18.25s|verify 28.375s|verify 43.5625s"},
		"busy is not down":                {5000, nil, []answer{{err: fail(route.Busy, "create", "quota")}, up(5700)}, "failed : did not restart within 10m0s (1 change was made)", ""},
		"never back":                      {5000, nil, []answer{down}, "failed unreachable: did not come back within 10m0s after the restart (1 change was made): connect: no route", ""},
		"refuses us":                      {5000, nil, []answer{{err: fail(route.Auth, "authenticate", "no")}}, "stands: authenticate: no", "verify 2s"},
		"denies us thrice":                {5000, nil, []answer{{err: fail(route.Denied, "create", "no")}}, "unknown denied: was fixed and restarted, but could not be verified: create: no", "verify 2s|knock 4s|knock 7s|knock 11.5s|knock 18.25s|verify 28.375s|verify 43.5625s"},
		"floods twice":                    {5000, nil, []answer{{err: fail(route.Overflow, "receive", "much")}}, "unknown overflow: was fixed and restarted, but could not be verified: receive: much", ""},
		"a store fails":                   {5000, nil, []answer{{err: &route.StoreError{Store: "the book", Err: errors.New("full")}}}, "broken the book cannot be used: full", "verify 2s"},
		"knows no uptime, seen down":      {-1, []error{none, nil}, []answer{up(-1), up(-1)}, "fixed ", ""},
		"knows no uptime, never down":     {-1, nil, []answer{up(-1)}, "fixed : verify holds, but the restart was not observed", ""},
		"knows none now, never down":      {5000, nil, []answer{up(-1)}, "fixed : verify holds, but the restart was not observed", ""},
		"does not hold, never down":       {-1, nil, []answer{does(up(-1), "x")}, "failed : did not restart within 10m0s (1 change was made)", ""},
		"had just started":                {5, []error{none, nil}, []answer{up(3)}, "fixed ", "knock 250ms|verify 2.25s"},
		"had just started, an unseen one": {3, nil, []answer{up(3)}, "fixed ", ""},
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			if got := says(e.Turn(t.Context(), false)); got != c.want {
				t.Errorf("%s: %q, not %q", name, got, c.want)
			}
			var all []string
			for i, text := range s.said {
				word, _, _ := strings.Cut(text, " ")
				all = append(all, word+" "+s.waits[i])
			}
			if got := strings.Join(all, "|"); c.said != "" && got != "begin 0s|fix 0s|restart 0s|"+c.said {
				t.Errorf("%s: %s", name, got)
			}
			if e.Begun() != (c.want != "") || !e.Touched() || e.running {
				t.Errorf("%s: %+v", name, e)
			}
		}, func(s *scene) {
			s.alive = c.alive
			s.answers = append([]answer{{result: agent.Result{Outcome: agent.Fixed, Reboot: "scheduled", Uptime: c.uptime, Changed: 1}}}, c.answers...)
		})
	}
}

// Nobody looks before the shortest restart of the run would be over, and what is awaited from an earlier life has begun then.
func TestTheFirstLookAfterARestart(t *testing.T) {
	for name, c := range map[string]struct {
		quickest time.Duration
		uptime   int64
		passed   time.Duration
		want     time.Duration
	}{
		"the first": {0, 5000, 0, 2 * time.Second}, "a quick one": {time.Second, 5000, 0, 2 * time.Second}, "a slow one": {100 * time.Second, 5000, 0, 90 * time.Second},
		"slower than the wait": {time.Hour, 5000, 0, 10 * time.Minute}, "partly over": {100 * time.Second, 5000, 40 * time.Second, 50 * time.Second}, "over": {100 * time.Second, 5000, time.Hour, 0},
		"had just started": {100 * time.Second, 5, 0, 250 * time.Millisecond}, "had started before": {100 * time.Second, 6, 0, 90 * time.Second},
	} {
		play(t, func(t *testing.T, s *scene, e *Errand) {
			s.crew.quickest.Store(int64(c.quickest))
			if got := e.firstLook(); got != c.want {
				t.Errorf("%s: after %s, not %s", name, got, c.want)
			}
		}, func(s *scene) {
			s.order.Fixed, s.order.FixedAt = &agent.Result{Uptime: c.uptime}, s.began.Add(-c.passed)
		})
	}
	play(t, func(t *testing.T, s *scene, e *Errand) {
		for i, step := range []struct{ passed, want time.Duration }{{30 * time.Second, 30 * time.Second}, {20 * time.Second, 20 * time.Second}, {25 * time.Second, 20 * time.Second}} {
			e.fixedAt = time.Now().Add(-step.passed)
			if e.back(); s.crew.quickest.Load() != int64(step.want) {
				t.Errorf("%d: %s", i, time.Duration(s.crew.quickest.Load()))
			}
		}
	})
}

// An answer from the record tells that the restart is over, where one is made and nothing else is said.
func TestARestartThatWasBefore(t *testing.T) {
	for _, c := range []struct {
		policy playbook.Reboot
		result agent.Result
		want   bool
	}{
		{playbook.RebootAlways, agent.Result{Repeated: true}, true}, {playbook.RebootAlways, agent.Result{}, false}, {playbook.RebootAlways, agent.Result{Repeated: true, Message: "taken back"}, false},
		{playbook.RebootIfFixed, agent.Result{Repeated: true}, false}, {playbook.RebootIfFixed, agent.Result{Repeated: true, Changed: 1}, true}, {playbook.RebootIfFixed, agent.Result{Changed: 1}, false},
		{playbook.RebootNever, agent.Result{Repeated: true, Changed: 1}, false},
	} {
		c.result.Outcome, c.result.Uptime = agent.Fixed, 5000
		play(t, func(t *testing.T, s *scene, e *Errand) {
			if got := e.restartedBefore(c.result); got != c.want {
				t.Errorf("%s %+v: %v", c.policy, c.result, got)
			}
			if got := says(e.Turn(t.Context(), false)); !strings.HasPrefix(got, "fixed ") || (len(s.said) > 2) != c.want {
				t.Errorf("%s %+v: %q %q", c.policy, c.result, got, s.said)
			}
		}, func(s *scene) { s.crew.Playbook.Reboot, s.answers[0].result = c.policy, c.result })
	}
}
