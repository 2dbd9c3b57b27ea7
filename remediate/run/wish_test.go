package run_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// at leaves a wish in the journal when the run is so old.
func (s *setup) at(t *testing.T, after time.Duration, wish func(ctx context.Context, id string) error) {
	time.AfterFunc(after, func() {
		id, err := s.journal.Resolve(context.Background(), "last")
		if err == nil {
			err = wish(context.Background(), id)
		}
		if err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	})
}

func (s *setup) wish(t *testing.T, after time.Duration, kind journal.ControlKind) {
	s.at(t, after, func(ctx context.Context, id string) error { return s.journal.Control(ctx, id, kind, "eve") })
}

func TestAnotherProcessStopsTheRun(t *testing.T) {
	bubble(t, 20, func(t *testing.T, s *setup) {
		s.input.Options.Forks = 5
		s.fleet.latency = 10 * time.Second
		s.wish(t, 15*time.Second, journal.Stop)
		r := s.start(t.Context())
		if r.Status != journal.RunInterrupted || r.Reason != "stopped by eve" || r.Counts[journal.Held] != 0 || r.Counts[journal.Fixed] == 0 || r.Counts[journal.Fixed] == 20 {
			t.Fatalf("%s (%s) %v", r.Status, r.Reason, r.Counts)
		}
		for _, m := range s.machines(r.ID) {
			if m.State != journal.Done && m.State != journal.Pending {
				t.Errorf("%s is %s", m.Target.Name, m.State)
			}
		}
		r, err := s.newEngine().Resume(t.Context(), r.ID) // the wish of the life before does not stop this one
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(r, journal.RunDone, journal.Fixed, 20)
	})
}

// A wish to stop that came just when the process died is none for the life after it.
func TestAWishToStopDiesWithItsProcess(t *testing.T) {
	bubble(t, 3, func(t *testing.T, s *setup) {
		dead, err := s.journal.Create(t.Context(), s.plan(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []journal.ControlKind{journal.Stop, journal.StopNow} {
			if err := s.journal.Control(t.Context(), dead.ID(), kind, "eve"); err != nil {
				t.Fatal(err)
			}
		}
		if err := dead.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the bubble
		r, err := s.newEngine().Resume(t.Context(), dead.ID())
		if err != nil {
			t.Fatal(err)
		}
		s.wantCounts(r, journal.RunDone, journal.Fixed, 3)
		if n := s.ignored(r.ID); n != 2 {
			t.Errorf("%d wishes are said to come too late, want 2", n)
		}
	})
}

// ignored counts the wishes that did nothing.
func (s *setup) ignored(id string) (n int) {
	s.t.Helper()
	events, err := s.journal.Events(context.Background(), id, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == journal.Ignored {
			n++
			if !doesNothing.MatchString(e.Text) {
				s.t.Errorf("ignored: %q", e.Text)
			}
		}
	}
	return n
}

var doesNothing = regexp.MustCompile(`^(the approval of wave [0-9]+ by \w+ does nothing: that wave does not wait|` +
	`the refusal of wave [0-9]+ by \w+ does nothing: it was approved before|the wish of \w+ to stop does nothing: the run was resumed after it)$`)

func TestAnotherProcessStopsTheRunAtOnce(t *testing.T) {
	bubble(t, 4, func(t *testing.T, s *setup) {
		s.fleet.latency = time.Hour
		s.input.Options.Timeout = 3 * time.Hour
		s.wish(t, time.Minute, journal.StopNow)
		began := time.Now()
		r, err := s.newEngine().Start(t.Context(), s.plan())
		if !errors.Is(err, context.Canceled) || r.Status != journal.RunInterrupted || r.Reason != "stopped at once by eve" || time.Since(began) > 2*time.Minute {
			t.Fatalf("%+v %v after %s", r, err, time.Since(began))
		}
		running := 0
		for _, m := range s.machines(r.ID) {
			if m.State == journal.Running {
				running++
			}
		}
		if running == 0 {
			t.Error("no machine was in flight")
		}
		s.fleet.latency = time.Second
		if r, err = s.newEngine().Resume(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		s.wantCounts(r, journal.RunDone, journal.Fixed, 4)
	})
}

// An approval lets one wave begin: the second of two given at once is for the same wave and does nothing.
func TestAnApprovalIsForOneWave(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		s.waves("1,2,100%")
		s.input.Options.Approval = true
		var log []string
		s.options.Observer = observer(func(e journal.Event) {
			if e.Kind == journal.Approved || e.Kind == journal.Ignored || e.Kind == journal.Approval {
				log = append(log, fmt.Sprintf("%s %d", e.Kind, e.Wave))
			}
		})
		approve := func(wave int) func(context.Context, string) error {
			return func(ctx context.Context, id string) error {
				got, err := s.journal.Approve(ctx, id, wave, "eve")
				if err == nil && wave != 0 && got != wave {
					return fmt.Errorf("approved %d", got)
				}
				return err
			}
		}
		s.at(t, time.Minute, func(ctx context.Context, id string) error {
			_, err := s.journal.Approve(ctx, id, 3, "bob")
			if _, ok := errors.AsType[*journal.NotAwaitedError](err); !ok {
				return fmt.Errorf("approved wave 3 while 2 waits: %w", err)
			}
			return errors.Join(approve(2)(ctx, id), approve(2)(ctx, id))
		})
		s.at(t, time.Hour, approve(0))
		began := time.Now()
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 6)
		// The second of the two is looked at with the first, or when the next question is asked already.
		log = slices.DeleteFunc(log, func(one string) bool { return one == "ignored 2" })
		if got := strings.Join(log, ", "); got != "approval 1, approved 1, approval 2, approved 2" {
			t.Error(got)
		}
		if time.Since(began) < time.Hour {
			t.Error("wave 3 began without its approval")
		}
	})
}

