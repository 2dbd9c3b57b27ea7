// Package machines are the use cases around the inventory: which machines are meant.
//
// [Select] is what most callers need: the machines of a selector, or a [NoMachineError]. The package changes no machine and
// opens no connection.
package machines

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
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

// Select returns the machines of a selector, "" for all, with their cases in the open incident, or the one where they stand
// worst. stdin is read for "-"; nil refuses it.
func Select(ctx context.Context, d *desk.Desk, selector string, stdin io.Reader) ([]inventory.Machine, error) {
	return SelectIn(ctx, d, selector, cases.Options{}, stdin)
}

// SelectIn is [Select] with a choice of cases.
func SelectIn(ctx context.Context, d *desk.Desk, selector string, o cases.Options, stdin io.Reader) ([]inventory.Machine, error) {
	parsed, err := cases.Parse(selector, stdin)
	if err != nil {
		return nil, err
	}
	found, err := cases.Select(ctx, d, parsed, o)
	if err != nil || len(found) > 0 {
		return found, err
	}
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	known, err := store.Count(ctx)
	if err != nil {
		return nil, err
	}
	if known == 0 {
		return nil, hint.Wrap(&NoMachineError{parsed.String(), true}, "`fleetmend inventory import FILE` reads a table of machines, `fleetmend inventory sync` the directory")
	}
	return nil, hint.Wrap(&NoMachineError{parsed.String(), false}, "`fleetmend inventory list` shows what is there; `fleetmend inventory list --help` explains selectors")
}

// Named reports whether a selector names its machines, one by one.
func Named(selector string) bool {
	if strings.TrimSpace(selector) == "-" {
		return true
	}
	parsed, err := inventory.ParseSelector(selector, nil)
	return err == nil && parsed.Named()
}

// Names are the names of all machines, for completion.
func Names(ctx context.Context, d *desk.Desk) ([]string, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	err = store.Each(ctx, inventory.Selector{}, nil, func(m *inventory.Machine) error {
		names = append(names, strings.Clone(m.Name))
		return nil
	})
	slices.Sort(names)
	return names, err
}

// SelectorWords are what a selector that begins with prefix may go on with: the names of machines after the last comma, and before
// the first one the beginnings of the other forms too.
func SelectorWords(names []string, prefix string) []string {
	if i := strings.LastIndexByte(prefix, ','); i >= 0 {
		out := make([]string, len(names))
		for j, name := range names {
			out[j] = prefix[:i+1] + name
		}
		return out
	}
	for _, field := range Fields() {
		names = append(names, field.Name)
	}
	return append(names, "all", "@", "tag:", "group:")
}

// Called is what a machine can be called by: those that only asked for a boot file have no name yet.
func Called(m Machine) string {
	switch {
	case m.Name != "":
		return m.Name
	case len(m.MACs) > 0:
		return m.MACs[0]
	}
	return m.ID
}

// Absence is why nobody counts on a machine: gone or disabled.
func Absence(m Machine) string { return string(m.Absence()) }

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
	return route.Target{ID: m.ID, Name: m.Name, Address: address, FQDN: m.FQDN, Site: m.Site, Subnet: m.Subnet, Class: string(m.Class), Priority: priority}
}
