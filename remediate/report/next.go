package report

import (
	"fmt"
	"slices"
	"strings"

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
	when := whenOf(r.Run, heldFor(r.Machines))
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
		next = append(next, Command{"Go on where it stopped" + when, "fleetmend runs resume " + id})
	default: // it is over for good; what it left undone is for a new run
		if again > 0 {
			next = append(next, Command{fmt.Sprintf("Try %s again that %s not done%s", machines(again), isAre(again), when), "fleetmend runs retry " + id})
		}
	}
	if n := r.Total(Status(journal.Affected)); n > 0 && r.Run.Playbook != "" {
		next = append(next, Command{"Fix what is affected", "fleetmend run " + r.Run.Playbook})
	}
	if r.Run.Mode == agent.Fix && r.Run.Status.Final() && undoable && slices.ContainsFunc(r.Machines, mayBeChanged) {
		next = append(next, Command{"Take back what this run changed", "fleetmend runs undo " + id})
	}
	return append(next, Command{"See every machine and step", "fleetmend runs show " + id})
}

// whenOf is what has to be before a run is gone on with that an account stopped, in the words that follow on what is proposed: what was
// rejected costs another sign-in where nobody has put it right, and before its time nothing is sent.
func whenOf(run journal.Run, held string) (when string) {
	if wrongPassword(run) {
		when = ", when user and password are right"
	}
	if at := sentAgain(run.Reason, held); at != "" {
		when += ", after " + at
	}
	return when
}

// wrongPassword reports whether a run stopped because its account was rejected, by all that were asked.
func wrongPassword(run journal.Run) bool {
	return run.Status == journal.RunAuth && run.Reason != "" && !strings.HasSuffix(run.Reason, journal.ElseDone) ||
		run.Status == journal.RunInterrupted && strings.HasSuffix(run.Reason, journal.AskedLater) && rejection.MatchString(run.Reason)
}

// rejection is in the reasons that the ledger of sign-ins gives, but for those of a machine that said nothing.
var rejection = lazyregexp.New(`\breject|\brefused\b|\bpassword`)

// sentAgain is the time of day before which nothing is sent with an account, as the first of the texts says it that does; "" for none.
func sentAgain(texts ...string) string {
	for _, text := range texts {
		if at := notBefore.FindStringSubmatch(text); at != nil {
			return at[1]
		}
	}
	return ""
}

// notBefore is when an account may be sent again, where it may not now, as the ledger of sign-ins says it.
var notBefore = lazyregexp.New(` (?:after|before) (\d\d:\d\d)\b`)

// mayBeChanged reports whether undo has something to do on a machine of a run that is over, as far as the journal knows.
func mayBeChanged(m Machine) bool {
	return m.Changed > 0 || m.Status == Status(journal.Unknown)
}
