package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// The child of the kill test is this test binary with these variables set.
const (
	childJournal = "FLEETMEND_TEST_JOURNAL"
	childFleet   = "FLEETMEND_TEST_FLEET" // address of the fleet, which lives in the parent
	childPlan    = "FLEETMEND_TEST_PLAN"  // a plan file to start; empty: resume the newest run
)

// child runs an engine when this process is to be killed, and reports whether it was.
func child() bool {
	path := os.Getenv(childJournal)
	if path == "" {
		return false
	}
	if err := childRun(context.Background(), path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func childRun(ctx context.Context, path string) error {
	j, err := journal.Open(ctx, path)
	if err != nil {
		return err
	}
	e, err := run.New(run.Options{Journal: j, Routes: map[string]route.Route{"fake": remoteFleet(os.Getenv(childFleet))}})
	if err != nil {
		return err
	}
	if file := os.Getenv(childPlan); file != "" {
		p, err := plan.Load(file, time.Now())
		if err != nil {
			return err
		}
		_, err = e.Start(ctx, p)
		return errors.Join(err, j.Close())
	}
	id, err := j.Resolve(ctx, "last")
	if err != nil {
		return err
	}
	_, err = e.Resume(ctx, id)
	return errors.Join(err, j.Close())
}

// question and response are the protocol between the engine in the child and the fleet in the parent.
type question struct {
	Target  route.Target
	Request *agent.Request // nil: are you alive?
}

type response struct {
	Result agent.Result
	Class  route.Class
	Text   string
}

type remoteFleet string

func (r remoteFleet) Name() string { return "fake" }

func (r remoteFleet) ask(ctx context.Context, q question) (agent.Result, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", string(r))
	if err != nil {
		return agent.Result{}, routeError(route.Unreachable, q.Target.Name, "connect", err.Error())
	}
	defer conn.Close()
	var a response
	if err := errors.Join(json.NewEncoder(conn).Encode(q), json.NewDecoder(conn).Decode(&a)); err != nil {
		return agent.Result{}, routeError(route.Unknown, q.Target.Name, "receive", err.Error())
	}
	if a.Class != "" {
		return agent.Result{}, routeError(a.Class, q.Target.Name, "ask", a.Text)
	}
	return a.Result, nil
}

func (r remoteFleet) Do(ctx context.Context, t route.Target, request agent.Request) (agent.Result, error) {
	return r.ask(ctx, question{t, &request})
}

func (r remoteFleet) Alive(ctx context.Context, t route.Target) error {
	_, err := r.ask(ctx, question{Target: t})
	return err
}

// serve answers for the fleet until the listener is closed. What a machine was asked it does, also when the one who
// asked is dead by then.
func serve(f *fakeRoute, l net.Listener) (wait func()) {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				var q question
				if json.NewDecoder(conn).Decode(&q) != nil {
					return
				}
				var a response
				var err error
				if q.Request == nil {
					err = f.Alive(context.Background(), q.Target)
				} else {
					a.Result, err = f.Do(context.Background(), q.Target, *q.Request)
				}
				if err != nil {
					a.Class, a.Text = route.ClassOf(err), err.Error()
				}
				_ = json.NewEncoder(conn).Encode(a) //nolint:errcheck // the child may be dead
			})
		}
	})
	return all.Wait
}

