package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// The exit codes; docs/exit-codes.md and `fleetmend help exit-codes` explain them.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitSomeFailed  = 3
	ExitAuth        = 4
	ExitGate        = 5
	ExitNothing     = 6
	ExitChanges     = 10
	ExitLocked      = 11
	ExitTimeout     = 124
	ExitInterrupted = 130
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

// Silently returns nil for code 0.
func Silently(code int) error {
	if code == ExitOK {
		return nil
	}
	return &silentError{code}
}

// Coded makes err end the command with code.
func Coded(code int, err error) error { return &codedError{code, err} }

// Usage marks err as a mistake on the command line, with advice.
func Usage(err error, format string, args ...any) error {
	return Coded(ExitUsage, hint.Wrapf(err, format, args...))
}

// ExitCode is the code that err stands for.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if quiet := (*silentError)(nil); errors.As(err, &quiet) {
		return quiet.code
	}
	if c := (*codedError)(nil); errors.As(err, &c) {
		return c.code
	}
	if code, ok := serviceCode(err); ok {
		return code
	}
	var needed *question.NeededError
	var none *machines.NoMachineError
	var nothing *media.NothingError
	var unknown *inventory.UnknownMachinesError
	switch {
	case errors.As(err, &needed), hint.IsMistake(err):
		return ExitUsage
	case errors.As(err, &none), errors.As(err, &nothing), errors.As(err, &unknown), errors.Is(err, runs.ErrNone):
		return ExitNothing
	case errors.Is(err, question.ErrDeclined):
		return ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitError
}

// ExitCodes explains them to people.
const ExitCodes = `Every command ends with one of these codes:

  0    all is well
  1    an error; the message says which
  2    the command line is wrong
  3    the run ended, but some machines failed, could not be reached or are unknown; or some keys or rows were left out
  4    the credentials were rejected, by a machine or by the directory; the run stopped after the first machine
  5    a gate stopped the run
  6    the selector matches no machine, or names one that is not known; or no key fits
  10   with --detailed-exitcode: the plan has machines to work on, or a dry run found affected ones
  11   the run is at work in another process, or the state folder is being brought to a new version
  124  out of time
  130  interrupted; fleetmend runs resume goes on where it stopped`

// Silent reports whether everything was said already.
func Silent(err error) bool {
	quiet := (*silentError)(nil)
	return errors.As(err, &quiet)
}

// serviceCode knows the exit codes of typed errors of the services.
func serviceCode(err error) (int, bool) {
	var locked *journal.LockedError
	var unknown *journal.NotFoundError
	var several *journal.AmbiguousError
	var failure *directory.Error
	switch {
	case errors.As(err, &locked):
		return ExitLocked, true
	case errors.As(err, &unknown), errors.As(err, &several):
		return ExitUsage, true
	case route.ClassOf(err) == route.Auth:
		return ExitAuth, true
	case !errors.As(err, &failure):
		return 0, false
	}
	switch failure.Kind {
	case directory.WrongPassword, directory.PasswordExpired, directory.Locked, directory.Disabled:
		return ExitAuth, true
	}
	return ExitError, true
}
