package run

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// The queue against the obvious rule, written down naively: of all waiting tasks, the first whose site and subnet have
// room. Three thousand random steps with few sites make every kind of parking happen.
func TestQueueAgainstTheNaiveRule(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // a test wants the same numbers each time
	for _, rules := range []plan.Options{{}, {PerSite: 2}, {PerSubnet: 1}, {PerSite: 3, PerSubnet: 2}, {PerSite: 3, ByRoute: map[string]route.Limits{"far": {Forks: 2}}}} {
		q := newQueue(&rules)
		waiting, out := map[*task]bool{}, []*task{}
		sites, subnets, far := map[string]int{}, map[string]int{}, 0
		free := func(e *plan.Entry) bool {
			return (rules.PerSite == 0 || e.Site == "" || sites[e.Site] < rules.PerSite) &&
				(rules.PerSubnet == 0 || e.Subnet == "" || subnets[e.Subnet] < rules.PerSubnet) &&
				(e.Route != "far" || rules.ByRoute == nil || far < 2)
		}
		for step := range 3_000 {
			switch random.IntN(3) {
			case 0:
				e := &plan.Entry{Target: route.Target{Name: fmt.Sprint(step), Site: pick(random, "", "A", "B", "C"), Subnet: pick(random, "", "1", "2")}, Route: pick(random, "near", "far")}
				tk := &task{entry: e, order: random.IntN(1000)*100_000 + step}
				q.add(tk)
				waiting[tk] = true
			case 1:
				var want *task
				for tk := range waiting {
					if free(tk.entry) && (want == nil || tk.order < want.order) {
						want = tk
					}
				}
				if got := q.next(); got != want {
					t.Fatalf("%+v, step %d: got %+v, want %+v", rules, step, got, want)
				}
				if want != nil {
					delete(waiting, want)
					out = append(out, want)
					sites[want.entry.Site]++
					subnets[want.entry.Subnet]++
					if want.entry.Route == "far" {
						far++
					}
				}
			case 2:
				if len(out) == 0 {
					continue
				}
				i := random.IntN(len(out))
				tk := out[i]
				out = append(out[:i], out[i+1:]...)
				sites[tk.entry.Site]--
				subnets[tk.entry.Subnet]--
				if tk.entry.Route == "far" {
					far--
				}
				q.giveBack(tk)
				if random.IntN(4) == 0 { // retried later
					q.delay(tk, time.Time{})
					q.wake(time.Now())
					waiting[tk] = true
				}
			}
			if q.waiting != len(waiting) {
				t.Fatalf("step %d: %d waiting, want %d", step, q.waiting, len(waiting))
			}
		}
		removed := q.remove(func(t *task) bool { return t.entry.Site == "A" })
		for _, tk := range removed {
			if !waiting[tk] || tk.entry.Site != "A" {
				t.Errorf("removed %+v", tk.entry)
			}
		}
		if q.waiting != len(waiting)-len(removed) {
			t.Errorf("%d left of %d after %d were removed", q.waiting, len(waiting), len(removed))
		}
	}
}

func pick(random *rand.Rand, from ...string) string { return from[random.IntN(len(from))] }

func BenchmarkQueueFullSite50000(b *testing.B) {
	rules := plan.Options{PerSite: 2}
	big := &plan.Entry{Target: route.Target{Site: "BIG"}}
	for b.Loop() {
		q := newQueue(&rules)
		for i := range 50_000 {
			q.add(&task{entry: big, order: i})
		}
		for t := q.next(); t != nil; t = q.next() {
			q.giveBack(t)
		}
	}
}
