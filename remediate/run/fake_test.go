package run_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// fakeRoute is a fleet in memory. Each machine keeps a record by run ID, as the agent does, and counts how often it was
// really changed.
type fakeRoute struct {
	mu       sync.Mutex
	machines map[string]*fakeMachine
	ledger   route.Ledger                                          // asked before each request; may be nil
	behave   func(m *fakeMachine, call int, r agent.Request) error // before the machine acts; may be nil
	alive    func(m *fakeMachine) error                            // may be nil
	latency  time.Duration
	slow     func(*fakeMachine) time.Duration // instead of latency; may be nil
	ended    func(*fakeMachine)               // after it acted; may be nil
	account  func(route.Target) error         // what a machine says to the account, with a ledger
	signed   []string                         // who was signed in to
	calls    []string                         // "PC00001 fix run-id"
	keeps    string                           // the agent that machines keep, by its hash
	told     int                              // requests that said that the machine has kept it
	inside   int
	peak     int
	sites    map[string]int
	sitePeak map[string]int
}

type fakeMachine struct {
	name     string
	affected bool
	failing  bool
	relapse  bool // verify fails from the second time on
	reboots  time.Duration
	blind    bool
	never    bool // announces a restart and never comes back
	lazy     bool // announces a restart and does not do it
	stays    bool // needs no restart
	quick    bool // restarts at once

	booted   time.Time
	downTill time.Time
	downFrom time.Time
	record   map[string]agent.Result
	acted    int // executions of the fix, failed ones too
	changed  int // those that changed something
	undone   int
	calls    int
	verified int
	nonces   map[string]bool
}

func newFleet(n int) *fakeRoute {
	f := &fakeRoute{machines: map[string]*fakeMachine{}, sites: map[string]int{}, sitePeak: map[string]int{}}
	for i := range n {
		f.machines[name(i)] = &fakeMachine{name: name(i), affected: true, record: map[string]agent.Result{}, booted: time.Now().Add(-24 * time.Hour), nonces: map[string]bool{}}
	}
	return f
}

func name(i int) string { return fmt.Sprintf("PC%05d", i) }

func (f *fakeRoute) Name() string { return "fake" }

func (f *fakeRoute) machine(i int) *fakeMachine { return f.machines[name(i)] }

func (m *fakeMachine) up() bool {
	now := time.Now()
	if m.downFrom.IsZero() || now.Before(m.downFrom) {
		return true
	}
	if m.never || now.Before(m.downTill) {
		return false
	}
	m.booted, m.downFrom = m.downTill, time.Time{}
	return true
}

func (m *fakeMachine) uptime() int64 {
	if m.blind {
		return -1
	}
	return int64(time.Since(m.booted).Seconds())
}

func (f *fakeRoute) Alive(ctx context.Context, t route.Target) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[t.Name]
	if f.alive != nil {
		if err := f.alive(m); err != nil {
			return err
		}
	}
	if !m.up() {
		return routeError(route.Unreachable, t.Name, "connect", "no route to host")
	}
	return ctx.Err()
}

// answers asks alive alone: a machine that does not answer is not asked to do anything.
func (f *fakeRoute) answers(t route.Target) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.alive == nil {
		return nil
	}
	return f.alive(f.machines[t.Name])
}

func routeError(class route.Class, target, op, text string) error {
	return &route.Error{Class: class, Op: op, Target: target, Err: errors.New(text)}
}

func (f *fakeRoute) enter(t route.Target, r agent.Request) (*fakeMachine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[t.Name]
	m.calls++
	if m.nonces[r.Nonce] || len(r.Nonce) < 16 {
		panic("a nonce was used twice")
	}
	m.nonces[r.Nonce] = true
	f.calls = append(f.calls, fmt.Sprintf("%s %s %s", t.Name, r.Mode, r.Run))
	f.inside++
	f.peak = max(f.peak, f.inside)
	f.sites[t.Site]++
	f.sitePeak[t.Site] = max(f.sitePeak[t.Site], f.sites[t.Site])
	if !m.up() {
		return m, routeError(route.Unreachable, t.Name, "connect", "no route to host")
	}
	if f.behave != nil {
		return m, f.behave(m, m.calls, r)
	}
	return m, nil
}

// signIn asks the ledger, and lets behave say what the machine makes of the account.
func (f *fakeRoute) signIn(ctx context.Context, t route.Target) error {
	if err := f.Alive(ctx, t); err != nil {
		return err
	}
	judged := func(ctx context.Context, t route.Target, trial route.Trial) error {
		f.mu.Lock()
		f.signed = append(f.signed, t.Name)
		f.mu.Unlock()
		err := f.account(t) // may sleep, and nobody must wait for a mutex in a bubble then
		switch route.ClassOf(err) {
		case "":
			trial.Accepted()
			return nil
		case route.Auth:
		default:
			trial.Unanswered()
			return err
		}
		if no := trial.Refused(ctx); no != nil {
			return &route.Error{Class: route.Auth, Op: "sign in", Target: t.Name, Err: fmt.Errorf("401: %w", no)}
		}
		return routeError(route.Denied, t.Name, "sign in", "401 from this one alone")
	}
	trial, err := f.ledger.Try(ctx, route.Account{Name: "ada", Domain: t.Site, Home: t.Site == ""}, t, func(ctx context.Context, t route.Target, begin func(string) (route.Trial, error)) error {
		if err := f.Alive(ctx, t); err != nil {
			return err
		}
		trial, err := begin(t.Site)
		if err != nil {
			return err
		}
		return judged(ctx, t, trial)
	})
	if err != nil {
		return &route.Error{Class: route.Stopped, Op: "sign in", Target: t.Name, Err: err}
	}
	return judged(ctx, t, trial)
}

