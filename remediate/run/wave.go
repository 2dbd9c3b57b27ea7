package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// task is what is to be done with one machine. It belongs to the owner goroutine while it is queued and to one worker
// while it is out.
type task struct {
	entry    *plan.Entry
	order    int
	due      time.Time // while delayed
	deadline time.Time // of all attempts; set by the first

	second     bool          // second verify after the soak; the machine is done and fixed
	attempts   int           // requests so far, those of earlier lives of the run included
	tries      int           // errors in this life
	firstError time.Time     // of them
	leased     bool          // recorded as leased, or beyond
	running    bool          // recorded as running
	silent     bool          // the last attempt found nobody
	maybe      bool          // a request may have started: only the machine can say
	last       string        // why the last attempt did not do
	fixed      *agent.Result // the answer that announced a restart
	fixedAt    time.Time     // when it came
}

// verdict is what a worker found out.
type verdict struct {
	task    *task
	what    what
	outcome journal.Outcome // with finished
	after   time.Duration   // with again
	err     error           // with broken
}

type what int

const (
	finished   what = iota // recorded with its outcome
	again                  // to be tried after a pause
	notStarted             // the run stopped before anything was sent
	left                   // stays as the journal has it
	broken                 // the journal refused; the run ends
)

// wave is one wave under way, owned by one goroutine.
type wave struct {
	number int
	spec   *plan.Wave
	queue  *queue
	gate   *gate
	done   chan verdict
	out    int     // workers
	fixed  []*task // for the second verify
}

// wave executes one wave from where it was left to its end: machines, gate, soak, second verify, approval.
func (x *execution) wave(ctx context.Context, number int, machines []journal.Machine) error {
	spec := &x.plan.Waves[number-1]
	x.current = number
	w := &wave{number: number, spec: spec, queue: newQueue(x.rules), gate: newGate(x.rules, number, spec.Name), done: make(chan verdict, x.rules.Forks)}
	if err := x.journal.Note(journal.WaveStarted, number, fmt.Sprintf("wave %d (%s): %s", number, spec.Name, prose.Counted(len(spec.Entries), "machine", "machines"))); err != nil {
		return err
	}
	w.fill(machines)
	if err := x.drive(ctx, w); err != nil {
		return err
	}
	if err := x.pass(w, true); err != nil || x.halt != nil {
		return err
	}
	if err := x.unproved(w); err != nil {
		return err
	}
	if err := x.soak(ctx, w); err != nil || x.halt != nil {
		return err
	}
	if err := x.approve(ctx, w); err != nil || x.halt != nil {
		return err
	}
	return x.journal.FinishWave(number)
}

// fill queues the machines as the journal has them. Those that were in flight when the run died come first: they are
// the ones somebody worries about.
func (w *wave) fill(machines []journal.Machine) {
	for i := range w.spec.Entries {
		m := &machines[i]
		t := &task{entry: &w.spec.Entries[i], order: i, attempts: m.Attempts}
		switch m.State {
		case journal.Leased:
			t.leased = true
		case journal.Running:
			t.leased, t.running, t.maybe = true, true, true
			t.order -= len(machines)
		case journal.Rebooting:
			t.leased, t.fixed, t.fixedAt = true, m.Result, m.FixedAt
			t.order -= len(machines)
		case journal.Done:
			w.gate.counts[m.Outcome]++
			if m.Outcome == journal.Fixed {
				w.fixed = append(w.fixed, t)
			}
			continue
		}
		w.queue.add(t)
	}
}

// drive keeps workers busy until nothing is left to do or the run stops and those in flight have ended. It returns with
// no worker left behind.
func (x *execution) drive(ctx context.Context, w *wave) error {
	working, cancel := context.WithCancel(ctx)
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
		for (!x.paused || x.halt != nil) && w.out < x.rules.Forks {
			t := w.queue.next()
			if t == nil {
				break
			}
			w.out++
			go func() { w.done <- x.work(working, t) }()
		}
		if w.out == 0 && w.queue.empty() {
			return nil
		}
		var wake <-chan time.Time
		if delayed {
			timer.Reset(wait)
			wake = timer.C
		}
		v, err := x.outside(ctx, w.done, wake)
		if err == nil && v != nil {
			err = w.take(v)
		}
		if err != nil {
			return err
		}
	}
}

// take books the verdict of a worker.
func (w *wave) take(v *verdict) error {
	w.out--
	w.queue.giveBack(v.task)
	switch v.what {
	case finished:
		if v.task.second {
			w.gate.counts[journal.Fixed]--
		}
		w.gate.counts[v.outcome]++
		if v.outcome == journal.Fixed && !v.task.second {
			w.fixed = append(w.fixed, v.task)
		}
	case again:
		w.queue.delay(v.task, time.Now().Add(v.after))
	case notStarted:
		w.queue.add(v.task)
	case left:
	case broken:
		return v.err
	}
	return nil
}

