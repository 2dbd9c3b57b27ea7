package journal_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// What a route is about to do, and what became of it, is there for the next process, in the order in which it was planned.
func TestSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	var seen []journal.Event
	s := create(t, j, testPlan(t, 2), func(e journal.Event) {
		if e.Kind == journal.RouteStep {
			seen = append(seen, e)
		}
	})
	swap := route.Step{ID: "a-swap", On: "vm/1", Act: route.Change, Was: "old", Now: "copy", Keep: true}
	must(t, s.PlanStep(id(1), route.Step{ID: "z-copy", On: "disk/1", Act: route.Make, State: route.StepDone}))
	must(t, s.PlanStep(id(1), swap))
	must(t, s.PlanStep("", route.Step{ID: "helper", On: "vm/h", Act: route.Make}))
	must(t, s.SettleStep(id(1), route.Step{ID: "z-copy", On: "disk/1", Act: route.Make, State: route.StepFailed, Note: "no quota"}))
	swap.Now = "another"
	must(t, s.PlanStep(id(1), swap))
	must(t, s.SettleStep("", route.Step{ID: "helper", On: "vm/h", Act: route.Make, State: route.StepGone}))
	if err := s.PlanStep("nobody", swap); err == nil {
		t.Error("a step of no machine")
	}
	must(t, s.Close())
	must(t, j.Close())
	j = open(t, path)
	steps, err := j.Steps(t.Context(), s.ID())
	must(t, err)
	mine, shared := steps[id(1)], steps[""]
	if len(steps) != 2 || len(mine) != 2 || len(shared) != 1 || time.Since(mine[0].At) > time.Hour {
		t.Fatalf("%+v", steps)
	}
	swap.State, swap.At, mine[0].At = route.StepPlanned, mine[1].At, time.Time{}
	if mine[1] != swap || mine[0] != (route.Step{ID: "z-copy", On: "disk/1", Act: route.Make, State: route.StepFailed, Note: "no quota"}) || shared[0].State != route.StepGone {
		t.Errorf("%+v %+v", mine, shared)
	}
	if len(seen) != 6 || seen[3].Text != "make disk/1: failed, no quota" || seen[3].MachineID != id(1) || seen[2].MachineID != "" || seen[2].Text != "make vm/h: planned" {
		t.Errorf("%+v", seen)
	}
	if steps, err := j.Steps(t.Context(), "no-such-run"); err != nil || len(steps) != 0 {
		t.Errorf("%v %v", steps, err)
	}
	again, err := j.Resume(t.Context(), s.ID(), nil)
	must(t, err)
	defer again.Close()
	if err := again.SettleStep(id(1), route.Step{ID: "never", State: route.StepDone}); !errors.Is(err, route.ErrNoStep) {
		t.Errorf("settled what was not planned: %v", err)
	}
}
