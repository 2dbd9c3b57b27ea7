package keys_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk/keys"
)

// TestRotationInWords: every machine is in the overview with its way and why, and what comes next is said once it was done.
func TestRotationInWords(t *testing.T) {
	r := &keys.Rotation{Rows: []*keys.Row{
		{Name: "A", Way: keys.WayWinRM, Escrow: "ad", Why: "its keys are in AD", Outcome: "fixed"}, {Name: "B", Way: keys.WayWinRM, Escrow: "ad", Why: "its keys are in AD"},
		{Name: "C", Way: keys.WayIntune, Why: "its keys are in Entra ID", Outcome: keys.Asked}, {Name: "D", Why: "200 keys"},
	}}
	want := []string{
		"over WinRM, escrowed to AD first: 2 machines: A, B (its keys are in AD)",
		"by Intune, when the device next reports: 1 machine: C (its keys are in Entra ID)",
		"left out: 1 machine: D (200 keys)",
	}
	if got := r.Overview(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	next := strings.Join(r.Next(false), "\n")
	if !strings.Contains(next, "reads the new keys in") || !strings.Contains(next, "Intune was asked") {
		t.Errorf("after it was done: %q", next)
	}
	if reported := r.Next(true); len(reported) != 1 {
		t.Errorf("what the report said is said again: %q", reported)
	}
	if r.IntuneFailed() {
		t.Error("Intune was asked and refused nothing")
	}
	r.Rows[2].Outcome = "failed"
	if !r.IntuneFailed() {
		t.Error("Intune refused a machine")
	}
	r.DryRun = true
	if dry := r.Next(false); len(dry) != 1 || !strings.Contains(dry[0], "nothing was changed") {
		t.Errorf("after a dry run: %q", dry)
	}
}
