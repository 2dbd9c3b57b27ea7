package keys

import (
	"context"
	"strings"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/inventory"
)

// Coverage compares machines with the keys that are known, divided by OU, or by site where bySite.
func Coverage(ctx context.Context, d *desk.Desk, machines []inventory.Machine, bySite bool) (coverage.Report, error) {
	vault, err := open(ctx, d)
	if err != nil {
		return coverage.Report{}, err
	}
	var known []bitlocker.Match
	err = vault.All(ctx, func(m bitlocker.Match) error {
		known = append(known, m)
		return nil
	})
	if err != nil {
		return coverage.Report{}, err
	}
	facts := make([]coverage.Machine, len(machines))
	for i, m := range machines {
		facts[i] = covered(m, bySite)
	}
	return coverage.Build(d.Now(), facts, known), nil
}

func covered(m inventory.Machine, bySite bool) coverage.Machine {
	out := coverage.Machine{ID: m.ID, Name: m.Name, FQDN: m.FQDN, Serial: m.Serial, GUID: m.Claims.ObjectGUID, Group: m.OU, Reimaged: m.Installed, NoDrive: m.Encrypted == "no"}
	if strings.Contains(strings.ToUpper(m.OU), "DC=") {
		out.DN = "CN=" + m.Name + "," + m.OU
	}
	switch {
	case m.Gone:
		out.LeftOut = "gone"
	case !m.Enabled:
		out.LeftOut = "disabled"
	}
	if bySite {
		out.Group = m.Site
	}
	if id := m.Claims.EntraDeviceID; id != "" {
		out.DeviceIDs = []string{id}
	}
	return out
}
