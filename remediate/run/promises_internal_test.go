package run

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// Each of these fails when the line is taken out that keeps the promise it names.

func TestTheGateCounts(t *testing.T) {
	ten := plan.Limit{Percent: 10, Set: true}
	for _, c := range []struct {
		name   string
		counts map[journal.Outcome]int
		stops  bool
	}{
		{"a machine that was lost while the fix ran is a failed one", map[journal.Outcome]int{journal.Fixed: 8, journal.Unknown: 2}, true},
		{"held machines have not finished", map[journal.Outcome]int{journal.Fixed: 4, journal.Failed: 1, journal.Held: 95}, true},
		{"skipped machines have not finished", map[journal.Outcome]int{journal.Fixed: 4, journal.Failed: 1, journal.Skipped: 95}, true},
		{"a limit that is just reached is not passed", map[journal.Outcome]int{journal.Fixed: 9, journal.Failed: 1}, false},
	} {
		g := newGate(&plan.Options{MaxFail: ten}, 1, "100%")
		g.counts = c.counts
		if reason := g.judge(true); (reason != "") != c.stops {
			t.Errorf("%s: %q", c.name, reason)
		}
	}
	g := newGate(&plan.Options{MaxFail: ten, MinSample: 5}, 1, "100%")
	g.counts = map[journal.Outcome]int{journal.Failed: 1, journal.Fixed: 3}
	if reason := g.judge(false); reason != "" {
		t.Errorf("inside a wave a percentage of four machines was judged though five are needed: %s", reason)
	}
	if g.judge(true) == "" {
		t.Error("at the end of a wave the sample does not matter")
	}
}

func TestTheLobbyHasEightPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, entered := newPilot(), make(chan func(), 100)
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			go func() {
				if out, ok := p.queueUp(ctx, nil); ok {
					entered <- out
				}
			}()
		}
		synctest.Wait()
		if n := len(entered); n != lobbySize {
			t.Errorf("%d machines are looked at while the credentials are unproven, not %d", n, lobbySize)
		}
		(<-entered)() // one leaves, one enters
		synctest.Wait()
		if n := len(entered); n != lobbySize {
			t.Errorf("after one left %d are inside", n)
		}
		cancel()
		synctest.Wait()
	})
}

func TestOneMachineTriesTheCredentialsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPilot()
		leave, ok := p.enter(t.Context(), nil)
		if !ok {
			t.Fatal("the first has no turn")
		}
		began, second := time.Now(), make(chan time.Duration, 1)
		go func() {
			leave, ok := p.enter(t.Context(), nil)
			if ok {
				second <- time.Since(began)
				leave()
			}
		}()
		if waited := <-second; waited != pilotPatience {
			t.Errorf("the second waited %s for one that neither answers nor fails, not %s", waited, pilotPatience)
		}
		leave() // late, and gives no second token
		synctest.Wait()
		a, ok := p.enter(t.Context(), nil)
		if !ok {
			t.Fatal("nobody has a turn any more")
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok := p.enter(short, nil); ok {
			t.Error("two have the turn at once")
		}
		a()
	})
}

func TestNobodyGetsATurnOnceTheRunStops(t *testing.T) {
	halted := make(chan struct{})
	close(halted)
	for range 200 { // both are ready, and select chooses by chance
		p := newPilot()
		if leave, ok := p.enter(t.Context(), halted); ok {
			leave()
			t.Fatal("a machine that waited for its turn was started after the run had stopped")
		}
		if leave, ok := p.enter(t.Context(), nil); !ok {
			t.Fatal("the turn was lost with the one who did not take it")
		} else {
			leave()
		}
	}
}

func TestAMachinesTextIsOneLine(t *testing.T) {
	for text, want := range map[string]string{"a\x7fb\r\nc\td\x1b[31m": "ab c d[31m", "\x1f": "", " ~\u0080": "~"} {
		if got := prose.Short(text, longestText); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
	long := strings.Repeat("\u00e4", 700)
	if got := prose.Short(long, longestText); len(got) > 1204 || !utf8.ValidString(got) || !strings.HasSuffix(got, "\u00e4 ...") {
		t.Errorf("%d bytes: %q", len(got), got)
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
