package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// reply is what became of one question to a machine.
type reply struct {
	result agent.Result
	err    error // of the route
	barred bool  // not asked, because the run stops
	fatal  error // not asked, because the journal could not be written
}

// work does the next thing with a machine. It runs in a goroutine of its own and is over when its ctx is.
func (x *execution) work(ctx context.Context, t *task) verdict {
	if t.deadline.IsZero() {
		t.deadline = time.Now().Add(x.rules.Timeout)
	}
	switch {
	case t.second:
		return x.verifyAgain(ctx, t)
	case t.fixed != nil:
		return x.awaitRestart(ctx, t)
	}
	if ctx.Err() != nil {
		return verdict{task: t, what: left}
	}
	if !t.leased {
		err := x.journal.Lease(t.entry.ID)
		if claimed, ok := errors.AsType[*journal.ClaimedError](err); ok {
			return x.finish(t, journal.End{Outcome: journal.Skipped, Reason: claimed.Claim.String()})
		}
		if err != nil {
			return verdict{task: t, what: broken, err: err}
		}
		t.leased = true
	}
	if t.scouts || t.silent {
		if v, there := x.knock(ctx, t); !there {
			return v
		}
	}
	if t.scouts {
		t.flaps = t.flaps || t.missed
		t.silent = false
		return verdict{task: t, what: found}
	}
	r := x.ask(ctx, t, x.plan.Mode, func() error {
		t.attempts++
		t.running = true
		return x.journal.Begin(t.entry.ID, t.attempts)
	})
	switch {
	case r.fatal != nil:
		return verdict{task: t, what: broken, err: r.fatal}
	case r.barred:
		return x.notStarted(t)
	case r.err != nil:
		return x.failedToAsk(ctx, t, r.err)
	}
	return x.answered(ctx, t, r.result)
}

// barred reports whether the run has stopped for this machine: for all when credentials were rejected, else for those
// of which nothing can have run.
func (x *execution) barred(t *task) bool {
	select {
	case <-x.bars.closed:
		return true
	default:
		return x.stopping.Load() && !t.maybe && t.fixed == nil
	}
}

// ask puts one question to a machine, calls begin before, and tells what came of it.
func (x *execution) ask(ctx context.Context, t *task, mode agent.Mode, begin func() error) reply {
	if x.barred(t) || ctx.Err() != nil {
		return reply{barred: true}
	}
	if begin != nil {
		if err := begin(); err != nil {
			return reply{fatal: err}
		}
		if x.barred(t) {
			return reply{barred: true}
		}
	}
	var result agent.Result
	if !t.maybe && t.fixed == nil && !t.second {
		ctx = route.WithHalt(ctx, x.halted)
	}
	err := x.within(ctx, t, func(ctx context.Context) (err error) {
		result, err = x.options.Routes[t.entry.Route].Do(ctx, t.entry.Target, x.request(t.entry, mode))
		return err
	})
	if errors.Is(err, route.ErrHalted) {
		return reply{barred: true}
	}
	x.heed(t, err)
	return reply{result: result, err: err}
}

func (x *execution) within(ctx context.Context, t *task, do func(context.Context) error) error {
	ctx, cancel := context.WithDeadline(ctx, t.deadline)
	defer cancel()
	return do(ctx)
}

// notStarted puts a machine back that was not asked because the run stops. One that restarts stays as it is: it was changed.
func (x *execution) notStarted(t *task) verdict {
	if t.running && !t.maybe && t.fixed == nil {
		if err := x.journal.BackOff(t.entry.ID, route.Stopped, "the run stopped before anything was sent"); err != nil {
			return verdict{task: t, what: broken, err: err}
		}
		t.running = false
	}
	return verdict{task: t, what: notStarted}
}

// A knock is short, for the next one follows soon; some take the time that a machine which is slow to answer needs.
const (
	knockLasts   = 2 * time.Second
	patientKnock = 4 // every so many
)

