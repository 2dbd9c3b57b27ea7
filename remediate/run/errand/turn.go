package errand

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// reply is what became of one question to a machine.
type reply struct {
	result agent.Result
	err    error // of the route
	barred bool  // not asked, because the run stops
	fatal  error // the journal or another store of our own failed
}

// Turn does the next thing with the machine: it looks for it, asks it, or waits for its restart and verifies it. With look it
// only looks whether the machine is there, and asks nothing. It is over when ctx is.
func (e *Errand) Turn(ctx context.Context, look bool) Verdict {
	if e.deadline.IsZero() {
		e.deadline = time.Now().Add(e.limits.Timeout)
	}
	switch {
	case e.second:
		return e.verifyAgain(ctx)
	case e.fixed != nil:
		return e.awaitRestart(ctx)
	}
	if ctx.Err() != nil {
		return Verdict{What: Left}
	}
	if e.answers() && (look || e.silent) {
		if v, there := e.knock(ctx); !there {
			return v
		}
	}
	if look {
		return e.found()
	}
	r := e.ask(ctx, e.crew.Mode, func() error {
		e.attempts++
		e.running = true
		return e.notes.Begin(e.attempts)
	})
	switch {
	case r.fatal != nil:
		return broken(r.fatal)
	case r.barred:
		return e.notStarted()
	case r.err != nil:
		return e.failedToAsk(ctx, r.err)
	}
	return e.answered(ctx, r.result)
}

// found is the end of a look. The time of a machine that nobody has asked yet begins with its turn.
func (e *Errand) found() Verdict {
	e.flaps = e.flaps || e.missed
	e.silent = false
	if !e.flaps && e.attempts == 0 {
		e.deadline = time.Time{}
	}
	return Verdict{What: Found}
}

// barred reports whether the run has stopped for this machine: for all when credentials were rejected, else for those
// of which nothing can have run.
func (e *Errand) barred() bool {
	return closed(e.crew.Barred) || closed(e.crew.Halted) && !e.Touched()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ask puts one question to a machine, calls begin before, and tells what came of it.
func (e *Errand) ask(ctx context.Context, mode agent.Mode, begin func() error) reply {
	if e.barred() || ctx.Err() != nil {
		return reply{barred: true}
	}
	if begin != nil {
		if err := begin(); err != nil {
			return reply{fatal: err}
		}
		if e.barred() {
			return reply{barred: true}
		}
	}
	var result agent.Result
	switch {
	case e.Touched():
		ctx = route.WithDue(ctx)
	case !e.second:
		ctx = route.WithHalt(ctx, e.crew.Halted)
	}
	err := e.within(ctx, func(ctx context.Context) (err error) {
		result, err = e.way.Carry(ctx, e.entry.Target, e.crew.request(e.entry, mode), e.log())
		return err
	})
	if e.steps != nil && err != nil {
		if lost := e.steps.lost(); lost != nil {
			return reply{fatal: lost}
		}
		if route.ClassOf(err).NothingRan() { // its steps say so
			e.maybe = e.steps.open()
		}
	}
	if errors.Is(err, route.ErrHalted) && !e.Touched() {
		return reply{barred: true}
	}
	if own, ok := errors.AsType[*route.StoreError](err); ok {
		return reply{fatal: own}
	}
	if e.crew.Heed != nil {
		e.crew.Heed(e.entry, err)
	}
	return reply{result: result, err: err}
}

func (e *Errand) log() route.Log {
	if e.steps == nil {
		return nil
	}
	return e.steps
}

func (e *Errand) within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithDeadline(ctx, e.deadline)
	defer cancel()
	return do(ctx)
}

// notStarted puts a machine back that was not asked because the run stops. One that restarts stays as it is: it was changed.
func (e *Errand) notStarted() Verdict {
	if e.running && !e.Touched() {
		if err := e.notes.BackOff(route.Stopped, "the run stopped before anything was sent"); err != nil {
			return broken(err)
		}
		e.running = false
	}
	return Verdict{What: NotStarted}
}

// A knock is short, for the next one follows soon; some take the time that a machine which is slow to answer needs.
const (
	knockLasts   = 2 * time.Second
	patientKnock = 4 // every so many
)

