package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run/errand"
)

// wave is one wave under way, owned by one goroutine.
type wave struct {
	number int
	spec   *plan.Wave
	queue  *queue
	counts map[journal.Outcome]int
	done   chan verdict
	out    int     // workers
	fixed  []*task // for the second verify
	cut    func()  // ends the workers

	risked   int            // tasks that hold a place among those at risk
	places   int            // tasks out that hold a place among the forks
	scouting int            // tasks out that are only looked for
	silent   map[*task]bool // tasks whose machine was silent last
	passing  bool           // the next wave begins; nobody is looked for any more
	parked   []*task        // found, and waiting for such a place
	canaries int            // machines of later waves that were tried for it
}

// wave executes one wave from where it was left to its end: machines, gate, soak, second verify, approval.
func (x *execution) wave(ctx context.Context, number int, machines []journal.Machine) error {
	spec := &x.plan.Waves[number-1]
	x.current = number
	w := &wave{number: number, spec: spec, queue: newQueue(x.rules), silent: map[*task]bool{}, counts: map[journal.Outcome]int{}, done: make(chan verdict, x.rules.Forks)}
	x.gate.begin(number, spec.Name)
	if err := x.journal.Note(journal.WaveStarted, number, fmt.Sprintf("wave %d (%s): %s", number, spec.Name, prose.Counted(len(spec.Entries), "machine", "machines"))); err != nil {
		return err
	}
	x.fill(w, machines)
	for more := true; more; {
		if err := x.drive(ctx, w); err != nil {
			return err
		}
		if err := x.pass(w, true); err != nil || x.halt != nil {
			return err
		}
		if err := x.soak(ctx, w); err != nil || x.halt != nil {
			return err
		}
		var err error
		if more, err = x.anotherCanary(w); err != nil {
			return err
		}
	}
	if err := x.approve(ctx, w); err != nil || x.halt != nil {
		return err
	}
	return x.journal.FinishWave(number)
}

// fill queues the machines as the journal has them. Those that were in flight when the run died come first: they are
// the ones somebody worries about.
func (x *execution) fill(w *wave, machines []journal.Machine) {
	for i := range w.spec.Entries {
		if m := &machines[i]; !x.drawn[m.Target.ID] {
			x.put(w, &w.spec.Entries[i], m, i)
		}
	}
	x.refill(w)
	for _, t := range x.carried {
		if w.queue.add(t); t.Silent() {
			w.silent[t] = true
		}
	}
	x.carried = nil
	for _, m := range x.late {
		x.put(w, m.entry, m.machine, m.order)
	}
	x.late = nil
}

// put queues a machine as the journal has it, or counts it where it is done.
func (x *execution) put(w *wave, entry *plan.Entry, m *journal.Machine, order int) {
	o := errand.Order{Entry: entry, Attempts: m.Attempts, Running: m.State == journal.Running}
	if m.State == journal.Rebooting {
		o.Fixed, o.FixedAt = m.Result, m.FixedAt
	}
	t := x.task(o, order)
	switch m.State {
	case journal.Leased:
		t.leased = true
	case journal.Running, journal.Rebooting:
		t.leased = true
		w.risk(t)
	case journal.Done:
		x.gate.wave.add(x.plan.Mode, m.Outcome, m.Class, 1) // those of all waves are booked in the run
		w.counts[m.Outcome]++
		if m.Outcome == journal.Fixed {
			w.fixed = append(w.fixed, t)
		}
		return
	}
	w.queue.add(t)
}

// drive keeps workers busy until nothing is left to do or the run stops and those in flight have ended. It returns with
// no worker left behind.
func (x *execution) drive(ctx context.Context, w *wave) error {
	working, cancel := context.WithCancel(ctx)
	w.cut = cancel
	err := x.turn(ctx, working, w)
	if err != nil {
		cancel()
	}
	for ; w.out > 0; w.out-- { // none without an error
		<-w.done
	}
	cancel()
	return err
}

func (x *execution) turn(ctx, working context.Context, w *wave) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := context.Cause(ctx); err != nil {
			return err // before a worker's verdict of the same moment makes room for a new one
		}
		if err := x.pass(w, false); err != nil {
			return err
		}
		if err := x.shed(w); err != nil {
			return err
		}
		wait, delayed := w.queue.wake(time.Now())
		if w.passing = w.onlySilent() && x.mayPass(w); w.passing && w.out == 0 {
			x.carry(w)
			return nil
		}
		for !x.paused || x.halt != nil {
			t := x.nextTask(w)
			if t == nil {
				break
			}
			w.out++
			go func() { w.done <- x.work(working, t) }()
		}
		if w.out == 0 && w.queue.empty() && len(w.parked) == 0 {
			return nil
		}
		var wake <-chan time.Time
		if delayed {
			timer.Reset(wait)
			wake = timer.C
		}
		v, err := x.outside(ctx, w.done, wake)
		if x.timeUp {
			w.cut()
		}
		if err == nil && v != nil {
			err = x.take(w, v)
		}
		if err != nil {
			return err
		}
	}
}

