package runs

import (
	"context"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/settings"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/report"
)

// Report tells what a run did, with the commands that come next as they can be typed: on the same machines, with the same
// parameters.
func Report(ctx context.Context, d *desk.Desk, id string) (*journal.Run, *report.Report, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := j.Run(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	machines, err := j.Machines(ctx, r.ID)
	if err != nil {
		return nil, nil, err
	}
	events, err := j.Events(ctx, r.ID, 0)
	if err != nil {
		return nil, nil, err
	}
	p, err := j.Plan(ctx, r.ID)
	if err != nil {
		return nil, nil, err
	}
	built := report.Build(*r, machines, events, p)
	built.Next = next(r, p, d.Settings.Run, built.Next)
	program := d.Program()
	for i := range built.Next {
		built.Next[i].Line = program.In(built.Next[i].Line)
	}
	for i := range built.Reasons {
		built.Reasons[i].Advice = program.In(built.Reasons[i].Advice)
	}
	return r, built, nil
}

// next completes what the report proposes with what only the plan knows.
func next(r *journal.Run, p *plan.Plan, s settings.Run, proposed []report.Command) []report.Command {
	if r.Playbook == RotatePlaybook {
		return afterRotation(r, proposed)
	}
	again := Again(p, s)
	again.DryRun = false
	for i, c := range proposed {
		if strings.HasPrefix(c.Line, "fleetmend run ") {
			if again.Playbook+again.Script+again.Command == "" { // nobody knows any more what was run
				return slices.Delete(proposed, i, i+1)
			}
			proposed[i].Line = commandline.Line(again.Args()...)
		}
	}
	return proposed
}

// RotatePlaybook is the playbook of fleetmend keys rotate.
const RotatePlaybook = "rotate-recovery-password"

// afterRotation proposes no run and no undo: a rotation is asked for with its own command, and cannot be taken back.
func afterRotation(r *journal.Run, proposed []report.Command) []report.Command {
	var kept []report.Command
	if r.Mode == agent.Fix && r.Counts[journal.Fixed] > 0 {
		kept = append(kept, report.Command{For: "Read the new keys in", Line: "fleetmend keys sync"})
	}
	for _, c := range proposed {
		if !strings.HasPrefix(c.Line, "fleetmend run ") && !strings.HasPrefix(c.Line, "fleetmend runs undo ") {
			kept = append(kept, c)
		}
	}
	return kept
}
