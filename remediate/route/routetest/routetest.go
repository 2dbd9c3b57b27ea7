// Package routetest is the suite that every route must pass: what the run engine relies on, whatever the transport.
//
// A route's test provides a [Harness] that brings up machines with the troubles named here and calls [Suite]. The
// package knows no transport and opens no connection.
package routetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Harness brings up machines for one route.
type Harness interface {
	// Stages are the moments at which a machine of this harness can have a trouble, in their order.
	Stages() []Stage
	// Start brings up a machine until the test ends, and returns it with a route that reaches it. All machines of one
	// test may share a route.
	Start(t testing.TB, m Machine) (route.Route, route.Target)
	// Open is the number of connections that all machines together hold open now.
	Open() int
}

// Stage is a moment of a request.
type Stage struct {
	Name    string
	Started bool // the request may have started on the machine
}

// Trouble is what is wrong with a machine.
type Trouble string

// The troubles. Hang, Drop and Garbage happen at Machine.Stage; Hang ends when the connection does.
const (
	None    Trouble = ""
	Dead    Trouble = "dead"    // nothing listens
	Hang    Trouble = "hang"    // it takes the request and never answers
	Drop    Trouble = "drop"    // it takes the request and closes the connection
	Garbage Trouble = "garbage" // it answers with something else
	Foreign Trouble = "foreign" // its result bears another request's nonce
	Silent  Trouble = "silent"  // the command ends well without a result
	Flood   Trouble = "flood"   // it writes without end, and no result
)

// Machine is what Start is to bring up.
type Machine struct {
	Agent   func(agent.Request) agent.Result // what the agent answers; must be safe for concurrent use
	Trouble Trouble
	Stage   string
	Reached func() // called when the trouble is reached, if not nil
}

// patience is how long anything in this suite may take that should be immediate: much, for a loaded computer.
const patience = 2 * time.Minute

// Suite runs all tests against h.
func Suite(t *testing.T, h Harness) {
	t.Run("outcomes", func(t *testing.T) { outcomes(t, h) })
	t.Run("repeated run", func(t *testing.T) { repeated(t, h) })
	t.Run("foreign nonce", func(t *testing.T) { withoutResult(t, h, Foreign, route.Unknown) })
	t.Run("no result", func(t *testing.T) { withoutResult(t, h, Silent, route.Unknown) })
	t.Run("flood", func(t *testing.T) { withoutResult(t, h, Flood, route.Overflow) })
	t.Run("dead", func(t *testing.T) { dead(t, h) })
	t.Run("ended before the start", func(t *testing.T) { endedBefore(t, h) })
	for _, stage := range h.Stages() {
		t.Run("cancel at "+stage.Name, func(t *testing.T) { cancelled(t, h, stage) })
		t.Run("drop at "+stage.Name, func(t *testing.T) { broken(t, h, stage, Drop) })
		t.Run("garbage at "+stage.Name, func(t *testing.T) { broken(t, h, stage, Garbage) })
	}
	t.Run("many", func(t *testing.T) { many(t, h) })
	t.Run("alive", func(t *testing.T) { alive(t, h) })
}

// Request is a valid request with a fresh nonce.
func Request(run string, mode agent.Mode) agent.Request {
	return agent.Request{Run: run, Nonce: agent.Nonce(), Mode: mode, Playbook: playbook.Playbook{
		Name: "routetest",
		Fix:  []playbook.Action{{Service: &playbook.StartChange{Name: "Söme & <service>", Start: "disabled"}}},
	}}
}

// guard fails the test when goroutines or connections are left after it. It must be called before Start.
func guard(t *testing.T, h Harness) {
	leaktest.Check(t)
}

// allClosed waits until the machines have noticed that every connection is gone.
func allClosed(t *testing.T, h Harness) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); h.Open() > 0; {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d connections are still open", h.Open())
		}
	}
}

func answer(outcome string) func(agent.Request) agent.Result {
	return func(r agent.Request) agent.Result { return agent.Result{Run: r.Run, Outcome: outcome, Uptime: -1} }
}

func outcomes(t *testing.T, h Harness) {
	guard(t, h)
	for mode, outcome := range map[agent.Mode]string{
		agent.Detect: agent.Affected, agent.Fix: agent.Fixed, agent.Verify: agent.Failed, agent.Undo: agent.Undone,
	} {
		var got agent.Request
		want := agent.Result{Run: "run-1", Outcome: outcome, Changed: 3, Message: "größer & <kleiner>\n2nd line", Reboot: "scheduled",
			Uptime: 42, PS: "5.1", Language: "ConstrainedLanguage",
			Steps: []agent.StepDone{{Action: "quarantine", Target: `C:\Windows\ü.sys`, Changed: 3, Note: "]]>"}}}
		r, target := h.Start(t, Machine{Agent: func(q agent.Request) agent.Result { got = q; return want }})
		request := Request("run-1", mode)
		result, err := r.Do(t.Context(), target, request)
		if err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if diff := cmp.Diff(want, result); diff != "" {
			t.Errorf("%s: the result changed on the way (-want +got):\n%s", mode, diff)
		}
		if diff := cmp.Diff(request.Needed(), got); diff != "" {
			t.Errorf("%s: the request changed on the way (-sent +received):\n%s", mode, diff)
		}
	}
	allClosed(t, h)
}

