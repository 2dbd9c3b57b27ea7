// Package runs are the use cases around runs: freeze a plan, carry it out, go on, do again, take back, report.
//
// [Freeze] makes a plan of a [Request], [Start] carries it out, [Resume], [Retry] and [Undo] come after. What a person has to agree
// to is asked before, by the face; what turns up in the middle (a password, the approval of a wave) goes through the desk's asker.
// The package prints nothing and knows no exit code. A request can be said as a command line: [Request.Args].
package runs

import (
	"context"
	"errors"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// Last is the name of the newest run.
const Last = "last"

// ErrNone says that there is no run yet.
var ErrNone = errors.New("there is no run yet")

// Find is the run named by an ID, the beginning of one, or [Last]. An unknown name is a *journal.NotFoundError, no run at all
// [ErrNone].
func Find(ctx context.Context, d *desk.Desk, name string) (*journal.Run, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	if name == Last {
		all, err := All(ctx, d)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, hint.Wrap(ErrNone, "`fleetmend run PLAYBOOK` starts one; `fleetmend playbook list` shows what there is")
		}
		return &all[0], nil
	}
	id, err := j.Resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	return j.Run(ctx, id)
}

// All are the runs, newest first.
func All(ctx context.Context, d *desk.Desk) ([]journal.Run, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Runs(ctx)
}

// Events are the history of a run.
func Events(ctx context.Context, d *desk.Desk, id string) ([]journal.Event, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Events(ctx, id, 0)
}

// PlanOf is the plan of a run.
func PlanOf(ctx context.Context, d *desk.Desk, id string) (*plan.Plan, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Plan(ctx, id)
}

// IDs are the runs for completion: the ID, a tab, what it was.
func IDs(ctx context.Context, d *desk.Desk) ([]string, error) {
	all, err := All(ctx, d)
	ids := make([]string, 0, len(all))
	for _, r := range all {
		ids = append(ids, r.ID+"\t"+r.Playbook+", "+string(r.Status))
	}
	return ids, err
}
