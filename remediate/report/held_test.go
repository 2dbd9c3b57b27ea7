package report

import (
	"testing"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// Held machines are told once, with one advice, whatever each was told; their classes are none of their own.
func TestHeldOnce(t *testing.T) {
	all := []Machine{
		{Name: "A", Status: "held", Reason: "not started: gate"}, {Name: "B", Status: "held", Reason: "not started: B rejected", Error: "auth"},
		{Name: "C", Status: "held", Reason: "not started: gate"}, {Name: "D", Status: "failed", Reason: "x"},
	}
	reasons := reasonsOf(all, journal.Run{}, true)
	if len(reasons) != 2 || reasons[1].Text != "not started: gate" || len(reasons[1].Machines) != 3 || reasons[1].Advice == "" {
		t.Errorf("%+v", reasons)
	}
}
