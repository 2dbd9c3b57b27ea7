package run_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// A retry after a gate does not run in circles: the held machines have their turn before those that failed, which fail again.
func TestARetryAfterAGateFinishesTheHeldOnes(t *testing.T) {
	bubble(t, 60, func(t *testing.T, s *setup) {
		s.waves("1,10,100%")
		s.input.Options.MaxFail = plan.Limit{Percent: 10, Set: true}
		for i := range 6 {
			s.fleet.machine(i).failing = true
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunGated, journal.Failed, 4, journal.Held, 56)
		p, err := run.RetryPlan(t.Context(), s.journal, r.ID, run.Follow{Operator: "ada", Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		last := p.Waves[len(p.Waves)-1].Entries
		for i, e := range last[len(last)-4:] {
			if e.Name != name(i) {
				t.Errorf("%s is among the last four", e.Name)
			}
		}
		if len(p.Waves) != 3 || len(p.Waves[0].Entries) != 1 || len(p.Waves[1].Entries) != 10 {
			t.Errorf("the waves are not of the sizes of the run: %+v", p.Waves)
		}
		for i := range 6 { // two of the held ones are still broken
			s.fleet.machine(i).failing = i > 3
		}
		s.fleet.machine(4).failing, s.fleet.machine(5).failing = true, true
		again, err := s.newEngine().Start(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(again, journal.RunDone, journal.Fixed, 58, journal.Failed, 2)
	})
}

// What a run left undone is not known before it is over: it is resumed first.
func TestNothingFollowsOnARunThatIsNotOver(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 2
		s.fleet.latency = time.Minute
		r := s.cut(90 * time.Second)
		follow := run.Follow{Operator: "ada", Now: time.Now()}
		verbs := map[string]func(context.Context, *journal.Journal, string, run.Follow) (*plan.Plan, error){"retry": run.RetryPlan, "undo": run.UndoPlan}
		for verb, make := range verbs {
			_, err := make(t.Context(), s.journal, r.ID, follow)
			first := "first let it go on with `fleetmend runs resume " + r.ID + "`, or end it with `fleetmend runs cancel " + r.ID + "`"
			if err == nil || !strings.HasPrefix(err.Error(), verb+" run "+r.ID+": it is not over") || !slices.Contains(hint.Of(err), first) {
				t.Errorf("%s of an interrupted run: %v %q", verb, err, hint.Of(err))
			}
		}
		inside := false
		s.fleet.behave = func(*fakeMachine, int, agent.Request) error {
			if inside {
				return nil
			}
			inside = true
			for verb, make := range verbs {
				_, err := make(t.Context(), s.journal, r.ID, follow)
				if locked := (*journal.LockedError)(nil); !errors.As(err, &locked) || !strings.Contains(strings.Join(hint.Of(err), " "), "runs watch") {
					t.Errorf("%s of a run that is under way: %v", verb, err)
				}
			}
			return nil
		}
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 4)
		if p, err := run.UndoPlan(t.Context(), s.journal, r.ID, follow); err != nil || p.Machines() != 4 || p.Mode != agent.Undo {
			t.Errorf("an undo of the run when it is over: %v", err)
		}
		if !inside {
			t.Error("nobody looked while it was under way")
		}
	})
}

// The gate of a run that was interrupted may be changed when it is resumed, for that life alone.
func TestAResumedRunTakesOtherRules(t *testing.T) {
	bubble(t, 40, func(t *testing.T, s *setup) {
		s.input.Options.Forks, s.input.Options.MaxFail = 2, plan.Limit{Set: true}
		s.fleet.latency = time.Minute
		for i := 10; i < 20; i++ {
			s.fleet.machine(i).failing = true
		}
		r := s.cut(150 * time.Second)
		s.options.Rules = func(o plan.Options) (plan.Options, error) {
			o.MaxFail = plan.Limit{}
			return o, nil
		}
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 30, journal.Failed, 10)
	})
}
