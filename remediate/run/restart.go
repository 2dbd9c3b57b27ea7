package run

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
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
	switch route.ClassOf(err) {
	case route.Auth:
		return true
	case route.Denied:
		w.refused++
		return w.refused == someRefusals
	}
	return barredBy(err) != nil
}

// slack is how much two clocks that are read one after the other may differ.
const slack = 5 * time.Second

// blindPatience is how long a machine that cannot tell its uptime is watched for going down. A machine that did not
// restart by then either did so between two looks or will not.
const blindPatience = 2 * time.Minute

// awaitRestart watches a machine that announced a restart until it is back and verified. The machine keeps its place
// among the forks meanwhile, so that never more machines restart at once than the plan allows to be in flight.
func (x *execution) awaitRestart(ctx context.Context, t *task) verdict {
	began := time.Now()
	limit := began.Add(x.rules.RebootWait)
	t.deadline = limit.Add(x.rules.Timeout)
	var w restart
	jitter := func(d time.Duration) time.Duration { return d/2 + time.Duration(x.options.Rand()*float64(d/2)) }
	for pause, wait := firstPause, x.firstLook(t); ; pause = min(pause*3/2, 20*time.Second) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return verdict{task: t, what: left}
		case <-x.bars.closed:
			return verdict{task: t, what: notStarted}
		}
		if v, over := x.look(ctx, t, &w); over {
			return v
		}
		if !time.Now().Before(limit) || w.blind && w.holds && !w.down && time.Since(began) >= min(blindPatience, x.rules.RebootWait) {
			return x.giveUp(t, &w)
		}
		wait = jitter(pause)
	}
}

// firstPause is the time until somebody looks for a restarting machine first, where nothing is known of restarts yet.
const firstPause = 2 * time.Second

// firstLook is how long nobody needs to look whether a machine is back: the shortest restart of this run tells. One whose uptime
// does not tell has to be seen going down.
func (x *execution) firstLook(t *task) time.Duration {
	wait := firstPause
	if uptime := time.Duration(t.fixed.Uptime) * time.Second; uptime > slack {
		wait = max(wait, time.Duration(x.quickest.Load())*9/10)
	}
	return max(min(wait, x.rules.RebootWait)-time.Since(t.fixedAt), 0)
}

// back notes how long a restart took.
func (x *execution) back(t *task) {
	took := int64(time.Since(t.fixedAt))
	for {
		quickest := x.quickest.Load()
		if quickest > 0 && quickest <= took || x.quickest.CompareAndSwap(quickest, took) {
			return
		}
	}
}

// lightly is how long a machine that has not been seen going down is only looked for, once it was asked: a word costs less than a
// conversation, and most go down within that time.
const lightly = 20 * time.Second

// look asks a machine once whether it is back, and if so, whether verify holds.
func (x *execution) look(ctx context.Context, t *task, w *restart) (verdict, bool) {
	if w.asked && !w.down && time.Since(t.fixedAt) < lightly {
		err := x.within(ctx, t, func(ctx context.Context) error { return x.options.Routes[t.entry.Route].Alive(ctx, t.entry.Target) })
		w.down, w.lastErr = err != nil, err
		return verdict{task: t, what: left}, ctx.Err() != nil
	}
	w.asked = true
	r := x.ask(ctx, t, agent.Verify, nil)
	switch {
	case r.barred:
		return x.notStarted(t), true
	case ctx.Err() != nil:
		return verdict{task: t, what: left}, true
	case refusesUs(r.err, w):
		return x.finish(t, journal.End{Outcome: journal.Unknown, Class: route.ClassOf(r.err),
			Reason: "was fixed and restarted, but could not be verified: " + reasonOf(r.err)}), true
	case r.err != nil:
		w.lastErr = r.err
		w.down = w.down || route.ClassOf(r.err) == route.Unreachable
		return verdict{}, false
	}
	w.lastErr = nil
	unknown := r.result.Uptime < 0 || t.fixed.Uptime < 0
	w.holds, w.blind = r.result.Outcome == agent.Fixed, unknown || time.Duration(t.fixed.Uptime)*time.Second <= slack
	switch {
	case x.restartedBefore(*t.fixed): // its own record says so
	case unknown && !w.down, !unknown && !restarted(t, r.result.Uptime, w.down):
		return verdict{}, false
	}
	x.back(t)
	if w.holds {
		return x.finish(t, journal.End{Outcome: journal.Fixed, Rebooted: true}), true
	}
	return x.finish(t, journal.End{Outcome: journal.Failed, Rebooted: true,
		Reason: "verify does not hold after the restart: " + orElse(prose.Short(r.result.Message, longestText), "the agent did not say why")}), true
}

// restarted compares uptimes. A machine that restarted after the fix cannot have been up for longer than has passed since,
// one that did not has been up for as long and its old uptime more; seconds are rounded, so one second is forgiven. On a
// machine that had only just started when it was fixed the two are too near each other: there it must have been seen down
// as well, or fall short by the slack. A clock that was set back while the run was down makes the time passed zero.
func restarted(t *task, uptime int64, down bool) bool {
	elapsed := max(time.Since(t.fixedAt), 0)
	now, then := time.Duration(uptime)*time.Second, time.Duration(t.fixed.Uptime)*time.Second
	return now <= elapsed+time.Second && (down || then > slack) || now < then+elapsed-slack
}

// giveUp records what is known of a machine that did not come back, or did not go.
func (x *execution) giveUp(t *task, w *restart) verdict {
	done := changes(*t.fixed)
	switch {
	case w.lastErr != nil:
		return x.finish(t, journal.End{Outcome: journal.Failed, Class: route.ClassOf(w.lastErr),
			Reason: fmt.Sprintf("did not come back within %s after the restart (%s): %s", x.rules.RebootWait, done, reasonOf(w.lastErr))})
	case w.blind && w.holds:
		return x.finish(t, journal.End{Outcome: journal.Fixed, Reason: "verify holds, but the restart was not observed"})
	}
	return x.finish(t, journal.End{Outcome: journal.Failed, Reason: fmt.Sprintf("did not restart within %s (%s)", x.rules.RebootWait, done)})
}

// changes says in short what the fix did.
func changes(result agent.Result) string {
	text := fmt.Sprintf("%d changes were made", result.Changed)
	if result.Changed == 1 {
		text = "1 change was made"
	}
	const some = 3
	for i, s := range result.Steps {
		if i == some {
			return text + ", ..."
		}
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += sep + s.Action + " " + s.Target
	}
	return text
}
