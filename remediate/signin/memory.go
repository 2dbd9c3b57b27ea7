package signin

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// Memory is a book that ends with the process, for what has no state folder.
type Memory struct {
	mu      sync.Mutex
	entries []Entry
}

var _ Book = (*Memory)(nil)

// Lock implements [Book]: there is no other process.
func (*Memory) Lock(context.Context, string) (Lock, error) { return own{}, nil }

// Add implements [Book].
func (m *Memory) Add(_ context.Context, e Entry) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.N = int64(len(m.entries)) + 1
	m.entries = append(m.entries, e)
	return e.N, nil
}

// Settle implements [Book].
func (m *Memory) Settle(_ context.Context, state State, numbers ...int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range numbers {
		m.entries[n-1].State = state
	}
	return nil
}

// Spare implements [Book].
func (m *Memory) Spare(_ context.Context, domain string, numbers ...int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range numbers {
		e := &m.entries[n-1]
		e.Spared = append(slices.Clone(e.Spared), domain)
	}
	return nil
}

// Against implements [Book].
func (m *Memory) Against(_ context.Context, account string, since time.Time) (out []Entry, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.Account == account && e.State.Counts() && e.Time.After(since) {
			out = append(out, e)
		}
	}
	return out, nil
}

// Took implements [Book].
func (m *Memory) Took(_ context.Context, account, domain string, most int) (out []route.Target, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	for _, e := range slices.Backward(m.entries) {
		if e.Account != account || e.Domain != domain || seen[e.Target.ID] {
			continue
		}
		seen[e.Target.ID] = true
		if len(out) < most && e.State == Accepted {
			out = append(out, e.Target)
		}
	}
	return out, nil
}

// States are those of all entries, in their order.
func (m *Memory) States() (out []State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		out = append(out, e.State)
	}
	return out
}
