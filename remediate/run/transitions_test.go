package run_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// No transition ends a run: whatever a machine does in whatever state, refuse, vanish, break off, answer nonsense, restart or not,
// while the run is stopped, paused, cancelled or gated, the engine never asks the journal for what it refuses, and every machine has
// a state that is allowed.
func TestNoEventInAnyStateTakesTheRunDown(t *testing.T) {
	seeds := uint64(40)
	if os.Getenv("FLEETMEND_LONG") == "1" {
		seeds = 400
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, 24, func(t *testing.T, s *setup) {
				dice := rand.New(rand.NewPCG(seed, 4)) //nolint:gosec // a test draws events
				s.waves("1,5,100%")
				s.input.Options.Forks = 1 + dice.IntN(24)
				s.input.Options.MaxFail = []plan.Limit{{}, {Count: 8, Set: true}, {Percent: 40, Set: true}}[dice.IntN(3)]
				s.input.Options.Timeout, s.input.Options.RebootWait, s.input.Options.Retries = 2*time.Minute, 3*time.Minute, dice.IntN(3)
				s.input.Options.Soak = []time.Duration{0, time.Minute}[dice.IntN(2)]
				s.fleet.latency = time.Duration(dice.IntN(5)) * time.Second
				if dice.IntN(2) == 0 {
					s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
				}
				for _, m := range s.fleet.machines {
					m.reboots, m.stays, m.lazy, m.never = time.Duration(dice.IntN(90))*time.Second, dice.IntN(4) == 0, dice.IntN(9) == 0, dice.IntN(9) == 0
					m.failing, m.affected, m.relapse = dice.IntN(9) == 0, dice.IntN(6) > 0, dice.IntN(12) == 0
				}
				classes := []route.Class{route.Unreachable, route.Busy, route.Auth, route.Denied, route.Untrusted, route.Refused, route.Unknown, route.Stopped}
				rejects := dice.IntN(3) == 0
				s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
					class := classes[dice.IntN(len(classes))]
					if dice.IntN(5) > 0 || class == route.Auth && !rejects {
						return nil
					}
					return routeError(class, m.name, "receive", "event of the test")
				}
				wishes := [][]journal.ControlKind{nil, nil, {journal.Pause, journal.Resume}, {journal.Cancel}, {journal.Stop}, {journal.Stop, journal.StopNow}}[dice.IntN(6)]
				for i, kind := range wishes {
					time.AfterFunc(time.Duration(1+dice.IntN(60)+90*i)*time.Second, func() {
						if id, err := s.journal.Resolve(context.Background(), "last"); err == nil {
							_ = s.journal.Control(context.Background(), id, kind, "eve") //nolint:errcheck // the run may be over
						}
					})
				}
				r, err := s.newEngine().Start(t.Context(), s.plan())
				for lives := 0; (err == nil || errors.Is(err, context.Canceled)) && !r.Status.Final() && lives < 100; lives++ {
					r, err = s.newEngine().Resume(t.Context(), r.ID)
				}
				if err != nil {
					t.Fatal(err)
				}
				if !r.Status.Final() {
					t.Fatalf("%s: %s", r.Status, r.Reason)
				}
				for _, m := range s.machines(r.ID) {
					if m.State != journal.Done {
						t.Errorf("%s is %s in a run that is %s", m.Target.Name, m.State, r.Status)
					}
				}
			})
		})
	}
}
