package errand_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run/errand"
)

// paper is what an errand writes down; full refuses a line.
type paper struct {
	lines []string
	full  string
}

func (p *paper) write(line string) error {
	if line == p.full {
		return errors.New("the disk is full")
	}
	p.lines = append(p.lines, line)
	return nil
}

func (p *paper) Begin(attempt int) error { return p.write(fmt.Sprint("begin ", attempt)) }
func (p *paper) BackOff(class route.Class, _ string) error {
	return p.write("back off " + string(class))
}
func (p *paper) Restart(agent.Result) error { return p.write("restart") }
func (p *paper) Step(s route.Step) error    { return p.write(s.ID + " " + string(s.State)) }

// way is a durable route that does what a test says.
type way struct {
	carry func(log route.Log) error
	calls []string
}

func (*way) Name() string                              { return "way" }
func (*way) Limits() route.Limits                      { return route.Limits{} }
func (*way) Alive(context.Context, route.Target) error { panic("it is dead, and nobody asks") }
func (*way) Do(context.Context, route.Target, agent.Request) (agent.Result, error) {
	panic("it is carried")
}

func (w *way) Carry(_ context.Context, t route.Target, q agent.Request, log route.Log) (agent.Result, error) {
	if err := w.carry(log); err != nil {
		return agent.Result{}, err
	}
	return agent.Result{Run: q.Run, Outcome: agent.Fixed, Uptime: -1}, nil
}

// takes plans a step, makes its call and settles it.
func (w *way) takes(log route.Log, id string, finishing bool) error {
	if err := log.Plan(route.Step{ID: id, Act: route.Change, Finishing: finishing}); err != nil {
		return err
	}
	w.calls = append(w.calls, id)
	return log.Settle(id, route.StepDone, "")
}

func failed(class route.Class, err error) error {
	return &route.Error{Class: class, Op: "swap", Target: "PC", Err: err}
}

func crew(w *way, halted chan struct{}) *errand.Crew {
	rules := plan.DefaultOptions()
	return &errand.Crew{Run: "run-1", Mode: agent.Fix, Playbook: &playbook.Playbook{}, Rules: &rules, Routes: map[string]route.Route{"way": w},
		Rand: func() float64 { return 0 }, Halted: halted, Barred: make(chan struct{})}
}

var entry = &plan.Entry{Target: route.Target{ID: "1", Name: "PC"}, Route: "way"}

// Nothing is called that could not be written down, and then the errand says so.
func TestNothingIsCalledThatCannotBeWrittenDown(t *testing.T) {
	for full, want := range map[string][]string{"begin 1": nil, "a planned": nil, "a done": {"a"}, "b planned": {"a"}} {
		w, p := &way{}, &paper{full: full}
		w.carry = func(log route.Log) error {
			if err := w.takes(log, "a", false); err != nil {
				return failed(route.Unknown, err)
			}
			if err := w.takes(log, "b", false); err != nil {
				return failed(route.Unknown, err)
			}
			return nil
		}
		if v := crew(w, nil).Errand(errand.Order{Entry: entry}, p).Turn(t.Context(), false); v.What != errand.Broken || v.Err == nil || !slices.Equal(w.calls, want) {
			t.Errorf("%s: %+v, called %v", full, v, w.calls)
		}
	}
}

// A dead machine is not looked for, also when that is asked.
func TestADeadMachineIsNotLookedFor(t *testing.T) {
	w := &way{carry: func(route.Log) error { return nil }}
	e := crew(w, nil).Errand(errand.Order{Entry: entry}, &paper{})
	if v := e.Turn(t.Context(), true); v.What != errand.Found {
		t.Errorf("%+v", v)
	}
}

