package run_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// says is a fleet where each machine gives one answer, whatever it is asked.
type says struct {
	*fakeRoute
	result agent.Result
}

func (f says) Do(context.Context, route.Target, agent.Request) (agent.Result, error) {
	return f.result, nil
}

// What an answer counts as, by what was asked; one that is none of these is a failure that says what it was.
func TestWhatAnAnswerCountsAs(t *testing.T) {
	for _, c := range []struct {
		mode    agent.Mode
		result  agent.Result
		outcome journal.Outcome
		reason  string
	}{
		{agent.Detect, agent.Result{Outcome: agent.Affected}, journal.Affected, ""},
		{agent.Detect, agent.Result{Outcome: agent.Clean, Message: "a\nb"}, journal.Clean, "a b"},
		{agent.Detect, agent.Result{Outcome: agent.Fixed}, journal.Failed, `the agent gave an answer that makes no sense: "fixed" to detect`},
		{agent.Detect, agent.Result{Outcome: agent.Undone}, journal.Failed, `the agent gave an answer that makes no sense: "undone" to detect`},
		{agent.Fix, agent.Result{Outcome: agent.Affected}, journal.Failed, `the agent gave an answer that makes no sense: "affected" to fix`},
		{agent.Fix, agent.Result{Outcome: agent.Undone}, journal.Failed, `the agent gave an answer that makes no sense: "undone" to fix`},
		{agent.Fix, agent.Result{Outcome: "x\x1b[2J"}, journal.Failed, `the agent gave an answer that makes no sense: "x[2J" to fix`},
		{agent.Fix, agent.Result{Outcome: agent.Clean}, journal.Clean, ""},
		{agent.Fix, agent.Result{Outcome: agent.Failed, Message: "denied"}, journal.Failed, "denied"},
		{agent.Fix, agent.Result{Outcome: agent.Failed}, journal.Failed, "the agent failed and did not say why"},
		{agent.Undo, agent.Result{Outcome: agent.Undone, Changed: 1}, journal.Undone, ""},
		{agent.Undo, agent.Result{Outcome: agent.Undone, Changed: 1, Reboot: "scheduled"}, journal.Undone, "the machine restarts now; that is not awaited"},
		{agent.Undo, agent.Result{Outcome: agent.Clean}, journal.Failed, `the agent gave an answer that makes no sense: "clean" to undo`},
	} {
		bubble(t, 1, func(t *testing.T, s *setup) {
			p := s.plan()
			if p.Mode = c.mode; c.mode == agent.Undo {
				p.Undoes = s.start(t.Context()).ID
			}
			if err := p.Seal(); err != nil {
				t.Fatal(err)
			}
			s.options.Routes["fake"] = says{s.fleet, c.result}
			r, err := s.newEngine().Start(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if m := s.machines(r.ID)[0]; m.Outcome != c.outcome || m.Reason != c.reason || m.Result == nil || m.Result.Outcome != c.result.Outcome {
				t.Errorf("%q to %s: %s %q", c.result.Outcome, c.mode, m.Outcome, m.Reason)
			}
		})
	}
}

// A fix that was done before and whose restart is over is verified at once; without a restart the record is the answer.
func TestAFixThatWasDoneBefore(t *testing.T) {
	for _, c := range []struct {
		reboot  playbook.Reboot
		changed int
		message string
		verify  int
	}{
		{playbook.RebootAlways, 0, "", 1}, {playbook.RebootIfFixed, 1, "", 1}, {playbook.RebootIfFixed, 0, "", 0}, {playbook.RebootNever, 1, "", 0}, {playbook.RebootAlways, 1, "taken back since", 0},
	} {
		bubble(t, 1, func(t *testing.T, s *setup) {
			s.input.Source.Playbook.Reboot = c.reboot
			cut := s.cutInFlight()
			s.fleet.machine(0).record[cut] = agent.Result{Outcome: agent.Fixed, Changed: c.changed, Message: c.message, Uptime: 100}
			s.fleet.machine(0).affected = false
			r := s.resume(cut)
			s.wantCounts(r, journal.RunDone, journal.Fixed, 1)
			m := s.machines(r.ID)[0]
			if n := s.fleet.count(name(0) + " verify"); n != c.verify || m.Rebooted != (c.verify > 0) {
				t.Errorf("%s, %d changed, %q: verified %d times, rebooted %v", c.reboot, c.changed, c.message, n, m.Rebooted)
			}
		})
	}
}

// cutInFlight ends a run at once while its machine is asked, before anything is done there.
func (s *setup) cutInFlight() string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.fleet.behave = func(m *fakeMachine, _ int, _ agent.Request) error {
		cancel()
		return routeError(route.Unreachable, m.name, "connect", "cut")
	}
	r, err := s.newEngine().Start(ctx, s.plan())
	if !errors.Is(err, context.Canceled) {
		s.t.Fatalf("%+v %v", r, err)
	}
	s.fleet.behave = nil
	return r.ID
}