// Twenty times the engine's process is killed without warning at a random moment, and resumed. In the end every machine
// has the outcome it would have had anyway, and none was changed twice.
func TestKilledTwentyTimes(t *testing.T) {
	const machines, kills = 300, 20
	s := newSetup(t, machines)
	defer s.close()
	s.waves("1,10,50%,100%")
	s.input.Options.Forks = 12
	s.input.Source.Playbook.Reboot, s.input.Source.Playbook.Detect = playbook.RebootIfFixed, []playbook.Condition{{File: `C:\x`}}
	s.input.Incident = "kills"
	s.fleet.latency = 60 * time.Millisecond
	want := map[string]journal.Outcome{}
	for i := range machines {
		m := s.fleet.machine(i)
		m.stays, m.quick, m.reboots = i%23 != 0, true, 20*time.Millisecond
		want[m.name] = journal.Fixed
		switch {
		case i%5 == 1:
			m.affected = false
			want[m.name] = journal.Clean
		case i%17 == 2:
			m.failing = true
			want[m.name] = journal.Failed
		}
	}
	// The fleet answers so many requests in each life at the most: however fast the computer, the run lasts for all kills.
	const perLife = 15
	var allowed atomic.Int64
	allowed.Store(perLife)
	asked := int64(0)
	s.fleet.behave = func(m *fakeMachine, call int, _ agent.Request) error { // the network is bad, too
		for asked++; asked > allowed.Load(); {
			time.Sleep(2 * time.Millisecond)
		}
		switch {
		case call == 1 && m.name[6] == '3':
			return routeError(route.Unknown, m.name, "receive", "reset")
		case call == 1 && m.name[6] == '4':
			return routeError(route.Busy, m.name, "create", "quota")
		}
		return nil
	}
	s.input.Options.Backoff = 20 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wait := serve(s.fleet, l)
	defer func() { _ = l.Close(); wait() }()

	dir := t.TempDir()
	file, path := filepath.Join(dir, "plan.json"), filepath.Join(dir, "journal.db")
	if err := s.plan().Save(file); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	killed, began := 0, time.Now()
	for life := 0; ; life++ {
		if life > 0 {
			file = ""
		}
		limit := time.Minute
		if killed < kills {
			limit = time.Duration(80+rand.IntN(150)) * time.Millisecond //nolint:gosec // a moment, not a secret
		}
		dead := life1(t, limit, path, l.Addr().String(), file)
		if runs, err := j.Runs(t.Context()); err != nil || len(runs) > 1 {
			t.Fatalf("runs after life %d: %v %v", life, runs, err)
		} else if len(runs) == 0 {
			file = filepath.Join(dir, "plan.json")
			life = -1 // killed before the run was recorded: nothing has begun
		}
		sameCases(t, j)
		if !dead {
			break
		}
		if killed++; killed < kills {
			allowed.Add(perLife)
		} else {
			allowed.Store(math.MaxInt64)
		}
	}
	t.Logf("killed %d times in %s", killed, time.Since(began).Round(time.Millisecond))
	if killed < kills {
		t.Errorf("the run ended after %d kills already: too fast for this test", killed)
	}
	runs, err := j.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Status != journal.RunDone {
		t.Fatalf("%+v %v", runs, err)
	}
	rows, err := j.Machines(t.Context(), runs[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	cases, _, err := j.Cases(t.Context(), "kills", 0)
	if err != nil || len(cases) != machines {
		t.Fatalf("%d cases of %d machines, %v", len(cases), machines, err)
	}
	answers := map[string]journal.Outcome{}
	for _, c := range cases {
		answers[c.Machine] = c.Answer.Word
	}
	restarted := 0
	for _, row := range rows {
		m := s.fleet.machines[row.Target.Name]
		if row.Outcome != want[m.name] {
			t.Errorf("%s: %s (%s), want %s", m.name, row.Outcome, row.Reason, want[m.name])
		}
		if answers[row.Target.ID] != row.Outcome {
			t.Errorf("%s: its case says %q, its run %s", m.name, answers[row.Target.ID], row.Outcome)
		}
		acted := 1
		if want[m.name] == journal.Clean {
			acted = 0
		}
		if m.acted != acted {
			t.Errorf("%s: the fix was executed %d times, want %d", m.name, m.acted, acted)
		}
		if row.Rebooted {
			restarted++
		}
	}
	if restarted < 8 {
		t.Errorf("%d machines are known to have restarted", restarted)
	}
}

// sameCases demands that the cases are what a rebuild makes of the runs, and those of the list, with the digest of a life before.
func sameCases(t *testing.T, j *journal.Journal) {
	t.Helper()
	before, _, err := j.Cases(t.Context(), "kills", 0)
	if err != nil {
		t.Fatal(err)
	}
	list, err := j.CaseList(t.Context(), "kills")
	if err != nil || list.Len() != len(before) {
		t.Fatalf("%d cases, %d in the list, %v", len(before), list.Len(), err)
	}
	for _, want := range before {
		if got, ok := list.Case(want.Machine); !ok || got != want {
			t.Fatalf("the list has %+v, want %+v", got, want)
		}
	}
	if err := j.RebuildCases(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, _, err := j.Cases(t.Context(), "kills", 0)
	if err != nil || !slices.Equal(before, after) {
		t.Fatalf("the cases differ from their rebuild (%v):\n%+v\n%+v", err, before, after)
	}
	if _, err := j.CaseList(t.Context(), "kills"); err != nil { // makes the digest that the next life begins with
		t.Fatal(err)
	}
}

// life1 runs one life of the child and kills it after limit; it reports whether it had to.
func life1(t *testing.T, limit time.Duration, path, fleet, file string) (dead bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	c := exec.Command(self)
	c.Env = append(os.Environ(), childJournal+"="+path, childFleet+"="+fleet, childPlan+"="+file)
	c.Stdout, c.Stderr = io.Discard, &output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("the engine ended with %v: %s", err, output.String())
		}
		return false
	case <-timer.C:
		if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		return <-ended != nil
	}
}
