package errand

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
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
