package media

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/collect"
)

// Collect records the results on media in the run they were built for, or in the one named; a [NothingError] says that there are
// none. Each file counts once per machine, however often a stick is read.
func Collect(ctx context.Context, d *desk.Desk, names []string, run string) ([]collect.Line, error) {
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	if run != "" {
		r, err := runs.Find(ctx, d, run)
		if err != nil {
			return nil, err
		}
		run = r.ID
	}
	options, err := byHardware(ctx, d)
	if err != nil {
		return nil, err
	}
	options.Run = run
	var all []collect.Line
	for _, name := range names {
		m, err := Open(ctx, d, name)
		if err != nil {
			return all, err
		}
		lines, err := collect.Into(ctx, j, m.FS, options)
		all = append(all, lines...)
		if err = errors.Join(err, m.Close()); err != nil && !errors.Is(err, collect.ErrNoResults) {
			return all, err
		}
	}
	if len(all) == 0 {
		return nil, hint.Wrap(&NothingError{collect.ErrNoResults.Error()}, "give the root of the stick; a disc cannot keep results")
	}
	return all, nil
}

// byHardware finds a machine of the inventory by UUID or serial number, under whatever ID.
func byHardware(ctx context.Context, d *desk.Desk) (o collect.Options, err error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return o, err
	}
	machines, err := store.Select(ctx, inventory.Selector{})
	if err != nil {
		return o, err
	}
	aliases, err := store.Canonical(ctx)
	if err != nil {
		return o, err
	}
	o.Joined = func(id string) string { return cmp.Or(aliases[id], id) }
	byKey := map[string]string{} // "" where two machines share it
	add := func(key, id string) {
		if key == "" {
			return
		}
		if _, twice := byKey[key]; twice {
			id = ""
		}
		byKey[key] = id
	}
	for i := range machines {
		m := &machines[i]
		add(hardwareKey("uuid", m.Claims.SMBIOS), m.ID)
		add(hardwareKey("serial", m.Serial), m.ID)
	}
	o.Find = func(m aboard.Machine) string {
		return cmp.Or(byKey[hardwareKey("uuid", m.UUID)], byKey[hardwareKey("serial", m.Serial)])
	}
	return o, nil
}

func hardwareKey(kind, value string) string {
	value = strings.ToLower(strings.TrimSpace(value))
	if value == "" {
		return ""
	}
	return kind + " " + value
}
