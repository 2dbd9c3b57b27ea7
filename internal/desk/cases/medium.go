package cases

import (
	"cmp"
	"context"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// ToMedium selects the machines of an incident that are to be started from a boot medium, those included to which one is on its way.
const ToMedium = `case.next == "medium" || case.next == "wait" && case.route == "medium"`

// OnMedium is what a boot medium is for.
type OnMedium struct {
	Incident *journal.Incident
	Playbook playbook.Playbook
	Machines []inventory.Machine
}

// ForMedium are the machines of an incident (as in [One]) whose next step is a boot medium, with the playbook that the medium
// carries: that of the newest run which asked the question of the incident, else the one that it was opened with.
func ForMedium(ctx context.Context, d *desk.Desk, incident string) (*OnMedium, error) {
	i, err := One(ctx, d, incident)
	if err != nil {
		return nil, err
	}
	if !i.IsOpen() {
		return nil, closedError(&i)
	}
	selector, err := Parse(fmt.Sprintf("case.next == %q", casefile.Start), nil)
	if err != nil {
		return nil, err
	}
	machines, err := Select(ctx, d, selector, Options{Incident: i.ID})
	if err != nil {
		return nil, err
	}
	p, err := cureOf(ctx, d, &i)
	return &OnMedium{&i, p, machines}, err
}

func cureOf(ctx context.Context, d *desk.Desk, i *journal.Incident) (playbook.Playbook, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return playbook.Playbook{}, err
	}
	runs, err := j.Runs(ctx)
	if err != nil {
		return playbook.Playbook{}, err
	}
	for n := range runs {
		if runs[n].Incident == i.ID && runs[n].Detect == i.Digest {
			p, err := j.Plan(ctx, runs[n].ID)
			if err != nil {
				return playbook.Playbook{}, err
			}
			return p.Playbook, nil
		}
	}
	source, err := playbook.Find(cmp.Or(i.File, i.Playbook))
	if err != nil {
		return playbook.Playbook{}, hint.Wrap(err, "say what the medium is to do with --playbook")
	}
	return source.Bind(i.Parameters)
}

// Await records that machines are started from a boot medium by its run's ID, which the medium carries. Their cases wait for
// what it brings back.
func Await(ctx context.Context, d *desk.Desk, id string, i *journal.Incident, p playbook.Playbook, machines []inventory.Machine) error {
	in := plan.Input{Source: plan.Source{Playbook: p, Digest: playbook.Digest(p)}, Mode: agent.Fix, Options: plan.DefaultOptions(), Incident: i.ID,
		Operator: d.Operator(), Selector: fmt.Sprintf("case.next == %q", casefile.Start), Now: d.Now()}
	for n := range machines {
		m := &machines[n]
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: m.ID, Name: m.Name, Address: m.Address, Site: m.Site, Subnet: m.Subnet, Class: string(m.Class), Priority: m.Priority},
			Route: casefile.Medium, Reason: m.Case.RouteWhy})
	}
	made, err := plan.New(in)
	if err != nil {
		return err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	return j.CreateForMedium(ctx, id, made)
}
