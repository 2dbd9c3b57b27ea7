package run

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Each of these fails when the line is taken out that keeps the promise it names.

func TestTheGateCounts(t *testing.T) {
	ten := plan.Limit{Percent: 10, Set: true}
	for _, c := range []struct {
		name   string
		counts map[journal.Outcome]int
		class  route.Class
		stops  string
	}{
		{"a machine that was lost while the fix ran is a failed one", map[journal.Outcome]int{journal.Fixed: 36, journal.Unknown: 4}, "", ""},
		{"one more is too many", map[journal.Outcome]int{journal.Fixed: 35, journal.Unknown: 5}, "", "wave 1 (100%): 5 of 40 treated machines failed or were lost (5) (12.5 %), more than the allowed 10 %"},
		{"clean machines do not thin it", map[journal.Outcome]int{journal.Clean: 165, journal.Failed: 4}, "", "wave 1 (100%): 4 of 4 treated machines failed (100 %), more than the allowed 10 %"},
		{"nor do silent ones", map[journal.Outcome]int{journal.Unreachable: 165, journal.Failed: 4}, "", "wave 1 (100%): 4 of 4 "},
		{"nor those that refuse us", map[journal.Outcome]int{journal.Unreachable: 165, journal.Failed: 4}, route.Denied, "wave 1 (100%): 4 of 4 "},
		{"nor held ones", map[journal.Outcome]int{journal.Fixed: 28, journal.Failed: 4, journal.Held: 95}, "", "wave 1 (100%): 4 of 32 "},
		{"nor skipped ones", map[journal.Outcome]int{journal.Fixed: 28, journal.Failed: 4, journal.Skipped: 95}, "", "wave 1 (100%): 4 of 32 "},
		{"a limit that is just reached is not passed", map[journal.Outcome]int{journal.Fixed: 36, journal.Failed: 4}, "", ""},
		{"a few prove nothing", map[journal.Outcome]int{journal.Fixed: 8, journal.Failed: 3}, "", ""},
	} {
		g := newGate(&plan.Options{MaxFail: ten}, agent.Fix)
		g.begin(1, "100%")
		for outcome, n := range c.counts {
			g.count(outcome, c.class, n)
		}
		if reason := g.judge(0, 0, true); (reason != "") != (c.stops != "") || !strings.HasPrefix(reason, c.stops) {
			t.Errorf("%s: %q", c.name, reason)
		}
	}
}

// Failures come first: what was begun and is not over may still go well.
func TestTheGateComparesWithWhatWasBegun(t *testing.T) {
	g := newGate(&plan.Options{MaxFail: plan.Limit{Percent: 10, Set: true}}, agent.Fix)
	g.begin(1, "100%")
	g.count(journal.Fixed, "", 2)
	g.count(journal.Failed, "", 5)
	if reason := g.judge(8, 0, false); reason == "" {
		t.Error("5 of 7 are not too many")
	}
	if reason := g.judge(8, 8, false); reason != "" {
		t.Errorf("5 of 15 begun are too many: %s", reason)
	}
}

// Clean machines are many and nothing happens to them; more are asked at once than could be lost, but not without bound.
func TestTheRoomGrowsWithWhatWentWell(t *testing.T) {
	g := newGate(&plan.Options{MaxFail: plan.Limit{Percent: 10, Set: true}}, agent.Fix)
	g.begin(1, "100%")
	for _, step := range []struct {
		outcome journal.Outcome
		n, want int
	}{{"", 0, 3}, {journal.Unreachable, 500, 3}, {journal.Clean, 1, 6}, {journal.Clean, 8, 30}, {journal.Clean, 991, 30}, {journal.Failed, 1, 20}, {journal.Fixed, 10, 60}, {journal.Fixed, 1000, 302}} {
		if step.n > 0 {
			g.count(step.outcome, "", step.n)
		}
		if got := g.room(); got != step.want {
			t.Errorf("after %d %s: %d may be at risk, not %d", step.n, step.outcome, got, step.want)
		}
	}
	for _, free := range []*gate{newGate(&plan.Options{MaxFail: plan.Limit{Percent: 10, Set: true}}, agent.Detect), newGate(&plan.Options{}, agent.Fix)} {
		if free.room() != unbounded {
			t.Errorf("%s without a limit, or without a fix, is bounded: %d", free.mode, free.room())
		}
	}
}

func TestProgressInNumbers(t *testing.T) {
	p := &plan.Plan{Waves: []plan.Wave{{Name: "100%", Entries: make([]plan.Entry, 3)}}}
	g := NewProgress(p)
	began := time.Unix(1_800_000_000, 0)
	seq := int64(0)
	observe := func(e journal.Event) {
		seq++
		e.Seq, e.Wave = seq, 1
		g.Observe(e)
	}
	at := func(seconds int) Snapshot { return g.Snapshot(began.Add(time.Duration(seconds) * time.Second)) }
	done := func(id string, seconds int) {
		observe(journal.Event{Kind: journal.MachineMove, MachineID: id, State: journal.Done, Outcome: journal.Fixed, Time: began.Add(time.Duration(seconds) * time.Second)})
	}
	observe(journal.Event{Kind: journal.RunStarted, Time: began})
	if s := at(5); s.Rate != 0 || s.ETA != 0 {
		t.Errorf("nothing is done: %g, %s", s.Rate, s.ETA)
	}
	done("a", 10)
	if s := at(10); s.Rate != 0.1 || s.ETA != 20*time.Second {
		t.Errorf("one of three after ten seconds: %g, %s", s.Rate, s.ETA)
	}
	done("b", 20)
	if s := at(20); s.Rate != 0.1 || s.ETA != 10*time.Second {
		t.Errorf("two of three after twenty seconds: %g, %s", s.Rate, s.ETA)
	}
	done("c", 40)
	if s := at(40); s.ETA != 0 || s.Done != 3 || s.Rate < 0.06 || s.Rate > 0.07 { // the first is out of the half minute
		t.Errorf("all: %g, %s, %d", s.Rate, s.ETA, s.Done)
	}
	observe(journal.Event{Kind: journal.MachineMove, MachineID: "d", State: journal.Leased})
	observe(journal.Event{Kind: journal.MachineMove, MachineID: "d", State: journal.Running, Text: "again"})
	observe(journal.Event{Kind: journal.MachineMove, MachineID: "d", State: journal.Rebooting})
	var told []string
	for _, e := range at(40).Last {
		told = append(told, string(e.State)+e.Text)
	}
	if got := strings.Join(told, " "); got != " done done done runningagain rebooting" {
		t.Errorf("told is %q", got)
	}
	for range 1000 {
		observe(journal.Event{Kind: journal.Stopping, Text: "x"})
	}
	if s := at(40); len(s.Last) > keepEvents || len(s.Last) < keepEvents/2 || s.Last[len(s.Last)-1].Seq != seq || s.Last[0].Seq != seq-int64(len(s.Last))+1 {
		t.Errorf("%d events are kept, the newest is not %d", len(s.Last), seq)
	}
}
