package command

import (
	"fmt"
	"io"
	"testing"

	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// A run that cannot be found by what was typed is a mistake on the line, whether no run or several begin like that.
func TestANameOfNoRunOrOfSeveralIsAMistake(t *testing.T) {
	for err, want := range map[error]int{
		&journal.NotFoundError{ID: "x"}: ExitUsage, &journal.AmbiguousError{Prefix: "2"}: ExitUsage, &journal.EndedError{}: ExitNothing, &journal.IdleError{}: ExitNothing, &journal.NotAwaitedError{}: ExitNothing, &journal.LockedError{}: ExitLocked,
		question.ErrDeclined: ExitInterrupted, &question.UnansweredError{Err: io.EOF}: ExitInterrupted, &question.NeededError{}: ExitUsage,
	} {
		if got := ExitCode(fmt.Errorf("find it: %w", err)); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
