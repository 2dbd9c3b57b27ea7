package routetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Patient is one machine that a durable route is to mend, and its far end.
type Patient interface {
	Route() route.Durable
	Target() route.Target
	// Fail makes the next call of a step fail, once.
	Fail(step string, how Failure)
	// Calls are the calls that did something so far, by the ID of their step.
	Calls() map[string]int
	// Dump is all that is at the far end, in a form that can be compared.
	Dump() string
}

// Failure is how a call of a step fails.
type Failure string

// The failures. A refused call did nothing; of one that was cut the caller does not know it.
const (
	CutBefore Failure = "cut before it acted"
	CutAfter  Failure = "cut after it acted"
	Refuse    Failure = "refused"
)

// DurableSuite breaks off the work of a durable route at each of its steps: before the call, after it, and after it was settled.
// Gone on with, it comes to the end to which it comes undisturbed, has made no call twice, and leaves nothing that its log
// does not know. One that is refused, or stopped, goes back or finishes. Start brings up a new machine like the one before.
func DurableSuite(t *testing.T, start func(testing.TB) Patient) {
	steps, end := undisturbed(t, start)
	for _, id := range steps {
		for _, at := range []moment{beforeTheCall, afterTheCall, afterSettle} {
			t.Run("killed "+string(at)+" "+id, func(t *testing.T) { killed(t, start(t), id, at, end) })
		}
		for _, how := range []Failure{CutBefore, CutAfter} {
			t.Run(id+" "+string(how), func(t *testing.T) { cutOff(t, start(t), id, how, end) })
		}
		t.Run(id+" refused", func(t *testing.T) { refusedAt(t, start(t), id, end) })
		t.Run("stopped at "+id, func(t *testing.T) { stoppedAt(t, start(t), id, end) })
	}
}

// moment is one in the life of a step.
type moment string

const (
	beforeTheCall moment = "before the call of"
	afterTheCall  moment = "after the call of"
	afterSettle   moment = "after settling"
)

var errKilled = errors.New("the process was killed")

// book is a log on a disk that outlives the process which is killed at a moment.
type book struct {
	mu       sync.Mutex
	disk     []route.Step
	step     string // at which the process is killed
	at       moment
	dead     bool
	kill     func() // called then
	before   string // step before which the run stops
	stopping chan struct{}
}

func (b *book) Steps() []route.Step {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.disk)
}

func (b *book) Run() route.Log { return b }

func (b *book) Stopping() <-chan struct{} { return b.stopping }

func (b *book) Plan(step route.Step) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return errKilled
	}
	if b.before == step.ID {
		b.before = ""
		close(b.stopping)
	}
	select {
	case <-b.stopping:
		if !step.Finishing {
			return route.ErrHalted
		}
	default:
	}
	step.State = route.StepPlanned
	if at := b.index(step.ID); at >= 0 {
		b.disk[at] = step
	} else {
		b.disk = append(b.disk, step)
	}
	return b.dies(step.ID, beforeTheCall)
}

func (b *book) Settle(id string, state route.StepState, note string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.index(id)
	switch {
	case b.dead:
		return errKilled
	case at < 0:
		return route.ErrNoStep
	}
	if err := b.dies(id, afterTheCall); err != nil {
		return err
	}
	b.disk[at].State, b.disk[at].Note = state, note
	return b.dies(id, afterSettle)
}

func (b *book) index(id string) int {
	return slices.IndexFunc(b.disk, func(s route.Step) bool { return s.ID == id })
}

func (b *book) dies(id string, at moment) error {
	if b.step != id || b.at != at {
		return nil
	}
	b.dead = true
	b.kill()
	return errKilled
}

// again is the same disk in the next life of the process.
func (b *book) again() *book { return &book{disk: b.Steps(), stopping: make(chan struct{})} }

// open are the steps that may have left something which is not to stay.
func (b *book) open() (all []route.Step) {
	for _, s := range b.Steps() {
		if s.Open() && !s.Keep && s.Act == route.Make {
			all = append(all, s)
		}
	}
	return all
}

func carry(ctx context.Context, p Patient, log *book) (agent.Result, error) {
	return p.Route().Carry(ctx, p.Target(), Request("run-1", agent.Fix), log)
}