// knock looks whether a machine that was silent, or comes up for seconds, is up now. It costs no attempt.
func (e *Errand) knock(ctx context.Context) (Verdict, bool) {
	e.knocks++
	brief := e.knocks%patientKnock != 0
	err := e.within(ctx, func(ctx context.Context) error {
		if brief {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, knockLasts)
			defer cancel()
		}
		return e.way.Alive(ctx, e.entry.Target)
	})
	switch {
	case err == nil:
		return Verdict{}, true
	case brief && route.ClassOf(err) == route.Stopped && ctx.Err() == nil && time.Now().Before(e.deadline):
		err = &route.Error{Class: route.Unreachable, Op: "connect", Target: e.entry.Name, Err: fmt.Errorf("no answer within %s", knockLasts)}
	}
	return e.failedToAsk(ctx, err), false
}

// failedToAsk decides by the class of the error, and by nothing else, what comes next.
func (e *Errand) failedToAsk(ctx context.Context, err error) Verdict {
	if ctx.Err() != nil {
		return Verdict{What: Left} // the journal says leased or running; a resumed run goes on from there
	}
	class, reason := route.ClassOf(err), Reason(err)
	if failure, ok := errors.AsType[*route.Error](err); ok && class == route.Unreachable {
		e.signed = failure.Op == route.OpAuthenticate
	}
	late := !time.Now().Before(e.deadline)
	if !class.NothingRan() && e.running {
		e.maybe = true
	}
	if e.silent = class == route.Unreachable && !e.maybe; e.silent {
		e.crew.silences.Add(1)
		e.missed = e.missed || !e.running
	}
	end := outcome.End{Outcome: outcome.Unreachable, Class: class, Reason: reason}
	switch {
	case e.maybe && keptBack(err):
		return Verdict{What: Stands, Err: err}
	case class == route.Overflow && e.overflowed():
		return ended(outcome.End{Outcome: outcome.Unknown, Class: class, Reason: reason + "; it was asked twice, no result was among what came, and the request may have run"})
	case class.Retriable() && !late:
		if wait, ok := e.pause(class); ok {
			return e.later(class, reason, wait)
		}
	case late:
		if class == route.Stopped { // by our own deadline
			end.Class = route.Unreachable
		}
		end.Reason = fmt.Sprintf("gave up after %s: %s", e.limits.Timeout, orElse(e.last, reason))
	case route.BarredBy(err) != nil && class == route.Stopped && closed(e.crew.Barred): // the run knows, and may be resumed
		return e.notStarted()
	case route.BarredBy(err) != nil && class == route.Stopped:
		end = e.Unsent(route.BarredBy(err))
	case class == route.Stopped:
		end.Outcome = outcome.Held
	}
	if e.maybe {
		end.Outcome = outcome.Unknown
		end.Reason += "; the request may have run, and the machine could not be asked since"
	}
	return ended(end)
}

// keptBack reports whether a machine cannot be asked for a reason that is the account's, not its own: the run can be resumed when that is
// mended.
func keptBack(err error) bool {
	later := (*route.NotYetError)(nil)
	return route.ClassOf(err) == route.Auth || route.BarredBy(err) != nil || errors.As(err, &later) && later.Nobody
}

// overflowed reports whether a machine that wrote too much has done so before: the second time it was asked for its record.
func (e *Errand) overflowed() bool {
	e.overflows++
	return e.overflows > 1
}

// pause counts an error and gives the time until the next attempt, or false when there is none left. Where the machine
// answered and was busy, attempts back off exponentially with full jitter, so that a thousand machines that failed together
// do not come back together. A machine that is silent is overloaded by nobody: it is knocked at about once a second for as
// long as the attempts would have taken, because one that crashes again and again may be up for seconds only; a chase
// knocks until the deadline. A machine that may have been changed is asked until the deadline: the answer exists.
func (e *Errand) pause(class route.Class) (time.Duration, bool) {
	e.tries++
	if e.tries == 1 {
		e.firstError = time.Now()
	}
	const longest = 20 * time.Second
	ceiling := min(e.crew.Rules.Backoff<<min(e.tries-1, 10), longest)
	wait := time.Duration(e.crew.Rand() * float64(ceiling))
	switch {
	case class == route.Unreachable && (e.crew.Rules.Chase || e.flaps) && !e.maybe:
		wait = e.knockPause(often)
	case e.maybe:
	case class == route.Unreachable:
		patience := e.crew.Rules.Backoff<<min(e.crew.Rules.Retries, 10) - e.crew.Rules.Backoff
		if patience > 0 {
			patience = max(patience, leastPatience)
		}
		wait = e.knockPause(min(e.crew.Rules.Backoff, time.Second))
		if e.crew.silences.Load() < many {
			wait = e.knockPause(min(e.crew.Rules.Backoff, often))
		}
		if e.attempts > e.crew.Rules.Retries || e.tries > 1 && time.Since(e.firstError) >= patience {
			return 0, false
		}
	case e.tries > e.crew.Rules.Retries:
		return 0, false
	}
	return wait, time.Now().Add(wait).Before(e.deadline)
}