func repeated(t *testing.T, h Harness) {
	guard(t, h)
	var mu sync.Mutex
	done := map[string]bool{}
	r, target := h.Start(t, Machine{Agent: func(q agent.Request) agent.Result {
		mu.Lock()
		defer mu.Unlock()
		again := done[q.Run]
		done[q.Run] = true
		return agent.Result{Run: q.Run, Outcome: agent.Fixed, Repeated: again}
	}})
	for i, want := range []bool{false, true, true} {
		result, err := r.Do(t.Context(), target, Request("same", agent.Fix))
		if err != nil || result.Repeated != want {
			t.Errorf("time %d: repeated %v, %v; want %v", i+1, result.Repeated, err, want)
		}
	}
	allClosed(t, h)
}

func withoutResult(t *testing.T, h Harness, trouble Trouble, class route.Class) {
	guard(t, h)
	r, target := h.Start(t, Machine{Agent: answer(agent.Fixed), Trouble: trouble})
	_, err := r.Do(t.Context(), target, Request("run", agent.Fix))
	wantClass(t, err, target, class)
	if len(hint.Of(err)) == 0 {
		t.Errorf("no hint on %v", err)
	}
	allClosed(t, h)
}

func dead(t *testing.T, h Harness) {
	guard(t, h)
	r, target := h.Start(t, Machine{Trouble: Dead})
	_, err := r.Do(t.Context(), target, Request("run", agent.Fix))
	wantClass(t, err, target, route.Unreachable)
	wantClass(t, r.Alive(t.Context(), target), target, route.Unreachable)
}

func endedBefore(t *testing.T, h Harness) {
	guard(t, h)
	asked := false
	r, target := h.Start(t, Machine{Agent: func(q agent.Request) agent.Result { asked = true; return answer(agent.Fixed)(q) }})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Do(ctx, target, Request("run", agent.Fix))
	wantClass(t, err, target, route.Stopped)
	if asked {
		t.Error("the machine was asked although ctx had ended")
	}
	allClosed(t, h)
}

func cancelled(t *testing.T, h Harness, stage Stage) {
	guard(t, h)
	reached := make(chan struct{})
	var once sync.Once
	r, target := h.Start(t, Machine{Agent: answer(agent.Fixed), Trouble: Hang, Stage: stage.Name,
		Reached: func() { once.Do(func() { close(reached) }) }})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := r.Do(ctx, target, Request("run", agent.Fix))
		failed <- err
	}()
	wait(t, reached)
	cancel()
	select {
	case err := <-failed:
		if stage.Started {
			wantClass(t, err, target, route.Unknown)
		} else {
			wantClass(t, err, target, route.Stopped)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not wrap the reason of ctx", err)
		}
	case <-time.After(patience):
		t.Fatal("Do did not return after its ctx ended")
	}
	allClosed(t, h)
}

func broken(t *testing.T, h Harness, stage Stage, trouble Trouble) {
	guard(t, h)
	r, target := h.Start(t, Machine{Agent: answer(agent.Fixed), Trouble: trouble, Stage: stage.Name})
	_, err := r.Do(t.Context(), target, Request("run", agent.Fix))
	if class := route.ClassOf(err); class.NothingRan() == stage.Started {
		t.Errorf("class %q, but started is %v: %v", class, stage.Started, err)
	}
	if trouble == Drop && !stage.Started {
		wantClass(t, err, target, route.Unreachable)
	}
	allClosed(t, h)
}

func many(t *testing.T, h Harness) {
	guard(t, h)
	const machines = 50
	failures := make([]error, machines)
	var group sync.WaitGroup
	for i := range machines {
		run := fmt.Sprintf("run-%d", i)
		r, target := h.Start(t, Machine{Agent: func(q agent.Request) agent.Result {
			return agent.Result{Run: q.Run, Outcome: agent.Fixed, Message: run}
		}})
		group.Go(func() {
			result, err := r.Do(t.Context(), target, Request(run, agent.Fix))
			if err == nil && (result.Message != run || result.Run != run) {
				err = fmt.Errorf("got the answer of %q for %q", result.Message, run)
			}
			failures[i] = err
		})
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Error(err)
	}
	allClosed(t, h)
}

func alive(t *testing.T, h Harness) {
	guard(t, h)
	asked := false
	r, target := h.Start(t, Machine{Agent: func(q agent.Request) agent.Result { asked = true; return answer(agent.Fixed)(q) }})
	if err := r.Alive(t.Context(), target); err != nil {
		t.Errorf("alive: %v", err)
	}
	if asked {
		t.Error("Alive made the agent run")
	}
	allClosed(t, h)
}

func wait(t *testing.T, reached <-chan struct{}) {
	t.Helper()
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("the machine was never asked")
	}
}

func wantClass(t *testing.T, err error, target route.Target, want route.Class) {
	t.Helper()
	e, ok := errors.AsType[*route.Error](err)
	if !ok {
		t.Fatalf("%v is no *route.Error", err)
	}
	if e.Class != want || e.Target != target.Name || e.Op == "" {
		t.Errorf("class %q, target %q, op %q; want class %q, target %q: %v", e.Class, e.Target, e.Op, want, target.Name, err)
	}
}
