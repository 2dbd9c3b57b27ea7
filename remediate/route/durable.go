package route

import (
	"context"
	"errors"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// Durable is a route whose work takes minutes and leaves things outside of the machine: copies of its disk, helpers that mend
// it. What it makes there stands in a [Log] before the call that makes it, so that a killed run goes on where it was, and
// nothing is left behind that nobody knows. Whether the machine is there is not asked before: it is dead by definition.
type Durable interface {
	Route
	// Carry does what Do does, from where the steps of log say that an earlier life left it. Each call that makes, changes or
	// removes something is planned before it and settled after it. When log.Stopping is closed it goes back, unless what was
	// begun can only be finished. Errors are those of Do; where nothing is left of what was begun, its class says that
	// nothing ran.
	Carry(ctx context.Context, target Target, request agent.Request, log Log) (agent.Result, error)
	// Limits are its own, in place of those of a run.
	Limits() Limits
}

// Limits are what a route needs in place of a run's own rules; zero: that of the run.
type Limits struct {
	Timeout    time.Duration `json:"timeout,omitempty"`     // one machine, all attempts
	RebootWait time.Duration `json:"reboot_wait,omitempty"` // how long a restart may take
	Forks      int           `json:"forks,omitempty"`       // machines in flight at once by this route
}

// Cleaner is a route that can take away what its steps have left. What is gone already is no error.
type Cleaner interface {
	Remove(ctx context.Context, step Step) error
}

// Act is what a step does.
type Act string

// The acts.
const (
	Make   Act = "make"
	Change Act = "change"
	Remove Act = "remove"
)

// StepState is how far a step is.
type StepState string

// The states of a step. One that is found planned, after a crash, may have been taken: the far end tells.
const (
	StepPlanned StepState = "planned"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed" // and left nothing
	StepGone    StepState = "gone"   // it was done, and taken back
)

// Step is one call of a durable route. Nothing in it is secret.
type Step struct {
	ID    string    // unique for its machine, or for the run
	On    string    // full name of what it works on, known before the call
	Act   Act       //
	State StepState //
	Was   string    // what the change finds
	Now   string    // what it leaves
	Note  string    // one line for people
	Keep  bool      // it stays when the machine is done, until somebody takes it away
	At    time.Time // of its last change

	// Finishing brings to an end what was begun, forward or back: such a step is planned also when the run stops.
	Finishing bool
}

// Open reports whether something of the step may be there.
func (s *Step) Open() bool { return s.State == StepPlanned || s.State == StepDone }

// Log is where the steps of one machine, or of a whole run, are written down. It is safe for concurrent use.
type Log interface {
	Steps() []Step // in the order in which they were planned first
	Run() Log      // that of the whole run, for what machines share; its own Run is itself
	// Plan returns when the step is on disk; only then the call may be made. ErrHalted says that the run stops and the call
	// must not be made.
	Plan(step Step) error
	// Settle says what became of a planned step.
	Settle(id string, state StepState, note string) error
	Stopping() <-chan struct{} // closed when nothing new is begun
}

// ErrNoStep is returned by a log that is to settle a step which was not planned.
var ErrNoStep = errors.New("no such step was planned")

// Carried makes every route one that carries: one without steps does what it is asked at once, by the limits of the run.
func Carried(r Route) Durable {
	if d, ok := r.(Durable); ok {
		return d
	}
	return plain{r}
}

type plain struct{ Route }

func (p plain) Carry(ctx context.Context, target Target, request agent.Request, _ Log) (agent.Result, error) {
	return p.Do(ctx, target, request)
}

func (plain) Limits() Limits { return Limits{} }
