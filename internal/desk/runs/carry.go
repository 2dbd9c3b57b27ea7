package runs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/connect"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// Options say how a run is carried out in this process.
type Options struct {
	PasswordFile string       // in place of that of the settings
	Observer     run.Observer // may be nil
	// Begins is handed what stops the run (no further machine starts, those in flight end), before it begins; may be nil.
	Begins func(stop func())
	// Approve puts the approval between waves to the desk's asker. Without it only the journal is asked (fleetmend runs approve).
	Approve bool
}

// Start carries a plan out and returns when the run is over, with the run as the journal has it. There is a run and an error
// where the journal could not be written any more; without a run nothing was begun. Errors are those of run.Engine.Start and of
// the routes.
func Start(ctx context.Context, d *desk.Desk, p *plan.Plan, o Options) (*journal.Run, error) {
	engine, err := engine(ctx, d, p, o)
	if err != nil {
		return nil, err
	}
	return engine.Start(ctx, p)
}

// Resume goes on with a run that was paused, interrupted or killed.
func Resume(ctx context.Context, d *desk.Desk, id string, o Options) (*journal.Run, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	p, err := j.Plan(ctx, id)
	if err != nil {
		return nil, err
	}
	engine, err := engine(ctx, d, p, o)
	if err != nil {
		return nil, err
	}
	return engine.Resume(ctx, id)
}

func engine(ctx context.Context, d *desk.Desk, p *plan.Plan, o Options) (*run.Engine, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	routes := map[string]route.Route{}
	for _, wave := range p.Waves {
		for _, e := range wave.Entries {
			if routes[e.Route] != nil {
				continue
			}
			if routes[e.Route], err = d.Connect.Route(ctx, e.Route, connect.RouteOptions{PasswordFile: o.PasswordFile}); err != nil {
				return nil, err
			}
		}
	}
	options := run.Options{Journal: j, Routes: routes, Observer: o.Observer, Logger: d.Logger}
	if o.Approve {
		options.Approve = func(ctx context.Context, w run.Wave) (bool, error) { return approved(ctx, d.Ask, w) }
	}
	made, err := run.New(options)
	if err == nil && o.Begins != nil {
		o.Begins(made.Stop)
	}
	return made, err
}

// approved asks whether a run may go on with its next wave.
func approved(ctx context.Context, ask question.Asker, w run.Wave) (bool, error) {
	_, err := ask.Ask(ctx, question.Question{
		ID: "wave.approve", Kind: question.YesNo, About: w, Flag: "fleetmend runs approve " + w.Run,
		Text: fmt.Sprintf("wave %d (%s) is over: %s. Go on with %s of wave %d (%s)?", w.Number, w.Name, CountsText(w.Counts), machinesText(w.Machines), w.Number+1, w.Next),
	})
	if errors.Is(err, question.ErrDeclined) {
		return false, nil
	}
	return err == nil, err
}

func machinesText(n int) string {
	if n == 1 {
		return "1 machine"
	}
	return fmt.Sprintf("%d machines", n)
}

// Outcomes are all outcomes in the order in which they are told.
var Outcomes = []journal.Outcome{
	journal.Fixed, journal.Undone, journal.Clean, journal.Affected, journal.Failed, journal.Unreachable, journal.Unknown, journal.Held, journal.Skipped,
}

// CountsText is "40 fixed, 2 failed".
func CountsText(counts map[journal.Outcome]int) string {
	var parts []string
	for _, outcome := range Outcomes {
		if n := counts[outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, outcome))
		}
	}
	return strings.Join(parts, ", ")
}

// FollowUp makes the plan that comes after a run.
type FollowUp func(ctx context.Context, j *journal.Journal, id string, f run.Follow) (*plan.Plan, error)

// Retry plans again what a run left undone, Undo what takes back what it changed. A run that leaves nothing is a *plan.EmptyError.
func Retry(ctx context.Context, d *desk.Desk, name string, rules Rules) (*plan.Plan, error) {
	return followUp(ctx, d, name, rules, run.RetryPlan)
}

// Undo is [Retry] for taking back.
func Undo(ctx context.Context, d *desk.Desk, name string, rules Rules) (*plan.Plan, error) {
	return followUp(ctx, d, name, rules, run.UndoPlan)
}

func followUp(ctx context.Context, d *desk.Desk, name string, rules Rules, next FollowUp) (*plan.Plan, error) {
	r, err := Find(ctx, d, name)
	if err != nil {
		return nil, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	p, err := next(ctx, j, r.ID, run.Follow{Operator: d.Operator(), Now: d.Now()})
	if err != nil || rules.Waves == "" {
		return p, err
	}
	sizes, err := plan.ParseWaves(rules.Waves)
	if err != nil {
		return nil, hint.Mistake(fmt.Errorf("--waves: %w", err), "give counts, or percentages of all reached by then: 1,10,10%%,100%%")
	}
	return plan.Restage(p, sizes)
}

// Control leaves a wish for the process that carries a run out.
func Control(ctx context.Context, d *desk.Desk, name string, kind journal.ControlKind) (*journal.Run, error) {
	r, err := Find(ctx, d, name)
	if err != nil {
		return nil, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return r, j.Control(ctx, r.ID, kind, d.Operator())
}

// AtWork reports whether some process carries the run out now.
func AtWork(ctx context.Context, d *desk.Desk, id string) bool {
	j, err := d.Journal(ctx)
	if err != nil {
		return false
	}
	_, held, err := j.Owner(id)
	return err == nil && held
}

// Over reports whether a run goes on no more by itself.
func Over(s journal.Status) bool {
	return s != journal.RunRunning && s != journal.RunPaused && s != journal.RunWaiting
}

// Fixing reports whether a plan changes machines.
func Fixing(p *plan.Plan) bool { return p.Mode != agent.Detect }