func (f *fakeRoute) Do(ctx context.Context, t route.Target, r agent.Request) (agent.Result, error) {
	if f.ledger != nil {
		if err := f.signIn(ctx, t); err != nil {
			return agent.Result{}, err
		}
	}
	if f.ledger == nil {
		if err := f.answers(t); err != nil {
			return agent.Result{}, err
		}
	}
	m, err := f.enter(t, r)
	defer func() {
		f.mu.Lock()
		f.inside--
		f.sites[t.Site]--
		f.mu.Unlock()
	}()
	if err != nil && route.ClassOf(err).NothingRan() {
		return agent.Result{}, err
	}
	latency := f.latency
	if f.slow != nil {
		f.mu.Lock()
		latency = f.slow(m)
		f.mu.Unlock()
	}
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
			f.act(m, r) // the script goes on without us
			return agent.Result{}, routeError(route.Unknown, t.Name, "receive", "interrupted")
		}
	}
	result := f.act(m, r)
	return result, err
}

func (f *fakeRoute) act(m *fakeMachine, r agent.Request) agent.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		defer f.ended(m)
	}
	result := agent.Result{Run: r.Run, Uptime: m.uptime(), Kept: f.keeps}
	if r.Kept {
		f.told++
	}
	switch r.Mode {
	case agent.Detect:
		result.Outcome = agent.Clean
		if m.affected {
			result.Outcome = agent.Affected
		}
	case agent.Verify:
		m.verified++
		result.Outcome = agent.Fixed
		if m.affected || m.relapse {
			result.Outcome, result.Message = agent.Failed, "the file is there again"
		}
	case agent.Fix:
		if old, ok := m.record[r.Run]; ok {
			old.Repeated, old.Uptime, old.Reboot = true, result.Uptime, ""
			return old
		}
		m.acted++
		switch {
		case m.failing:
			result.Outcome, result.Message = agent.Failed, "access to\nthe file is denied"
		case !m.affected:
			m.acted--
			result.Outcome = agent.Clean
			return result
		default:
			m.changed++
			m.affected = false
			result.Outcome, result.Changed = agent.Fixed, 1
			result.Record = "of " + m.name + " in " + r.Run
			result.Steps = []agent.StepDone{{Action: "quarantine", Target: `C:\bad.sys`, Changed: 1}}
			if r.Playbook.Reboot == playbook.RebootIfFixed && !m.stays {
				result.Reboot = "scheduled"
				if !m.lazy {
					m.downFrom = time.Now().Add(10 * time.Second)
					if m.quick {
						m.downFrom = time.Now()
					}
					m.downTill = m.downFrom.Add(m.reboots)
				}
			}
		}
		m.record[r.Run] = result
	case agent.Undo:
		result.Outcome = agent.Undone
		old, ok := m.record[r.Run]
		if ok && r.Record != old.Record {
			result.Outcome, result.Message = agent.Failed, "the records are not those of the fix"
			break
		}
		if ok && old.Changed > 0 && !m.affected {
			m.undone++
			m.affected = true
			result.Changed = 1
		}
	}
	return result
}

func (f *fakeRoute) count(prefix string) int {
	n := 0
	for _, c := range f.calls {
		if len(c) >= len(prefix) && c[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

func TestMain(m *testing.M) {
	if child() {
		return
	}
	leaktest.Main(m)
}

type setup struct {
	t       *testing.T
	journal *journal.Journal
	fleet   *fakeRoute
	input   plan.Input
	options run.Options
	engine  *run.Engine
}

// newSetup makes a fleet of n affected machines, one wave, and rules that tests then change.
func newSetup(t *testing.T, n int, options ...journal.Option) *setup {
	t.Helper()
	j, err := journal.Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"), options...)
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{t: t, journal: j, fleet: newFleet(n)}
	s.input = plan.Input{Now: time.Now(), Operator: "ada", Options: plan.DefaultOptions()}
	s.input.Source.Playbook.Name = "test-playbook"
	s.input.Options.MaxFail = plan.Limit{}
	for i := range n {
		s.input.Entries = append(s.input.Entries, plan.Entry{Target: route.Target{ID: fmt.Sprint("id", i), Name: name(i)}, Route: "fake"})
	}
	s.options = run.Options{Journal: j, Routes: map[string]route.Route{"fake": s.fleet}}
	return s
}

func (s *setup) waves(spec string) {
	s.t.Helper()
	sizes, err := plan.ParseWaves(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.input.Waves = sizes
}

func (s *setup) plan() *plan.Plan {
	s.t.Helper()
	p, err := plan.New(s.input)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *setup) newEngine() *run.Engine {
	s.t.Helper()
	e, err := run.New(s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	s.engine = e
	return e
}

func (s *setup) start(ctx context.Context) *journal.Run {
	s.t.Helper()
	r, err := s.newEngine().Start(ctx, s.plan())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *setup) close() {
	if err := s.journal.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *setup) machines(id string) []journal.Machine {
	s.t.Helper()
	m, err := s.journal.Machines(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// wantCounts compares outcomes, given as pairs of outcome and number, and that they are all.
func (s *setup) wantCounts(r *journal.Run, status journal.Status, pairs ...any) {
	s.t.Helper()
	want := map[journal.Outcome]int{}
	for i := 0; i < len(pairs); i += 2 {
		want[pairs[i].(journal.Outcome)] = pairs[i+1].(int)
	}
	if fmt.Sprint(r.Counts) != fmt.Sprint(want) || r.Status != status {
		s.t.Errorf("%s (%s) %v, want %s %v", r.Status, r.Reason, r.Counts, status, want)
		for i, m := range s.machines(r.ID) {
			if i < 12 {
				s.t.Logf("%s %s %s %s", m.Target.Name, m.State, m.Outcome, m.Reason)
			}
		}
	}
}
