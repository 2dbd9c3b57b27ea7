// Package route is the way to a machine: the [Route] interface that the run engine uses, and the classes of error that
// decide what an engine may do next.
//
// A transport implements [Route] and proves itself with remediate/route/routetest. Callers ask [ClassOf] what an error
// means and never look at texts. The package opens no connection itself.
package route

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// Target is a machine as a route needs it.
type Target struct {
	ID       string `json:"id"`      // the inventory's machine ID
	Name     string `json:"name"`    // for messages and the journal
	Address  string `json:"address"` // host or host:port
	FQDN     string `json:"fqdn,omitempty"`
	Site     string `json:"site,omitempty"`
	Subnet   string `json:"subnet,omitempty"`
	Class    string `json:"class,omitempty"` // workstation, server, dc
	Priority int    `json:"priority"`

	Aliases []string `json:"aliases,omitempty"` // other host names by which the machine is known
}

// Route delivers requests to machines. Implementations are safe for concurrent use, honour ctx down to the socket, and
// leave no connection or goroutine behind when a call has returned.
type Route interface {
	// Name is the route's word in plans and reports: winrm, azure-run, ...
	Name() string
	// Do sends one request and returns the machine's own answer. Every error is an *Error. A Result with outcome
	// failed is an answer, not an error.
	Do(ctx context.Context, target Target, request agent.Request) (agent.Result, error)
	// Alive asks, without credentials, whether the machine is there to be spoken to. It is what a restart is awaited with.
	Alive(ctx context.Context, target Target) error
}

// Class says what an error means for the machine and for the run.
type Class string

// The classes. With the first group nothing of the request ran on the machine.
const (
	Unreachable Class = "unreachable" // no connection, name or answer; may be tried again
	Busy        Class = "busy"        // a quota or a service that is starting; try again later
	Auth        Class = "auth"        // the credentials were rejected; stops the whole run
	Denied      Class = "denied"      // authenticated but not allowed; trying again changes nothing
	Untrusted   Class = "untrusted"   // the machine's certificate or sealing is not acceptable
	Refused     Class = "refused"     // something answered that is not what we speak, or our request is refused for good
	Stopped     Class = "stopped"     // our own ctx or the ledger ended it before anything ran

	// Unknown: the request may have started, and no answer came: the connection was lost, or PowerShell crashed. Only the
	// machine's record can tell, so the same run ID is asked again.
	Unknown Class = "unknown"
	// Overflow: the machine wrote more than is taken of one answer, and no result among it. The request may have run; it is
	// asked once more, for only its record can tell, and not again: it would write as much each time.
	Overflow Class = "overflow"
)

// NothingRan reports whether the class guarantees that the machine was not touched.
func (c Class) NothingRan() bool { return c != Unknown && c != Overflow }

// Retriable reports whether trying again later may help and is safe.
func (c Class) Retriable() bool {
	return c == Unreachable || c == Busy || c == Unknown || c == Overflow
}

// OpReceive is the operation of an [Error] about what the machine answered: it was reached, and the account was let in.
const OpReceive = "receive"

// OpAuthenticate is the operation of an [Error] at signing in.
const OpAuthenticate = "authenticate"

// Error is how a route fails.
type Error struct {
	Class  Class
	Op     string // connect, authenticate, create, command, send, receive, delete, identify
	Target string // name of the machine
	Code   uint32 // WSManFault code, 0 where there is none
	Status int    // HTTP status, 0 where there is none
	Err    error  // cause; its text is what the user reads
}

// Error names the machine, the operation and the cause.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s", e.Target, e.Op)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of err: that of the *Error it wraps, Unknown for any other error, and "" for nil.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Unknown
}
