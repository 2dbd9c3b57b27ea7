package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run/errand"
)

// execution is one run under way. The goroutine of all owns it; workers touch only what is marked so.
type execution struct {
	*Engine
	journal *journal.Session
	crew    *errand.Crew
	plan    *plan.Plan
	rules   *plan.Options
	gate    *gate
	left    map[int][]journal.Machine // how far each machine was when this life of the run began, by wave
	steps   map[string][]route.Step   // that durable routes had taken by then, by machine ID
	drawn   map[string]bool           // machines of later waves that were canaries of an earlier one

	halt    *halt         // why no new machines are started; nil while they are
	carried []*task       // silent machines of waves that have passed
	late    []leftover    // the same, of an earlier life of the run
	halted  chan struct{} // closed with halt; workers
	bars    barring       // what is known of accounts
	stands  []unasked     // machines that may have been changed and cannot be asked
	turned  []*task       // machines that were signed in to in vain, when an account was barred

	paused   bool
	base     journal.Status // what the run is when it is not paused: running or waiting
	control  int64          // last wish obeyed
	current  int            // the wave under way, from 1
	awaits   int            // the wave whose approval is awaited; 0: none
	approved map[int]string // who let a wave begin
	atOnce   context.CancelCauseFunc
	deadline <-chan time.Time // of the run
	grace    <-chan time.Time // of what was in flight then
	timeUp   bool             // and that is over as well
	ticks    <-chan time.Time // look for wishes
}

// halt says how a run ends that does not go to its end.
type halt struct {
	status journal.Status
	reason string
}

// controlEvery is how often the engine looks for wishes of other processes: soon enough for a person who waits.
const controlEvery = time.Second

func newExecution(e *Engine, s *journal.Session, rules *plan.Options) *execution {
	x := &execution{
		Engine: e, journal: s, plan: s.Plan(), rules: rules,
		gate:   newGate(rules, s.Plan().Mode),
		halted: make(chan struct{}), bars: barring{closed: make(chan struct{})}, base: journal.RunRunning, control: s.ControlSeq(), approved: map[int]string{}, drawn: map[string]bool{},
	}
	x.crew = &errand.Crew{Run: s.ID(), Mode: x.plan.Mode, Playbook: &x.plan.Playbook, Rules: rules, Routes: e.options.Routes, Rand: e.options.Rand,
		Halted: x.halted, Barred: x.bars.closed, Heed: x.heed}
	if x.plan.Mode == agent.Undo {
		x.crew.Run = x.plan.Undoes
	}
	return x
}

// all executes the waves that are not over, and records how the run ended.
func (x *execution) all(ctx context.Context, kind journal.Kind) error {
	if x.rules.RunTimeout > 0 {
		t := time.NewTimer(x.rules.RunTimeout)
		defer t.Stop()
		x.deadline = t.C
	}
	ticker := time.NewTicker(controlEvery)
	defer ticker.Stop()
	x.ticks = ticker.C
	ctx, x.atOnce = context.WithCancelCause(ctx)
	defer x.atOnce(nil)

	if err := x.journal.SetStatus(journal.RunRunning, kind, 0, x.opening()); err != nil {
		return err
	}
	if err := x.wishes(ctx); err != nil { // those left while nobody was at work
		return err
	}
	run, err := x.options.Journal.Run(ctx, x.journal.ID())
	if err != nil {
		return err
	}
	if x.left, err = x.leftovers(ctx); err != nil {
		return err
	}
	if x.steps, err = x.options.Journal.Steps(ctx, x.journal.ID()); err != nil {
		return err
	}
	x.crew.Shared = errand.NewSteps(x.steps[""], x.halted, func(step route.Step) error { return record(x.journal, "", step) })
	if err := x.prove(ctx); err != nil {
		return err
	}
	x.behind(run.Finished)
	// A run that is already to stop goes through its first wave all the same, for the machines that were in flight.
	for number := run.Finished + 1; number <= len(x.plan.Waves); number++ {
		if err := x.wave(ctx, number, x.left[number]); err != nil {
			return err
		}
		if x.halt != nil {
			break
		}
	}
	return x.end(ctx)
}

func (x *execution) opening() string {
	return fmt.Sprintf("%s %s on %s in %s", x.plan.Mode, x.plan.Playbook.Name, prose.Counted(x.plan.Machines(), "machine", "machines"), prose.Counted(len(x.plan.Waves), "wave", "waves"))
}

