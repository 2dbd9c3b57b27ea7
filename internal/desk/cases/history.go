package cases

import (
	"context"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// File is everything that is known of one machine.
type File struct {
	Machine inventory.Machine `json:"machine"` // with its case, records and provenance
	Visits  []journal.Visit   `json:"visits"`  // every run that had it, newest first
}

// History gives one machine by its name or ID, with its case in the incident (as in [Options]) and every run that had it
// under any of its IDs.
func History(ctx context.Context, d *desk.Desk, name, incident string) (*File, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	m, err := store.Machine(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := Load(ctx, d, Options{Incident: incident, Keys: true})
	if err != nil {
		return nil, err
	}
	if over := b.Overlay(); over != nil {
		m.Take(over.Case(&m))
	}
	former, err := store.Canonical(ctx)
	if err != nil {
		return nil, err
	}
	ids := []string{m.ID}
	for old, present := range former {
		if present == m.ID {
			ids = append(ids, old)
		}
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	visits, err := j.History(ctx, ids...)
	if err != nil {
		return nil, err
	}
	return &File{m, visits}, nil
}
