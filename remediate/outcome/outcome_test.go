package outcome_test

import (
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/outcome"
)

// The whole state machine, written out: every pair that is not here is refused.
func TestStateMachine(t *testing.T) {
	type to struct {
		state   outcome.State
		outcome outcome.Outcome
	}
	allowed := map[outcome.State][]to{
		outcome.Pending: {{outcome.Leased, ""}, {outcome.Done, outcome.Held}, {outcome.Done, outcome.Skipped}},
		outcome.Leased:  {{outcome.Running, ""}, {outcome.Pending, ""}, {outcome.Done, outcome.Held}, {outcome.Done, outcome.Unreachable}},
		outcome.Running: {{outcome.Running, ""}, {outcome.Leased, ""}, {outcome.Rebooting, ""}, {outcome.Done, outcome.Clean}, {outcome.Done, outcome.Affected},
			{outcome.Done, outcome.Fixed}, {outcome.Done, outcome.Undone}, {outcome.Done, outcome.Failed}, {outcome.Done, outcome.Unreachable},
			{outcome.Done, outcome.Unknown}, {outcome.Done, outcome.Held}},
		outcome.Rebooting: {{outcome.Done, outcome.Fixed}, {outcome.Done, outcome.Undone}, {outcome.Done, outcome.Failed}, {outcome.Done, outcome.Unknown}},
	}
	states := []outcome.State{outcome.Pending, outcome.Leased, outcome.Running, outcome.Rebooting, outcome.Done}
	outcomes := []outcome.Outcome{"", outcome.Clean, outcome.Affected, outcome.Fixed, outcome.Undone, outcome.Failed, outcome.Unreachable, outcome.Unknown, outcome.Held, outcome.Skipped}
	for _, from := range states {
		for _, state := range states {
			for _, ended := range outcomes {
				for _, was := range outcomes {
					want := slices.Contains(allowed[from], to{state, ended}) ||
						from == outcome.Done && was == outcome.Fixed && state == outcome.Done && ended == outcome.Failed
					if got := outcome.Allowed(from, was, state, ended); got != want {
						t.Errorf("%s(%s) -> %s(%s): %v, want %v", from, was, state, ended, got, want)
					}
				}
			}
		}
	}
}