// leftovers reads how far each machine is, by wave; for a new run everything is pending.
func (x *execution) leftovers(ctx context.Context) (map[int][]journal.Machine, error) {
	machines, err := x.options.Journal.Left(ctx, x.journal.ID())
	if err != nil {
		return nil, err
	}
	waves := map[int][]journal.Machine{}
	for _, m := range machines {
		waves[m.Wave] = append(waves[m.Wave], m)
		if m.State == journal.Done {
			x.gate.all.add(x.plan.Mode, m.Outcome, m.Class, 1)
			x.bars.recall(&m)
		}
	}
	return waves, nil
}

// leftover is a machine of a wave that has passed, and is not done.
type leftover struct {
	entry   *plan.Entry
	machine *journal.Machine
	order   int
}

// behind collects the machines that were still knocked at when their waves had passed.
func (x *execution) behind(finished int) {
	for number := 1; number <= finished; number++ {
		for i := range x.left[number] {
			if m := &x.left[number][i]; m.State != journal.Done {
				x.late = append(x.late, leftover{&x.plan.Waves[number-1].Entries[i], m, i})
			}
		}
	}
}

// stopFor ends the starting of new machines; the first reason stays.
func (x *execution) stopFor(status journal.Status, reason string) {
	if x.halt != nil {
		return
	}
	x.halt = &halt{status, reason}
	close(x.halted)
}

// end records the status. Machines that were not started are held, unless the run can be resumed. It can where machines that may have been
// changed could not be asked for the account's sake: nothing is known of them, and much when the account is mended.
func (x *execution) end(ctx context.Context) error {
	status, reason := x.over()
	if x.halt != nil {
		status, reason = x.halt.status, x.halt.reason
	}
	switch {
	case len(x.stands) > 0 && (status == journal.RunAuth || status == journal.RunInterrupted):
		status, reason = journal.RunInterrupted, x.awaited(reason)
	case status.Final():
		if err := x.close(ctx, status); err != nil {
			return err
		}
	}
	return x.journal.End(status, reason)
}

// close gives every machine its outcome before the run is over for good.
func (x *execution) close(ctx context.Context, status journal.Status) error {
	for _, s := range x.stands {
		if err := x.journal.Finish(s.task.entry.ID, journal.End{Outcome: journal.Unknown, Reason: "could not be asked what became of it: " + s.why}); err != nil {
			return err
		}
	}
	for _, t := range x.turned {
		if err := x.journal.Finish(t.entry.ID, t.Unsent(nil)); err != nil {
			return err
		}
	}
	if status == journal.RunDone || x.halt == nil {
		return nil
	}
	return x.holdRest(ctx)
}

// holdRest records what was not started as held. It is done when ctx has ended too, and gives up on a disk that does not answer.
func (x *execution) holdRest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	machines, err := x.options.Journal.Left(ctx, x.journal.ID())
	if err != nil {
		return err
	}
	var ids []string
	for _, m := range machines {
		if m.State == journal.Pending || m.State == journal.Leased {
			ids = append(ids, m.Target.ID)
		}
	}
	return x.hold(ids)
}

