package winrm

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrRejected is what [Breaker.Enter] wraps once a machine has rejected the credentials.
var ErrRejected = errors.New("the credentials were rejected before and are not sent again")

// Breaker keeps a wrong password from locking an account: until a machine has accepted a credential only one machine at
// a time is sent it, and the first rejection ends its use for good. Safe for concurrent use; share one between routes
// and everything else that logs on with the same accounts.
type Breaker struct {
	mu     sync.Mutex
	trials map[string]*trial
}

type trial struct {
	turn     chan struct{} // holds one token while nobody is trying
	proven   chan struct{} // closed by the first success
	rejected chan struct{} // closed by the first rejection
	where    string        // the machine that rejected; written before rejected is closed

	mu sync.Mutex
}

// NewBreaker returns a breaker that knows no credential yet.
func NewBreaker() *Breaker { return &Breaker{trials: map[string]*trial{}} }

// Pass is the permission to send a credential to one machine. Tell the outcome with Accepted or Rejected, or give it
// back with Release; calls after the first do nothing, except that Rejected always counts.
type Pass struct {
	trial  *trial
	holder bool
}

// Enter waits for the permission to send the credential named key (see [Credential.BreakerKey]). It returns an error
// that wraps [ErrRejected] once the credential was rejected anywhere, or ctx's error.
func (b *Breaker) Enter(ctx context.Context, key string) (*Pass, error) {
	t := b.trial(key)
	if isClosed(t.rejected) {
		return nil, t.refusal()
	}
	if isClosed(t.proven) {
		return &Pass{trial: t}, nil
	}
	select {
	case <-t.rejected:
		return nil, t.refusal()
	case <-t.proven:
		return &Pass{trial: t}, nil
	case <-t.turn:
		if isClosed(t.rejected) {
			t.turn <- struct{}{}
			return nil, t.refusal()
		}
		return &Pass{trial: t, holder: true}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Rejected reports whether the credential named key was rejected, and by which machine.
func (b *Breaker) Rejected(key string) (machine string, rejected bool) {
	t := b.trial(key)
	if !isClosed(t.rejected) {
		return "", false
	}
	return t.where, true
}

func (b *Breaker) trial(key string) *trial {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[key]
	if t == nil {
		t = &trial{turn: make(chan struct{}, 1), proven: make(chan struct{}), rejected: make(chan struct{})}
		t.turn <- struct{}{}
		b.trials[key] = t
	}
	return t
}

func (t *trial) refusal() error { return fmt.Errorf("%w (by %s)", ErrRejected, t.where) }

// Accepted records that a machine took the credential; everyone may send it from now on.
func (p *Pass) Accepted() {
	p.trial.mu.Lock()
	if !isClosed(p.trial.proven) {
		close(p.trial.proven)
	}
	p.trial.mu.Unlock()
	p.Release()
}

// Rejected records that machine refused the credential; nobody sends it again.
func (p *Pass) Rejected(machine string) {
	p.trial.mu.Lock()
	if !isClosed(p.trial.rejected) {
		p.trial.where = machine
		close(p.trial.rejected)
	}
	p.trial.mu.Unlock()
	p.Release()
}

// Release gives the permission back without a verdict, as when the machine went away before it answered.
func (p *Pass) Release() {
	if p.holder {
		p.holder = false
		p.trial.turn <- struct{}{}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
