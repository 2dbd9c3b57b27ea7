package keys

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/statefolder"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/casefile"
)

// Hear is [Fold] for a use case that goes on without it: what could not be read is remarked, and read the next time. The error is the
// end of ctx, or [statefolder.ErrNewer]: without the folder nothing goes on.
func Hear(ctx context.Context, d *desk.Desk) error {
	if err := Fold(ctx, d); err != nil {
		if ctx.Err() != nil || errors.Is(err, statefolder.ErrNewer) {
			return err
		}
		d.Tell("remark: what rotations did could not be read from the journal, and is read the next time: " + err.Error())
	}
	return nil
}

// AddStopped puts the rotations on which nobody works before all else that comes next in a status: their machines belong to no
// incident, and no other run gets them before that one went on or was cancelled.
func AddStopped(ctx context.Context, d *desk.Desk, s *cases.Status) error {
	all, err := runs.All(ctx, d)
	if err != nil {
		return err
	}
	stopped := cases.Group{Verb: casefile.Resume}
	for _, r := range all {
		if r.Playbook != runs.RotatePlaybook || r.Mode != agent.Fix || !r.Idle() {
			continue
		}
		left := r.Machines
		for _, n := range r.Counts {
			left -= n
		}
		stopped.Machines += left
		stopped.Why = append(stopped.Why, cases.Reason{Text: fmt.Sprintf("their recovery keys were being replaced by run %s, on which nobody works", r.ID), Machines: left})
		stopped.Commands = append(stopped.Commands, d.Program().In(commandline.Line("runs", "resume", r.ID)))
	}
	if len(stopped.Commands) > 0 {
		s.Next = append([]cases.Group{stopped}, s.Next...)
	}
	return nil
}
