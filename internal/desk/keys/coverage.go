package keys

import (
	"context"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
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
	out := cases.Covered(&m)
	out.Group = m.OU
	out.LeftOut = string(m.Absence())
	if bySite {
		out.Group = m.Site
	}
	return out
}
