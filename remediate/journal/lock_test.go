package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	leaktest.Main(m)
}

const (
	childJournal = "FLEETMEND_TEST_JOURNAL" // this process is a child that works with this journal
	childSeed    = "FLEETMEND_TEST_SEED"
)

// child makes this process one that runs or resumes until it is killed or nothing is left to do.
func child() bool {
	path := os.Getenv(childJournal)
	if path == "" {
		return false
	}
	if err := work(context.Background(), path, os.Getenv(childSeed)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func TestOneProcessForARun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j, other := open(t, path), open(t, path)
	s := create(t, j, testPlan(t, 1), nil)
	_, err := other.Resume(t.Context(), s.ID(), nil)
	locked, ok := errors.AsType[*journal.LockedError](err)
	if !ok || locked.Owner.Run != s.ID() || locked.Owner.PID != os.Getpid() || !strings.Contains(err.Error(), s.ID()) || !strings.Contains(strings.Join(hint.Of(err), " "), "runs watch "+s.ID()) {
		t.Fatalf("resumed twice: %v", err)
	}
	if _, err := other.RecordByMedium(t.Context(), s.ID(), nil); !isLocked(err) {
		t.Fatalf("results for a run at work: %v", err)
	}
	run, err := other.Run(t.Context(), s.ID())
	must(t, err)
	if run.Idle() || run.Owner == nil || run.Owner.PID != os.Getpid() {
		t.Fatalf("owner: %+v", run.Owner)
	}
	second := create(t, other, testPlan(t, 1), nil) // another run is no obstacle
	must(t, s.End(journal.RunInterrupted, "x"), s.Close())
	if run, err = other.Run(t.Context(), s.ID()); err != nil || !run.Idle() {
		t.Fatalf("after the end: %+v %v", run.Owner, err)
	}
	if files, err := filepath.Glob(path + ".locks/*.lock"); err != nil || len(files) != 1 || !strings.Contains(files[0], second.ID()) {
		t.Fatalf("locks left: %v %v", files, err)
	}
	for _, id := range []string{"nobody", "../../etc/x", ""} {
		if _, err := j.Resume(t.Context(), id, nil); !isNotFound(err) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestQuietKeepsEveryRunOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	for range 2 { // an upgrade that died leaves nothing behind that matters
		s := create(t, j, testPlan(t, 1), nil)
		must(t, s.End(journal.RunInterrupted, ""), os.WriteFile(path+".locks/0.lock", []byte(`{"pid":1,"run":"0"}`), 0o600)) // of one who died
		_, err := journal.Quiet(t.Context(), path)
		if l, ok := errors.AsType[*journal.LockedError](err); !ok || l.Owner.Run != s.ID() || l.Owner.PID != os.Getpid() {
			t.Fatalf("quiet beside a run: %v", err)
		}
		must(t, s.Close())
		release, err := journal.Quiet(t.Context(), path)
		must(t, err)
		if _, err := j.Create(t.Context(), testPlan(t, 1), nil); !isLocked(err) || !strings.Contains(err.Error(), "new version") {
			t.Fatalf("a run beside an upgrade: %v", err)
		}
		must(t, release())
	}
}

func TestAClaimedMachineIsRefused(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "j.db")
	j, other := open(t, path), open(t, path)
	a, b := create(t, j, testPlan(t, 4), nil), create(t, other, testPlan(t, 4), nil)
	must(t, a.Lease(id(0), id(1)))
	err := b.Lease(id(2), id(1))
	claimed, ok := errors.AsType[*journal.ClaimedError](err)
	if !ok || claimed.Claim.Run != a.ID() || claimed.Machine != "PC00001" || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("leased a machine of another run: %v", err)
	}
	must(t, a.Lease(id(2)), b.Lease(id(3)), b.Finish(id(1), journal.End{Outcome: journal.Skipped, Reason: err.Error()}))
	claimants := func() string {
		t.Helper()
		all, err := j.Claims(ctx)
		must(t, err)
		var list []string
		for m, c := range all {
			list = append(list, m+map[string]string{a.ID(): "a", b.ID(): "b"}[c.Run])
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	if got := claimants(); got != "m00000a m00001a m00002a m00003b" {
		t.Fatal(got)
	}
	must(t, a.Begin(id(0), 1), a.Finish(id(0), journal.End{Outcome: journal.Clean}), a.Release(id(2)), a.Hold([]string{id(1)}, "x"))
	if got := claimants(); got != "m00003b" {
		t.Fatalf("freed too little or too much: %s", got)
	}
	must(t, b.Begin(id(3), 1), b.Close()) // as if it died with the machine in flight
	err = a.Lease(id(3))
	if claimed, ok := errors.AsType[*journal.ClaimedError](err); !ok || claimed.Claim.Owner != nil || !strings.Contains(err.Error(), "resume or cancel") {
		t.Fatalf("a dead run lost its machine: %v", err)
	}
	again, err := other.Resume(ctx, b.ID(), nil)
	must(t, err, again.Begin(id(3), 2), again.Finish(id(3), journal.End{Outcome: journal.Fixed}), again.Close(), a.Lease(id(3)))
}

// A machine that begins without having been leased is taken and claimed in the same commit, or not begun at all.
func TestAMachineThatBeginsIsClaimed(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "j.db")
	j, other := open(t, path), open(t, path)
	a, b := create(t, j, testPlan(t, 3), nil), create(t, other, testPlan(t, 3), nil)
	must(t, a.Begin(id(0), 1), a.Lease(id(1)))
	for _, m := range []string{id(0), id(1)} {
		if claimed, ok := errors.AsType[*journal.ClaimedError](b.Begin(m, 1)); !ok || claimed.Claim.Run != a.ID() {
			t.Errorf("%s was begun in two runs", m)
		}
	}
	machines, err := j.Machines(ctx, b.ID())
	must(t, err)
	if machines[0].State != journal.Pending || machines[0].Attempts != 0 {
		t.Errorf("refused, and %+v", machines[0])
	}
	must(t, a.Finish(id(0), journal.End{Outcome: journal.Clean}), a.Begin(id(1), 1), a.Finish(id(1), journal.End{Outcome: journal.Clean}), b.Begin(id(0), 1))
	claims, err := j.Claims(ctx)
	must(t, err)
	if len(claims) != 1 || claims[id(0)].Run != b.ID() {
		t.Errorf("claims: %v", claims)
	}
	events, err := j.Events(ctx, a.ID(), 0)
	must(t, err)
	if len(events) != 5 || events[0].State != journal.Running || events[1].State != journal.Leased {
		t.Errorf("%+v", events)
	}
}

// Four processes work on runs of the same machines, are killed and come back. At no moment is a machine in flight in two runs,
// the claims are always those of the machines in flight, and every outcome is recorded.
func TestAMachineIsNeverInTwoRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	self, err := os.Executable()
	must(t, err)
	const processes, lives = 3, 6
	stop := make(chan struct{})
	var all, looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				wrong, err := j.Crossed(t.Context())
				if err != nil || len(wrong) > 0 {
					t.Errorf("in two runs, or claimed wrongly: %v %v", wrong, err)
					return
				}
			}
		}
	})
	for p := range processes {
		all.Go(func() {
			for life := range lives {
				c := exec.Command(self)
				c.Env = append(os.Environ(), childJournal+"="+path, childSeed+"="+fmt.Sprint(p, ".", life))
				var output strings.Builder
				c.Stderr = &output
				if err := c.Start(); err != nil {
					t.Error(err)
					return
				}
				if life < lives-1 {
					kill := time.AfterFunc(time.Duration(20+rand.IntN(150))*time.Millisecond, func() { _ = c.Process.Kill() }) //nolint:gosec,errcheck // a moment; it may be over
					_ = c.Wait()                                                                                               //nolint:errcheck // killed
					kill.Stop()
				} else if err := c.Wait(); err != nil {
					t.Errorf("%v: %s", err, output.String())
				}
			}
		})
	}
	all.Wait()
	close(stop)
	looking.Wait()
	must(t, work(t.Context(), path, "end")) // what the last deaths left
	runs, err := j.Runs(t.Context())
	must(t, err)
	for _, r := range runs {
		if r.Status != journal.RunDone {
			t.Errorf("run %s is %s", r.ID, r.Status)
		}
	}
	if claims, err := j.Claims(t.Context()); err != nil || len(claims) != 0 {
		t.Errorf("claims left: %v %v", claims, err)
	}
	t.Logf("%d runs", len(runs))
}