// After the soak a machine that cannot be verified is no fixed one any more, and says why.
func TestWhatTheSoakFinds(t *testing.T) {
	for _, c := range []struct {
		class   route.Class
		times   int
		outcome journal.Outcome
		reason  string
	}{
		{route.Busy, 2, journal.Fixed, ""}, {route.Busy, 99, journal.Failed, "was fixed, but does not answer after the soak: connect: no luck"},
		{route.Unreachable, 99, journal.Failed, "was fixed, but does not answer after the soak: connect: no luck"},
		{route.Denied, 1, journal.Failed, "was fixed, but cannot be verified after the soak: connect: no luck"}, {"", 0, journal.Failed, "did not stay fixed: the file is there again"},
	} {
		bubble(t, 2, func(t *testing.T, s *setup) {
			s.input.Options.Soak, s.input.Options.MaxFail.Set = time.Minute, false
			failed := 0
			s.fleet.machine(1).relapse = c.class == ""
			s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
				if r.Mode == agent.Verify && m.name == name(1) && failed < c.times {
					failed++
					return routeError(c.class, m.name, "connect", "no luck")
				}
				return nil
			}
			r := s.start(t.Context())
			if m := s.machines(r.ID)[1]; m.Outcome != c.outcome || m.Reason != c.reason || c.outcome == journal.Failed && m.Class != c.class || s.machines(r.ID)[0].Outcome != journal.Fixed {
				t.Errorf("%s x%d: %s %s %q", c.class, c.times, m.Outcome, m.Class, m.Reason)
			}
		})
	}
}

// Credentials that are rejected while a restart is awaited, or after the soak, stop the run; what was fixed is verified when it is resumed.
func TestRejectedCredentialsAfterTheFix(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		s.fleet.machine(0).reboots, s.fleet.machine(1).reboots = time.Minute, 5*time.Minute
		began := time.Now()
		s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
			if r.Mode == agent.Verify && m.name == name(0) && time.Since(began) > time.Minute {
				return routeError(route.Auth, m.name, "sign in", "401")
			}
			return nil
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunInterrupted)
		for _, m := range s.machines(r.ID) {
			if m.State != journal.Rebooting {
				t.Errorf("%s is %s", m.Target.Name, m.State)
			}
		}
		if want := name(0) + " rejected the credentials (fake): sign in: 401; 2 machines that may have been changed are asked when the run is resumed"; r.Reason != want {
			t.Errorf("the run: %q", r.Reason)
		}
		s.fleet.behave = nil
		s.wantCounts(s.resume(r.ID), journal.RunDone, journal.Fixed, 2)
	})
	bubble(t, 3, func(t *testing.T, s *setup) {
		s.input.Options.Soak = time.Minute
		s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
			if r.Mode == agent.Verify {
				return routeError(route.Auth, m.name, "sign in", "401")
			}
			return nil
		}
		s.wantCounts(s.start(t.Context()), journal.RunAuth, journal.Fixed, 3)
	})
}

