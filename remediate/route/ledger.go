package route

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Account is what a secret is sent for, and who judges it.
type Account struct {
	Name   string // CORP\admin, admin@corp.example; one of the machine itself: MACHINE\Administrator
	Key    string // what all spellings of the account have in common; "": the name, however it is capitalized
	Domain string // of the machine that is signed in to, as its challenge names it; "" where nothing names one
	Home   bool   // that domain is the account's own: its word is the last
	Own    bool   // an account of this one machine, with a password of its own
	Final  bool   // a domain controller of its own domain is asked: nobody knows better
	Word   bool   // that a machine took it is that machine's word alone, which nothing proves
}

// Ledger counts how often a secret was sent and what came of it, so that no account is locked. A route asks it before each sending
// of a secret that can be wrong; tickets and certificates need none. Implementations are safe for concurrent use.
type Ledger interface {
	// Try returns when the account may be sent to t, once; that is booked then. Ask is how the route signs in elsewhere where a
	// doubt has to be settled first. Errors are a *BarredError, a *NotYetError, the end of ctx, and a *StoreError.
	Try(ctx context.Context, account Account, t Target, ask Ask) (Trial, error)
}

// Ask signs in at a machine, and does nothing else there. It calls begin right before the secret leaves, with the domain that the machine
// names ("" for none), and tells the trial that it gets what came of it; a machine that is not there is asked without a trial.
type Ask func(ctx context.Context, witness Target, begin func(domain string) (Trial, error)) error

// Trial is one sending of a secret. One of its methods that say what came of it is called, once. None of them means that the machine did
// not answer.
type Trial interface {
	// Wait is how long others can wait for what comes of it; zero: as long as for any answer.
	Wait() time.Duration
	// Taken says that the machine says it took the account, which nothing proves yet. True: that is enough for others not to wait any
	// more; what proves it may come later, and if it never does the machine has taken nothing. False: it has to be proven now.
	Taken() bool
	Accepted()
	// Refused returns nil where the account is good elsewhere, so that the refusal is the machine's own trouble, and else the
	// *BarredError that is true from now on, the end of ctx, or a *StoreError. It may ask elsewhere.
	Refused(ctx context.Context) error
	// Unanswered is a sending of which nobody knows what became of it. It counts as a refusal until the account is accepted.
	Unanswered()
	// Unjudged is a sending that the machine did not look at.
	Unjudged()
}

// Prover is a route that can tell of an account whether it is good, without any machine that is to be mended. It is asked before a run.
type Prover interface {
	// Prove returns nil for an account that was accepted, ErrNoProof where only a machine can tell, and else a *BarredError. The zero
	// account is that with which the route signs in.
	Prove(ctx context.Context, account Account) error
}

// ErrHalted says that the run stopped while a machine waited to be signed in to. Nothing was sent.
var ErrHalted = errors.New("the run stopped before anything was sent")

type haltKey struct{}

// WithHalt makes a call that waits to sign in give up when halted is closed. What has been signed in goes on.
func WithHalt(ctx context.Context, halted <-chan struct{}) context.Context {
	return context.WithValue(ctx, haltKey{}, halted)
}

// Halt is the channel of [WithHalt], nil for none.
func Halt(ctx context.Context) <-chan struct{} {
	halted, _ := ctx.Value(haltKey{}).(<-chan struct{})
	return halted
}

type dueKey struct{}

// WithDue makes a call that has to wait until another machine has taken the account look for one: this machine may have been changed, and
// somebody waits for what became of it.
func WithDue(ctx context.Context) context.Context { return context.WithValue(ctx, dueKey{}, true) }

// Due reports whether [WithDue] was said.
func Due(ctx context.Context) bool { return ctx.Value(dueKey{}) != nil }

// ErrNoProof says that only a machine can tell whether an account is good.
var ErrNoProof = errors.New("only a machine can tell whether the account is good")

// OtherMachinesTake stands in what is said of a machine that refuses a good account.
const OtherMachinesTake = "which other machines take"

// OwnRejected is said of a machine that refuses the account of its own.
const OwnRejected = "the machine rejects the password that LAPS has for it"

// NotYetError says that another machine has to be signed in to before this one. Nothing was sent.
type NotYetError struct {
	Why    string
	Nobody bool // and none is there: waiting does not help
}

func (e *NotYetError) Error() string { return e.Why }

// StoreError says that a store on this computer failed which a route needs: the book of sign-ins, the inventory. That says nothing about
// the machine or the account, and nothing was sent after it: the run stops.
type StoreError struct {
	Store string // "the book of sign-ins"
	Err   error
}

func (e *StoreError) Error() string { return fmt.Sprintf("%s cannot be used: %v", e.Store, e.Err) }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

// BarredError says that an account is not sent any more. Nothing was sent.
type BarredError struct {
	Account Account
	All     bool      // nowhere; else not in this domain
	Why     string    // "PC1 rejected CORP\admin"
	Until   time.Time // when it may be tried again; zero: when somebody has looked at it
	More    int       // what --sign-ins has to say so that it may be tried at once; 0: nothing helps that is known to be safe
	Locks   int       // how many wrong ones must not lock it for that; 0: its domain said that they do not
}

func (e *BarredError) Error() string {
	why := e.Why
	if e.More > 0 {
		why += fmt.Sprintf(", or at once with --sign-ins %d%s", e.More, e.Unless())
	}
	if e.All || e.Account.Domain == "" {
		return why
	}
	return fmt.Sprintf("%s (domain %s)", why, e.Account.Domain)
}

// Unless is on which condition more sign-ins may be allowed, in words; "" for none.
func (e *BarredError) Unless() string {
	if e.Locks == 0 {
		return ""
	}
	return fmt.Sprintf(" where fewer than %d wrong passwords lock no account", e.Locks)
}

// BarredBy returns what an error says of the account, nil for nothing.
func BarredBy(err error) *BarredError {
	var e *BarredError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Advise adds what to do next.
func (e *BarredError) Advise() error {
	if !e.Until.IsZero() {
		return hint.Wrap(e, "nothing more is sent with it, so that it is not locked")
	}
	return hint.Wrap(e, "check user, domain and password (DOMAIN\\user or user@domain), then start again; nothing more is sent with it, so that it is not locked")
}