// work resumes the runs that nobody works on, then makes one of its own, until all it can do is done.
func work(ctx context.Context, path, seed string) (err error) {
	j, err := journal.Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	runs, err := j.Runs(ctx)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if !r.Idle() {
			continue
		}
		s, err := j.Resume(ctx, r.ID, nil)
		if isLocked(err) || isEnded(err) { // another process was quicker
			continue
		}
		if err != nil {
			return err
		}
		if err := workOn(ctx, j, s); err != nil {
			return err
		}
	}
	if seed == "end" {
		return nil
	}
	p, err := newPlan(20)
	if err != nil {
		return err
	}
	s, err := j.Create(ctx, p, nil)
	if err != nil {
		return err
	}
	return workOn(ctx, j, s)
}

func workOn(ctx context.Context, j *journal.Journal, s *journal.Session) error {
	machines, err := j.Machines(ctx, s.ID())
	if err != nil {
		return errors.Join(err, s.Close())
	}
	var errs []error
	for _, i := range rand.Perm(len(machines)) {
		m := machines[i]
		if m.Wave > 0 && m.State != journal.Done {
			errs = append(errs, visit(s, m))
		}
	}
	return errors.Join(append(errs, s.End(journal.RunDone, ""), s.Close())...)
}

func visit(s *journal.Session, m journal.Machine) error {
	if m.State == journal.Pending {
		err := s.Lease(m.Target.ID)
		if claimed, ok := errors.AsType[*journal.ClaimedError](err); ok {
			return s.Finish(m.Target.ID, journal.End{Outcome: journal.Skipped, Reason: claimed.Error()})
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(s.Begin(m.Target.ID, m.Attempts+1), s.Finish(m.Target.ID, journal.End{Outcome: journal.Clean}))
}

// A run at full speed does not starve what another process wants to write.
func TestWritersTakeTurns(t *testing.T) {
	const n = 4000
	path := filepath.Join(t.TempDir(), "j.db")
	busy, other := open(t, path), open(t, path)
	s := create(t, busy, testPlan(t, n), nil)
	wished := create(t, other, testPlan(t, 1), nil)
	stop := make(chan struct{})
	var hog sync.WaitGroup
	for worker := range 8 {
		hog.Go(func() {
			for i := worker; ; i += 8 {
				select {
				case <-stop:
					return
				default:
				}
				if i < n {
					_ = s.Lease(id(i)) //nolint:errcheck // load
				} else if s.Note(journal.Stopping, 0, "load") != nil {
					return
				}
			}
		})
	}
	const wishes = 50
	for range wishes {
		must(t, other.Control(t.Context(), s.ID(), journal.Pause, "eve"), wished.Note(journal.Stopping, 0, "beside"))
	}
	events, err := busy.Events(t.Context(), s.ID(), 0)
	must(t, err)
	close(stop)
	hog.Wait()
	t.Logf("%d events beside %d wishes", len(events), wishes)
}

// Which wishes were left in an earlier life of a run is told by their numbers, whatever the clock did.
func TestWishesOfAnEarlierLife(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j.db"))
	s := create(t, j, testPlan(t, 1), nil)
	if s.Earlier() != 0 {
		t.Errorf("a new run has wishes up to %d", s.Earlier())
	}
	stop := func(seq int64) int64 {
		t.Helper()
		if err := j.Control(t.Context(), s.ID(), journal.Stop, "eve"); err != nil {
			t.Fatal(err)
		}
		left, err := s.Controls(t.Context(), seq)
		if err != nil || len(left) != 1 {
			t.Fatalf("%+v %v", left, err)
		}
		return left[0].Seq
	}
	before := stop(0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s, err = j.Resume(t.Context(), s.ID(), nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test is over
	if now := stop(before); s.Earlier() != before || now <= s.Earlier() {
		t.Errorf("wish %d is of the earlier life and %d of this one, but the limit is %d", before, now, s.Earlier())
	}
}

// A machine that the inventory has joined from two is worked on by one run at a time, whatever the plans call it.
func TestAMachineThatWasJoinedIsClaimedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.db")
	j := open(t, path)
	former := map[string]string{id(0): "present", id(1): "present"} // two of the same plan
	present := func(n int) *plan.Plan {
		p := testPlan(t, n)
		p.Waves[0].Entries[0].ID, p.Waves[0].Entries[0].Name = "present", "PRESENT"
		must(t, p.Seal())
		return p
	}
	before := create(t, j, testPlan(t, 1), nil) // opened before they were joined: it knows one name only
	must(t, before.Lease(id(0)))
	j.Joined(former)
	s := create(t, j, present(1), nil)
	taken := func(what string, err error, run string) {
		t.Helper()
		claimed, ok := errors.AsType[*journal.ClaimedError](err)
		if !ok || claimed.Claim.Run != run {
			t.Errorf("%s: %v, want it to be with run %s", what, err, run)
		}
	}
	taken("leased by its former name", s.Lease("present"), before.ID())
	must(t, before.Release(id(0)), s.Lease("present"))
	taken("leased by its present name", before.Lease(id(0)), s.ID())
	other := create(t, j, testPlan(t, 3), nil)
	taken("by another former name", other.Lease(id(1)), s.ID())
	must(t, s.Begin("present", 1), s.Finish("present", journal.End{Outcome: journal.Fixed}))

	must(t, other.Lease(id(0)))
	err := other.Lease(id(1))
	taken("in its own run", err, other.ID())
	if !strings.Contains(err.Error(), "PC00000") {
		t.Errorf("which one: %v", err)
	}
	must(t, other.Lease(id(2)))
	taken("still claimed", before.Lease(id(0)), other.ID())
	must(t, other.Close())
	again := open(t, path)
	again.Joined(former)
	resumed, err := again.Resume(t.Context(), other.ID(), nil)
	must(t, err)
	taken("after a resume", resumed.Lease(id(1)), other.ID())
	must(t, resumed.Begin(id(0), 1), resumed.Finish(id(0), journal.End{Outcome: journal.Fixed}), resumed.Lease(id(1)), resumed.Release(id(1)))
	claims, err := again.Claims(t.Context())
	must(t, err)
	if len(claims) != 1 || claims[id(2)].Run != other.ID() {
		t.Errorf("left: %v", claims)
	}
	must(t, resumed.Close(), again.Close(), before.Close(), s.Close())
}

// Once a run is over nothing belongs to it any more, also where whoever ended it does not know which machines were joined: a run that
// was killed and is cancelled by hand, or whose last machine a medium has decided.
func TestARunThatIsOverHasNoMachine(t *testing.T) {
	for name, end := range map[string]func(*journal.Journal, string) error{
		"cancelled": func(j *journal.Journal, run string) error { return j.Abandon(t.Context(), run, "eve") },
		"by medium": func(j *journal.Journal, run string) error {
			_, err := j.RecordByMedium(t.Context(), run, []journal.ByMedium{{Machine: id(0), Digest: "d", Result: agent.Result{Outcome: "fixed"}}})
			return err
		},
	} {
		path := filepath.Join(t.TempDir(), "j.db")
		j := open(t, path)
		former := map[string]string{"former": id(0)}
		j.Joined(former)
		s := create(t, j, testPlan(t, 1), nil)
		must(t, s.Lease(id(0)), s.Begin(id(0), 1), s.Close(), j.Close()) // as a kill leaves it

		j = open(t, path)
		must(t, end(j, s.ID()))
		claims, err := j.Claims(t.Context())
		must(t, err)
		if len(claims) != 0 {
			t.Errorf("%s: the run still has %v", name, claims)
		}
		j.Joined(former)
		next := create(t, j, testPlan(t, 1), nil)
		must(t, next.Lease(id(0)), next.Close(), j.Close())
	}
}
