package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Follow is what a plan that follows on a run needs beside the run.
type Follow struct {
	Operator string
	Now      time.Time
	TTL      time.Duration                            // 0: plan.DefaultTTL
	Outcomes []journal.Outcome                        // RetryPlan only; nil: failed, unreachable, unknown, held, and skipped for another run
	Options  func(plan.Options) (plan.Options, error) // the rules in place of those of the run; nil: those
	Added    []plan.Entry                             // RetryPlan only: machines that the plan of the run had left out, for its last wave
	Skipped  []plan.Skip                              // RetryPlan only: those of them that are left out again
}

// RetryPlan makes a plan that does again what a run left undone, in waves of the sizes of that run: first the machines that never had
// their turn, last those that failed, which would only fail again before the others were tried. A machine that is unknown there
// gets the new run's ID: every action is idempotent, and what the old run did stays in the old run's record, for its undo.
func RetryPlan(ctx context.Context, j *journal.Journal, runID string, f Follow) (*plan.Plan, error) {
	wanted := f.Outcomes
	if wanted == nil {
		wanted = []journal.Outcome{journal.Failed, journal.Unreachable, journal.Unknown, journal.Held, journal.Skipped}
	}
	if err := mustBeOver(ctx, j, runID, "retry"); err != nil {
		return nil, err
	}
	ranks := map[string]int{}
	p, err := follow(ctx, j, runID, f, func(m *journal.Machine) bool {
		if m.State != journal.Done || !slices.Contains(wanted, m.Outcome) {
			return false
		}
		ranks[m.Target.ID] = slices.Index(turns, m.Outcome)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("retry run %s: %w", runID, err)
	}
	p.RetryOf = runID
	p.Skipped = f.Skipped
	var entries []plan.Entry
	for _, w := range p.Waves {
		entries = append(entries, w.Entries...)
	}
	for _, e := range f.Added {
		entries, ranks[e.ID] = append(entries, e), slices.Index(turns, journal.Skipped)
	}
	slices.SortStableFunc(entries, func(a, b plan.Entry) int { return cmp.Compare(ranks[a.ID], ranks[b.ID]) })
	if len(entries) > 0 {
		sizes := p.Sizes()
		p.Waves = []plan.Wave{{Entries: entries}}
		p, err = plan.Restage(p, sizes)
	}
	if err != nil {
		return nil, fmt.Errorf("retry run %s: %w", runID, err)
	}
	return seal(p, "retry", runID, "every machine of that run is done")
}

// turns are the outcomes that a retry takes up, in the order in which their machines have their turn.
var turns = []journal.Outcome{journal.Held, journal.Skipped, journal.Unreachable, journal.Unknown, journal.Failed}

// mustBeOver refuses to plan after a run that is not: what it left undone, or changed, is not known yet. What was undone under a run
// that goes on later would be told as fixed.
func mustBeOver(ctx context.Context, j *journal.Journal, runID, verb string) error {
	r, err := j.Run(ctx, runID)
	switch {
	case err != nil:
		return fmt.Errorf("%s run %s: %w", verb, runID, err)
	case r.Owner != nil:
		return hint.Wrapf(fmt.Errorf("%s run %s: %w", verb, runID, &journal.LockedError{Owner: *r.Owner}),
			"it is under way: follow it with `fleetmend runs watch %s`, or stop it with `fleetmend runs stop %s`", runID, runID)
	case !r.Status.Final():
		left := map[string]string{"retry": "left undone", "undo": "changed"}[verb]
		return hint.Wrapf(fmt.Errorf("%s run %s: it is not over, and what it %s is not known", verb, runID, left),
			"first let it go on with `fleetmend runs resume %s`, or end it with `fleetmend runs cancel %s`", runID, runID)
	}
	return nil
}

// UndoPlan makes a plan that takes back what a run changed: on every machine that was changed or may have been.
func UndoPlan(ctx context.Context, j *journal.Journal, runID string, f Follow) (*plan.Plan, error) {
	old, err := j.Run(ctx, runID)
	if err != nil {
		return nil, fmt.Errorf("undo run %s: %w", runID, err)
	}
	if old.Mode != agent.Fix {
		return nil, hint.Wrap(fmt.Errorf("undo run %s: it was a run of mode %s and fixed nothing", runID, old.Mode), "see the runs that fixed something with `fleetmend runs list`")
	}
	if err := mustBeOver(ctx, j, runID, "undo"); err != nil {
		return nil, err
	}
	p, err := follow(ctx, j, runID, f, mayBeChanged)
	if err != nil {
		return nil, fmt.Errorf("undo run %s: %w", runID, err)
	}
	if len(p.Playbook.Fix) > 0 && !p.Playbook.Undoable() {
		return nil, hint.Wrap(fmt.Errorf("undo run %s: nothing that %s does can be undone", runID, p.Playbook.Name), "nothing was done; what the run changed stays as it is")
	}
	p.Mode, p.Undoes, p.RetryOf = agent.Undo, runID, ""
	if err := proven(ctx, j, runID, p); err != nil {
		return nil, fmt.Errorf("undo run %s: %w", runID, err)
	}
	return seal(p, "undo", runID, "that run changed no machine")
}

// mayBeChanged reports whether an undo asks a machine of a run that is over.
func mayBeChanged(m *journal.Machine) bool {
	return m.State == journal.Done && (m.Changed > 0 || m.Outcome == journal.Unknown)
}

// proven puts into p what each machine said of its records when it was fixed, so that an undo obeys no others, and what will stay. A
// machine whose answer was lost has said nothing: there owner and rights of the records have to do, and every step may have been taken.
func proven(ctx context.Context, j *journal.Journal, runID string, p *plan.Plan) error {
	machines, err := j.Machines(ctx, runID)
	if err != nil {
		return err
	}
	said := map[string]*agent.Result{}
	for i := range machines {
		said[machines[i].Target.ID] = machines[i].Result
	}
	for _, w := range p.Waves {
		for i := range w.Entries {
			e := &w.Entries[i]
			r := said[e.ID]
			if r != nil {
				e.Record = r.Record
			}
			e.Stays = stays(&p.Playbook, r)
		}
	}
	return nil
}

// stays are the steps that nothing takes back and that a machine took, or may have.
func stays(p *playbook.Playbook, r *agent.Result) []string {
	return p.PermanentOf(func(step int) bool {
		if r == nil || len(r.Steps) == 0 { // unknown, or left out for want of room
			return true
		}
		return step < len(r.Steps) && (r.Steps[step].Changed > 0 || r.Steps[step].Failed || p.Fix[step].Script != nil)
	})
}

// follow copies the plan of a run with the machines that want says.
func follow(ctx context.Context, j *journal.Journal, runID string, f Follow, want func(*journal.Machine) bool) (*plan.Plan, error) {
	p, err := j.Plan(ctx, runID)
	if err != nil {
		return nil, err
	}
	machines, err := j.Machines(ctx, runID)
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]bool, len(machines))
	for i := range machines {
		wanted[machines[i].Target.ID] = machines[i].Wave > 0 && want(&machines[i])
	}
	var waves []plan.Wave
	for _, w := range p.Waves {
		w.Entries = slices.DeleteFunc(slices.Clone(w.Entries), func(e plan.Entry) bool { return !wanted[e.ID] })
		for i := range w.Entries {
			if w.Entries[i].Route == journal.RouteMedium { // no run goes that way: what was started from a medium runs again
				w.Entries[i].Route, w.Entries[i].Reason = "winrm", "was to be started from a boot medium; WinRM is tried"
			}
		}
		if len(w.Entries) > 0 {
			waves = append(waves, w)
		}
	}
	ttl := f.TTL
	if ttl <= 0 {
		ttl = plan.DefaultTTL
	}
	p.Waves, p.Skipped, p.Parameters = waves, nil, maps.Clone(p.Parameters)
	p.Created = f.Now.UTC().Truncate(time.Millisecond)
	p.Expires = p.Created.Add(ttl)
	p.Operator = f.Operator
	if f.Options != nil {
		p.Options, err = f.Options(p.Options)
	}
	return p, err
}

func seal(p *plan.Plan, verb, runID, nothing string) (*plan.Plan, error) {
	err := p.Seal()
	if _, empty := errors.AsType[*plan.EmptyError](err); empty {
		return nil, hint.Wrap(fmt.Errorf("%s run %s: nothing to do, %s: %w", verb, runID, nothing, &plan.EmptyError{}), "see it with `fleetmend runs show "+runID+"`")
	}
	if err != nil {
		return nil, fmt.Errorf("%s run %s: %w", verb, runID, err)
	}
	return p, nil
}
