package run

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run/errand"
)

// nobody is a route on which no machine answers, and notes that nobody reads.
type nobody struct{}

func (nobody) Name() string { return "none" }
func (nobody) Do(context.Context, route.Target, agent.Request) (agent.Result, error) {
	return agent.Result{}, &route.Error{Class: route.Unreachable, Op: "connect", Err: errors.New("no route")}
}

func (n nobody) Alive(ctx context.Context, t route.Target) error {
	_, err := n.Do(ctx, t, agent.Request{})
	return err
}
func (nobody) Begin(int) error                   { return nil }
func (nobody) BackOff(route.Class, string) error { return nil }
func (nobody) Restart(agent.Result) error        { return nil }
func (nobody) Step(step route.Step) error        { return nil }

// owner is the owner of a wave whose gate bears the loss of three, or of any number; some were silent before, or nobody was.
func owner(t *testing.T, bounded bool, silences int) (*execution, *wave) {
	t.Helper()
	rules := &plan.Options{Forks: 2, Timeout: time.Hour, Backoff: time.Second, Chase: true, MaxFail: plan.Limit{Percent: 10, Set: bounded}}
	x := &execution{rules: rules, gate: newGate(rules, agent.Fix), plan: &plan.Plan{Mode: agent.Fix, Waves: make([]plan.Wave, 2)}, bars: barring{closed: make(chan struct{})}}
	x.crew = &errand.Crew{Rules: rules, Mode: agent.Fix, Playbook: &playbook.Playbook{}, Routes: map[string]route.Route{"none": nobody{}}, Rand: func() float64 { return 0 }}
	x.gate.begin(1, "1")
	for i := range silences {
		one(x, i).Turn(t.Context(), false)
	}
	return x, &wave{number: 1, queue: newQueue(rules), silent: map[*task]bool{}}
}

func one(x *execution, order int) *task {
	e := &plan.Entry{Target: route.Target{ID: fmt.Sprint(order), Name: fmt.Sprint("PC", order)}, Route: "none"}
	return &task{Errand: x.crew.Errand(errand.Order{Entry: e}, nobody{}), entry: e, order: order}
}