// A wave that one operator has approved goes on, though another says no to it in the same moment or later; a no to the wave that
// waits ends the run.
func TestARefusalIsForOneWave(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		s.waves("1,2,100%")
		s.input.Options.Approval = true
		refuse := func(wave int) func(context.Context, string) error {
			return func(ctx context.Context, id string) error { return s.journal.Refuse(ctx, id, wave, "bob") }
		}
		s.at(t, time.Minute, func(ctx context.Context, id string) error {
			_, err := s.journal.Approve(ctx, id, 2, "eve")
			return errors.Join(err, refuse(2)(ctx, id)) // before the run has taken the approval
		})
		s.at(t, time.Hour, func(ctx context.Context, id string) error {
			err := refuse(2)(ctx, id)
			if _, ok := errors.AsType[*journal.NotAwaitedError](err); !ok {
				return fmt.Errorf("refused wave 2 while 3 waits: %w", err)
			}
			return nil
		})
		s.at(t, 2*time.Hour, refuse(3))
		r := s.start(t.Context())
		if r.Status != journal.RunCancelled || r.Reason != "cancelled by bob" || r.Counts[journal.Fixed] != 3 || r.Counts[journal.Held] != 3 {
			t.Errorf("%s (%s) %v", r.Status, r.Reason, r.Counts)
		}
		if n := s.ignored(r.ID); n != 1 {
			t.Errorf("%d wishes were ignored, want the refusal of wave 2", n)
		}
	})
}