// knock looks whether a machine that was silent, or comes up for seconds, is up now. It costs no attempt.
func (x *execution) knock(ctx context.Context, t *task) (verdict, bool) {
	t.knocks++
	brief := t.knocks%patientKnock != 0
	err := x.within(ctx, t, func(ctx context.Context) error {
		if brief {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, knockLasts)
			defer cancel()
		}
		return x.options.Routes[t.entry.Route].Alive(ctx, t.entry.Target)
	})
	switch {
	case err == nil:
		return verdict{}, true
	case brief && route.ClassOf(err) == route.Stopped && ctx.Err() == nil && time.Now().Before(t.deadline):
		err = &route.Error{Class: route.Unreachable, Op: "connect", Target: t.entry.Name, Err: fmt.Errorf("no answer within %s", knockLasts)}
	}
	return x.failedToAsk(ctx, t, err), false
}

// failedToAsk decides by the class of the error, and by nothing else, what comes next.
func (x *execution) failedToAsk(ctx context.Context, t *task, err error) verdict {
	if ctx.Err() != nil {
		return verdict{task: t, what: left} // the journal says leased or running; a resumed run goes on from there
	}
	class, reason := route.ClassOf(err), reasonOf(err)
	if e, ok := errors.AsType[*route.Error](err); ok && class == route.Unreachable {
		t.signed = e.Op == route.OpAuthenticate
	}
	late := !time.Now().Before(t.deadline)
	if class == route.Unknown && t.running {
		t.maybe = true
	}
	if t.silent = class == route.Unreachable && !t.maybe; t.silent {
		x.silence.Add(1)
		t.missed = t.missed || !t.running
	}
	end := journal.End{Outcome: journal.Unreachable, Class: class, Reason: reason}
	switch {
	case class.Retriable() && !late:
		if wait, ok := x.pause(t, class); ok {
			return x.later(t, class, reason, wait)
		}
	case late:
		if class == route.Stopped { // by our own deadline
			end.Class = route.Unreachable
		}
		end.Reason = fmt.Sprintf("gave up after %s: %s", x.rules.Timeout, orElse(t.last, reason))
	case barredBy(err) != nil && class == route.Stopped:
		end = t.unsent(barredBy(err))
	case class == route.Stopped:
		end.Outcome = journal.Held
	}
	if t.maybe {
		end.Outcome = journal.Unknown
		end.Reason += "; the request may have run, and the machine could not be asked since"
	}
	return x.finish(t, end)
}

// pause counts an error and gives the time until the next attempt, or false when there is none left. Where the machine
// answered and was busy, attempts back off exponentially with full jitter, so that a thousand machines that failed together
// do not come back together. A machine that is silent is overloaded by nobody: it is knocked at about once a second for as
// long as the attempts would have taken, because one that crashes again and again may be up for seconds only; a chase
// knocks until the deadline. A machine that may have been changed is asked until the deadline: the answer exists.
func (x *execution) pause(t *task, class route.Class) (time.Duration, bool) {
	t.tries++
	if t.tries == 1 {
		t.firstError = time.Now()
	}
	const longest = 20 * time.Second
	ceiling := min(x.rules.Backoff<<min(t.tries-1, 10), longest)
	wait := time.Duration(x.options.Rand() * float64(ceiling))
	switch {
	case class == route.Unreachable && (x.rules.Chase || t.flaps) && !t.maybe:
		wait = x.knockPause(often)
	case t.maybe:
	case class == route.Unreachable:
		patience := x.rules.Backoff<<min(x.rules.Retries, 10) - x.rules.Backoff
		if patience > 0 {
			patience = max(patience, leastPatience)
		}
		wait = x.knockPause(min(x.rules.Backoff, time.Second))
		if x.silence.Load() < many {
			wait = x.knockPause(min(x.rules.Backoff, often))
		}
		if t.attempts > x.rules.Retries || t.tries > 1 && time.Since(t.firstError) >= patience {
			return 0, false
		}
	case t.tries > x.rules.Retries:
		return 0, false
	}
	return wait, time.Now().Add(wait).Before(t.deadline)
}

// A machine that crashes and comes back all the time is up once within half a minute. Few silent machines are knocked at often.
const (
	leastPatience = 32 * time.Second
	often         = 500 * time.Millisecond
	many          = 500 // silences
)

func (x *execution) knockPause(base time.Duration) time.Duration {
	return base/2 + time.Duration(x.options.Rand()*float64(base))
}

// later records the pause before the next attempt. A machine that may have been changed stays running.
func (x *execution) later(t *task, class route.Class, reason string, wait time.Duration) verdict {
	t.last, t.lastClass = reason, class
	if t.running && !t.maybe {
		if err := x.journal.BackOff(t.entry.ID, class, reason); err != nil {
			return verdict{task: t, what: broken, err: err}
		}
		t.running = false
	}
	return verdict{task: t, what: again, after: wait}
}