// hold records machines as held, in commits of a bearable size.
func (x *execution) hold(ids []string) error {
	const atOnce = 2000
	for len(ids) > 0 {
		n := min(len(ids), atOnce)
		if err := x.journal.Hold(ids[:n], "not started: "+x.halt.reason); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// explain says what an abrupt end means for the machines in flight.
func (x *execution) explain(err error) error {
	if err == nil {
		return nil
	}
	id := x.journal.ID()
	resume := fmt.Sprintf("machines in flight stay running in the journal; `fleetmend runs resume %s` asks each what became of it and changes none twice", id)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		// The journal itself is sound: leave word that this was wanted.
		reason := "stopped at once"
		if wished := (*stoppedError)(nil); errors.As(err, &wished) {
			reason = wished.Error()
		}
		return errors.Join(hint.Wrap(fmt.Errorf("run %s stopped at once: %w", id, err), resume),
			x.journal.End(journal.RunInterrupted, reason))
	}
	return hint.Wrap(fmt.Errorf("run %s stopped: %w", id, err), resume)
}

// outside waits for whatever comes next: the verdict of a worker, the time wake, or something from outside, which it
// handles. An error is the end of ctx or of the journal.
func (x *execution) outside(ctx context.Context, done <-chan verdict, wake <-chan time.Time) (*verdict, error) {
	stop, rejected, deadline := x.stop, x.bars.closed, x.deadline
	if x.halt != nil {
		stop, rejected, deadline = nil, nil, nil // one reason is enough
	}
	select {
	case v := <-done:
		return &v, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-wake:
	case <-stop:
		x.stopFor(journal.RunInterrupted, "stopped by the operator")
		return nil, x.journal.Note(journal.Stopping, 0, "no new machines are started, those in flight end")
	case <-rejected:
		return nil, x.stopRejected()
	case <-deadline:
		return nil, x.timeOver(0)
	case <-x.grace:
		x.grace, x.timeUp = nil, true
	case <-x.ticks:
		return nil, x.wishes(ctx)
	}
	return nil, nil
}

// lastWords is how long machines that are in flight when the time of the run is over have to come to an end.
const lastWords = time.Minute

// timeOver stops the run because its time is over.
func (x *execution) timeOver(wave int) error {
	x.stopFor(journal.RunTimeout, fmt.Sprintf("the time of the run, %s, is over", x.rules.RunTimeout))
	x.grace = time.After(lastWords)
	return x.journal.Note(journal.Stopping, wave, x.halt.reason)
}

// stopRejected stops the run because an account is not sent any more.
func (x *execution) stopRejected() error {
	x.stopFor(journal.RunAuth, x.bars.why)
	return x.journal.Note(journal.Stopping, 0, x.bars.why)
}

// wishes obeys what other processes left in the journal.
func (x *execution) wishes(ctx context.Context) error {
	controls, err := x.journal.Controls(ctx, x.control)
	if err != nil {
		if lost := (*journal.WriteError)(nil); errors.As(err, &lost) {
			return err
		}
		x.options.Logger.WarnContext(ctx, "controls of other processes cannot be read", "error", err)
		return nil // the next tick looks again
	}
	for _, c := range controls {
		if err := x.obey(c); err != nil {
			return err
		}
		x.control = c.Seq
	}
	if len(controls) > 0 {
		return x.journal.Obeyed(x.control)
	}
	return nil
}

func (x *execution) obey(c journal.Control) error {
	switch c.Kind {
	case journal.Pause:
		if !x.paused {
			x.paused = true
			return x.journal.SetStatus(journal.RunPaused, journal.Paused, 0, "by "+c.Who)
		}
	case journal.Resume:
		if x.paused {
			x.paused = false
			return x.journal.SetStatus(x.base, journal.Unpaused, 0, "by "+c.Who)
		}
	case journal.Cancel:
		if _, already := x.approved[c.Wave]; c.Wave > 0 && (already || c.Wave <= x.current) {
			return x.journal.Note(journal.Ignored, x.current, fmt.Sprintf("the refusal of wave %d by %s does nothing: it was approved before", c.Wave, c.Who))
		}
		x.stopFor(journal.RunCancelled, "cancelled by "+c.Who)
		return x.journal.Note(journal.Stopping, 0, x.halt.reason)
	case journal.Approve:
		return x.approval(c)
	case journal.Stop:
		if x.stale(c) {
			return x.tooLate(c)
		}
		if x.halt == nil {
			x.stopFor(journal.RunInterrupted, "stopped by "+c.Who)
			return x.journal.Note(journal.Stopping, 0, "no new machines are started, those in flight end: stopped by "+c.Who)
		}
	case journal.StopNow:
		if x.stale(c) {
			return x.tooLate(c)
		}
		x.atOnce(&stoppedError{c.Who})
	}
	return nil
}

// stale reports whether a wish to stop was for an earlier life of the run: who resumed it wanted it to go on. Numbers say so, not
// times: a clock may be set back.
func (x *execution) stale(c journal.Control) bool { return c.Seq <= x.journal.Earlier() }

func (x *execution) tooLate(c journal.Control) error {
	return x.journal.Note(journal.Ignored, x.current, fmt.Sprintf("the wish of %s to stop does nothing: the run was resumed after it", c.Who))
}

// approval takes the approval of one wave, and says so where that wave waits no more.
func (x *execution) approval(c journal.Control) error {
	wave := c.Wave
	if wave == 0 { // left by a version whose approvals had no number
		wave = x.awaits
	}
	if wave <= x.current { // none waits, where it is 0
		return x.journal.Note(journal.Ignored, x.current, fmt.Sprintf("the approval of wave %d by %s does nothing: that wave does not wait", wave, c.Who))
	}
	x.approved[wave] = c.Who
	return nil
}

// stoppedError ends a run at once, because somebody wished it.
type stoppedError struct{ who string }

func (e *stoppedError) Error() string { return "stopped at once by " + e.who }

// Is makes it an end of the context like every other.
func (e *stoppedError) Is(target error) bool { return target == context.Canceled }