// undisturbed returns the steps of a machine that nothing happens to, and what is there at the end.
func undisturbed(t *testing.T, start func(testing.TB) Patient) ([]string, string) {
	p, log := start(t), &book{stopping: make(chan struct{})}
	if result, err := carry(t.Context(), p, log); err != nil || result.Outcome != agent.Fixed {
		t.Fatalf("undisturbed: %+v %v", result, err)
	}
	left := p.Dump()
	if tidied(t, p, log); len(log.open()) > 0 && p.Dump() == left {
		t.Error("nothing is taken away of what was left")
	}
	var steps []string
	for _, s := range log.disk {
		if !s.Open() && s.State != route.StepGone {
			t.Errorf("step %s is %s at the end", s.ID, s.State)
		}
		steps = append(steps, s.ID)
	}
	if len(steps) == 0 {
		t.Fatal("it took no step")
	}
	return steps, p.Dump()
}

// tidied takes away what is left for somebody to take away, twice: what is gone already is no error.
func tidied(t *testing.T, p Patient, log *book) {
	t.Helper()
	cleaner, ok := p.Route().(route.Cleaner)
	if !ok {
		t.Fatal("a durable route takes away what its steps have left")
	}
	for range 2 {
		for _, s := range log.open() {
			if err := cleaner.Remove(t.Context(), s); err != nil {
				t.Errorf("remove %s: %v", s.ID, err)
			}
		}
	}
}

func once(t *testing.T, p Patient) {
	t.Helper()
	for id, n := range p.Calls() {
		if n > 1 {
			t.Errorf("the call of %s was made %d times", id, n)
		}
	}
}

func ends(t *testing.T, p Patient, log *book, want string) {
	t.Helper()
	tidied(t, p, log)
	if got := p.Dump(); got != want {
		t.Errorf("it came to another end:\n%s\nnot\n%s", got, want)
	}
}

func killed(t *testing.T, p Patient, id string, at moment, end string) {
	leaktest.Check(t)
	log := &book{stopping: make(chan struct{}), step: id, at: at}
	var then map[string]int
	log.kill = func() { then = p.Calls() }
	if result, err := carry(t.Context(), p, log); err == nil && at != afterSettle {
		t.Fatalf("killed, and %+v came of it", result)
	}
	if !log.dead {
		t.Fatalf("it never came to %s %s", at, id)
	}
	if now := p.Calls(); !maps.Equal(then, now) {
		t.Errorf("what was not written down was done: %v, then %v", then, now)
	}
	life := log.again()
	if result, err := carry(t.Context(), p, life); err != nil || result.Outcome != agent.Fixed {
		t.Fatalf("gone on with: %+v %v", result, err)
	}
	once(t, p)
	ends(t, p, life, end)
}

func cutOff(t *testing.T, p Patient, id string, how Failure, end string) {
	leaktest.Check(t)
	p.Fail(id, how)
	log := &book{stopping: make(chan struct{})}
	const tries = 4
	for try := 1; ; try++ {
		result, err := carry(t.Context(), p, log)
		if err == nil && result.Outcome == agent.Fixed {
			break
		}
		if try == tries || err != nil && len(log.open()) > 0 && route.ClassOf(err).NothingRan() {
			t.Fatalf("%+v %v", result, err)
		}
	}
	once(t, p)
	ends(t, p, log, end)
}

// refusedAt has a step refused: then all is as it was before, and the error says so; or it is done all the same.
func refusedAt(t *testing.T, p Patient, id, end string) {
	leaktest.Check(t)
	before := p.Dump()
	p.Fail(id, Refuse)
	wentBack(t, p, &book{stopping: make(chan struct{})}, before, end)
}

// stoppedAt stops the run right before a step is planned.
func stoppedAt(t *testing.T, p Patient, id, end string) {
	leaktest.Check(t)
	before := p.Dump()
	wentBack(t, p, &book{stopping: make(chan struct{}), before: id}, before, end)
}

func wentBack(t *testing.T, p Patient, log *book, before, end string) {
	t.Helper()
	result, err := carry(t.Context(), p, log)
	if err == nil && result.Outcome == agent.Fixed {
		ends(t, p, log, end)
		return
	}
	if err == nil || !route.ClassOf(err).NothingRan() {
		t.Errorf("nothing is left, says class %q: %+v %v", route.ClassOf(err), result, err)
	}
	for _, s := range log.Steps() {
		if s.Open() && s.Act != route.Remove {
			t.Errorf("step %s is %s", s.ID, s.State)
		}
	}
	if got := p.Dump(); got != before {
		t.Errorf("not as it was:\n%s\nbut\n%s", before, got)
	}
}