// An approval or a refusal from elsewhere that comes in the same second as the answer to the question is too late: it does nothing, to no
// wave, and the journal says so.
func TestAWishThatComesWithTheAnswer(t *testing.T) {
	for kind, wish := range map[string]func(s *setup, ctx context.Context, id string) error{
		"approval": func(s *setup, ctx context.Context, id string) error {
			_, err := s.journal.Approve(ctx, id, 2, "eve")
			return err
		},
		"refusal": func(s *setup, ctx context.Context, id string) error { return s.journal.Refuse(ctx, id, 2, "eve") },
	} {
		bubble(t, 6, func(t *testing.T, s *setup) {
			s.waves("1,2,100%")
			s.input.Options.Approval = true
			s.fleet.latency = 5 * time.Second
			var waves []int
			s.options.Approve = func(ctx context.Context, w run.Wave) (bool, error) {
				waves = append(waves, w.Number+1)
				if w.Number > 1 {
					return true, nil
				}
				return true, wish(s, ctx, w.Run)
			}
			r := s.start(t.Context())
			s.wantCounts(r, journal.RunDone, journal.Fixed, 6)
			if n := s.ignored(r.ID); n != 1 || fmt.Sprint(waves) != "[2 3]" {
				t.Errorf("a late %s: %d wishes are said to do nothing, asked for waves %v", kind, n, waves)
			}
		})
	}
}

// The question ends when the approval comes from elsewhere, and one that was ended without an answer ends nothing.
func TestAQuestionEndsWithTheApprovalFromElsewhere(t *testing.T) {
	bubble(t, 6, func(t *testing.T, s *setup) {
		s.waves("1,2,100%")
		s.input.Options.Approval = true
		asked, ended := 0, 0
		s.options.Approve = func(ctx context.Context, _ run.Wave) (bool, error) {
			if asked++; asked == 2 {
				return false, context.Canceled // Ctrl-C at the question
			}
			<-ctx.Done()
			ended++
			return false, ctx.Err()
		}
		s.wish(t, time.Minute, journal.Approve)
		s.wish(t, time.Hour, journal.Approve)
		began := time.Now()
		s.wantCounts(s.start(t.Context()), journal.RunDone, journal.Fixed, 6)
		if time.Since(began) < time.Hour {
			t.Error("a question that was ended without an answer let the wave begin")
		}
		if asked != 2 || ended != 1 {
			t.Errorf("asked %d times, %d ended", asked, ended)
		}
	})
}

// The numbers of a moment are those that its whole history gives.
func TestAMomentIsWhatItsHistoryGives(t *testing.T) {
	s := newSetup(t, 60)
	defer s.close()
	s.waves("1,10,100%")
	s.input.Options.Approval = true
	s.fleet.latency = 2 * time.Millisecond
	s.input.Options.Forks = 3
	s.options.Approve = func(context.Context, run.Wave) (bool, error) { return true, nil }
	for i := range 60 {
		s.fleet.machine(i).failing = i%7 == 3
	}
	p := s.plan()
	var looking sync.WaitGroup
	over, compared := make(chan struct{}), 0
	looking.Go(func() {
		for last := false; !last; {
			select {
			case <-over:
				last = true
			default:
			}
			id, err := s.journal.Resolve(context.Background(), "last")
			if err != nil {
				continue
			}
			at, err := s.journal.Standing(context.Background(), id)
			if err != nil {
				t.Error(err)
				return
			}
			all, err := s.journal.Events(context.Background(), id, 0)
			if err != nil {
				t.Error(err)
				return
			}
			moment, history := run.NewProgress(p), run.NewProgress(p)
			moment.Stand(at)
			for _, e := range all {
				if e.Seq <= at.Seq {
					history.Observe(e)
				}
			}
			now := time.Now()
			got, want := moment.Snapshot(now), history.Snapshot(now)
			got.Last, want.Last = nil, nil
			for _, states := range []map[journal.State]int{got.States, want.States} {
				maps.DeleteFunc(states, func(_ journal.State, n int) bool { return n == 0 })
			}
			if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
				t.Errorf("at event %d:\n%s\n%s", at.Seq, a, b)
				return
			}
			compared++
		}
	})
	s.start(t.Context())
	close(over)
	looking.Wait()
	t.Logf("%d moments", compared)
}
