package run_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/routetest"
)

// depot gives the machines of a setup to a durable route, whose calls take ten seconds each.
func (s *setup) depot() *routetest.Depot {
	d := &routetest.Depot{Pause: func(ctx context.Context, _ string) {
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
		}
	}}
	for i := range s.input.Entries {
		s.input.Entries[i].Route = "depot"
	}
	s.options.Routes = map[string]route.Route{"depot": d}
	return d
}

func (s *setup) steps(id string) map[string][]route.Step {
	s.t.Helper()
	steps, err := s.journal.Steps(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return steps
}

const atTheEnd = "on true, disk copy, mended true\ncommand of copy\ncopy of snapshot"

// A machine that is dead is not looked for; what is done for it stands in the journal, each call before it and after it.
func TestADurableRouteIsCarried(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		d := s.depot()
		s.input.Options.MaxFail = plan.Limit{Percent: 10, Set: true} // with places so dear, others would be looked for
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 6)
		if d.Asked() != 0 {
			t.Errorf("asked %d times whether a dead machine is there", d.Asked())
		}
		steps := s.steps(r.ID)
		for _, m := range s.machines(r.ID) {
			var list []string
			for _, step := range steps[m.Target.ID] {
				list = append(list, string(step.Act)+" "+step.ID+" "+string(step.State))
			}
			if got := strings.Join(list, ", "); got != "change stop done, make snapshot done, make copy done, make command done, change swap done, change start done, remove clear done" || d.Dump(m.Target.Name) != atTheEnd {
				t.Errorf("%s: %s\n%s", m.Target.Name, got, d.Dump(m.Target.Name))
			}
		}
		if first := steps["id0"][4]; first.On != "PC00000" || first.Was != "old" || first.Now != "copy" || !first.Keep || first.At.IsZero() {
			t.Errorf("%+v", first)
		}
		events, err := s.journal.Events(t.Context(), r.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range events {
			if e.Kind == journal.RouteStep && e.Machine == "PC00000" {
				told = append(told, e.Text)
			}
		}
		if len(told) != 14 || told[0] != "change PC00000: planned" || told[1] != "change PC00000: done" {
			t.Errorf("%q", told)
		}
	})
}

// A run that is killed at any moment, again and again, goes on where it was and makes no call twice.
func TestADurableRouteGoesOnAfterKills(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, 4, func(t *testing.T, s *setup) {
			dice := rand.New(rand.NewPCG(seed, 9)) //nolint:gosec // a test draws moments
			d := s.depot()
			live := func(do func(context.Context) (*journal.Run, error)) (*journal.Run, error) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(dice.IntN(40_000))*time.Millisecond)
				defer cancel()
				return do(ctx)
			}
			r, err := live(func(ctx context.Context) (*journal.Run, error) { return s.newEngine().Start(ctx, s.plan()) })
			for lives := 0; err != nil && lives < 40; lives++ {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				r, err = live(func(ctx context.Context) (*journal.Run, error) { return s.newEngine().Resume(ctx, r.ID) })
			}
			if err != nil {
				t.Fatal(err)
			}
			s.wantCounts(r, journal.RunDone, journal.Fixed, 4)
			for _, m := range s.machines(r.ID) {
				for id, n := range d.Calls(m.Target.Name) {
					if n != 1 {
						t.Errorf("%s: %s was called %d times", m.Target.Name, id, n)
					}
				}
				if d.Dump(m.Target.Name) != atTheEnd {
					t.Errorf("%s: %s", m.Target.Name, d.Dump(m.Target.Name))
				}
			}
		})
	}
}

// The first Ctrl-C takes every machine back that was not swapped yet, and finishes the others.
func TestADurableRouteGoesBackWhenTheRunStops(t *testing.T) {
	for after := 5 * time.Second; after < 75*time.Second; after += 10 * time.Second {
		bubble(t, 2, func(t *testing.T, s *setup) {
			d := s.depot()
			e := s.newEngine()
			time.AfterFunc(after, e.Stop)
			r, err := e.Start(t.Context(), s.plan())
			if err != nil {
				t.Fatal(err)
			}
			steps := s.steps(r.ID)
			for _, m := range s.machines(r.ID) {
				swapped := d.Calls(m.Target.Name)["swap"] > 0
				left := slices.ContainsFunc(steps[m.Target.ID], func(s route.Step) bool { return s.Open() })
				switch {
				case swapped != (after > 40*time.Second): // it is planned then
					t.Errorf("after %s %s was swapped: %v", after, m.Target.Name, swapped)
				case swapped && (m.Outcome != journal.Fixed || d.Dump(m.Target.Name) != atTheEnd):
					t.Errorf("after %s %s is %s %s:\n%s", after, m.Target.Name, m.State, m.Outcome, d.Dump(m.Target.Name))
				case !swapped && (m.State != journal.Pending || left || d.Dump(m.Target.Name) != "on true, disk old, mended false"):
					t.Errorf("after %s %s is %s %s (%s), steps %+v:\n%s", after, m.Target.Name, m.State, m.Outcome, m.Reason, steps[m.Target.ID], d.Dump(m.Target.Name))
				}
			}
			if r, err = s.newEngine().Resume(t.Context(), r.ID); err != nil && r.Status != journal.RunDone {
				t.Fatal(err)
			}
		})
	}
}

// One that is refused has gone back, so that nothing ran; where the journal is lost nothing more is called.
func TestADurableRouteThatIsRefused(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *setup) {
		d := s.depot()
		d.Fail(name(0), "copy", routetest.Refuse)
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 1, journal.Unreachable, 1)
		if d.Dump(name(0)) != "on true, disk old, mended false" {
			t.Error(d.Dump(name(0)))
		}
	})
}

// A route's own limits are those of its machines: how long it takes, and how many at once.
func TestTheLimitsOfARoute(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		d := s.depot()
		var mu sync.Mutex
		most, out := 0, 0
		count := func(more int) {
			mu.Lock()
			defer mu.Unlock()
			out += more
			most = max(most, out)
		}
		pause := d.Pause
		d.Pause = func(ctx context.Context, step string) {
			if step == "stop" {
				count(1)
			}
			if pause(ctx, step); step == "clear" {
				count(-1)
			}
		}
		s.input.Options.Timeout = 30 * time.Second // a repair takes 70
		s.input.Limits = map[string]route.Limits{"depot": {Timeout: 2 * time.Minute, Forks: 2}, "winrm": {}, "other": {Forks: 1}}
		p := s.plan()
		if len(p.Options.ByRoute) != 1 {
			t.Errorf("frozen: %v", p.Options.ByRoute)
		}
		r, err := s.newEngine().Start(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(r, journal.RunDone, journal.Fixed, 6)
		if most != 2 {
			t.Errorf("%d at once", most)
		}
	})
	var o plan.Options
	if o.Timeout = time.Minute; o.For("any") != (route.Limits{Timeout: time.Minute}) {
		t.Error(o.For("any"))
	}
}
