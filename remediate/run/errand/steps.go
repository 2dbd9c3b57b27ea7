package errand

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// Steps is the log of one machine, or of what the machines of a run share. It implements [route.Log].
type Steps struct {
	write    func(route.Step) error // durable when it returns
	stopping <-chan struct{}
	run      *Steps // nil: it is the run's

	mu     sync.Mutex
	list   []route.Step
	failed error // of writing
}

var _ route.Log = (*Steps)(nil)

// NewSteps makes the log of what the machines of a run share, with the steps that an earlier life of the run left. Write is called for
// each step that is planned or settled, as it is then, and returns when it is on disk.
func NewSteps(left []route.Step, stopping <-chan struct{}, write func(route.Step) error) *Steps {
	return &Steps{write: write, stopping: stopping, list: left}
}

// Steps implements [route.Log].
func (s *Steps) Steps() []route.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// Run implements [route.Log].
func (s *Steps) Run() route.Log {
	if s.run == nil {
		return s
	}
	return s.run
}

// Stopping implements [route.Log].
func (s *Steps) Stopping() <-chan struct{} { return s.stopping }

// Plan implements [route.Log].
func (s *Steps) Plan(step route.Step) error {
	if closed(s.stopping) && !step.Finishing {
		return route.ErrHalted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	step.State = route.StepPlanned
	return s.put(step)
}

// Settle implements [route.Log].
func (s *Steps) Settle(id string, state route.StepState, note string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index(id)
	if at < 0 {
		return fmt.Errorf("settle step %s: %w", id, route.ErrNoStep)
	}
	step := s.list[at]
	step.State = state
	if note != "" {
		step.Note = note
	}
	return s.put(step)
}

func (s *Steps) index(id string) int {
	return slices.IndexFunc(s.list, func(o route.Step) bool { return o.ID == id })
}

// put writes a step down, and then takes it up. The caller holds the mutex.
func (s *Steps) put(step route.Step) error {
	step.At = time.Now().UTC().Truncate(time.Millisecond)
	if err := s.write(step); err != nil {
		s.failed = err
		return fmt.Errorf("write down step %s: %w", step.ID, err)
	}
	if at := s.index(step.ID); at >= 0 {
		s.list[at] = step
	} else {
		s.list = append(s.list, step)
	}
	return nil
}

// lost is why a step could not be written down.
func (s *Steps) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// open reports whether a step may have left something that is not to stay.
func (s *Steps) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(o route.Step) bool { return o.Open() && o.Act != route.Remove })
}
