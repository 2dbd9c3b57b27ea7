package keys

import (
	"context"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
)

// Identities is what identifies a machine to the sources of keys. Tables may hold either ID as the device's.
func Identities(m inventory.Machine) []bitlocker.Machine {
	out := []bitlocker.Machine{{Name: m.Name, FQDN: m.FQDN, Serial: m.Serial, DeviceID: m.Claims.EntraDeviceID, GUID: m.Claims.ObjectGUID}}
	if id := m.Claims.ObjectGUID; id != "" && id != m.Claims.EntraDeviceID {
		out = append(out, bitlocker.Machine{DeviceID: id})
	}
	return out
}

// index finds machines of the inventory by what the sources of keys know; nil stands for what several machines have.
type index map[string]*inventory.Machine

// indexOf looks up what the inventory knows of machines that have keys.
func indexOf(ctx context.Context, d *desk.Desk, machines []bitlocker.Machine) (index, error) {
	store, err := d.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	words := make([]string, 0, 5*len(machines))
	for _, m := range machines {
		words = append(words, m.GUID, m.DeviceID, m.FQDN, m.Serial, m.Name)
	}
	known, err := store.Lookup(ctx, words...)
	if err != nil {
		return nil, err
	}
	return indexMachines(known), nil
}

func indexMachines(machines []inventory.Machine) index {
	x := index{}
	for i := range machines {
		m := &machines[i]
		for _, key := range traits(m.Claims.ObjectGUID, m.Claims.EntraDeviceID, m.FQDN, m.Serial, m.Name) {
			if other, ok := x[key]; ok && other != m {
				x[key] = nil
				continue
			}
			x[key] = m
		}
	}
	return x
}

func (x index) find(m bitlocker.Machine) (inventory.Machine, bool) {
	for _, key := range traits(m.GUID, m.DeviceID, m.FQDN, m.Serial, m.Name) {
		if known := x[key]; known != nil {
			return *known, true
		}
	}
	return inventory.Machine{}, false
}

// traits are the keys of an index, the strongest first.
func traits(guid, device, fqdn, serial, name string) []string {
	var out []string
	for _, t := range [][2]string{{"id:", strings.ToLower(guid)}, {"id:", strings.ToLower(device)}, {"fqdn:", strings.ToLower(fqdn)}, {"serial:", strings.ToLower(serial)}, {"name:", strings.ToUpper(name)}} {
		if t[1] != "" {
			out = append(out, t[0]+t[1])
		}
	}
	return out
}
