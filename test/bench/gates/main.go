// Command gates draws runs and lets the gate judge them: how often a good day is stopped, and how many machines a bad one
// costs. A failure answers at once, a fix takes its time, as in a fleet; waves 1, 10, 10%, 100%, the ramp as in a run. The
// rule is that of plan.Limit, which the engine obeys; that it does is tested in remediate/run.
package main

import (
	"container/heap"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/fleetmend/fleetmend/remediate/plan"
)

func main() {
	draws := flag.Int("draws", 10_000, "runs of 400 machines for each rate; a tenth as many of 10,000 machines")
	limit := flag.Float64("limit", 10, "gate, percent of the treated machines")
	forks := flag.Int("forks", 200, "machines at once")
	flag.Parse()
	rule := newRule(plan.Limit{Percent: *limit, Set: true})
	missed := false
	for _, machines := range []int{400, 10_000} {
		for _, rate := range []float64{0.5, 1, 2, 3, 5, 10, 15, 20, 30} {
			n := *draws
			if machines > 400 {
				n = max(n/10, 1)
			}
			missed = tell(rule, machines, n, *forks, rate, *limit) || missed
		}
	}
	if missed {
		os.Exit(1)
	}
}

// tell draws runs of a rate, in percent, prints what became of them, and reports whether a promise was broken.
func tell(rule *rule, machines, draws, forks int, rate, limit float64) bool {
	var treated, late []int
	for i := range draws {
		r := &fleet{rule: rule, dice: rand.New(rand.NewPCG(uint64(i), uint64(machines))), rate: rate / 100, forks: forks} //nolint:gosec // draws
		if r.run(machines) {
			treated, late = append(treated, r.ended), append(late, max(r.begun-r.passedAt, 0))
		}
	}
	slices.Sort(treated)
	slices.Sort(late)
	stopped := float64(len(treated)) * 100 / float64(draws)
	line := fmt.Sprintf("figure gate-of-%g%%,-%g%%-fail,-%d-machines %.2f %%-of-%d-runs-stopped", limit, rate, machines, stopped, draws)
	switch {
	case rate <= limit/5:
		line += " budget <= 1"
	case rate >= 2*limit: // what is not stopped
		line = fmt.Sprintf("figure gate-of-%g%%,-%g%%-fail,-%d-machines %.2f %%-of-%d-runs-not-stopped budget <= 1", limit, rate, machines, 100-stopped, draws)
	}
	fmt.Println(line)
	if len(treated) > 0 {
		at := func(v []int, q float64) int { return v[int(float64(len(v)-1)*q)] }
		fmt.Printf("  %g %% fail of %d: stopped when %d machines (p50), %d (p99) had been treated; begun after the limit was truly passed %d (p50), %d (p99)\n",
			rate, machines, at(treated, .5), at(treated, .99), at(late, .5), at(late, .99))
	}
	return rate <= limit/5 && stopped > 1 || rate >= 2*limit && stopped < 99
}

// rule remembers what the limit says.
type rule struct {
	limit    plan.Limit
	least    map[int]int // fewest failures of so many begun that pass the limit
	bearable map[[2]int]int
}

func newRule(l plan.Limit) *rule {
	return &rule{limit: l, least: map[int]int{}, bearable: map[[2]int]int{}}
}

func (r *rule) passed(bad, begun int) bool {
	least, ok := r.least[begun]
	if !ok {
		least = 1
		for least <= begun && !r.limit.Passed(least, begun) {
			least++
		}
		r.least[begun] = least
	}
	return bad >= least
}

func (r *rule) room(bad, judged int) int {
	n, ok := r.bearable[[2]int{bad, judged}]
	if !ok {
		n = r.limit.Bearable(bad, judged)
		r.bearable[[2]int{bad, judged}] = n
	}
	return n
}

// fleet is one run under way.
type fleet struct {
	rule     *rule
	dice     *rand.Rand
	rate     float64
	forks    int
	out      ends
	now      float64
	begun    int
	doomed   int // of the begun, those that fail
	ended    int
	bad      int
	passedAt int // begun when more of them than the limit were going to fail, for good; 0: not yet
}

// run reports whether the gate stopped it.
func (f *fleet) run(machines int) bool {
	for _, upTo := range []int{1, 11, int(math.Ceil(float64(machines) / 10)), machines} {
		for f.begun < upTo || len(f.out) > 0 {
			for f.begun < upTo && len(f.out) < min(f.forks, f.rule.room(f.bad, f.ended)) {
				f.begin()
			}
			e := heap.Pop(&f.out).(end) //nolint:errcheck,forcetypeassert // a heap of ends
			f.now = e.at
			f.ended++
			if e.bad {
				f.bad++
			}
			if f.rule.passed(f.bad, f.begun) || len(f.out) == 0 && f.rule.limit.Hopeless(f.bad, f.ended) {
				return true
			}
		}
		if f.rule.limit.PassedAtEnd(f.bad, f.ended) {
			return true
		}
	}
	return false
}

func (f *fleet) begin() {
	e := end{at: f.now + 20 + 40*f.dice.Float64(), bad: f.dice.Float64() < f.rate}
	f.begun++
	if e.bad {
		e.at = f.now + 0.2
		f.doomed++
	}
	switch share := float64(f.doomed) * 100 / float64(f.begun); {
	case share <= f.rule.limit.Percent:
		f.passedAt = 0
	case f.passedAt == 0:
		f.passedAt = f.begun
	}
	heap.Push(&f.out, e)
}

// end is when and how a machine ends.
type end struct {
	at  float64
	bad bool
}

type ends []end

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i].at < h[j].at }
func (h ends) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ends) Push(v any)        { *h = append(*h, v.(end)) } //nolint:errcheck,forcetypeassert // a heap of ends
func (h *ends) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
