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

// What a gate says is why a run stopped: who reads it must find the numbers, and the limit as he wrote it.
func TestWhatAGateSays(t *testing.T) {
	percent := func(p float64) plan.Limit { return plan.Limit{Percent: p, Set: true} }
	for _, c := range []struct {
		mode   agent.Mode
		rules  plan.Options
		counts map[journal.Outcome]int
		want   string
	}{
		{agent.Fix, plan.Options{MaxFail: percent(10)}, map[journal.Outcome]int{journal.Failed: 8, journal.Fixed: 32}, "wave 2 (10%): 8 of 40 treated machines failed (20 %), more than the allowed 10 %"},
		{agent.Fix, plan.Options{MaxFail: percent(2.5)}, map[journal.Outcome]int{journal.Failed: 11, journal.Fixed: 22}, "wave 2 (10%): 11 of 33 treated machines failed (33.3 %), more than the allowed 2.5 %"},
		{agent.Fix, plan.Options{MaxFail: percent(1)}, map[journal.Outcome]int{journal.Failed: 1, journal.Fixed: 79}, "wave 2 (10%): 1 of 80 treated machines failed (1.25 %), more than the allowed 1 %"},
		{agent.Fix, plan.Options{MaxFail: plan.Limit{Count: 1, Set: true}}, map[journal.Outcome]int{journal.Failed: 1, journal.Unknown: 1}, "wave 2 (10%): 2 of 2 treated machines failed or were lost (1), more than the allowed 1"},
		{agent.Fix, plan.Options{MaxFail: percent(50)}, map[journal.Outcome]int{journal.Failed: 3, journal.Unknown: 1}, "wave 2 (10%): 4 treated machines failed or were lost (1), and not one went well"},
		{agent.Detect, plan.Options{MaxFail: percent(10)}, map[journal.Outcome]int{journal.Failed: 4, journal.Clean: 15, journal.Affected: 12}, "wave 2 (10%): 4 of 31 answering machines failed (12.9 %), more than the allowed 10 %"},
		{agent.Fix, plan.Options{MaxUnreach: percent(50)}, map[journal.Outcome]int{journal.Unreachable: 30, journal.Clean: 10, journal.Held: 9}, "wave 2 (10%): 30 of 40 finished machines were unreachable (75 %), more than the allowed 50 %"},
		{agent.Fix, plan.Options{MaxFail: percent(50)}, map[journal.Outcome]int{journal.Failed: 1, journal.Fixed: 1}, ""},
	} {
		g := newGate(&c.rules, c.mode)
		g.begin(2, "10%")
		for outcome, n := range c.counts {
			g.count(outcome, "", n)
		}
		if got := g.judge(0, 0, true); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	denied := newGate(&plan.Options{MaxDenied: plan.Limit{Count: 1, Set: true}}, agent.Fix)
	denied.begin(2, "10%")
	denied.count(journal.Unreachable, route.Denied, 1)
	denied.count(journal.Unreachable, route.Auth, 1)
	if got := denied.judge(0, 0, true); got != "wave 2 (10%): 2 of 2 finished machines refused us, more than the allowed 1" {
		t.Errorf("%q", got)
	}
	for want, counts := range map[string]map[journal.Outcome]int{
		"0 of 3 machines reached":                        {journal.Unreachable: 1, journal.Held: 1, journal.Skipped: 1},
		"0 of 1 machine reached":                         {journal.Unreachable: 1, journal.Fixed: 0},
		"0 of 6 machines needed it":                      {journal.Unreachable: 5, journal.Clean: 1},
		"2 of 2 treated machines failed":                 {journal.Failed: 2, journal.Clean: 1},
		"1 of 1 treated machine failed or were lost (1)": {journal.Unknown: 1},
		"": {journal.Failed: 5, journal.Fixed: 1},
	} {
		g := newGate(&plan.Options{}, agent.Fix)
		g.begin(2, "10%")
		for outcome, n := range counts {
			g.count(outcome, "", n)
		}
		if got := g.unproved(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := newGate(&plan.Options{}, agent.Fix).unproved(); got != "" {
		t.Errorf("a wave without machines: %q", got)
	}
}

// An approval of an older fleetmend names no wave: it is for the one that waits. Of a wave that does not wait it is for none.
func TestAnApprovalWithoutANumber(t *testing.T) {
	x := &execution{approved: map[int]string{}, current: 2, awaits: 3}
	if err := x.approval(journal.Control{Who: "eve"}); err != nil || x.approved[3] != "eve" || len(x.approved) != 1 {
		t.Errorf("%v %v", x.approved, err)
	}
	if err := x.approval(journal.Control{Wave: 4, Who: "ada"}); err != nil || x.approved[4] != "ada" || len(x.approved) != 2 {
		t.Errorf("%v %v", x.approved, err)
	}
}

// What a run is while it is paused, and what it is again when it goes on.
func TestProgressOfAPause(t *testing.T) {
	p := &plan.Plan{Waves: []plan.Wave{{Name: "1", Entries: make([]plan.Entry, 1)}, {Name: "100%", Entries: make([]plan.Entry, 2)}}}
	g := NewProgress(p)
	seq := int64(0)
	for _, step := range []struct {
		kind   journal.Kind
		wave   int
		text   string
		status journal.Status
		reason string
	}{
		{journal.RunStarted, 0, "fix", journal.RunRunning, ""}, {journal.WaveStarted, 1, "one", journal.RunRunning, ""},
		{journal.Paused, 0, "by eve", journal.RunPaused, "by eve"}, {journal.Unpaused, 0, "by eve", journal.RunRunning, ""},
		{journal.WaveSoaking, 1, "soaks", journal.RunRunning, "soaks"}, {journal.Approval, 1, "wave 2 waits", journal.RunWaiting, "wave 2 waits"},
		{journal.Paused, 0, "by eve", journal.RunPaused, "by eve"}, {journal.Unpaused, 0, "by eve", journal.RunWaiting, "wave 2 waits"},
		{journal.Approved, 1, "by ada", journal.RunRunning, ""}, {journal.Paused, 0, "by eve", journal.RunPaused, "by eve"}, {journal.Unpaused, 0, "by eve", journal.RunRunning, ""},
		{journal.WaveEnded, 1, "", journal.RunRunning, ""}, {journal.WaveEnded, 3, "", journal.RunRunning, ""}, {journal.WaveEnded, 0, "", journal.RunRunning, ""},
		{journal.WaveGated, 2, "too many", journal.RunRunning, "too many"}, {journal.Stopping, 2, "stops", journal.RunRunning, "stops"},
		{journal.Approval, 1, "again", journal.RunWaiting, "again"}, {journal.RunEnded, 0, "interrupted: by eve: at once", journal.RunInterrupted, "by eve: at once"},
		{journal.RunResumed, 0, "fix", journal.RunRunning, ""}, {journal.Paused, 0, "by eve", journal.RunPaused, "by eve"}, {journal.Unpaused, 0, "by eve", journal.RunRunning, ""},
		{journal.RunEnded, 0, "done", journal.RunDone, ""},
	} {
		seq++
		g.Observe(journal.Event{Run: "r", Seq: seq, Kind: step.kind, Wave: step.wave, Text: step.text, Time: time.Unix(1_800_000_000+seq, 0)})
		s := g.Snapshot(time.Unix(1_800_000_100, 0))
		if s.Status != step.status || s.Reason != step.reason || s.Seq != seq || s.Run != "r" {
			t.Errorf("%d, after %s: %s %q", seq, step.kind, s.Status, s.Reason)
		}
	}
	s := g.Snapshot(time.Unix(1_800_000_100, 0))
	if !s.Waves[0].Ended || s.Waves[1].Ended || s.Wave != 1 || s.Started.Unix() != 1_800_000_019 {
		t.Errorf("%+v", s)
	}
	// A wave that the plan does not have counts in the whole, and a second end of a machine takes the first back.
	move := func(wave int, state journal.State, outcome journal.Outcome) {
		seq++
		g.Observe(journal.Event{Seq: seq, Kind: journal.MachineMove, MachineID: "m", Wave: wave, State: state, Outcome: outcome, Time: time.Unix(1_800_000_090, 0)})
	}
	move(7, journal.Done, journal.Fixed)
	if s := g.Snapshot(time.Unix(1_800_000_100, 0)); s.Done != 1 || s.Outcomes[journal.Fixed] != 1 || s.Waves[0].Done+s.Waves[1].Done != 0 || s.States[journal.Pending] != 2 {
		t.Errorf("%+v", s)
	}
	move(2, journal.Done, journal.Failed)
	if s := g.Snapshot(time.Unix(1_800_000_100, 0)); s.Done != 1 || s.Outcomes[journal.Fixed] != 0 || s.Outcomes[journal.Failed] != 1 || s.Waves[1].Outcomes[journal.Failed] != 1 || s.States[journal.Done] != 1 {
		t.Errorf("%+v", s)
	}
}

// The pace of a run: within its first second as if that were whole, and nothing once nothing was done for half a minute. Where it
// is taken from a moment, held machines and those of long ago have no part in it.
func TestThePaceOfARun(t *testing.T) {
	p := &plan.Plan{Waves: []plan.Wave{{Name: "100%", Entries: make([]plan.Entry, 9)}}}
	began := time.Unix(1_800_000_000, 0)
	g := NewProgress(p)
	g.Observe(journal.Event{Seq: 1, Kind: journal.RunStarted, Time: began})
	g.Observe(journal.Event{Seq: 2, Kind: journal.MachineMove, MachineID: "a", Wave: 1, State: journal.Done, Outcome: journal.Fixed, Time: began})
	g.Observe(journal.Event{Seq: 3, Kind: journal.MachineMove, MachineID: "b", Wave: 1, State: journal.Done, Outcome: journal.Held, Time: began})
	g.Observe(journal.Event{Seq: 4, Kind: journal.MachineMove, MachineID: "a", Wave: 1, State: journal.Done, Outcome: journal.Unknown, Time: began}) // it was done
	for after, want := range map[time.Duration]float64{500 * time.Millisecond: 1, 2 * time.Second: 0.5} {
		if s := g.Snapshot(began.Add(after)); s.Rate != want {
			t.Errorf("after %s: %g, want %g", after, s.Rate, want)
		}
	}
	if s := g.Snapshot(began.Add(40 * time.Second)); s.Rate != 0 || s.ETA != 0 {
		t.Errorf("after forty seconds: %g", s.Rate)
	}
	g = NewProgress(p)
	station := func(id string, state journal.State, outcome journal.Outcome, seconds int) journal.Station {
		return journal.Station{ID: id, Wave: 1, State: state, Outcome: outcome, Ended: began.Add(time.Duration(seconds) * time.Second)}
	}
	g.Stand(journal.Standing{Seq: 9, Course: []journal.Event{{Seq: 1, Kind: journal.RunStarted, Time: began}}, Machines: []journal.Station{
		station("a", journal.Done, journal.Fixed, 10), station("b", journal.Done, journal.Fixed, 60), station("c", journal.Done, journal.Clean, 45), station("d", journal.Done, journal.Held, 60),
		station("e", journal.Done, journal.Fixed, 30), station("f", journal.Rebooting, "", 60), station("g", journal.Running, "", 0), {ID: "h", Wave: 1, State: journal.Pending}}})
	s := g.Snapshot(began.Add(60 * time.Second))
	if s.Rate != 2.0/30 || s.Done != 5 || s.Seq != 9 || s.States[journal.Pending] != 2 || s.States[journal.Rebooting] != 1 || s.Waves[0].Done != 5 || s.Outcomes[journal.Fixed] != 3 {
		t.Errorf("%+v", s)
	}
}

// A share is said as it is where that is short, and with one decimal where it is not.
func TestShares(t *testing.T) {
	g := newGate(&plan.Options{}, agent.Fix)
	for want, of := range map[string][2]int{"(6.25 %)": {1, 16}, "(9.4 %)": {3, 32}, "(33.3 %)": {1, 3}, "(50 %)": {1, 2}} {
		if got := g.sentence(of[0], of[1], "treated", "failed", plan.Limit{Percent: 5}); !strings.Contains(got, want) {
			t.Errorf("%q has no %s", got, want)
		}
	}
}
