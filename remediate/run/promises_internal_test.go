package run

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

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