// take books the verdict of a worker.
func (x *execution) take(w *wave, v *verdict) error {
	w.out--
	if !v.task.scouts {
		w.queue.giveBack(v.task)
	}
	w.settle(v)
	switch v.What {
	case errand.Found:
		v.task.there = true
		w.park(v.task)
	case errand.Ended:
		if v.task.second {
			x.book(w, journal.Fixed, "", -1)
		}
		x.book(w, v.End.Outcome, v.End.Class, 1)
		if v.End.Outcome == journal.Fixed && !v.task.second {
			w.fixed = append(w.fixed, v.task)
		}
	case errand.Again:
		w.queue.delay(v.task, time.Now().Add(v.After))
	case errand.NotStarted:
		if v.task.Touched() && x.bars.are() {
			x.stand(w, v.task, errors.New(x.bars.why))
			return nil
		}
		w.queue.add(v.task)
	case errand.Stands:
		x.stand(w, v.task, v.Err)
	case errand.Left:
		if x.timeUp {
			return x.abandon(w, v.task)
		}
	case errand.Broken:
		return v.Err
	}
	return nil
}

// book counts n machines that came to an outcome.
func (x *execution) book(w *wave, outcome journal.Outcome, class route.Class, n int) {
	x.gate.count(outcome, class, n)
	w.counts[outcome] += n
}

// pass lets the gate judge, and stops the run when it says so.
func (x *execution) pass(w *wave, atEnd bool) error {
	if x.halt != nil {
		return nil
	}
	select {
	case <-x.bars.closed:
		return x.stopRejected()
	default:
	}
	reason := x.gate.judge(w.out, w.risked, atEnd)
	if reason == "" {
		return nil
	}
	x.stopFor(journal.RunGated, reason)
	return x.journal.Note(journal.WaveGated, w.number, reason)
}

// abandon ends a machine that the time of the run left over.
func (x *execution) abandon(w *wave, t *task) error {
	if t.second {
		return nil
	}
	end := t.Abandoned(x.halt.reason)
	if err := x.journal.Finish(t.entry.ID, end); err != nil {
		return err
	}
	if t.risked {
		t.risked = false
		w.risked--
	}
	x.book(w, end.Outcome, "", 1)
	return nil
}

// shed empties the queue of a run that stops. What was not started is held, or stays for a resumed run. A machine that
// may have been changed is asked on, except when the run can be resumed (then it is asked again) or the credentials
// were rejected (then it cannot be, and stands).
func (x *execution) shed(w *wave) error {
	if x.halt == nil {
		return nil
	}
	for _, t := range w.parked {
		w.queue.add(t)
	}
	w.parked = nil
	if w.queue.empty() {
		return nil
	}
	resumable, rejected := !x.halt.status.Final(), x.halt.status == journal.RunAuth
	var release, hold []string
	for _, t := range w.queue.remove(func(t *task) bool {
		return t.second || resumable || rejected || x.timeUp || !t.Touched()
	}) {
		switch {
		case t.second:
		case x.timeUp:
			if err := x.abandon(w, t); err != nil {
				return err
			}
		case t.Touched():
			if rejected {
				x.stand(w, t, errors.New(x.halt.reason))
			}
		case rejected && t.Signed():
			x.turned = append(x.turned, t)
		case !resumable && !rejected:
			hold = append(hold, t.entry.ID)
		case t.leased:
			release = append(release, t.entry.ID)
		}
	}
	if err := x.hold(hold); err != nil {
		return err
	}
	return x.journal.Release(release...)
}

// soak waits after a wave and then looks at its fixed machines once more.
func (x *execution) soak(ctx context.Context, w *wave) error {
	if x.rules.Soak <= 0 || x.plan.Mode != agent.Fix || len(w.fixed) == 0 {
		return nil
	}
	if err := x.journal.Note(journal.WaveSoaking, w.number, fmt.Sprintf("%s, then %d fixed machines are verified again", x.rules.Soak, len(w.fixed))); err != nil {
		return err
	}
	timer := time.NewTimer(x.rules.Soak)
	defer timer.Stop()
	for began := time.Now(); x.halt == nil && time.Since(began) < x.rules.Soak; {
		if _, err := x.outside(ctx, nil, timer.C); err != nil {
			return err
		}
	}
	if x.halt != nil {
		return nil
	}
	for _, t := range w.fixed {
		w.queue.add(x.task(errand.Order{Entry: t.entry, Second: true, Steps: t.Steps()}, t.order))
	}
	w.fixed = nil
	if err := x.drive(ctx, w); err != nil {
		return err
	}
	return x.pass(w, true)
}
