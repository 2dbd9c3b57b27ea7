// Package machines are the use cases around the inventory: which machines are meant.
//
// [Select] is what most callers need: the machines of a selector, or a [NoMachineError]. The package changes no machine and
// opens no connection.
package machines

import (
	"context"
	"fmt"
	"io"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// NoMachineError says that a selector picks no machine of the inventory. Nothing was done.
type NoMachineError struct {
	Selector string
	Empty    bool // the inventory holds no machine at all
}

func (e *NoMachineError) Error() string {
	if e.Empty {
		return "the inventory is empty"
	}
	return fmt.Sprintf("no machine matches %q", e.Selector)
}

// Select returns the machines of a selector, "" for all. stdin is read for "-"; nil refuses it.
func Select(ctx context.Context, d *desk.Desk, selector string, stdin io.Reader) ([]inventory.Machine, error) {
	if selector == "" {
		selector = "all"
	}
	parsed, err := inventory.ParseSelector(selector, stdin)
	if err != nil {
		return nil, &hint.MistakeError{Err: err}
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	found, err := store.Select(ctx, parsed)
	if err != nil || len(found) > 0 {
		return found, err
	}
	all, err := inventory.ParseSelector("all", nil)
	if err != nil {
		return nil, err
	}
	known, err := store.Select(ctx, all)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return nil, hint.Wrap(&NoMachineError{selector, true}, "fleetmend inventory import FILE reads a table of machines, fleetmend inventory sync the directory")
	}
	return nil, hint.Wrap(&NoMachineError{selector, false}, "fleetmend inventory list shows what is there; fleetmend inventory list --help explains selectors")
}

// Names are the names of all machines, for completion.
func Names(ctx context.Context, d *desk.Desk) ([]string, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	all, err := inventory.ParseSelector("all", nil)
	if err != nil {
		return nil, err
	}
	known, err := store.Select(ctx, all)
	names := make([]string, 0, len(known))
	for _, m := range known {
		names = append(names, m.Name)
	}
	return names, err
}

// Target is what a run has to know of a machine.
func Target(m inventory.Machine) route.Target {
	address := m.Address
	if address == "" {
		address = m.FQDN
	}
	if address == "" {
		address = m.Name
	}
	priority := m.Priority
	for _, tag := range m.Tags {
		if tag == "canary" {
			priority -= 1000
		}
	}
	return route.Target{ID: m.ID, Name: m.Name, Address: address, Site: m.Site, Subnet: m.Subnet, Class: string(m.Class), Priority: priority}
}
