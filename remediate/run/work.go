package run

import (
	"context"
	"errors"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run/errand"
)

// task is the errand to one machine, in its place of the queue. It belongs to the owner goroutine while it is queued and to one
// worker while it is out.
type task struct {
	*errand.Errand
	entry *plan.Entry
	order int
	due   time.Time // while delayed

	second bool // second verify after the soak; the machine is done and fixed
	leased bool // recorded as leased, or beyond
	risked bool // holds a place among those at risk
	ahead  bool // was found, and goes before those that nobody has looked for
	placed bool // holds a place among the forks
	scouts bool // is only looked for
	there  bool // was found, and waits for one
}

// verdict is what a worker found out. An end is recorded.
type verdict struct {
	errand.Verdict
	task *task
}

// notes are what an errand writes down, in the journal of the run.
type notes struct {
	*journal.Session
	task *task
}

// Begin also takes the machine for this run, in one commit, where that has not been done: no look preceded it.
func (n notes) Begin(attempt int) error {
	err := n.Session.Begin(n.task.entry.ID, attempt)
	n.task.leased = n.task.leased || err == nil
	return err
}

func (n notes) BackOff(class route.Class, reason string) error {
	return n.Session.BackOff(n.task.entry.ID, class, reason)
}

func (n notes) Restart(result agent.Result) error { return n.Reboot(n.task.entry.ID, result) }

func (n notes) Step(step route.Step) error { return record(n.Session, n.task.entry.ID, step) }

// record writes a step of a route down as it is now.
func record(s *journal.Session, machine string, step route.Step) error {
	if step.State == route.StepPlanned {
		return s.PlanStep(machine, step)
	}
	return s.SettleStep(machine, step)
}

// task makes the task for a machine that is as o says.
func (x *execution) task(o errand.Order, order int) *task {
	if o.Steps == nil {
		o.Steps = x.steps[o.Entry.ID]
	}
	t := &task{entry: o.Entry, order: order, second: o.Second}
	t.Errand = x.crew.Errand(o, notes{x.journal, t})
	return t
}

// work does the next thing with a machine, and records how it ended. It runs in a goroutine of its own and is over when its
// ctx is.
func (x *execution) work(ctx context.Context, t *task) verdict {
	if !t.leased && (t.scouts || t.Silent()) && ctx.Err() == nil { // it is contacted before anything begins
		if err := x.journal.Lease(t.entry.ID); err != nil {
			return x.conclude(t, errand.Verdict{What: errand.Broken, Err: err})
		}
		t.leased = true
	}
	return x.conclude(t, t.Turn(ctx, t.scouts))
}

// conclude writes an end down; a machine that another run has is skipped. That one is still fixed is nothing new.
func (x *execution) conclude(t *task, v errand.Verdict) verdict {
	if claimed, ok := errors.AsType[*journal.ClaimedError](v.Err); ok {
		v = errand.Verdict{What: errand.Ended, End: journal.End{Outcome: journal.Skipped, Reason: claimed.Claim.String()}}
	}
	if v.What == errand.Ended && (!t.second || v.End.Outcome != journal.Fixed) {
		if err := x.journal.Finish(t.entry.ID, v.End); err != nil {
			v = errand.Verdict{What: errand.Broken, Err: err}
		}
	}
	return verdict{v, t}
}