// Who goes next, and what he holds: a place among the forks, one among those at risk, or none because he is only looked for.
func TestWhoGoesNext(t *testing.T) {
	for name, c := range map[string]struct {
		bounded  bool
		silences int
		change   func(x *execution, w *wave, next *task)
		want     string // which task, what it holds; the counts of the wave; how many are queued and parked
	}{
		"one that is free to go":      {false, 0, nil, "5 placed risked; places 1 risked 1 scouting 0; queued 1 parked 0"},
		"within what can be lost":     {true, 0, func(_ *execution, w *wave, _ *task) { w.risked = 2 }, "5 placed risked; places 1 risked 3 scouting 0; queued 1 parked 0"},
		"no place":                    {false, 0, func(_ *execution, w *wave, _ *task) { w.places = 2 }, "none; places 2 risked 0 scouting 0; queued 2 parked 0"},
		"the last place":              {false, 0, func(_ *execution, w *wave, _ *task) { w.places = 1 }, "5 placed risked; places 2 risked 1 scouting 0; queued 1 parked 0"},
		"no room at risk":             {true, 0, func(_ *execution, w *wave, _ *task) { w.risked = 3 }, "5 scouts; places 0 risked 3 scouting 1; queued 1 parked 0"},
		"some were silent":            {false, 1, nil, "5 scouts; places 0 risked 0 scouting 1; queued 1 parked 0"},
		"some were silent, no place":  {false, 1, func(_ *execution, w *wave, _ *task) { w.places = 2 }, "5 scouts; places 2 risked 0 scouting 1; queued 1 parked 0"},
		"the wave passes":             {false, 1, func(_ *execution, w *wave, _ *task) { w.passing = true }, "none; places 0 risked 0 scouting 0; queued 2 parked 0"},
		"the last who is looked for":  {false, 1, func(_ *execution, w *wave, _ *task) { w.scouting = 67 }, "5 scouts; places 0 risked 0 scouting 68; queued 1 parked 0"},
		"enough are looked for":       {false, 1, func(_ *execution, w *wave, _ *task) { w.scouting = 68 }, "none; places 0 risked 0 scouting 68; queued 2 parked 0"},
		"seven wait":                  {true, 0, func(x *execution, w *wave, _ *task) { w.risked = 3; wait(x, w, 7) }, "5 scouts; places 0 risked 3 scouting 1; queued 1 parked 7"},
		"enough wait":                 {true, 0, func(x *execution, w *wave, _ *task) { w.risked = 3; wait(x, w, 8) }, "none; places 0 risked 3 scouting 0; queued 2 parked 8"},
		"found, and no room":          {true, 0, func(_ *execution, w *wave, n *task) { w.risked, n.there = 3, true }, "none; places 0 risked 3 scouting 0; queued 1 parked 1"},
		"found":                       {false, 1, func(_ *execution, _ *wave, n *task) { n.there = true }, "5 placed risked; places 1 risked 1 scouting 0; queued 1 parked 0"},
		"found, and no place":         {false, 1, func(_ *execution, w *wave, n *task) { w.places, n.there = 2, true }, "none; places 2 risked 0 scouting 0; queued 2 parked 0"},
		"one that waited":             {true, 0, func(x *execution, w *wave, _ *task) { wait(x, w, 1); w.parked[0].there = true }, "100 placed risked; places 1 risked 1 scouting 0; queued 2 parked 0"},
		"one that waits for room":     {true, 0, func(x *execution, w *wave, _ *task) { w.risked = 3; wait(x, w, 1) }, "5 scouts; places 0 risked 3 scouting 1; queued 1 parked 1"},
		"one that waits for a place":  {true, 0, func(x *execution, w *wave, _ *task) { w.places = 2; wait(x, w, 1) }, "none; places 2 risked 0 scouting 0; queued 2 parked 1"},
		"the run stops":               {true, 1, func(x *execution, w *wave, _ *task) { x.halt, w.risked = &halt{}, 3; wait(x, w, 1) }, "5 placed; places 1 risked 3 scouting 0; queued 1 parked 1"},
		"the run stops, and no place": {true, 1, func(x *execution, w *wave, _ *task) { x.halt, w.places = &halt{}, 2 }, "none; places 2 risked 0 scouting 0; queued 2 parked 0"},
		"at risk already":             {true, 1, func(_ *execution, w *wave, n *task) { w.risked, n.risked = 3, true }, "5 placed risked; places 1 risked 3 scouting 0; queued 1 parked 0"},
		"a second verify":             {true, 1, func(_ *execution, w *wave, n *task) { w.risked, n.second = 3, true }, "5 placed; places 1 risked 3 scouting 0; queued 1 parked 0"},
		"nobody":                      {false, 0, func(_ *execution, w *wave, _ *task) { w.queue.next(); w.queue.next() }, "none; places 0 risked 0 scouting 0; queued 0 parked 0"},
	} {
		x, w := owner(t, c.bounded, c.silences)
		next := one(x, 5)
		w.queue.add(next)
		w.queue.add(one(x, 6))
		if c.change != nil {
			c.change(x, w, next)
		}
		got := "none"
		if task := x.nextTask(w); task != nil {
			got = strings.TrimPrefix(task.entry.Name, "PC")
			for _, held := range []struct {
				word string
				is   bool
			}{{"placed", task.placed}, {"risked", task.risked}, {"scouts", task.scouts}, {"there", task.there}} {
				if held.is {
					got += " " + held.word
				}
			}
		}
		if got = fmt.Sprintf("%s; places %d risked %d scouting %d; queued %d parked %d", got, w.places, w.risked, w.scouting, w.queue.size(), len(w.parked)); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}

// wait parks so many that were found.
func wait(x *execution, w *wave, n int) {
	for i := range n {
		w.park(one(x, 100+i))
	}
}

// What a worker held he gives back; a task that is at risk stays so until it has come through.
func TestWhatAWorkerGivesBack(t *testing.T) {
	x, w := owner(t, true, 0)
	a := one(x, 7)
	w.risk(a)
	a.placed, a.scouts, w.places, w.scouting = true, true, 1, 1
	if a.order >= 0 || w.risked != 1 {
		t.Errorf("order %d, %d at risk", a.order, w.risked)
	}
	begun := x.crew.Errand(errand.Order{Entry: a.entry, Running: true}, nobody{})
	fresh := a.Errand
	a.Errand = begun
	w.settle(&verdict{errand.Verdict{What: errand.Again}, a})
	if !a.risked || w.risked != 1 || a.placed || w.places != 0 || a.scouts || w.scouting != 0 || len(w.silent) != 0 {
		t.Errorf("begun: %+v, %d at risk", a, w.risked)
	}
	w.settle(&verdict{errand.Verdict{What: errand.Ended}, a})
	if a.risked || w.risked != 0 || a.order != 7 || w.places != 0 || w.scouting != 0 {
		t.Errorf("ended: order %d, %d at risk", a.order, w.risked)
	}
	a.Errand = fresh
	w.risk(a)
	w.settle(&verdict{errand.Verdict{What: errand.Again}, a})
	if a.risked || w.risked != 0 || a.order != 7 {
		t.Errorf("not begun: order %d, %d at risk", a.order, w.risked)
	}
	v := a.Turn(t.Context(), false)
	for _, what := range []struct {
		what   errand.What
		silent bool
	}{{errand.Again, true}, {errand.Ended, false}} {
		v.What = what.what
		if w.settle(&verdict{v, a}); w.silent[a] != what.silent {
			t.Errorf("silent: %v", w.silent)
		}
	}
}

// A wave may pass while only silent machines are left of it, somebody has answered and no gate counts the silent.
func TestWhenAWavePasses(t *testing.T) {
	x, w := owner(t, true, 0)
	if w.onlySilent() || x.mayPass(w) {
		t.Error("a wave passes that nobody answered")
	}
	x.gate.count(journal.Clean, "", 1)
	a, b := one(x, 1), one(x, 2)
	w.silent[a] = true
	w.queue.add(a)
	if !w.onlySilent() || !x.mayPass(w) {
		t.Error("it does not pass")
	}
	w.out = 1
	if w.onlySilent() {
		t.Error("with one at work")
	}
	w.out = 0
	w.park(b)
	if w.onlySilent() {
		t.Error("with one that waits")
	}
	for name, change := range map[string]func(*execution, *wave){
		"the run stops": func(x *execution, _ *wave) { x.halt = &halt{} }, "a gate counts the silent": func(x *execution, _ *wave) { x.rules.MaxUnreach.Set = true }, "the last wave": func(_ *execution, w *wave) { w.number = 2 },
	} {
		x, w := owner(t, true, 0)
		x.gate.count(journal.Clean, "", 1)
		if change(x, w); x.mayPass(w) {
			t.Errorf("%s, and it passes", name)
		}
	}
	w.queue.add(b)
	w.queue.delay(one(x, 3), time.Now())
	x.carried = []*task{one(x, 9)}
	if x.carry(w); len(x.carried) != 4 || !w.queue.empty() {
		t.Errorf("%d are carried, %d stay", len(x.carried), w.queue.size())
	}
}

// What is said of an account stops the run or is its end; the first word stays.
func TestWhatIsHeardOfAnAccount(t *testing.T) {
	entry := &plan.Entry{Target: route.Target{Name: "PC1"}, Route: "none"}
	everywhere, there := &route.BarredError{All: true, Why: "PC0 rejected k"}, &route.BarredError{Account: route.Account{Domain: "D"}, Why: "PC0 rejected k"}
	barred := func(class route.Class, no *route.BarredError) error {
		return &route.Error{Class: class, Op: "authenticate", Target: "PC1", Err: no}
	}
	for name, c := range map[string]struct {
		err    error
		why    string
		status journal.Status
		reason string
	}{
		"nothing":       {nil, "", journal.RunDone, ""},
		"silent":        {&route.Error{Class: route.Unreachable, Op: "connect", Err: errors.New("x")}, "", journal.RunDone, ""},
		"no ledger":     {&route.Error{Class: route.Auth, Op: "authenticate", Err: errors.New("no")}, "PC1 rejected the credentials (none): authenticate: no", journal.RunDone, ""},
		"everywhere":    {barred(route.Auth, everywhere), "PC0 rejected k", journal.RunDone, ""},
		"stopped by it": {barred(route.Stopped, everywhere), "PC0 rejected k", journal.RunDone, ""},
		"in a domain":   {barred(route.Auth, there), "", journal.RunAuth, "PC0 rejected k (domain D)" + journal.ElseDone},
	} {
		x, _ := owner(t, true, 0)
		for range 2 { // a lock that stays would hold the second
			x.heed(entry, c.err)
		}
		closed := false
		select {
		case <-x.bars.closed:
			closed = true
		default:
		}
		if status, reason := x.over(); closed != (c.why != "") || x.bars.why != c.why || status != c.status || reason != c.reason {
			t.Errorf("%s: barred %v %q, %s %q", name, closed, x.bars.why, status, reason)
		}
	}
}

// What an earlier life of the run drew from later waves belongs to the wave that drew it; what was held or skipped was not drawn.
func TestCanariesOfAnEarlierLife(t *testing.T) {
	x, w := owner(t, true, 0)
	x.journal, w.counts, w.spec = &journal.Session{}, map[journal.Outcome]int{}, &x.plan.Waves[0]
	x.drawn = map[string]bool{"6": true}
	x.left = map[int][]journal.Machine{}
	w.spec.Entries = make([]plan.Entry, 3)
	states := []journal.Machine{
		{State: journal.Pending}, {State: journal.Done, Outcome: journal.Held}, {State: journal.Done, Outcome: journal.Skipped}, {State: journal.Done, Outcome: journal.Fixed},
		{State: journal.Done, Outcome: journal.Clean}, {State: journal.Leased}, {State: journal.Running, Attempts: 2}, {State: journal.Running, Attempts: 2}, {State: journal.Rebooting, Result: &agent.Result{}},
	}
	for i, m := range states {
		m.Target = route.Target{ID: fmt.Sprint(i), Name: fmt.Sprint("PC", i)}
		x.left[2] = append(x.left[2], m)
		x.plan.Waves[1].Entries = append(x.plan.Waves[1].Entries, plan.Entry{Target: m.Target, Route: "none"})
	}
	x.carried, x.late = []*task{one(x, 50)}, []leftover{{&plan.Entry{Target: route.Target{ID: "60", Name: "PC60"}, Route: "none"}, &journal.Machine{State: journal.Running}, 60}}
	x.left[1] = []journal.Machine{{Target: route.Target{ID: "6"}}, {Target: route.Target{ID: "10"}}, {Target: route.Target{ID: "11"}, State: journal.Running}}
	for i := range w.spec.Entries {
		w.spec.Entries[i] = plan.Entry{Target: route.Target{ID: x.left[1][i].Target.ID, Name: "PC" + x.left[1][i].Target.ID}, Route: "none"}
	}
	x.fill(w, x.left[1])
	if w.canaries != 5 || len(w.fixed) != 1 || w.fixed[0].entry.Name != "PC3" || w.counts[journal.Fixed] != 1 || w.counts[journal.Clean] != 1 || x.gate.wave.good != 1 || x.gate.wave.clean != 1 || x.gate.all.good != 0 {
		t.Errorf("%d canaries, %v, gate %+v", w.canaries, w.counts, x.gate.wave)
	}
	var said []string
	for task := w.queue.next(); task != nil; task = w.queue.next() {
		said = append(said, fmt.Sprintf("%s leased %v risked %v touched %v", task.entry.Name, task.leased, task.risked, task.Touched()))
	}
	if got := strings.Join(said, ", "); got != "PC11 leased true risked true touched true, PC7 leased true risked true touched true, PC8 leased true risked true touched true, PC60 leased true risked true touched true, "+
		"PC10 leased false risked false touched false, PC5 leased true risked false touched false, PC50 leased false risked false touched false" || w.risked != 4 || x.carried != nil || x.late != nil {
		t.Errorf("%s; %d at risk", got, w.risked)
	}
	if x.refill(w); w.canaries != 5 {
		t.Errorf("%d canaries when looked again", w.canaries)
	}
}

// A refusal or an approval of a wave that has begun does nothing, and is told; one of no wave ends the run or is for the one that waits.
func TestWishesForAWaveThatHasBegun(t *testing.T) {
	x, _ := owner(t, true, 0)
	j, err := journal.Open(t.Context(), filepath.Join(t.TempDir(), "j.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	sizes, err := plan.ParseWaves("1,100%")
	if err != nil {
		t.Fatal(err)
	}
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada", Waves: sizes}
	in.Source = plan.Source{Playbook: playbook.Playbook{Name: "p"}, File: "p.yaml"}
	for i := range 3 {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: fmt.Sprint("m", i), Name: fmt.Sprint("PC", i)}, Route: "none"})
	}
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	if x.journal, err = j.Create(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	defer x.journal.Close()
	x.current, x.approved, x.halted, x.base = 1, map[int]string{}, make(chan struct{}), journal.RunRunning
	for _, c := range []journal.Control{{Kind: journal.Cancel, Wave: 1, Who: "eve"}, {Kind: journal.Approve, Wave: 1, Who: "eve"}, {Kind: journal.Approve, Who: "eve"}} {
		if err := x.obey(c); err != nil || x.halt != nil || len(x.approved) != 0 {
			t.Errorf("%+v: %v, %v, %v", c, err, x.halt, x.approved)
		}
	}
	x.awaits = 2
	if err := x.obey(journal.Control{Kind: journal.Approve, Who: "ada"}); err != nil || x.approved[2] != "ada" {
		t.Errorf("%v %v", err, x.approved)
	}
	if err := x.obey(journal.Control{Kind: journal.Cancel, Wave: 2, Who: "eve"}); err != nil || x.halt != nil {
		t.Errorf("a refusal of what was approved: %v %v", err, x.halt)
	}
	if err := x.obey(journal.Control{Kind: journal.Cancel, Who: "eve"}); err != nil || x.halt == nil || x.halt.status != journal.RunCancelled {
		t.Errorf("%v %v", err, x.halt)
	}
	events, err := j.Events(t.Context(), x.journal.ID(), 0)
	ignored := 0
	for _, e := range events {
		if e.Kind == journal.Ignored {
			ignored++
		}
	}
	if err != nil || ignored != 4 {
		t.Errorf("%d wishes are told to do nothing, %v", ignored, err)
	}
}

// A task that was found ahead of others has its own place in the order again when it is put at risk: what it comes back to is that place.
func TestWhoIsAtRiskKeepsItsPlace(t *testing.T) {
	x, w := owner(t, true, 0)
	next := one(x, 5)
	next.ahead, next.order = true, next.order-foundFirst
	w.risk(next)
	if next.ahead || next.order != 5-first || w.risked != 1 {
		t.Errorf("%v %d, %d at risk", next.ahead, next.order, w.risked)
	}
	w.settle(&verdict{task: next, Verdict: errand.Verdict{What: errand.Ended}})
	if next.order != 5 || w.risked != 0 {
		t.Errorf("%d, %d at risk", next.order, w.risked)
	}
}

// flapping is a route on which every second look finds somebody.
type flapping struct {
	nobody
	looks *int
}

func (f flapping) Alive(ctx context.Context, t route.Target) error {
	if *f.looks++; *f.looks%2 == 0 {
		return nil
	}
	return f.nobody.Alive(ctx, t)
}

// One that comes and goes waits in front of those that stay, whatever the order of the plan, and behind others of its sort.
func TestWhoFlapsWaitsInFront(t *testing.T) {
	x, w := owner(t, true, 0)
	flaps := func(order int) *task {
		x.crew.Routes["none"] = flapping{looks: new(int)}
		f := one(x, order)
		for range 2 {
			f.Turn(t.Context(), true)
		}
		if !f.Flaps() {
			t.Fatal("it does not flap")
		}
		return f
	}
	for _, waits := range []*task{one(x, 1), flaps(9), one(x, 0), flaps(7), one(x, 2)} {
		w.park(waits)
	}
	got := ""
	for _, waits := range w.parked {
		got += fmt.Sprint(waits.order, " ")
	}
	if got != "7 9 0 1 2 " {
		t.Errorf("they wait in the order %s", got)
	}
}
