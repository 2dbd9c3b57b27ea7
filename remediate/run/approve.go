package run

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// approve waits for approval of the next wave: where the plan wants that after each, and where somebody is there to be asked after
// one that proved nothing, as long as nothing else did. Nobody there: the next wave begins as one with few machines at risk.
func (x *execution) approve(ctx context.Context, w *wave) error {
	unproved := x.gate.unproved()
	if w.number == len(x.plan.Waves) || !x.rules.Approval && (!x.rules.Attended || !x.doubtful()) {
		return nil
	}
	next := &x.plan.Waves[w.number]
	question := Wave{Run: x.journal.ID(), Number: w.number, Name: w.spec.Name, Counts: maps.Clone(w.counts), Next: next.Name, Machines: len(next.Entries)}
	over := "is over"
	if unproved != "" {
		over = "is over and proved nothing (" + unproved + ")"
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
			if err := x.timeOver(w.number); err != nil {
				return err
			}
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
