package run_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

var errDisk = errors.New("mkdir locks: no such file or directory")

// failing is a book of sign-ins that fails from one of its calls on.
type failing struct {
	signin.Memory
	in     string
	mu     sync.Mutex
	good   int // calls that do not fail yet
	failed time.Time
}

func (b *failing) fails(in string) bool {
	if in != b.in {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.good--
	if b.good < 0 && b.failed.IsZero() {
		b.failed = time.Now()
	}
	return b.good < 0
}

func (b *failing) Lock(ctx context.Context, account string) (signin.Lock, error) {
	if b.fails("lock") {
		return nil, errDisk
	}
	return b.Memory.Lock(ctx, account)
}

func (b *failing) Against(ctx context.Context, account string, since time.Time) ([]signin.Entry, error) {
	if b.fails("against") {
		return nil, errDisk
	}
	return b.Memory.Against(ctx, account, since)
}

func (b *failing) Took(ctx context.Context, account, domain string, most int) ([]route.Target, error) {
	if b.fails("took") {
		return nil, errDisk
	}
	return b.Memory.Took(ctx, account, domain, most)
}

func (b *failing) Add(ctx context.Context, e signin.Entry) (int64, error) {
	if b.fails("add") {
		return 0, errDisk
	}
	return b.Memory.Add(ctx, e)
}

func (b *failing) Settle(ctx context.Context, s signin.State, n ...int64) error {
	if b.fails("settle") {
		return errDisk
	}
	return b.Memory.Settle(ctx, s, n...)
}

// What fails on our own disk while machines are asked is no verdict about the account, nor about any machine: the run stops and can be
// resumed.
func TestABookThatFailsIsNoVerdict(t *testing.T) {
	stopped := 0
	for call := range 9 * 5 {
		bubble(t, 20, func(t *testing.T, s *setup) {
			good := call / 5
			book := &failing{in: []string{"lock", "against", "took", "add", "settle"}[call%5], good: good}
			s.fleet.ledger, s.fleet.latency = signin.New(book, signin.Rule{}), time.Second
			var rejects string
			s.fleet.account = func(m route.Target) error {
				time.Sleep(time.Second)
				s.fleet.mu.Lock()
				rejects = cmp.Or(rejects, map[bool]string{true: m.Name}[len(s.fleet.signed) == 4])
				doubt := m.Name == rejects
				s.fleet.mu.Unlock()
				if doubt { // for which another has to be asked
					return routeError(route.Auth, m.Name, "authenticate", "401")
				}
				return nil
			}
			r, err := s.newEngine().Start(t.Context(), s.plan())
			own, lost := errors.AsType[*route.StoreError](err)
			switch {
			case book.failed.IsZero() && err == nil: // it is not asked so often
			case !lost || !errors.Is(err, errDisk) || strings.Contains(own.Error(), "ada"):
				t.Fatalf("%s, %d: %s %v, %v", book.in, good, r.Status, r.Counts, err)
			case r.Counts[journal.Held]+r.Counts[journal.Failed]+r.Counts[journal.Unknown] > 0, r.Counts[journal.Unreachable] > 1: // that one may have been judged
				t.Errorf("%s, %d: %v", book.in, good, r.Counts)
			case time.Since(book.failed) > 5*time.Second:
				t.Errorf("%s, %d: it went on for %s", book.in, good, time.Since(book.failed))
			default:
				stopped++
				s.fleet.ledger, s.fleet.account = nil, nil
				if r = s.resume(r.ID); r.Status != journal.RunDone || r.Counts[journal.Fixed] < 19 {
					t.Errorf("%s, %d: resumed: %s %v", book.in, good, r.Status, r.Counts)
				}
			}
		})
	}
	if stopped < 25 {
		t.Errorf("the book failed %d times", stopped)
	}
}

// The same after a restart, after the soak, and where a route is asked of the account first.
func TestAStoreThatFailsLater(t *testing.T) {
	lost := &route.StoreError{Store: "the inventory", Err: errDisk}
	gone := &route.Error{Class: route.Stopped, Op: route.OpAuthenticate, Target: name(0), Err: lost}
	for what, prepare := range map[string]func(*setup){
		"restart": func(s *setup) { s.input.Source.Playbook.Reboot = playbook.RebootIfFixed },
		"soak":    func(s *setup) { s.input.Options.Soak = time.Minute },
		"proof":   func(s *setup) { s.options.Routes["fake"] = prover{s.fleet, lost} },
	} {
		bubble(t, 1, func(t *testing.T, s *setup) {
			prepare(s)
			s.fleet.behave = func(_ *fakeMachine, _ int, r agent.Request) error {
				if r.Mode == agent.Verify {
					return gone
				}
				return nil
			}
			r, err := s.newEngine().Start(t.Context(), s.plan())
			if own := (*route.StoreError)(nil); !errors.As(err, &own) || len(r.Counts) > 0 && what != "soak" || r.Counts[journal.Failed] > 0 {
				t.Errorf("%s: %s %v %v", what, r.Status, r.Counts, err)
			}
		})
	}
}