func (x *execution) finish(t *task, end journal.End) verdict {
	if err := x.journal.Finish(t.entry.ID, end); err != nil {
		return verdict{task: t, what: broken, err: err}
	}
	return verdict{task: t, what: finished, outcome: end.Outcome, class: end.Class}
}

// answered books the machine's own answer.
func (x *execution) answered(ctx context.Context, t *task, result agent.Result) verdict {
	end := journal.End{Result: &result, Reason: prose.Short(result.Message, longestText)}
	mode := x.plan.Mode
	switch {
	case result.Outcome == agent.Failed:
		end.Outcome = journal.Failed
		if end.Reason == "" {
			end.Reason = "the agent failed and did not say why"
		}
	case result.Outcome == agent.Clean && mode != agent.Undo:
		end.Outcome = journal.Clean
	case result.Outcome == agent.Affected && mode == agent.Detect:
		end.Outcome = journal.Affected
	case result.Outcome == agent.Undone && mode == agent.Undo:
		end.Outcome = journal.Undone
		if result.Reboot == "scheduled" {
			end.Reason = "the machine restarts now; that is not awaited"
		}
	case result.Outcome == agent.Fixed && mode == agent.Fix:
		if result.Reboot == "scheduled" || x.restartedBefore(result) {
			return x.restarting(ctx, t, result)
		}
		end.Outcome = journal.Fixed
	default:
		end.Outcome = journal.Failed
		end.Reason = fmt.Sprintf("the agent gave an answer that makes no sense: %q to %s", prose.Short(result.Outcome, longestText), mode)
	}
	return x.finish(t, end)
}

// restartedBefore reports whether an answer from the machine's record tells of a fix whose restart is over, so that only
// the verify after it is missing.
func (x *execution) restartedBefore(result agent.Result) bool {
	if !result.Repeated || result.Message != "" {
		return false
	}
	switch x.plan.Playbook.Reboot {
	case playbook.RebootAlways:
		return true
	case playbook.RebootIfFixed:
		return result.Changed > 0
	}
	return false
}

func (x *execution) restarting(ctx context.Context, t *task, result agent.Result) verdict {
	if err := x.journal.Reboot(t.entry.ID, result); err != nil {
		return verdict{task: t, what: broken, err: err}
	}
	t.fixed, t.fixedAt, t.running = &result, time.Now(), false
	return x.awaitRestart(ctx, t)
}

// verifyAgain is the second verify after the soak. It changes nothing, so it may be repeated freely; a machine that does
// not answer it any more is what the soak is there to find.
func (x *execution) verifyAgain(ctx context.Context, t *task) verdict {
	r := x.ask(ctx, t, agent.Verify, nil)
	var why string
	class := route.ClassOf(r.err)
	switch {
	case r.barred:
		return verdict{task: t, what: notStarted}
	case ctx.Err() != nil, class == route.Auth, barredBy(r.err) != nil:
		return verdict{task: t, what: left}
	case class.Retriable() && time.Now().Before(t.deadline):
		if wait, ok := x.pause(t, class); ok {
			return verdict{task: t, what: again, after: wait}
		}
		why = "was fixed, but does not answer after the soak: " + reasonOf(r.err)
	case r.err != nil:
		why = "was fixed, but cannot be verified after the soak: " + reasonOf(r.err)
	case r.result.Outcome != agent.Fixed:
		why = "did not stay fixed: " + orElse(prose.Short(r.result.Message, longestText), "the second verify does not hold")
	default:
		return verdict{task: t, what: finished, outcome: journal.Fixed}
	}
	return x.finish(t, journal.End{Outcome: journal.Failed, Class: class, Reason: why})
}

// reasonOf gives one line for the journal: what was done and what went wrong. The name of the machine stands beside it
// anyway, and the report has the advice.
func reasonOf(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*route.Error](err); ok {
		text = e.Op
		if e.Err != nil {
			text = strings.TrimPrefix(text+": "+e.Err.Error(), ": ")
		}
	}
	return prose.Short(text, longestText)
}

// longestText bounds what a machine says in one line of a table.
const longestText = 600

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
