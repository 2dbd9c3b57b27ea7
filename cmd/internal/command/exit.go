package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/desk/media"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/plan"
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
	ExitPipe        = 141 // what a shell says of a program that SIGPIPE has ended
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

// Is reports whether err is a T, or wraps one.
func Is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// ExitCode is the code that err stands for.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if quiet, ok := errors.AsType[*silentError](err); ok {
		return quiet.code
	}
	if c, ok := errors.AsType[*codedError](err); ok {
		return c.code
	}
	if code, ok := serviceCode(err); ok {
		return code
	}
	switch {
	case Is[*question.NeededError](err), hint.IsMistake(err):
		return ExitUsage
	case Is[*machines.NoMachineError](err), Is[*media.NothingError](err), Is[*machines.UnknownError](err), Is[*plan.EmptyError](err), errors.Is(err, runs.ErrNone):
		return ExitNothing
	case errors.Is(err, question.ErrDeclined), Is[*question.UnansweredError](err):
		return ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitError
}

// ExitCodes explains them to people.
func ExitCodes() string {
	return "Every command ends with one of these codes:\n\n" + meanings(slices.Sorted(maps.Keys(ExitMeaning)))
}

// Silent reports whether everything was said already.
func Silent(err error) bool { return Is[*silentError](err) }

// serviceCode knows the exit codes of typed errors of the services.
func serviceCode(err error) (int, bool) {
	switch {
	case Is[*runs.LockedError](err):
		return ExitLocked, true
	case Is[*runs.NotFoundError](err), Is[*runs.AmbiguousError](err):
		return ExitUsage, true
	case Is[*runs.EndedError](err), Is[*runs.IdleError](err), Is[*runs.NotAwaitedError](err):
		return ExitNothing, true
	case route.ClassOf(err) == route.Auth:
		return ExitAuth, true
	}
	failure, ok := errors.AsType[*directory.Error](err)
	if !ok {
		return 0, false
	}
	switch failure.Kind {
	case directory.WrongPassword, directory.PasswordExpired, directory.Locked, directory.Disabled, directory.Barred:
		return ExitAuth, true
	}
	return ExitError, true
}
