package kerberos

import (
	"context"
	"strings"
	"time"
)

const (
	mostTickets = 10_000           // of services; 3 KB each
	idleTickets = 30 * time.Minute // after which one that nobody used goes
)

// kept is the ticket for one service, or whoever is getting it.
type kept struct {
	turn   chan struct{}
	ticket *ticket // guarded by turn
	used   time.Time
}

// forService gives the ticket for a service, from the store or from the KDC. Several that want the same one get it once.
func (a *Account) forService(ctx context.Context, name string) (*ticket, error) {
	k := a.place(strings.ToLower(name))
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if t := k.ticket; t != nil && a.now().Before(t.end.Add(-min(time.Minute, t.end.Sub(t.begin)/4))) {
		return t, nil
	}
	t, err := a.serviceTicket(ctx, name)
	if err != nil {
		return nil, err
	}
	k.ticket = t
	return t, nil
}

func (a *Account) place(name string) *kept {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.config.now()
	k := a.tickets[name]
	if k == nil {
		if len(a.tickets) >= mostTickets {
			a.makeRoom(now)
		}
		k = &kept{turn: make(chan struct{}, 1)}
		a.tickets[name] = k
	}
	k.used = now
	return k
}

// makeRoom drops what is idle, and where that is not enough, the older half: asking again costs one exchange.
func (a *Account) makeRoom(now time.Time) {
	var oldest, newest time.Time
	for name, k := range a.tickets {
		if now.Sub(k.used) > idleTickets {
			delete(a.tickets, name)
			continue
		}
		if oldest.IsZero() || k.used.Before(oldest) {
			oldest = k.used
		}
		if k.used.After(newest) {
			newest = k.used
		}
	}
	if len(a.tickets) < mostTickets {
		return
	}
	middle := oldest.Add(newest.Sub(oldest) / 2)
	for name, k := range a.tickets {
		if !k.used.After(middle) {
			delete(a.tickets, name)
		}
	}
}

// Forget drops the ticket for a service, which could not read it: its key may have changed since.
func (a *Account) Forget(service string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tickets, strings.ToLower(service))
}