// tardy is a fleet where the second machine, once it is fixed, is seen again only after the credentials were rejected.
type tardy struct {
	*fakeRoute
	rejected chan struct{}
}

func (f tardy) Alive(ctx context.Context, t route.Target) error {
	err := f.fakeRoute.Alive(ctx, t)
	f.mu.Lock()
	fixed := f.machine(1).changed > 0
	f.mu.Unlock()
	if t.Name == name(1) && fixed && err == nil {
		<-f.rejected
		time.Sleep(time.Second) // of the bubble
	}
	return err
}

// A machine that is back just when the credentials are rejected stays as it is, and the run ends as it should: it does not go back to
// the machines that wait.
func TestRejectedCredentialsWhileAMachineComesBack(t *testing.T) {
	bubble(t, 2, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		s.fleet.machine(0).reboots = time.Minute
		way, began := tardy{s.fleet, make(chan struct{})}, time.Now()
		s.options.Routes["fake"] = way
		s.fleet.behave = func(m *fakeMachine, _ int, r agent.Request) error {
			if r.Mode == agent.Verify && m.name == name(0) && time.Since(began) > time.Minute {
				close(way.rejected)
				return routeError(route.Auth, m.name, "sign in", "401")
			}
			return nil
		}
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunInterrupted)
		if m := s.machines(r.ID)[1]; m.Changed != 1 || m.State != journal.Rebooting {
			t.Errorf("%+v", m)
		}
	})
}

// A question that fails ends the run with its error, and it can be resumed; Ctrl-C and the time of the run end the wait for an approval.
func TestWhatEndsTheWaitForAnApproval(t *testing.T) {
	ill := errors.New("no terminal")
	for name, c := range map[string]struct {
		set    func(s *setup)
		status journal.Status
		reason string
		err    error
	}{
		"the question fails": {func(s *setup) { s.options.Approve = func(context.Context, run.Wave) (bool, error) { return true, ill } }, journal.RunWaiting, "", ill},
		"Ctrl-C":             {func(s *setup) { time.AfterFunc(time.Hour, func() { s.engine.Stop() }) }, journal.RunInterrupted, "stopped by the operator", nil},
		"its time is over":   {func(s *setup) { s.input.Options.RunTimeout = time.Hour }, journal.RunTimeout, "the time of the run, 1h0m0s, is over", nil},
	} {
		bubble(t, 3, func(t *testing.T, s *setup) {
			s.waves("1,100%")
			s.input.Options.Approval = true
			c.set(s)
			began := time.Now()
			r, err := s.newEngine().Start(t.Context(), s.plan())
			if !errors.Is(err, c.err) || r.Status != c.status || r.Reason != c.reason || r.Counts[journal.Fixed] != 1 || c.err == nil && time.Since(began) < time.Hour {
				t.Errorf("%s: %s %q %v %v after %s", name, r.Status, r.Reason, r.Counts, err, time.Since(began))
			}
			if c.err != nil && (!strings.Contains(err.Error(), "ask for approval: no terminal") || !strings.Contains(strings.Join(hint.Of(err), " "), "fleetmend runs resume "+r.ID)) {
				t.Errorf("%v %q", err, hint.Of(err))
			}
		})
	}
}

// An engine needs what it works with, and executes one run.
func TestWhatAnEngineNeeds(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		for _, o := range []run.Options{{}, {Journal: s.journal}, {Routes: s.options.Routes}} {
			if e, err := run.New(o); err == nil || e != nil {
				t.Errorf("%+v is enough", o)
			}
		}
		s.start(t.Context())
		if _, err := s.engine.Start(t.Context(), s.plan()); err == nil || !strings.Contains(err.Error(), "one run only") {
			t.Errorf("a second run: %v", err)
		}
	})
}