// Whether a machine was touched is what its steps say, whatever the class of the error says: with a step that stands it is asked on and
// is unknown in the end, without one nothing ran.
func TestStepsSayWhetherAMachineWasTouched(t *testing.T) {
	for _, c := range []struct {
		name  string
		class route.Class
		steps func(w *way, log route.Log)
		want  outcome.Outcome
		again bool
	}{
		{"refused, gone back", route.Refused, func(w *way, log route.Log) { _ = w.takes(log, "a", false); _ = log.Settle("a", route.StepGone, "") }, outcome.Unreachable, false},
		{"refused, a step failed", route.Refused, func(_ *way, log route.Log) {
			_ = log.Plan(route.Step{ID: "a"})
			_ = log.Settle("a", route.StepFailed, "")
		}, outcome.Unreachable, false},
		{"refused, a step stands", route.Refused, func(w *way, log route.Log) { _ = w.takes(log, "a", false) }, outcome.Unknown, false},
		{"refused, a step planned", route.Refused, func(_ *way, log route.Log) { _ = log.Plan(route.Step{ID: "a"}) }, outcome.Unknown, false},
		{"busy, gone back", route.Busy, func(*way, route.Log) {}, "", false},
		{"busy, a step stands", route.Busy, func(w *way, log route.Log) { _ = w.takes(log, "a", false) }, "", true},
	} {
		w, p := &way{}, &paper{}
		w.carry = func(log route.Log) error {
			c.steps(w, log)
			return failed(c.class, errors.New("no"))
		}
		e := crew(w, nil).Errand(errand.Order{Entry: entry, Running: true, Attempts: 1}, p)
		v := e.Turn(t.Context(), false)
		if v.End.Outcome != c.want || (c.want == "") != (v.What == errand.Again) || e.Touched() != (c.again || c.want == outcome.Unknown) || slices.Contains(p.lines, "back off busy") == (c.again || c.want != "") {
			t.Errorf("%s: %+v, touched %v, %q", c.name, v, e.Touched(), p.lines)
		}
	}
}

// When the run stops, nothing new is planned; one that has gone back was not started, one that could not is over, and not asked for ever.
func TestWhenTheRunStopsNoStepIsBegun(t *testing.T) {
	for _, back := range []bool{true, false} {
		halted := make(chan struct{})
		w, p := &way{}, &paper{}
		w.carry = func(log route.Log) error {
			_ = w.takes(log, "stop", false)
			close(halted)
			err := w.takes(log, "swap", false)
			if !errors.Is(err, route.ErrHalted) {
				t.Errorf("planned: %v", err)
			}
			if err := w.takes(log, "start", true); err != nil {
				t.Errorf("what only brings to an end what was begun: %v", err)
			}
			if back {
				_ = log.Settle("stop", route.StepGone, "")
				_ = log.Settle("start", route.StepGone, "")
			}
			return failed(route.Stopped, err)
		}
		e := crew(w, halted).Errand(errand.Order{Entry: entry}, p)
		v := e.Turn(t.Context(), false)
		if back && (v.What != errand.NotStarted || e.Begun()) || !back && (v.What != errand.Ended || v.End.Outcome != outcome.Unknown) || slices.Contains(w.calls, "swap") {
			t.Errorf("back %v: %+v, called %v", back, v, w.calls)
		}
	}
}

// What machines share has a log of its own, which is its own run's.
func TestWhatMachinesShare(t *testing.T) {
	w, p, shared := &way{}, &paper{}, &paper{}
	w.carry = func(log route.Log) error {
		if run := log.Run(); run.Run() != run || len(run.Steps()) != 1 {
			t.Errorf("%+v", run.Steps())
		}
		if err := log.Settle("helper", route.StepDone, ""); !errors.Is(err, route.ErrNoStep) {
			t.Error(err)
		}
		return log.Run().Settle("helper", route.StepDone, "up")
	}
	c := crew(w, nil)
	c.Shared = errand.NewSteps([]route.Step{{ID: "helper", State: route.StepPlanned}}, nil, shared.Step)
	if v := c.Errand(errand.Order{Entry: entry}, p).Turn(t.Context(), false); v.End.Outcome != outcome.Fixed || !slices.Equal(shared.lines, []string{"helper done"}) || len(p.lines) != 1 {
		t.Errorf("%+v %q %q", v, shared.lines, p.lines)
	}
	if s := c.Shared.Steps(); s[0].Note != "up" || s[0].At.IsZero() {
		t.Errorf("%+v", s)
	}
}
