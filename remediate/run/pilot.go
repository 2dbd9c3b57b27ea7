package run

import (
	"context"
	"sync"
	"time"
)

// pilot lets machines authenticate one at a time until one of them has shown that the credentials are good. A wrong
// password is then tried once in the whole fleet, not once per machine, which would lock the account everywhere.
type pilot struct {
	token  chan struct{}
	lobby  chan struct{} // of those who wait for the token, or look whether their machine is there
	proven chan struct{}
	once   sync.Once
}

// pilotPatience bounds how long one machine that neither answers nor fails keeps the others waiting: rejected
// credentials are known within seconds, and what takes longer is a script that runs, or a machine that hangs.
const pilotPatience = 30 * time.Second

// lobbySize is how many machines are looked at while the credentials are unproven. The others wait outside, at no cost.
const lobbySize = 8

func newPilot() *pilot {
	p := &pilot{token: make(chan struct{}, 1), lobby: make(chan struct{}, lobbySize), proven: make(chan struct{})}
	p.token <- struct{}{}
	return p
}

// isProven reports whether the credentials are known to be good.
func (p *pilot) isProven() bool {
	select {
	case <-p.proven:
		return true
	default:
		return false
	}
}

func (p *pilot) prove() { p.once.Do(func() { close(p.proven) }) }

// queueUp waits for a place in the lobby, or for the credentials to be proven. out gives the place back. ok is false when
// halted was closed or ctx ended before.
func (p *pilot) queueUp(ctx context.Context, halted <-chan struct{}) (out func(), ok bool) {
	select {
	case <-p.proven:
		return func() {}, true
	case p.lobby <- struct{}{}:
		return sync.OnceFunc(func() { <-p.lobby }), true
	case <-halted:
	case <-ctx.Done():
	}
	return nil, false
}

// enter waits for the credentials to be proven or for the machine's turn to prove them. leave is called when the
// request is over. ok is false when halted was closed or ctx ended before.
func (p *pilot) enter(ctx context.Context, halted <-chan struct{}) (leave func(), ok bool) {
	if p.isProven() {
		return func() {}, true
	}
	select {
	case <-p.proven:
		return func() {}, true
	case <-halted:
	case <-ctx.Done():
	case <-p.token:
		give := sync.OnceFunc(func() { p.token <- struct{}{} })
		timer := time.AfterFunc(pilotPatience, give)
		leave = func() { timer.Stop(); give() }
		select {
		case <-halted: // both were ready
			leave()
			return nil, false
		default:
			return leave, true
		}
	}
	return nil, false
}
