package errand

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Reason gives one line for the journal: what was done and what went wrong. The name of the machine stands beside it
// anyway, and the report has the advice.
func Reason(err error) string {
	text := err.Error()
	if failure, ok := errors.AsType[*route.Error](err); ok {
		text = failure.Op
		if failure.Err != nil {
			text = strings.TrimPrefix(text+": "+failure.Err.Error(), ": ")
		}
	}
	return prose.Short(text, longestText)
}

// longestText bounds what a machine says in one line of a table.
const longestText = 600

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// changes says in short what the fix did.
func changes(result agent.Result) string {
	text := fmt.Sprintf("%d changes were made", result.Changed)
	if result.Changed == 1 {
		text = "1 change was made"
	}
	const some = 3
	for i, s := range result.Steps {
		if i == some {
			return text + ", ..."
		}
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += sep + s.Action + " " + s.Target
	}
	return text
}

// undone is what an undo that came to its end leaves, and what the machine said of it.
func undone(stays []string, said string) string {
	if len(stays) == 0 {
		return said
	}
	text := "all but " + strings.Join(stays, "; ")
	if said != "" {
		text += "; " + said
	}
	return prose.Short(text, longestText)
}

// Unsent is how a machine ends whose account is barred, so that nothing was sent to it this time.
func (e *Errand) Unsent(no *route.BarredError) outcome.End {
	switch {
	case e.signed: // it was tried before
		return outcome.End{Outcome: outcome.Unreachable, Class: e.lastClass, Reason: e.last}
	case no.All:
		return outcome.End{Outcome: outcome.Held, Reason: "not started: " + no.Error()}
	}
	return outcome.End{Outcome: outcome.Held, Reason: notSignedIn + no.Error()}
}

const notSignedIn = "not signed in to: "

// NotSignedIn returns why a machine was held whose domain did not take the account, as Unsent said it; false: it was held for something else.
func NotSignedIn(reason string) (string, bool) { return strings.CutPrefix(reason, notSignedIn) }

// Abandoned is how a machine ends that is not asked on, because the run is over for the reason why.
func (e *Errand) Abandoned(why string) outcome.End {
	switch {
	case e.fixed != nil:
		return outcome.End{Outcome: outcome.Unknown, Reason: "was fixed, but not verified after the restart: " + why}
	case e.Begun():
		return outcome.End{Outcome: outcome.Unknown, Reason: why + "; the request may have run, and the machine had not answered"}
	}
	return outcome.End{Outcome: outcome.Held, Reason: "not started: " + why}
}
