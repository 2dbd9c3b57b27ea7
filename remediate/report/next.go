package report

import (
	"fmt"
	"slices"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// nextOf lists what can be typed now, the most useful first.
func nextOf(r *Report, undoable bool) []Command {
	id, next := r.Run.ID, []Command{}
	again := r.Total(Status(journal.Failed), Status(journal.Unreachable), Status(journal.Unknown), Status(journal.Held))
	for i := range r.Machines {
		if r.Machines[i].Status == Status(journal.Skipped) && r.Machines[i].Wave > 0 { // another run had it
			again++
		}
	}
	switch r.Run.Status {
	case journal.RunWaiting, journal.RunRunning, journal.RunPaused, journal.RunInterrupted:
		if r.Run.Owner != nil {
			next = append(next, Command{"See where it stands", "fleetmend runs watch " + id})
			if r.Run.Status == journal.RunWaiting {
				next = append(next, Command{"Let the next wave begin", "fleetmend runs approve " + id})
			}
			if r.Run.Status != journal.RunPaused {
				break
			}
		}
		next = append(next, Command{"Go on where it stopped", "fleetmend runs resume " + id})
	default: // it is over for good; what it left undone is for a new run
		when := notBefore.FindString(r.Run.Reason)
		if when != "" {
			when = "," + when
		}
		if again > 0 {
			next = append(next, Command{fmt.Sprintf("Try %s again that %s not done%s", machines(again), isAre(again), when), "fleetmend runs retry " + id})
		}
	}
	if n := r.Total(Status(journal.Affected)); n > 0 && r.Run.Playbook != "" {
		next = append(next, Command{"Fix what is affected", "fleetmend run " + r.Run.Playbook})
	}
	if r.Run.Mode == agent.Fix && r.Run.Owner == nil && undoable && slices.ContainsFunc(r.Machines, mayBeChanged) {
		next = append(next, Command{"Take back what this run changed", "fleetmend runs undo " + id})
	}
	return append(next, Command{"See every machine and step", "fleetmend runs show " + id})
}

// notBefore is when an account may be sent again, where it may not now, as the ledger of sign-ins says it.
var notBefore = lazyregexp.New(` after \d\d:\d\d\b`)

// mayBeChanged reports whether undo has something to do on a machine, as far as the journal knows.
func mayBeChanged(m Machine) bool {
	return m.Changed > 0 || m.Status == Status(journal.Unknown) || m.Status == Running
}
