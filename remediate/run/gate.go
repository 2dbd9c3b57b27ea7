package run

import (
	"fmt"
	"strconv"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// gate counts the outcomes of one wave and judges them.
type gate struct {
	rules  *plan.Options
	wave   string // "wave 2 (10%)"
	counts map[journal.Outcome]int
}

func newGate(rules *plan.Options, number int, name string) *gate {
	return &gate{rules, fmt.Sprintf("wave %d (%s)", number, name), map[journal.Outcome]int{}}
}

func (g *gate) finished() int {
	n := 0
	for outcome, count := range g.counts {
		if outcome != journal.Held && outcome != journal.Skipped {
			n += count
		}
	}
	return n
}

// judge says in one line why the run must stop, or nothing. A machine that was lost while the fix ran counts as failed:
// that is what a fix looks like that takes machines down. At the end of a wave the minimum sample does not matter.
func (g *gate) judge(atEnd bool) string {
	sample := g.rules.MinSample
	if atEnd {
		sample = 0
	}
	finished, unknown := g.finished(), g.counts[journal.Unknown]
	if bad := g.counts[journal.Failed] + unknown; g.rules.MaxFail.Exceeded(bad, finished, sample) {
		what := "failed"
		if unknown > 0 {
			what = fmt.Sprintf("failed or were lost (%d)", unknown)
		}
		return g.sentence(bad, finished, what, g.rules.MaxFail)
	}
	if bad := g.counts[journal.Unreachable]; g.rules.MaxUnreach.Exceeded(bad, finished, sample) {
		return g.sentence(bad, finished, "were unreachable", g.rules.MaxUnreach)
	}
	return ""
}

// unproved says that no machine of the wave was reached, so that it proved nothing; empty: some were.
func (g *gate) unproved() string {
	all := 0
	for outcome, count := range g.counts {
		all += count
		switch outcome {
		case journal.Unreachable, journal.Held, journal.Skipped:
		default:
			if count > 0 {
				return ""
			}
		}
	}
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%s: 0 of %s reached: this wave proved nothing", g.wave, prose.Counted(all, "machine", "machines"))
}

func (g *gate) sentence(bad, finished int, what string, limit plan.Limit) string {
	if limit.Percent > 0 {
		share := strconv.FormatFloat(float64(bad)*100/float64(finished), 'f', -1, 64)
		if len(share) > 4 {
			share = strconv.FormatFloat(float64(bad)*100/float64(finished), 'f', 1, 64)
		}
		return fmt.Sprintf("%s: %d of %d finished machines %s (%s %%), more than the allowed %g %%", g.wave, bad, finished, what, share, limit.Percent)
	}
	return fmt.Sprintf("%s: %d of %d finished machines %s, more than the allowed %d", g.wave, bad, finished, what, limit.Count)
}
