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
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// Options say how a run is carried out.
type Options struct {
	PasswordFile string // in place of that of the settings
	// Runner is the program, with its first words, that carries the run out as a process of its own; nil: this process does.
	Runner []string
	// Begun is told the run once it is recorded, the number of the first event of this life, and what stops it (no further
	// machine starts, those in flight end). It and stop must not wait for anything. May be nil.
	Begun func(id string, first int64, stop func())
	Rules Rules // Resume only: those that change for this life of the run
}

// Start carries a plan out and returns when the run is over, with the run as the journal has it. There is a run and an error
// where the journal could not be written any more; without a run nothing was begun. Errors are those of run.Engine.Start and of
// the routes. With a runner the end of ctx asks that process to stop at once; the death of this one touches nothing.
func Start(ctx context.Context, d *desk.Desk, p *plan.Plan, o Options) (*journal.Run, error) {
	if o.Runner != nil {
		return launch(ctx, d, p, "", o)
	}
	engine, err := engine(ctx, d, d.Connect, p, o)
	if err != nil {
		return nil, err
	}
	asEver := desk.Spare(room(p))
	defer asEver()
	return engine.Start(ctx, p)
}

// room is how many bytes a run of that size may have before garbage is collected as ever: nearly all that a machine takes is gone with its
// answer.
func room(p *plan.Plan) int64 { return max(150<<20, int64(p.Machines())*8_000) }

// Resume goes on with a run that was paused, interrupted or killed. A run that another process works on is a
// *journal.LockedError.
func Resume(ctx context.Context, d *desk.Desk, id string, o Options) (*journal.Run, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	p, err := j.Plan(ctx, id)
	if err != nil {
		return nil, err
	}
	if o.Runner != nil {
		return launch(ctx, d, p, id, o)
	}
	engine, err := engine(ctx, d, d.Connect, p, o)
	if err != nil {
		return nil, err
	}
	asEver := desk.Spare(room(p))
	defer asEver()
	return engine.Resume(ctx, id)
}

func engine(ctx context.Context, d *desk.Desk, c *connect.Connector, p *plan.Plan, o Options) (*run.Engine, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	joined, err := store.Canonical(ctx)
	if err != nil {
		return nil, err
	}
	j.Joined(joined)
	rules, err := o.Rules.over(p.Options)
	if err != nil {
		return nil, err
	}
	counts, err := d.SignInRule(ctx, d.Settings.WinRM.User)
	if err != nil {
		return nil, err
	}
	counts.Limit, counts.Window, counts.Said = rules.SignIns, rules.SignInWindow, rules.SignInsSaid
	routes, err := routesOf(ctx, c, p, connect.RouteOptions{PasswordFile: o.PasswordFile, Ledger: signin.New(j.SignIns(), counts).Among(p.Targets())})
	if err != nil {
		return nil, err
	}
	begun := &first{begun: o.Begun}
	made, err := run.New(run.Options{Journal: j, Routes: routes, Observer: begun, Rules: o.Rules.over, Logger: d.Logger})
	if err == nil {
		begun.stop = made.Stop
	}
	return made, err
}

// routesOf makes the routes of a plan, and asks for what they need.
func routesOf(ctx context.Context, c *connect.Connector, p *plan.Plan, how connect.RouteOptions) (map[string]route.Route, error) {
	routes := map[string]route.Route{}
	for _, wave := range p.Waves {
		for _, e := range wave.Entries {
			if routes[e.Route] != nil {
				continue
			}
			made, err := c.Route(ctx, e.Route, how)
			if err != nil {
				return nil, err
			}
			routes[e.Route] = made
		}
	}
	return routes, nil
}

// first tells the first event of a run; the others are in the journal.
type first struct {
	begun func(id string, first int64, stop func())
	stop  func()
	told  bool
}

// Observe implements [run.Observer].
func (f *first) Observe(e journal.Event) {
	if !f.told && f.begun != nil {
		f.begun(e.Run, e.Seq, f.stop)
	}
	f.told = true
}

