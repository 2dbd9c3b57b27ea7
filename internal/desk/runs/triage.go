package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// incident says in r which incident the outcomes belong to, and returns the cases by which machines are selected: of that
// incident, or of the open ones where it is only to be opened.
func incident(ctx context.Context, d *desk.Desk, r *Request, bound *playbook.Playbook) (*cases.Book, error) {
	id, err := cases.For(ctx, d, bound, r.Playbook, r.Set, r.Incident)
	if err != nil {
		return nil, err
	}
	r.asks = r.Incident == "" && id != ""
	r.Incident = id
	book, err := cases.Load(ctx, d, cases.Options{Incident: id})
	if fresh := (*journal.NoIncidentError)(nil); errors.As(err, &fresh) {
		return cases.Load(ctx, d, cases.Options{})
	}
	return book, err
}

// triage sorts machines into those with a route that a run can take and those that are left out, each with its reason. A
// machine that only a boot medium reaches is left out, unless it is to be knocked at all the same.
type triage struct {
	book     *cases.Book
	incident string // of the run
	excluded map[string]bool
	claimed  map[string]journal.Claim
	knock    bool
	named    bool              // one by one: then one that no source lists any more is meant all the same
	doubles  map[string]string // entries that another one of the same name stands for, with the reason
}

func (t triage) sort(all []inventory.Machine) (entries []plan.Entry, skipped []plan.Skip) {
	for i := range all {
		m := &all[i]
		c := t.book.Judge(m)
		if why := t.leftOut(m, &c); why != "" {
			skipped = append(skipped, plan.Skip{ID: m.ID, Name: m.Name, Reason: why})
			continue
		}
		entries = append(entries, entry(m, c.Route))
	}
	return entries, skipped
}

// excludedReason is why a machine of --exclude is left out.
const excludedReason = "excluded by --exclude"

func (t triage) leftOut(m *inventory.Machine, c *casefile.Case) string {
	switch {
	case t.excluded[m.ID]:
		return excludedReason
	case m.Absence() == inventory.AbsentDisabled, m.Absence() == inventory.AbsentGone && !t.named:
		return m.Absence().Words()
	case t.doubles[m.ID] != "":
		return t.doubles[m.ID]
	case inventory.OtherSystem(m.OS.Name) != "": // from a directory; tables leave them out
		return "runs " + inventory.OtherSystem(m.OS.Name) + ", and no playbook does"
	case t.claimed[m.ID].Run != "":
		return t.claimed[m.ID].String()
	case t.book.Only() == t.incident && c.Mark != nil && c.Out == c.Mark.Word:
		return fmt.Sprintf("marked as %s by %s: %s", c.Mark.Word, c.Mark.By, c.Mark.Reason)
	case c.Route.Name == casefile.Medium && !t.knock && (c.Verdict == casefile.Fixed || c.Verdict == casefile.Clean):
		return fmt.Sprintf("%s, and only a boot medium reaches it: %s; --chase knocks all the same", c.Verdict, c.Route.Why)
	case c.Route.Name == casefile.Medium && !t.knock:
		return "needs a boot medium: " + c.Route.Why + "; --chase knocks all the same"
	}
	return ""
}

// entry is a machine on a route that runs take: the one chosen, or WinRM where that is none of them.
func entry(m *inventory.Machine, chosen casefile.Route) plan.Entry {
	if chosen.Name == casefile.Medium || chosen.Name == casefile.Hand {
		chosen = casefile.Route{Name: casefile.WinRM, Why: chosen.Why + "; WinRM is tried all the same"}
	}
	return plan.Entry{Target: machines.Target(*m), Route: chosen.Name, Reason: chosen.Why}
}

// Entry is a machine on the route to a running Windows; why, where there is one, stands before what is known of the route.
func Entry(m inventory.Machine, why string) plan.Entry {
	made := entry(&m, cases.Outside(&m, time.Now()).Route)
	if why != "" {
		made.Reason = why + "; " + made.Reason
	}
	return made
}

// leftOutBefore sorts the machines that the plan of a run left out as they stand now. Those of --exclude stay out, and one that is
// in a wave of that run under another ID is no part of this.
func leftOutBefore(ctx context.Context, d *desk.Desk, j *journal.Journal, id string) (entries []plan.Entry, skipped []plan.Skip, err error) {
	p, err := j.Plan(ctx, id)
	if err != nil || len(p.Skipped) == 0 {
		return nil, nil, err
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	present, err := store.Canonical(ctx)
	if err != nil {
		return nil, nil, err
	}
	planned := map[string]bool{}
	for _, wave := range p.Waves {
		for _, e := range wave.Entries {
			planned[cmp.Or(present[e.ID], e.ID)] = true
		}
	}
	var again []inventory.Machine
	for _, s := range p.Skipped {
		m, err := store.Machine(ctx, s.ID)
		gone := (*inventory.UnknownMachinesError)(nil)
		switch {
		case errors.As(err, &gone):
			skipped = append(skipped, plan.Skip{ID: s.ID, Name: s.Name, Reason: "the inventory has it no more"})
		case err != nil:
			return nil, nil, err
		case planned[m.ID]:
		case s.Reason == excludedReason:
			skipped = append(skipped, s)
		default:
			planned[m.ID] = true
			again = append(again, m)
		}
	}
	book, err := cases.Load(ctx, d, cases.Options{Incident: p.Incident})
	if err != nil {
		return nil, nil, err
	}
	claimed, err := j.Claims(ctx)
	if err != nil {
		return nil, nil, err
	}
	doubles, err := doublesAmong(ctx, store, again, planned)
	if err != nil {
		return nil, nil, err
	}
	named := machines.Named(p.Selector)
	entries, left := triage{book, p.Incident, nil, claimed, p.Options.Chase || named, named, doubles}.sort(again)
	return entries, append(skipped, left...), KnownAs(ctx, d, entries)
}

// doublesAmong are the doubles among the machines, and those whose other entry is planned.
func doublesAmong(ctx context.Context, store *inventory.Store, again []inventory.Machine, planned map[string]bool) (map[string]string, error) {
	names := map[string]bool{}
	for i := range again {
		names[again[i].Called()] = true
	}
	var same []inventory.Machine
	err := store.Each(ctx, inventory.Selector{}, nil, func(m *inventory.Machine) error {
		if called := m.Called(); called != "" && names[called] && planned[m.ID] {
			same = append(same, inventory.Machine{ID: strings.Clone(m.ID), Name: strings.Clone(called), Enabled: m.Enabled, Gone: m.Gone, LastSeen: m.LastSeen})
		}
		return nil
	})
	return inventory.Doubles(same), err
}

// stillThere takes out of a plan that follows on a run what is not there any more: the run met it, but since then its source has
// dropped or disabled it.
func stillThere(ctx context.Context, d *desk.Desk, p *plan.Plan) (*plan.Plan, error) {
	if machines.Named(p.Selector) {
		return p, nil
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	absent := map[string]string{}
	err = store.Each(ctx, inventory.Selector{}, nil, func(m *inventory.Machine) error {
		if why := m.Absence(); why != "" {
			absent[strings.Clone(m.ID)] = why.Words()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	dropped := false
	for i := range p.Waves {
		w := &p.Waves[i]
		w.Entries = slices.DeleteFunc(w.Entries, func(e plan.Entry) bool {
			why, is := absent[e.ID]
			if is {
				p.Skipped, dropped = append(p.Skipped, plan.Skip{ID: e.ID, Name: e.Name, Reason: why}), true
			}
			return is
		})
	}
	if !dropped {
		return p, nil
	}
	return plan.Restage(p, p.Sizes())
}
