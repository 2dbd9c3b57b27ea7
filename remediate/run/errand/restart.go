package errand

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// restart is the wait for one machine to come back and verify.
type restart struct {
	down    bool  // it was seen not answering
	holds   bool  // the last verify held, though the restart was not seen
	blind   bool  // its uptime does not tell: it does not know it, or had only just started when it was fixed
	lastErr error // of the last question
	asked   bool  // more than whether it is there
	refused int   // how often it refused us
}

// someRefusals are forgiven: a machine that has just started may not have found its domain yet.
const someRefusals = 3

// refusesUs reports whether it makes no sense to ask on.
func refusesUs(err error, w *restart) bool {
	if route.ClassOf(err) != route.Denied {
		return false
	}
	w.refused++
	return w.refused == someRefusals
}

// slack is how much two clocks that are read one after the other may differ.
const slack = 5 * time.Second

// blindPatience is how long a machine that cannot tell its uptime is watched for going down. A machine that did not
// restart by then either did so between two looks or will not.
const blindPatience = 2 * time.Minute

// awaitRestart watches a machine that announced a restart until it is back and verified. The machine keeps its place
// among the forks meanwhile, so that never more machines restart at once than the plan allows to be in flight.
func (e *Errand) awaitRestart(ctx context.Context) Verdict {
	began := time.Now()
	limit := began.Add(e.limits.RebootWait)
	e.deadline = limit.Add(e.limits.Timeout)
	var w restart
	jitter := func(d time.Duration) time.Duration { return d/2 + time.Duration(e.crew.Rand()*float64(d/2)) }
	for pause, wait := firstPause, e.firstLook(); ; {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Verdict{What: Left}
		case <-e.crew.Barred:
			return Verdict{What: NotStarted}
		}
		if v, over := e.look(ctx, &w); over {
			return v
		}
		if !time.Now().Before(limit) || w.blind && w.holds && !w.down && time.Since(began) >= min(blindPatience, e.limits.RebootWait) {
			return e.giveUp(&w)
		}
		if e.glances(&w) {
			wait = jitter(glance)
			continue
		}
		wait = jitter(pause)
		pause = min(pause*3/2, 20*time.Second)
	}
}

// firstPause is the time until somebody looks for a restarting machine first, where nothing is known of restarts yet.
const firstPause = 2 * time.Second

// firstLook is how long nobody needs to look whether a machine is back: the shortest restart of this run tells.
func (e *Errand) firstLook() time.Duration {
	wait := max(firstPause, time.Duration(e.crew.quickest.Load())*9/10)
	if e.untold() {
		wait = glance
	}
	return max(min(wait, e.limits.RebootWait)-time.Since(e.fixedAt), 0)
}

// untold reports whether the uptime of a machine when it was fixed can never tell that it restarted since: it has to be seen
// going down, which may be over within a second.
func (e *Errand) untold() bool { return time.Duration(e.fixed.Uptime)*time.Second <= slack }

// glance is how often such a machine is looked for.
const glance = 250 * time.Millisecond

// glances reports whether a machine is looked for as often now.
func (e *Errand) glances(w *restart) bool {
	return e.untold() && !w.down && time.Since(e.fixedAt) < lightly && !e.restartedBefore(*e.fixed)
}

// back notes how long a restart took.
func (e *Errand) back() {
	took := int64(time.Since(e.fixedAt))
	for {
		quickest := e.crew.quickest.Load()
		if quickest > 0 && quickest <= took || e.crew.quickest.CompareAndSwap(quickest, took) {
			return
		}
	}
}

// lightly is how long a machine that has not been seen going down is only looked for, once it was asked: a word costs less than a
// conversation, and most go down within that time.
const lightly = 20 * time.Second

// look asks a machine once whether it is back, and if so, whether verify holds.
func (e *Errand) look(ctx context.Context, w *restart) (Verdict, bool) {
	if w.asked && !w.down && time.Since(e.fixedAt) < lightly || e.glances(w) {
		err := e.within(ctx, func(ctx context.Context) error { return e.way.Alive(ctx, e.entry.Target) })
		w.down, w.lastErr = err != nil, err
		return Verdict{What: Left}, ctx.Err() != nil
	}
	w.asked = true
	r := e.ask(ctx, agent.Verify, nil)
	switch {
	case r.fatal != nil:
		return broken(r.fatal), true
	case r.barred:
		return e.notStarted(), true
	case ctx.Err() != nil:
		return Verdict{What: Left}, true
	case keptBack(r.err):
		return Verdict{What: Stands, Err: r.err}, true
	case refusesUs(r.err, w), route.ClassOf(r.err) == route.Overflow && e.overflowed():
		return ended(outcome.End{Outcome: outcome.Unknown, Class: route.ClassOf(r.err),
			Reason: "was fixed and restarted, but could not be verified: " + Reason(r.err)}), true
	case r.err != nil:
		w.lastErr = r.err
		w.down = w.down || route.ClassOf(r.err) == route.Unreachable
		return Verdict{}, false
	}
	w.lastErr = nil
	unknown := r.result.Uptime < 0 || e.fixed.Uptime < 0
	w.holds, w.blind = r.result.Outcome == agent.Fixed, unknown || e.untold()
	switch {
	case e.restartedBefore(*e.fixed): // its own record says so
	case unknown && !w.down, !unknown && !e.restarted(r.result.Uptime, w.down):
		return Verdict{}, false
	}
	e.back()
	if w.holds {
		return ended(outcome.End{Outcome: outcome.Fixed, Rebooted: true}), true
	}
	return ended(outcome.End{Outcome: outcome.Failed, Rebooted: true,
		Reason: "verify does not hold after the restart: " + orElse(prose.Short(r.result.Message, longestText), "the agent did not say why")}), true
}

// restarted compares uptimes. A machine that restarted after the fix cannot have been up for longer than has passed since,
// one that did not has been up for as long and its old uptime more; seconds are rounded, so one second is forgiven. On a
// machine that had only just started when it was fixed the two are too near each other: there it must have been seen down
// as well, or fall short by the slack. A clock that was set back while the run was down makes the time passed zero.
func (e *Errand) restarted(uptime int64, down bool) bool {
	elapsed := max(time.Since(e.fixedAt), 0)
	now, then := time.Duration(uptime)*time.Second, time.Duration(e.fixed.Uptime)*time.Second
	return now <= elapsed+time.Second && (down || then > slack) || now < then+elapsed-slack
}

// giveUp records what is known of a machine that did not come back, or did not go.
func (e *Errand) giveUp(w *restart) Verdict {
	done := changes(*e.fixed)
	switch {
	case w.lastErr != nil:
		return ended(outcome.End{Outcome: outcome.Failed, Class: route.ClassOf(w.lastErr),
			Reason: fmt.Sprintf("did not come back within %s after the restart (%s): %s", e.limits.RebootWait, done, Reason(w.lastErr))})
	case w.blind && w.holds:
		return ended(outcome.End{Outcome: outcome.Fixed, Reason: "verify holds, but the restart was not observed"})
	}
	return ended(outcome.End{Outcome: outcome.Failed, Reason: fmt.Sprintf("did not restart within %s (%s)", e.limits.RebootWait, done)})
}
