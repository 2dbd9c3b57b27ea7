package runs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// Approvals puts the question whether a wave may begin to whoever can be asked at the desk, and takes it back when it was answered
// elsewhere. It is used by the one goroutine that follows the run.
type Approvals struct {
	Desk   *desk.Desk
	cancel context.CancelFunc
	asking sync.WaitGroup
}

// Take looks at the next event of the run.
func (a *Approvals) Take(ctx context.Context, e journal.Event) {
	switch e.Kind {
	case journal.MachineMove, journal.Paused, journal.Unpaused, journal.Ignored:
		return
	}
	a.End()
	if e.Kind != journal.Approval {
		return
	}
	ctx, a.cancel = context.WithCancel(ctx)
	a.asking.Go(func() {
		err := AskApproval(ctx, a.Desk, e.Run, e.Wave+1, e.Text)
		over, nobody, unanswered := (*journal.EndedError)(nil), (*question.NeededError)(nil), (*question.UnansweredError)(nil)
		if errors.As(err, &unanswered) {
			a.Desk.Tell(fmt.Sprintf("the input ended at the question, and nothing was answered: the run waits. `fleetmend runs approve %s --wave %d` lets the wave begin, `fleetmend runs cancel %s` ends the run",
				e.Run, e.Wave+1, e.Run))
			return
		}
		if err != nil && !errors.Is(err, context.Canceled) && !errors.As(err, &over) && !errors.As(err, &nobody) {
			a.Desk.Tell("the approval could not be asked for: " + err.Error())
		}
	})
}

// End takes the question back that stands, if one does, and waits until it is gone.
func (a *Approvals) End() {
	if a.cancel != nil {
		a.cancel()
		a.cancel = nil
	}
	a.asking.Wait()
}
