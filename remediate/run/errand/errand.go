// Package errand is a machine's part of a run: from the first knock to how it ended, with every attempt, pause, restart and
// verify between.
//
// A [Crew] is what all errands of a run have in common, an [Errand] is one machine. [Errand.Turn] does the next thing with it
// and says what comes then; whoever calls it owns the places in flight and the order of the queue, so that a machine that is
// silent holds no place between its turns. What must be durable before it is acted on goes through [Notes]. The package knows
// no wave, no gate and no store.
package errand

import (
	"crypto/rand"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Notes is where an errand writes down what it is about to do with its machine. Each method returns when that is durable; an
// error ends the errand, for nothing is done that could not be written down.
type Notes interface {
	Begin(attempt int) error                        // from now on a request may reach the machine; counted from 1
	BackOff(class route.Class, reason string) error // nothing ran, and it is tried again
	Restart(result agent.Result) error              // it was changed and restarts now
	Step(step route.Step) error                     // of a durable route, as it is now: planned, or settled
}

// Crew is what all errands of one run have in common. Its fields are not changed once the first errand is made; it is safe
// for concurrent use.
type Crew struct {
	Run      string // that machines know: with undo the run to take back
	Mode     agent.Mode
	Playbook *playbook.Playbook
	Rules    *plan.Options
	Routes   map[string]route.Route
	Kept     map[string]bool // machines that had kept the agent before, by ID
	Rand     func() float64  // jitter, uniform in [0,1), safe for concurrent use

	Halted <-chan struct{} // closed: nothing is begun any more; what may have been changed is asked on
	Barred <-chan struct{} // closed: no account is sent any more, so that nobody is asked

	Shared *Steps // of durable routes, for what their machines share; nil: there is none

	// Heed is told of every error of a route at once, for it may be about an account: then nobody else must send it. May be nil.
	Heed func(e *plan.Entry, err error)

	silences atomic.Int64 // how often a machine was silent
	quickest atomic.Int64 // nanoseconds of the shortest restart so far; 0: none was seen
}

// Silences is how often a machine was silent so far: then it pays to look who is there.
func (c *Crew) Silences() int64 { return c.silences.Load() }

// request is a new one to a machine.
func (c *Crew) request(e *plan.Entry, mode agent.Mode) agent.Request {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) //nolint:errcheck // never fails (crypto/rand)
	return agent.Request{Run: c.Run, Nonce: hex.EncodeToString(nonce[:]), Mode: mode, Playbook: *c.Playbook, Record: e.Record, Kept: c.Kept[e.ID]}
}

// Order is a machine, and how far it was when an earlier life of the run left it.
type Order struct {
	Entry    *plan.Entry
	Attempts int           // requests so far
	Running  bool          // one of them may have reached the machine, which alone can say
	Fixed    *agent.Result // the answer that announced a restart, which is awaited; nil: none did
	FixedAt  time.Time     // when it came
	Second   bool          // the machine is fixed, and verified once more after the soak
	Steps    []route.Step  // of a durable route, in their order
}

// Errand is one machine on its way. It is used by one goroutine at a time.
type Errand struct {
	crew   *Crew
	notes  Notes
	entry  *plan.Entry
	way    route.Durable
	limits route.Limits // of that way
	steps  *Steps       // nil: it leaves none

	deadline   time.Time // of all attempts; set by the first
	second     bool      // verify after the soak
	attempts   int       // requests so far, those of earlier lives of the run included
	tries      int       // errors in this life
	firstError time.Time // of them
	running    bool      // noted as begun
	silent     bool      // the last attempt found nobody
	maybe      bool      // a request may have started: only the machine can say
	overflows  int       // answers that were larger than is taken
	knocks     int       // so far
	missed     bool      // a knock found nobody
	flaps      bool      // and a later one somebody: it comes and goes
	last       string    // why the last attempt did not do
	lastClass  route.Class
	signed     bool          // that had to do with signing in
	fixed      *agent.Result // the answer that announced a restart
	fixedAt    time.Time     // when it came
}

// Errand makes the errand to a machine.
func (c *Crew) Errand(o Order, notes Notes) *Errand {
	e := &Errand{crew: c, notes: notes, entry: o.Entry, second: o.Second, attempts: o.Attempts,
		running: o.Running, maybe: o.Running, fixed: o.Fixed, fixedAt: o.FixedAt, limits: c.Rules.For(o.Entry.Route)}
	way := c.Routes[o.Entry.Route]
	if _, durable := way.(route.Durable); durable {
		e.steps = &Steps{write: notes.Step, stopping: c.Halted, run: c.Shared, list: o.Steps}
	}
	e.way = route.Carried(way)
	return e
}

// Steps are those of a durable route so far.
func (e *Errand) Steps() []route.Step {
	if e.steps == nil {
		return nil
	}
	return e.steps.Steps()
}

// answers reports whether the machine itself can be looked for: what a durable route mends is dead by definition.
func (e *Errand) answers() bool { return e.steps == nil }

// Begun reports whether the machine is at risk: it was asked to do something, and did not come through it yet.
func (e *Errand) Begun() bool { return e.running || e.Touched() }

// Touched reports whether the machine may have been changed.
func (e *Errand) Touched() bool { return e.maybe || e.fixed != nil }

// Silent reports whether the last turn found nobody.
func (e *Errand) Silent() bool { return e.silent }

// Flaps reports whether the machine comes and goes.
func (e *Errand) Flaps() bool { return e.flaps }

// Signed reports whether the last attempt failed at signing in.
func (e *Errand) Signed() bool { return e.signed }

// What is what a turn came to.
type What int

// The ends of a turn.
const (
	Ended      What = iota // Verdict.End says how; the caller records it
	Again                  // another turn is due after Verdict.After
	Found                  // the machine was looked for, and is there
	NotStarted             // the run stopped before anything was sent
	Left                   // it stays as it was noted: ctx ended
	Stands                 // the same: it may have been changed, and cannot be asked with the account as it is; Verdict.Err says why
	Broken                 // Notes could not be written, or a store that the route needs failed; Verdict.Err says why
)

// Verdict is what a turn came to.
type Verdict struct {
	What  What
	End   outcome.End   // with Ended
	After time.Duration // with Again
	Err   error         // with Broken and Stands
}

func ended(end outcome.End) Verdict { return Verdict{What: Ended, End: end} }

func broken(err error) Verdict { return Verdict{What: Broken, Err: err} }
