package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// The exit codes; docs/exit-codes.md and `fleetmend help exit-codes` explain them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitSomeFailed  = 3
	exitAuth        = 4
	exitGate        = 5
	exitNothing     = 6
	exitChanges     = 10
	exitLocked      = 11
	exitTimeout     = 124
	exitInterrupted = 130
)

// codedError carries the exit code with the error that the user reads.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// silentError ends a command with a code where everything was said already.
type silentError struct{ code int }

func (e *silentError) Error() string { return fmt.Sprintf("ended with exit code %d", e.code) }

// silently returns nil for code 0.
func silently(code int) error {
	if code == exitOK {
		return nil
	}
	return &silentError{code}
}

func coded(code int, err error) error { return &codedError{code, err} }

// usage marks err as a mistake on the command line, with advice.
func usage(err error, format string, args ...any) error {
	return coded(exitUsage, hint.Wrapf(err, format, args...))
}

func exitCode(err error) int {
	if quiet := (*silentError)(nil); errors.As(err, &quiet) {
		return quiet.code
	}
	if c := (*codedError)(nil); errors.As(err, &c) {
		return c.code
	}
	if code, ok := serviceCode(err); ok {
		return code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitError
}

const exitCodesText = `Every command ends with one of these codes:

  0    all is well
  1    an error; the message says which
  2    the command line is wrong
  3    the run ended, but some machines failed, could not be reached or are unknown; or some keys or rows were left out
  4    the credentials were rejected, by a machine or by the directory; the run stopped after the first machine
  5    a gate stopped the run
  6    the selector matches no machine, or no key fits
  10   with --detailed-exitcode: the plan has machines to work on, or a dry run found affected ones
  11   another run holds the journal
  124  out of time
  130  interrupted; fleetmend runs resume goes on where it stopped`

func newExitCodes(*app) *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesText}
}