// What a retry takes over from the run, what it adds, and where it sends what was to go by medium.
func TestWhatARetryIsMadeOf(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.input.Source.Parameters = map[string]string{"channel": "291"}
		s.fleet.machine(0).failing = true
		first := s.plan()
		first.Waves[0].Entries[3].Route = journal.RouteMedium
		if err := first.Seal(); err != nil {
			t.Fatal(err)
		}
		s.options.Routes[journal.RouteMedium] = s.fleet
		r, err := s.newEngine().Start(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(time.Hour)
		added := plan.Entry{Target: route.Target{ID: "late", Name: "LATE"}, Route: "fake"}
		skipped := []plan.Skip{{ID: "out", Name: "OUT", Reason: "no route"}}
		all := run.Follow{Operator: "eve", Now: now, TTL: time.Minute, Outcomes: []journal.Outcome{journal.Failed, journal.Fixed, journal.Held}, Added: []plan.Entry{added}, Skipped: skipped,
			Options: func(o plan.Options) (plan.Options, error) { o.Forks = 7; return o, nil }}
		p, err := run.RetryPlan(t.Context(), s.journal, r.ID, all)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range p.Waves[0].Entries {
			names = append(names, e.Name+" by "+e.Route)
		}
		if got := strings.Join(names, ", "); got != "PC00001 by fake, PC00002 by fake, PC00003 by winrm, LATE by fake, PC00000 by fake" {
			t.Error(got)
		}
		if e := p.Waves[0].Entries[2]; e.Reason != "was to be started from a boot medium; WinRM is tried" {
			t.Errorf("%+v", e)
		}
		if p.RetryOf != r.ID || p.Operator != "eve" || p.Options.Forks != 7 || !p.Created.Equal(now.UTC().Truncate(time.Millisecond)) || p.Expires.Sub(p.Created) != time.Minute ||
			p.Parameters["channel"] != "291" || len(p.Skipped) != 1 || p.Verify() != nil {
			t.Errorf("%+v", p)
		}
		only, err := run.RetryPlan(t.Context(), s.journal, r.ID, run.Follow{Now: now})
		if err != nil || only.Machines() != 1 || only.Waves[0].Entries[0].Name != name(0) || only.Expires.Sub(only.Created) != plan.DefaultTTL {
			t.Errorf("%+v %v", only, err)
		}
		// Nothing was left undone, but somebody came late.
		p, err = run.RetryPlan(t.Context(), s.journal, r.ID, run.Follow{Now: now, Outcomes: []journal.Outcome{journal.Unknown}, Added: []plan.Entry{added}})
		if err != nil || len(p.Waves) != 1 || p.Waves[0].Name != "100%" || p.Machines() != 1 {
			t.Errorf("%+v %v", p, err)
		}
		_, err = run.RetryPlan(t.Context(), s.journal, r.ID, run.Follow{Now: now, Outcomes: []journal.Outcome{journal.Unknown}})
		if !is[*plan.EmptyError](err) || !strings.HasPrefix(err.Error(), "retry run "+r.ID+": nothing to do, every machine of that run is done") || !strings.Contains(strings.Join(hint.Of(err), " "), "`fleetmend runs show "+r.ID+"`") {
			t.Errorf("nothing to do: %v %q", err, hint.Of(err))
		}
	})
}