// AskApproval asks whether a wave may begin, and leaves the answer in the journal. The end of ctx ends the question.
func AskApproval(ctx context.Context, d *desk.Desk, id string, wave int, text string) error {
	_, err := d.Ask.Ask(ctx, question.Question{
		ID: "wave.approve", Kind: question.YesNo, About: run.Wave{Run: id, Number: wave - 1}, Flag: "fleetmend runs approve " + id,
		Text: fmt.Sprintf("%s. Go on with wave %d?", text, wave),
	})
	if nobody := (*question.NeededError)(nil); errors.As(err, &nobody) {
		return err
	}
	j, failed := d.Journal(ctx)
	switch {
	case failed != nil:
		return failed
	case errors.Is(err, question.ErrDeclined):
		err = j.Refuse(ctx, id, wave, d.Operator())
		if late := (*journal.NotAwaitedError)(nil); errors.As(err, &late) {
			d.Tell(fmt.Sprintf("wave %d was approved by somebody else before: the run goes on; `fleetmend runs cancel %s` ends it", wave, id))
			return nil
		}
		return err
	case err != nil:
		return err
	}
	_, err = j.Approve(ctx, id, wave, d.Operator())
	if late := (*journal.NotAwaitedError)(nil); errors.As(err, &late) { // somebody else was quicker
		return nil
	}
	return err
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

// Retry plans again what a run left undone, with the machines that its plan had left out and that could be part of it now. Undo plans
// what takes back what a run changed. Rules change those of the run where they say so. A run that leaves nothing is a *plan.EmptyError, one
// that is not over a *journal.LockedError or a mistake.
func Retry(ctx context.Context, d *desk.Desk, name string, rules Rules) (*plan.Plan, error) {
	return followUp(ctx, d, name, rules, func(ctx context.Context, j *journal.Journal, id string, f run.Follow) (*plan.Plan, error) {
		var err error
		if f.Added, f.Skipped, err = leftOutBefore(ctx, d, j, id); err != nil {
			return nil, err
		}
		p, err := run.RetryPlan(ctx, j, id, f)
		if err != nil {
			return nil, err
		}
		return stillThere(ctx, d, p)
	})
}

// Undo is [Retry] for taking back. It has no gate where rules give it none: what does not come back must keep nothing else from it.
func Undo(ctx context.Context, d *desk.Desk, name string, rules Rules) (*plan.Plan, error) {
	const none = "none"
	rules = rules.or(Rules{MaxFail: none, MaxUnreachable: none, MaxDenied: none})
	return followUp(ctx, d, name, rules, run.UndoPlan)
}

func followUp(ctx context.Context, d *desk.Desk, name string, rules Rules, next FollowUp) (*plan.Plan, error) {
	if _, err := rules.over(plan.DefaultOptions()); err != nil { // a mistake on the line, whatever the run was
		return nil, err
	}
	r, err := Find(ctx, d, name)
	if err != nil {
		return nil, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	p, err := next(ctx, j, r.ID, run.Follow{Operator: d.Operator(), Now: d.Now(), Options: func(o plan.Options) (plan.Options, error) {
		o.Attended = false // whether somebody is there now is in rules
		o, err := rules.over(o)
		if err == nil {
			o, err = bearing(ctx, d, o)
		}
		return o, err
	}})
	if err != nil || rules.Waves == "" {
		return p, err
	}
	sizes, err := plan.ParseWaves(rules.Waves)
	if err != nil {
		return nil, hint.Mistake(fmt.Errorf("--waves: %w", err), "give counts, or percentages of all reached by then: 1,10,10%%,100%%")
	}
	return plan.Restage(p, sizes)
}

// Control leaves a wish for the process that carries a run out. A run that nobody works on is cancelled here: what may have been
// changed is unknown then.
func Control(ctx context.Context, d *desk.Desk, id string, kind journal.ControlKind) error {
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	if r, err := j.Run(ctx, id); err == nil && kind == journal.Cancel && r.Idle() {
		return j.Abandon(ctx, id, d.Operator())
	}
	return j.Control(ctx, id, kind, d.Operator())
}

// Open is how many machines of a run have no outcome yet.
func Open(r *journal.Run) int {
	open := r.Machines + r.Counts[journal.Skipped]
	for _, n := range r.Counts {
		open -= n
	}
	return max(open, 0)
}

// Taken is how many machines of a run that is over were skipped in their wave, because another run had them.
func Taken(r *journal.Run) int {
	taken := r.Machines
	for outcome, n := range r.Counts {
		if outcome != journal.Skipped {
			taken -= n
		}
	}
	return max(taken, 0)
}

// Approve lets a wave begin and returns its number; 0 is the one that waits now.
func Approve(ctx context.Context, d *desk.Desk, id string, wave int) (int, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return 0, err
	}
	return j.Approve(ctx, id, wave, d.Operator())
}

// KeptBack reports whether a run ended because an account was not accepted. It can be resumed where machines may have been changed.
func KeptBack(r *journal.Run) bool {
	return r.Status == journal.RunAuth || r.Status == journal.RunInterrupted && strings.HasSuffix(r.Reason, journal.AskedLater)
}

// Over reports whether a run goes on no more by itself.
func Over(s journal.Status) bool {
	return s != journal.RunRunning && s != journal.RunPaused && s != journal.RunWaiting
}

// Fixing reports whether a plan changes machines.
func Fixing(p *plan.Plan) bool { return p.Mode != agent.Detect }
