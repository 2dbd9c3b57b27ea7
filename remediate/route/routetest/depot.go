package routetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Depot is a durable route with its far end in memory: a machine that is dead gets a mended copy of its disk. It does what a real
// one has to do, without a cloud, for tests of whatever carries routes. It is safe for concurrent use.
type Depot struct {
	Pause func(ctx context.Context, step string) // a call takes that long; nil: no time

	mu       sync.Mutex
	machines map[string]*bed
	asked    int // Alive
}

// bed is a machine of a depot.
type bed struct {
	on     bool
	disk   string
	mended map[string]bool   // disks
	things map[string]string // what was made, and of what
	calls  map[string]int
	fail   map[string]Failure
}

var (
	_ route.Durable = (*Depot)(nil)
	_ route.Cleaner = (*Depot)(nil)

	errCut     = errors.New("the connection was cut")
	errRefused = errors.New("the far end refuses it")
)

func (d *Depot) bed(name string) *bed {
	if d.machines == nil {
		d.machines = map[string]*bed{}
	}
	if d.machines[name] == nil {
		d.machines[name] = &bed{on: true, disk: "old", mended: map[string]bool{}, things: map[string]string{}, calls: map[string]int{}, fail: map[string]Failure{}}
	}
	return d.machines[name]
}

// Fail makes the next call of a step of a machine fail, once.
func (d *Depot) Fail(machine, step string, how Failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bed(machine).fail[step] = how
}

// Calls are the calls for a machine that did something, by the ID of their step.
func (d *Depot) Calls(machine string) map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.bed(machine).calls)
}

// Dump is all that there is of a machine.
func (d *Depot) Dump(machine string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.bed(machine)
	lines := []string{fmt.Sprintf("on %v, disk %s, mended %v", b.on, b.disk, b.mended[b.disk])}
	for _, name := range slices.Sorted(maps.Keys(b.things)) {
		lines = append(lines, name+" of "+b.things[name])
	}
	return strings.Join(lines, "\n")
}

// Asked is how often it was asked whether a machine is there.
func (d *Depot) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Name implements [route.Route].
func (*Depot) Name() string { return "depot" }

// Limits implements [route.Durable].
func (*Depot) Limits() route.Limits { return route.Limits{} }

// Alive implements [route.Route].
func (d *Depot) Alive(_ context.Context, t route.Target) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if b := d.bed(t.Name); !b.on || !b.mended[b.disk] {
		return &route.Error{Class: route.Unreachable, Op: "connect", Target: t.Name, Err: errors.New("it does not start")}
	}
	return nil
}