// An undo asks every machine that was changed or may have been, and refuses what it cannot take back.
func TestWhomAnUndoAsks(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		d, err := s.journal.Create(t.Context(), s.plan(), nil)
		if err != nil {
			t.Fatal(err)
		}
		id := func(i int) string { return fmt.Sprint("id", i) }
		for i := range 5 {
			err = errors.Join(err, d.Lease(id(i)), d.Begin(id(i), 1))
		}
		err = errors.Join(err, d.Finish(id(0), journal.End{Outcome: journal.Fixed, Result: &agent.Result{Changed: 1, Record: "first"}}), d.Finish(id(1), journal.End{Outcome: journal.Clean, Result: &agent.Result{}}),
			d.Finish(id(2), journal.End{Outcome: journal.Unknown}), d.Reboot(id(3), agent.Result{Changed: 1}),
			d.Finish(id(3), journal.End{Outcome: journal.Failed}), d.Finish(id(4), journal.End{Outcome: journal.Unknown}), d.Finish(id(5), journal.End{Outcome: journal.Held}), d.End(journal.RunCancelled, "x"), d.Close())
		if err != nil {
			t.Fatal(err)
		}
		p, err := run.UndoPlan(t.Context(), s.journal, d.ID(), run.Follow{Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		var asked []string
		for _, e := range p.Waves[0].Entries {
			asked = append(asked, e.ID+e.Record)
		}
		if got := strings.Join(asked, " "); got != "id0first id2 id3 id4" || p.Mode != agent.Undo || p.Undoes != d.ID() {
			t.Errorf("%s: %+v", got, p)
		}
	})
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Fix = []playbook.Action{{Script: &playbook.Script{Shell: "cmd", Body: "echo"}}}
		r := s.start(t.Context())
		_, err := run.UndoPlan(t.Context(), s.journal, r.ID, run.Follow{Now: time.Now()})
		if err == nil || !strings.Contains(err.Error(), "nothing that test-playbook does can be undone") || len(hint.Of(err)) == 0 {
			t.Errorf("%v", err)
		}
		s.input.Mode = agent.Detect
		r = s.start(t.Context())
		if _, err := run.UndoPlan(t.Context(), s.journal, r.ID, run.Follow{Now: time.Now()}); err == nil || !strings.Contains(err.Error(), "a run of mode detect and fixed nothing") || len(hint.Of(err)) == 0 {
			t.Errorf("%v", err)
		}
	})
}

// lingering is a fleet whose answers come a second after nobody waits for them any more.
type lingering struct {
	*fakeRoute
	inside *atomic.Int64
}

func (f lingering) Do(ctx context.Context, t route.Target, _ agent.Request) (agent.Result, error) {
	f.inside.Add(1)
	defer f.inside.Add(-1)
	<-ctx.Done()
	time.Sleep(time.Second) // of the bubble
	return agent.Result{}, routeError(route.Unknown, t.Name, "receive", "interrupted")
}

// A run that ends at once leaves no worker behind.
func TestNoWorkerIsLeftBehind(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		var inside atomic.Int64
		s.options.Routes["fake"] = lingering{s.fleet, &inside}
		s.cut(time.Minute)
		if n := inside.Load(); n != 0 {
			t.Errorf("%d machines are asked after the end of the run", n)
		}
	})
}

// However many machines were not started, each is held and says why.
func TestAWholeFleetIsHeld(t *testing.T) {
	const n = 2102 // more than one commit takes
	bubble(t, n, func(t *testing.T, s *setup) {
		s.waves("1,100%")
		s.input.Options.MaxFail = plan.Limit{Count: 0, Set: true}
		s.fleet.machine(0).failing = true
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunGated, journal.Failed, 1, journal.Held, n-1)
	})
}

// A machine that was fixed right after it had started, and is back before anybody looked, cannot be seen to have restarted. It is
// watched for two minutes, not for the whole wait, and what verify says holds.
func TestARestartRightAfterAStart(t *testing.T) {
	bubble(t, 1, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		m := s.fleet.machine(0)
		m.booted, m.quick, m.reboots = time.Now().Add(-2*time.Second), true, time.Millisecond
		began := time.Now()
		r := s.start(t.Context())
		s.wantCounts(r, journal.RunDone, journal.Fixed, 1)
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// Once it is known how long a restart takes, nobody is asked before: a conversation after it, and seldom one more.
func TestFewQuestionsAfterARestart(t *testing.T) {
	bubble(t, 40, func(t *testing.T, s *setup) {
		s.input.Source.Playbook.Reboot = playbook.RebootIfFixed
		s.input.Options.Forks = 4
		for _, m := range s.fleet.machines {
			m.reboots = time.Minute
		}
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 40)
		verified := 0
		for _, m := range s.fleet.machines {
			verified += m.verified
		}
		if verified > 40+8 { // the first are asked before anything is known
			t.Errorf("%d machines that were up were asked %d times", len(s.fleet.machines), verified)
		}
	})
}
