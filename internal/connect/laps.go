package connect

import (
	"context"
	"errors"
	"sync"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// ownAccounts is a route whose machines have accounts of their own. A password that one machine rejects says nothing of
// the others there, so it does not stop the run: the machine counts as one that refuses us.
type ownAccounts struct{ route.Route }

func (o ownAccounts) Do(ctx context.Context, t route.Target, r agent.Request) (agent.Result, error) {
	result, err := o.Route.Do(ctx, t, r)
	no := route.BarredBy(err)
	rejected, told := errors.AsType[*route.Error](err)
	switch {
	case no != nil && !no.Account.Own: // that of the directory: nobody has a password without it
		return result, err
	case no == nil && (!told || rejected.Class != route.Auth):
		return result, err
	case !told: // nothing was sent this time
		rejected = &route.Error{Op: route.OpAuthenticate, Target: t.Name}
	}
	text := route.OwnRejected
	if no != nil && !no.Until.IsZero() {
		text += ": " + no.Error()
	}
	// In words alone: as an error of an account it would stop everybody.
	return result, &route.Error{Class: route.Denied, Op: rejected.Op, Target: rejected.Target, Err: errors.New(text)}
}

// LAPS reads the passwords of local administrators from the directory of the settings.
func (c *Connector) LAPS(ctx context.Context) (*LAPS, error) {
	where, err := c.Directory(ctx, nil)
	if err != nil {
		return nil, err
	}
	return c.lapsOf(where), nil
}

func (c *Connector) lapsOf(where directory.Config) *LAPS {
	reader := &LAPS{where: where, machine: c.Machine}
	c.own(reader)
	return reader
}

// lapsRoute is the route that signs in at every machine with its own local administrator.
func (c *Connector) lapsRoute(ctx context.Context, config winrm.Config) (route.Route, error) {
	where, err := c.Directory(ctx, nil) // asks for a password now, not in the middle of a run
	if err != nil {
		return nil, err
	}
	reader := c.lapsOf(where)
	config.Credential = reader.Credential
	made, err := winrm.New(config)
	if err != nil {
		return nil, err
	}
	return ownAccounts{made}, nil
}

// LAPS reads the password of the local administrator of a machine when its turn comes. Nothing is kept: a machine
// that is asked again is looked up again. It is safe for concurrent use; the directory is asked one machine at a time.
type LAPS struct {
	where   directory.Config
	machine func(context.Context, string) (inventory.Machine, error)

	mu     sync.Mutex
	conn   *directory.Conn
	failed error // the directory rejected us, which is not tried twice
}

// answer is an error of the directory in the words of [ad.WhyNone].
type answer struct {
	text  string
	cause error
}

func (a *answer) Error() string { return a.text }
func (a *answer) Unwrap() error { return a.cause }

// Credential is what winrm.Config asks for.
func (l *LAPS) Credential(ctx context.Context, t route.Target) (winrm.Credential, error) {
	// The journal keeps the text alone, so the remedy is part of it.
	refuse := func(class route.Class, err error) (winrm.Credential, error) {
		return winrm.Credential{}, &route.Error{Class: class, Op: "read the LAPS password", Target: t.Name, Err: &answer{ad.WhyNone(err), err}}
	}
	m, err := l.machine(ctx, t.ID)
	if err != nil {
		unknown, ambiguous := (*inventory.UnknownMachinesError)(nil), (*inventory.AmbiguousNameError)(nil)
		if ctx.Err() == nil && !errors.As(err, &unknown) && !errors.As(err, &ambiguous) { // the file, not the machine
			return winrm.Credential{}, &route.StoreError{Store: "the inventory", Err: err}
		}
		return refuse(route.Refused, err)
	}
	admin, err := l.Read(ctx, &m)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return refuse(route.Stopped, context.Cause(ctx))
	case ad.IsAnswer(err):
		return refuse(route.Denied, err)
	case directory.KindOf(err) == directory.Other, directory.KindOf(err) == directory.Unreachable:
		return refuse(route.Unreachable, err)
	default:
		return refuse(route.Denied, err)
	}
	return winrm.Credential{User: AccountOf(admin), Password: admin.Password, Own: true}, nil
}

// AccountOf names the account: legacy LAPS looks after the built-in one and does not say its name.
func AccountOf(admin ad.LocalAdmin) string {
	if admin.Account == "" {
		return "Administrator"
	}
	return admin.Account
}

// Read returns the password of m now.
func (l *LAPS) Read(ctx context.Context, m *inventory.Machine) (ad.LocalAdmin, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return ad.LocalAdmin{}, l.failed
	}
	fresh := l.conn == nil
	for {
		if l.conn == nil {
			conn, err := directory.Dial(ctx, l.where)
			if Rejected(err) {
				l.failed = err
			}
			if err != nil {
				return ad.LocalAdmin{}, err
			}
			l.conn, fresh = conn, true
		}
		admin, err := ad.Password(ctx, l.conn, m)
		if err == nil || ad.IsAnswer(err) {
			return admin, err
		}
		l.drop() // a search that failed may have ended its connection
		if fresh || ctx.Err() != nil || directory.KindOf(err) != directory.Other {
			return admin, err
		}
		// It was idle for too long, or the domain controller restarted: once more on a new connection.
	}
}

func (l *LAPS) drop() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// Close ends the connection.
func (l *LAPS) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
	return nil
}