// A machine that crashes and comes back all the time is up once within half a minute. Few silent machines are knocked at often.
const (
	leastPatience = 32 * time.Second
	often         = 500 * time.Millisecond
	many          = 500 // silences
)

func (e *Errand) knockPause(base time.Duration) time.Duration {
	return base/2 + time.Duration(e.crew.Rand()*float64(base))
}

// later records the pause before the next attempt. A machine that may have been changed stays running.
func (e *Errand) later(class route.Class, reason string, wait time.Duration) Verdict {
	e.last, e.lastClass = reason, class
	if e.running && !e.maybe {
		if err := e.notes.BackOff(class, reason); err != nil {
			return broken(err)
		}
		e.running = false
	}
	return Verdict{What: Again, After: wait}
}

// answered makes an outcome of the machine's own answer.
func (e *Errand) answered(ctx context.Context, result agent.Result) Verdict {
	end := outcome.End{Result: &result, Reason: prose.Short(result.Message, longestText)}
	mode := e.crew.Mode
	switch {
	case result.Outcome == agent.Failed:
		end.Outcome = outcome.Failed
		if end.Reason == "" {
			end.Reason = "the agent failed and did not say why"
		}
	case result.Outcome == agent.Clean && mode != agent.Undo:
		end.Outcome = outcome.Clean
	case result.Outcome == agent.Affected && mode == agent.Detect:
		end.Outcome = outcome.Affected
	case result.Outcome == agent.Undone && mode == agent.Undo:
		end.Outcome, end.Reason = outcome.Undone, undone(e.entry.Stays, end.Reason)
		if result.Reboot == "scheduled" {
			end.Reason = strings.TrimPrefix(end.Reason+"; the machine restarts now; that is not awaited", "; ")
		}
	case result.Outcome == agent.Fixed && mode == agent.Fix:
		if result.Reboot == "scheduled" || e.restartedBefore(result) {
			return e.restarting(ctx, result)
		}
		end.Outcome = outcome.Fixed
	default:
		end.Outcome = outcome.Failed
		end.Reason = fmt.Sprintf("the agent gave an answer that makes no sense: %q to %s", prose.Short(result.Outcome, longestText), mode)
	}
	return ended(end)
}

// restartedBefore reports whether an answer from the machine's record tells of a fix whose restart is over, so that only
// the verify after it is missing.
func (e *Errand) restartedBefore(result agent.Result) bool {
	if !result.Repeated || result.Message != "" {
		return false
	}
	switch e.crew.Playbook.Reboot {
	case playbook.RebootAlways:
		return true
	case playbook.RebootIfFixed:
		return result.Changed > 0
	}
	return false
}

func (e *Errand) restarting(ctx context.Context, result agent.Result) Verdict {
	if err := e.notes.Restart(result); err != nil {
		return broken(err)
	}
	e.fixed, e.fixedAt, e.running = &result, time.Now(), false
	return e.awaitRestart(ctx)
}

// verifyAgain is the second verify after the soak. It changes nothing, so it may be repeated freely; a machine that does
// not answer it any more is what the soak is there to find.
func (e *Errand) verifyAgain(ctx context.Context) Verdict {
	r := e.ask(ctx, agent.Verify, nil)
	var why string
	class := route.ClassOf(r.err)
	switch {
	case r.fatal != nil:
		return broken(r.fatal)
	case r.barred:
		return Verdict{What: NotStarted}
	case ctx.Err() != nil, class == route.Auth, route.BarredBy(r.err) != nil:
		return Verdict{What: Left}
	case class == route.Overflow && e.overflowed():
		why = "was fixed, but cannot be verified after the soak: " + Reason(r.err)
	case class.Retriable() && time.Now().Before(e.deadline):
		if wait, ok := e.pause(class); ok {
			return Verdict{What: Again, After: wait}
		}
		why = "was fixed, but does not answer after the soak: " + Reason(r.err)
	case r.err != nil:
		why = "was fixed, but cannot be verified after the soak: " + Reason(r.err)
	case r.result.Outcome != agent.Fixed:
		why = "did not stay fixed: " + orElse(prose.Short(r.result.Message, longestText), "the second verify does not hold")
	default:
		return ended(outcome.End{Outcome: outcome.Fixed})
	}
	return ended(outcome.End{Outcome: outcome.Failed, Class: class, Reason: why})
}
