package routetest

import (
	"testing"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// patient is the one machine of a depot.
type patient struct{ *Depot }

func (p patient) Route() route.Durable          { return p.Depot }
func (patient) Target() route.Target            { return route.Target{ID: "1", Name: "PC"} }
func (p patient) Fail(step string, how Failure) { p.Depot.Fail("PC", step, how) }
func (p patient) Calls() map[string]int         { return p.Depot.Calls("PC") }
func (p patient) Dump() string                  { return p.Depot.Dump("PC") }

func TestDepot(t *testing.T) {
	DurableSuite(t, func(testing.TB) Patient { return patient{&Depot{}} })
}
