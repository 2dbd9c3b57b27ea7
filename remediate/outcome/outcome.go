// Package outcome is how a machine stands in a run and how it ended, and which way leads from one to the other. It is what
// the journal, the engine and whoever works on a machine elsewhere agree on; it records nothing and links no store.
package outcome

import (
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// State is where a machine stands in a run.
type State string

// The states. Leased and Running were committed before the machine was contacted; after a crash a machine found Running
// or Rebooting is asked again under the same run ID.
const (
	Pending   State = "pending"
	Leased    State = "leased"    // taken by a worker, nothing sent yet
	Running   State = "running"   // a request may have reached the machine
	Rebooting State = "rebooting" // fixed, the restart is awaited, verify is still to come
	Done      State = "done"      // Outcome says how
)

// Outcome is how a machine ended.
type Outcome string

// The outcomes. Detect-only runs end in clean or affected.
const (
	Clean       Outcome = "clean"
	Affected    Outcome = "affected"
	Fixed       Outcome = "fixed"
	Undone      Outcome = "undone"
	Failed      Outcome = "failed"
	Unreachable Outcome = "unreachable"
	Unknown     Outcome = "unknown"
	Held        Outcome = "held"
	Skipped     Outcome = "skipped"
)

// End is how a machine ended, and why.
type End struct {
	Outcome  Outcome
	Class    route.Class   // of the error, where one decided
	Reason   string        // one line for people
	Result   *agent.Result // nil keeps the one recorded before
	Rebooted bool          // the restart was observed
}

// Allowed is the state machine: whether a machine may go from one state to another, and with which outcome when the
// other is done.
//
//	pending -> leased -> running -> rebooting -> done
//
// A leased machine may go back to pending, a running one back to leased (nothing ran, a pause before the next attempt)
// or to running (asked again under the same run ID). Held and unreachable may follow on leased, because nothing was
// sent; a fixed machine that fails the second verify after the soak becomes failed.
func Allowed(from State, was Outcome, to State, outcome Outcome) bool {
	if to != Done {
		if outcome != "" {
			return false
		}
		switch from {
		case Pending:
			return to == Leased
		case Leased:
			return to == Running || to == Pending
		case Running:
			return to == Running || to == Leased || to == Rebooting
		}
		return false
	}
	switch from {
	case Pending:
		return outcome == Held || outcome == Skipped
	case Leased:
		return outcome == Held || outcome == Unreachable
	case Running:
		switch outcome {
		case Clean, Affected, Fixed, Undone, Failed, Unreachable, Unknown, Held:
			return true
		}
	case Rebooting:
		return outcome == Fixed || outcome == Undone || outcome == Failed || outcome == Unknown
	case Done:
		return was == Fixed && outcome == Failed
	}
	return false
}