// pass lets the gate judge, and stops the run when it says so.
func (x *execution) pass(w *wave, atEnd bool) error {
	if x.halt != nil {
		return nil
	}
	select {
	case <-x.rejected:
		return x.stopRejected()
	default:
	}
	reason := w.gate.judge(atEnd)
	if reason == "" {
		return nil
	}
	x.stopFor(journal.RunGated, reason)
	return x.journal.Note(journal.WaveGated, w.number, reason)
}

// unproved says that a wave tells nothing about those to come: a silent canary is no canary.
func (x *execution) unproved(w *wave) error {
	if text := w.gate.unproved(); text != "" && w.number < len(x.plan.Waves) {
		return x.journal.Note(journal.WaveUnproved, w.number, text)
	}
	return nil
}

// shed empties the queue of a run that stops. What was not started is held, or stays for a resumed run. A machine that
// may have been changed is asked on, except when the run can be resumed (then it is asked again) or the credentials
// were rejected (then it cannot be).
func (x *execution) shed(w *wave) error {
	if x.halt == nil || w.queue.empty() {
		return nil
	}
	resumable, rejected := !x.halt.status.Final(), x.halt.status == journal.RunAuth
	var release, hold []string
	for _, t := range w.queue.remove(func(t *task) bool {
		return t.second || resumable || rejected || !t.maybe && t.fixed == nil
	}) {
		switch {
		case t.second:
		case t.maybe || t.fixed != nil:
			if rejected {
				if err := x.journal.Finish(t.entry.ID, journal.End{Outcome: journal.Unknown, Reason: "could not be asked what became of it: " + x.halt.reason}); err != nil {
					return err
				}
				w.gate.counts[journal.Unknown]++
			}
		case !resumable:
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
		w.queue.add(&task{entry: t.entry, order: t.order, second: true})
	}
	if err := x.drive(ctx, w); err != nil {
		return err
	}
	return x.pass(w, true)
}

// approve waits for approval of the next wave.
func (x *execution) approve(ctx context.Context, w *wave) error {
	if !x.rules.Approval || w.number == len(x.plan.Waves) {
		return nil
	}
	next := &x.plan.Waves[w.number]
	question := Wave{Run: x.journal.ID(), Number: w.number, Name: w.spec.Name, Counts: maps.Clone(w.gate.counts), Next: next.Name, Machines: len(next.Entries)}
	over := "is over"
	if unproved := w.gate.unproved(); unproved != "" {
		over = "is over and proved nothing (" + strings.TrimSuffix(strings.TrimPrefix(unproved, w.gate.wave+": "), ": this wave proved nothing") + ")"
	}
	text := fmt.Sprintf("wave %d (%s) %s; approval of wave %d (%s, %s) is awaited", w.number, w.spec.Name, over, w.number+1, next.Name, prose.Counted(len(next.Entries), "machine", "machines"))
	x.base, x.awaits = journal.RunWaiting, w.number+1
	defer func() { x.base, x.awaits = journal.RunRunning, 0 }()
	if err := x.journal.SetStatus(journal.RunWaiting, journal.Approval, w.number, text); err != nil {
		return err
	}
	answer, end := x.askApprover(ctx, question)
	defer end()
	for x.halt == nil {
		if who, ok := x.approved[w.number+1]; ok {
			return x.goOn(w, "approved by "+who)
		}
		select {
		case a := <-answer:
			if errors.Is(a.err, context.Canceled) && ctx.Err() == nil { // the question was ended, not the run: others may answer
				answer = nil
				continue
			}
			if a.err != nil {
				return fmt.Errorf("ask for approval: %w", a.err)
			}
			if a.yes {
				return x.goOn(w, "approved")
			}
			x.stopFor(journal.RunCancelled, fmt.Sprintf("wave %d (%s) was not approved", w.number+1, next.Name))
			return x.journal.Note(journal.Stopping, w.number, x.halt.reason)
		case <-x.stop:
			x.stopFor(journal.RunInterrupted, "stopped by the operator")
		case <-x.deadline:
			x.stopFor(journal.RunTimeout, fmt.Sprintf("the time of the run, %s, is over", x.rules.RunTimeout))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-x.ticks:
			if err := x.wishes(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// goOn records an approval. It also ends a pause: who lets the next wave start wants it to start.
func (x *execution) goOn(w *wave, text string) error {
	x.paused = false
	return x.journal.SetStatus(journal.RunRunning, journal.Approved, w.number, text)
}

type answer struct {
	yes bool
	err error
}

// askApprover asks the callback, if there is one; end waits for it.
func (x *execution) askApprover(ctx context.Context, question Wave) (<-chan answer, func()) {
	if x.options.Approve == nil {
		return nil, func() {}
	}
	asking, cancel := context.WithCancel(ctx)
	given, over := make(chan answer, 1), make(chan struct{})
	go func() {
		defer close(over)
		yes, err := x.options.Approve(asking, question)
		if asking.Err() == nil {
			given <- answer{yes, err}
		}
	}()
	return given, func() { cancel(); <-over }
}