// Do implements [route.Route]: what takes no step is done, a fix is carried.
func (d *Depot) Do(ctx context.Context, t route.Target, q agent.Request) (agent.Result, error) {
	if q.Mode == agent.Fix {
		return agent.Result{}, refused(t.Name, "fix", errors.New("a fix has to be carried"))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.bed(t.Name)
	result := agent.Result{Run: q.Run, Outcome: agent.Affected, Uptime: -1}
	switch mended := b.mended[b.disk]; {
	case q.Mode == agent.Verify && mended && b.on:
		result.Outcome = agent.Fixed
	case q.Mode == agent.Verify:
		result.Outcome = agent.Failed
	case mended:
		result.Outcome = agent.Clean
	}
	return result, ctx.Err()
}

// step is one call of a repair.
type step struct {
	route.Step
	there func(b *bed) bool // the far end: it was done
	do    func(b *bed)
	undo  func(b *bed)
}

// repair is what is done with a machine, in this order. Up to the swap everything can be taken back.
func repair(machine string) []step {
	thing := func(id, of string) step {
		return step{route.Step{ID: id, On: machine + "/" + id, Act: route.Make},
			func(b *bed) bool { return b.things[id] != "" }, func(b *bed) { b.things[id] = of }, func(b *bed) { delete(b.things, id) }}
	}
	stop := step{route.Step{ID: "stop", On: machine, Act: route.Change, Was: "on", Now: "off"},
		func(b *bed) bool { return !b.on }, func(b *bed) { b.on = false }, func(b *bed) { b.on = true }}
	swap := step{route.Step{ID: "swap", On: machine, Act: route.Change, Was: "old", Now: "copy", Keep: true},
		func(b *bed) bool { return b.disk == "copy" }, func(b *bed) { b.disk, b.mended["copy"] = "copy", true }, nil}
	start := step{route.Step{ID: "start", On: machine, Act: route.Change, Was: "off", Now: "on", Finishing: true},
		func(b *bed) bool { return b.on }, func(b *bed) { b.on = true }, nil}
	tidy := step{route.Step{ID: "clear", On: machine + "/snapshot", Act: route.Remove, Finishing: true},
		func(b *bed) bool { return b.things["snapshot"] == "" }, func(b *bed) { delete(b.things, "snapshot") }, nil}
	copied := thing("copy", "snapshot")
	copied.Keep = true
	return []step{stop, thing("snapshot", "old"), copied, thing("command", "copy"), swap, start, tidy}
}

// Carry implements [route.Durable].
func (d *Depot) Carry(ctx context.Context, t route.Target, q agent.Request, log route.Log) (agent.Result, error) {
	if q.Mode != agent.Fix {
		return d.Do(ctx, t, q)
	}
	steps := repair(t.Name)
	for i, s := range steps {
		err := d.take(ctx, t.Name, s, log)
		switch {
		case err == nil:
		case errors.Is(err, route.ErrHalted), errors.Is(err, errRefused) && s.undo != nil, errors.Is(err, errRefused) && s.ID == "swap":
			if back := d.back(ctx, t.Name, steps[:i], log); back != nil {
				return agent.Result{}, &route.Error{Class: route.Unknown, Op: s.ID, Target: t.Name, Err: back}
			}
			if errors.Is(err, route.ErrHalted) {
				return agent.Result{}, &route.Error{Class: route.Stopped, Op: s.ID, Target: t.Name, Err: err}
			}
			return agent.Result{}, refused(t.Name, s.ID, err)
		case errors.Is(err, errRefused): // behind the swap there is no way back
			if err = d.take(ctx, t.Name, s, log); err == nil {
				continue
			}
			fallthrough
		default:
			return agent.Result{}, &route.Error{Class: route.Unknown, Op: s.ID, Target: t.Name, Err: err}
		}
	}
	return agent.Result{Run: q.Run, Outcome: agent.Fixed, Changed: 1, Uptime: -1}, nil
}

func refused(machine, op string, err error) *route.Error {
	return &route.Error{Class: route.Refused, Op: op, Target: machine, Err: err}
}

// take takes a step, unless it was taken: planned, called, settled. One that an earlier life planned is asked for first.
func (d *Depot) take(ctx context.Context, machine string, s step, log route.Log) error {
	known := route.StepState("")
	for _, o := range log.Steps() {
		if o.ID == s.ID {
			known = o.State
		}
	}
	switch known {
	case route.StepDone:
		return nil
	case route.StepPlanned:
		if d.is(machine, s) {
			return log.Settle(s.ID, route.StepDone, "")
		}
	}
	if err := log.Plan(s.Step); err != nil {
		return err
	}
	err := d.call(ctx, machine, s)
	if errors.Is(err, errCut) && !d.is(machine, s) {
		err = d.call(ctx, machine, s)
	} else if errors.Is(err, errCut) {
		err = nil
	}
	switch {
	case errors.Is(err, errRefused):
		return cmp.Or(log.Settle(s.ID, route.StepFailed, err.Error()), err)
	case err != nil:
		return err
	}
	return log.Settle(s.ID, route.StepDone, "")
}

// back takes back what was done, the last first.
func (d *Depot) back(ctx context.Context, machine string, done []step, log route.Log) error {
	for _, s := range slices.Backward(done) {
		if err := ctx.Err(); err != nil {
			return err
		}
		d.mu.Lock()
		s.undo(d.bed(machine))
		d.mu.Unlock()
		if err := log.Settle(s.ID, route.StepGone, "taken back"); err != nil {
			return err
		}
	}
	return nil
}

func (d *Depot) is(machine string, s step) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.there(d.bed(machine))
}

func (d *Depot) call(ctx context.Context, machine string, s step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.Pause != nil {
		d.Pause(ctx, s.ID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.bed(machine)
	how := b.fail[s.ID]
	delete(b.fail, s.ID)
	switch how {
	case Refuse:
		return errRefused
	case CutBefore:
		return errCut
	}
	s.do(b)
	b.calls[s.ID]++
	if how == CutAfter {
		return errCut
	}
	return ctx.Err()
}

// Remove implements [route.Cleaner].
func (d *Depot) Remove(_ context.Context, s route.Step) error {
	machine, thing, _ := strings.Cut(s.On, "/")
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.bed(machine).things, thing)
	return nil
}
