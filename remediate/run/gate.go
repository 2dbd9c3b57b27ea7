package run

import (
	"fmt"
	"strconv"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// gate counts what became of the machines of a run, all its waves together, and judges it. What is judged by --max-fail are
// the machines that were treated, affected and acted upon: those that were clean, silent or refused us say nothing about the
// fix, and must not thin it. One goroutine owns a gate.
type gate struct {
	rules *plan.Options
	mode  agent.Mode
	all   tally // of the run so far
	wave  tally // of the wave under way
	name  string
}

// tally is how many machines came to what.
type tally struct {
	good        int // treated well; without a fix, looked at
	failed      int
	unknown     int // lost while a request may have run
	clean       int
	unreachable int
	denied      int
	outside     int // held, skipped
}

func newGate(rules *plan.Options, mode agent.Mode) *gate { return &gate{rules: rules, mode: mode} }

// begin turns to a wave.
func (g *gate) begin(number int, name string) {
	g.wave, g.name = tally{}, fmt.Sprintf("wave %d (%s)", number, name)
}

// count books n machines that came to an outcome, in the run and in the wave; a negative n takes them back.
func (g *gate) count(outcome journal.Outcome, class route.Class, n int) {
	g.all.add(g.mode, outcome, class, n)
	g.wave.add(g.mode, outcome, class, n)
}

func (c *tally) add(mode agent.Mode, outcome journal.Outcome, class route.Class, n int) {
	switch outcome {
	case journal.Fixed, journal.Undone, journal.Affected:
		c.good += n
	case journal.Failed:
		c.failed += n
	case journal.Unknown:
		c.unknown += n
	case journal.Clean:
		if mode == agent.Detect { // to look is all that was asked
			c.good += n
		} else {
			c.clean += n
		}
	case journal.Unreachable:
		if class == route.Denied || class == route.Auth {
			c.denied += n
		} else {
			c.unreachable += n
		}
	default:
		c.outside += n
	}
}

// bad are the failures. A machine that was lost while the fix ran is one: that is what a fix looks like that takes machines down.
func (c *tally) bad() int { return c.failed + c.unknown }

func (c *tally) treated() int { return c.good + c.bad() }

func (c *tally) finished() int { return c.treated() + c.clean + c.unreachable + c.denied }

func (c *tally) answered() int { return c.treated() + c.clean }

// judge says in one line why the run must stop, or nothing. Out are the machines that are at work, risked those of them that
// may be treated by now; atEnd says that the wave is over and nobody is.
func (g *gate) judge(out, risked int, atEnd bool) string {
	c := &g.all
	passed := func(limit plan.Limit, bad, judged, out int) bool {
		if atEnd {
			return limit.PassedAtEnd(bad, judged)
		}
		return limit.Passed(bad, judged+out)
	}
	switch {
	case passed(g.rules.MaxFail, c.bad(), c.treated(), risked):
		return g.sentence(c.bad(), c.treated(), g.treatedWord(), g.failedWord(), g.rules.MaxFail)
	case risked == 0 && g.rules.MaxFail.Hopeless(c.bad(), c.treated()):
		return fmt.Sprintf("%s: %s %s, and not one went well", g.name, prose.Counted(c.bad(), g.treatedWord()+" machine", g.treatedWord()+" machines"), g.failedWord())
	case passed(g.rules.MaxUnreach, c.unreachable, c.finished(), out):
		return g.sentence(c.unreachable, c.finished(), "finished", "were unreachable", g.rules.MaxUnreach)
	case passed(g.rules.MaxDenied, c.denied, c.finished(), out):
		return g.sentence(c.denied, c.finished(), "finished", "refused us", g.rules.MaxDenied)
	}
	return ""
}

func (g *gate) treatedWord() string {
	if g.mode == agent.Detect {
		return "answering"
	}
	return "treated"
}

func (g *gate) failedWord() string {
	if g.all.unknown > 0 {
		return fmt.Sprintf("failed or were lost (%d)", g.all.unknown)
	}
	return "failed"
}

// room is how many machines may be at risk at once. Where most are clean, more may be asked than could be lost, for few of
// them are treated: at most crowd times as many, because clean ones may stand together.
func (g *gate) room() int {
	if g.mode != agent.Fix {
		return unbounded
	}
	n := g.rules.MaxFail.Bearable(g.all.bad(), g.all.treated())
	if n >= unbounded {
		return unbounded
	}
	return n * min(crowd*(g.all.treated()+1), g.all.answered()+1) / (g.all.treated() + 1)
}

const (
	crowd     = 10
	unbounded = 1 << 30
)

// unproved says why a wave tells nothing of those to come, or nothing where it does: nobody was reached, nobody needed the
// fix, or everybody whom it met failed.
func (g *gate) unproved() string {
	c := &g.wave
	all := c.finished() + c.outside
	switch {
	case all == 0 || c.good > 0:
		return ""
	case c.answered()+c.denied == 0:
		return fmt.Sprintf("0 of %s reached", prose.Counted(all, "machine", "machines"))
	case c.bad() > 0:
		return fmt.Sprintf("%d of %s %s", c.bad(), prose.Counted(c.treated(), g.treatedWord()+" machine", g.treatedWord()+" machines"), g.failedWord())
	}
	return fmt.Sprintf("0 of %s needed it", prose.Counted(all, "machine", "machines"))
}

func (g *gate) sentence(bad, judged int, judgedWord, what string, limit plan.Limit) string {
	if limit.Percent > 0 {
		share := strconv.FormatFloat(float64(bad)*100/float64(judged), 'f', -1, 64)
		if len(share) > 4 {
			share = strconv.FormatFloat(float64(bad)*100/float64(judged), 'f', 1, 64)
		}
		return fmt.Sprintf("%s: %d of %d %s machines %s (%s %%), more than the allowed %g %%", g.name, bad, judged, judgedWord, what, share, limit.Percent)
	}
	return fmt.Sprintf("%s: %d of %d %s machines %s, more than the allowed %d", g.name, bad, judged, judgedWord, what, limit.Count)
}
