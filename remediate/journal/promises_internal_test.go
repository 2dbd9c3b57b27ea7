package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Each of these fails when the line is taken out that keeps the promise it names.

func twoWaves(t *testing.T) (*Journal, *Session, *plan.Plan) {
	t.Helper()
	ctx := context.Background()
	j, err := Open(ctx, filepath.Join(t.TempDir(), "state", "j.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	sizes, err := plan.ParseWaves("1,100%")
	if err != nil {
		t.Fatal(err)
	}
	in := plan.Input{Options: plan.DefaultOptions(), Now: time.Now(), Operator: "ada", Waves: sizes}
	in.Source = plan.Source{Playbook: playbook.Playbook{Name: "p"}, File: "p.yaml"}
	for i := range 3 {
		in.Entries = append(in.Entries, plan.Entry{Target: route.Target{ID: fmt.Sprint("m", i), Name: fmt.Sprint("PC", i)}, Route: "fake"})
	}
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Create(ctx, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return j, s, p
}

func none(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A commit that has returned survives a power cut: in WAL mode that wants synchronous FULL, on every connection.
func TestACommitIsOnDiskWhenItReturns(t *testing.T) {
	j, s, _ := twoWaves(t)
	for name, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		var here, there string
		none(t, s.conn.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&here), j.db.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&there))
		if here != want || there != want {
			t.Errorf("%s is %s for who writes and %s for the others, not %s", name, here, there, want)
		}
	}
	var patience int // a run does not end because another process was slow
	if none(t, s.conn.QueryRowContext(t.Context(), "PRAGMA busy_timeout").Scan(&patience)); patience != 300_000 {
		t.Errorf("who writes waits %d ms for another process", patience)
	}
	if runtime.GOOS == "windows" {
		return
	}
	seen := 0
	none(t, filepath.WalkDir(filepath.Dir(j.path), func(path string, d os.DirEntry, err error) error {
		want := os.FileMode(0o600)
		if err == nil && d.IsDir() {
			want = os.ModeDir | 0o700
		}
		seen++
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, not %v", path, info.Mode(), err, want)
		}
		return err
	}))
	for _, path := range []string{j.path + ".lock", filepath.Join(j.locks(), "turn"), filepath.Join(j.locks(), s.ID()+".lock")} { // other versions take the same
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if seen < 6 { // the folder, the journal, its lock, the folder of locks, the run's lock and the turn
		t.Errorf("only %d files are there", seen)
	}
}

// What the disk refused leaves nothing behind: no half of a change, and no lock that keeps the other runs from writing.
func TestARefusedCommitIsRolledBack(t *testing.T) {
	j, s, p := twoWaves(t)
	ctx := t.Context()
	_, err := j.db.ExecContext(ctx, "CREATE TRIGGER ill BEFORE INSERT ON events WHEN new.text = 'ill' BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END")
	none(t, err, s.Lease("m0"), s.Begin("m0", 1))
	err = s.BackOff("m0", route.Busy, "ill")
	if _, ok := errors.AsType[*WriteError](err); !ok {
		t.Fatalf("a refused commit gives %v", err)
	}
	if err := s.Begin("m0", 2); err == nil {
		t.Error("a session goes on after a commit that was refused")
	}
	var state, reason string
	none(t, j.db.QueryRowContext(ctx, "SELECT state, reason FROM machines WHERE id = 'm0'").Scan(&state, &reason))
	if state != "running" || reason != "" {
		t.Errorf("half of the change is there: %s %q", state, reason)
	}
	for i := range p.Waves {
		for k := range p.Waves[i].Entries {
			p.Waves[i].Entries[k].ID += "'"
		}
	}
	none(t, p.Seal())
	soon, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	other, err := j.Create(soon, p, nil)
	if err != nil {
		t.Fatalf("another run cannot write while the broken one is open: %v", err)
	}
	none(t, other.Close())
}

// Close returns when the last commit is through, and with it whoever is told of it.
func TestCloseWaitsForTheLastCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, s, _ := twoWaves(t)
		in, goOn, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
		s.observe = func(Event) { close(in); <-goOn }
		noted := make(chan error, 1)
		go func() { noted <- s.Note(Stopping, 0, "x") }()
		<-in
		go func() { _ = s.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned during a commit")
		default:
		}
		if _, held, err := j.Owner(s.ID()); err != nil || !held {
			t.Errorf("the lock was given back during a commit (%v)", err)
		}
		close(goOn)
		<-closed
		none(t, <-noted)
		if err := s.Note(Stopping, 0, "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A record that cannot be read is an error each time, and never the last connection.
func TestADamagedResultIsAnErrorEachTime(t *testing.T) {
	j, s, _ := twoWaves(t)
	none(t, s.Lease("m0"), s.Begin("m0", 1), s.Finish("m0", End{Outcome: Failed, Result: &agent.Result{Outcome: agent.Failed, Message: "no"}}))
	machines, err := j.Machines(t.Context(), s.ID())
	none(t, err)
	if r := machines[0].Result; r == nil || r.Message != "no" || machines[1].Result != nil {
		t.Errorf("the results are %+v", machines)
	}
	_, err = j.db.ExecContext(t.Context(), "UPDATE results SET result = '{'")
	none(t, err)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 20 {
		_, err := j.Machines(soon, s.ID())
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("reading a damaged result: %v", err)
		}
	}
}

// Where machines stand, in which wave, and who has them.
func TestStandingClaimsAndAsked(t *testing.T) {
	j, s, _ := twoWaves(t)
	ctx := t.Context()
	none(t, s.SetStatus(RunRunning, RunStarted, 0, "go"), s.Note(WaveStarted, 1, "one"), s.Lease("m0", "m1"), s.Begin("m0", 1), s.Finish("m0", End{Outcome: Clean}))
	at, err := j.Standing(ctx, s.ID())
	none(t, err)
	got := ""
	for _, m := range at.Machines {
		got += fmt.Sprintf("%s %d %s %s %v, ", m.ID, m.Wave, m.State, m.Outcome, m.Ended.IsZero())
	}
	if want := "m0 1 done clean false, m1 2 leased  true, m2 2 pending  true, "; got != want || at.Seq != 6 || len(at.Course) != 2 {
		t.Errorf("%q at %d with %v, not %q", got, at.Seq, at.Course, want)
	}
	events, err := j.Events(ctx, s.ID(), 0)
	none(t, err)
	for _, e := range events {
		if e.MachineID == "m1" && e.Wave != 2 {
			t.Errorf("%+v", e)
		}
	}
	if _, err := j.Standing(ctx, "nobody's"); err == nil || !strings.Contains(err.Error(), "nobody's") {
		t.Errorf("of no run: %v", err)
	}
	claims, err := j.Claims(ctx)
	none(t, err)
	if c, ok := claims["m1"]; len(claims) != 1 || !ok || c.Run != s.ID() || c.Operator != "ada" || c.Owner == nil || c.Owner.PID != os.Getpid() {
		t.Errorf("claims: %+v", claims)
	}
	none(t, s.Release("m1"))
	if claims, err := j.Claims(ctx); err != nil || len(claims) != 0 {
		t.Errorf("of a machine that was let go: %+v %v", claims, err)
	}
	var packed []byte
	none(t, j.db.QueryRowContext(ctx, "SELECT plan FROM runs").Scan(&packed))
	head, err := unpackHead(packed)
	none(t, err)
	if head.PlaybookFile != "p.yaml" || head.Playbook.Name != "p" || len(head.Waves) != 0 {
		t.Errorf("the head of the plan: %+v", head)
	}
	for _, damaged := range [][]byte{nil, packed[:8], packed[:len(packed)/2]} {
		if p, err := unpackHead(damaged); err == nil && p.PlaybookFile != "p.yaml" {
			t.Errorf("%d bytes of %d pass for a plan: %+v", len(damaged), len(packed), p)
		}
	}
}

// These words lie in the journals of all who use fleetmend, in their scripts and in reports: another word for one of them
// makes what was recorded unreadable. New ones are added here.
func TestTheWordsOfTheRecordStayWhatTheyAre(t *testing.T) {
	for got, want := range map[string]string{
		fmt.Sprint(Pending, Leased, Running, Rebooting, Done):                                                                                                              "pendingleasedrunningrebootingdone",
		fmt.Sprint(Clean, Affected, Fixed, Undone, Failed, Unreachable, Unknown, Held, Skipped):                                                                            "cleanaffectedfixedundonefailedunreachableunknownheldskipped",
		fmt.Sprint(RunRunning, RunPaused, RunWaiting, RunDone, RunGated, RunCancelled, RunAuth, RunTimeout, RunInterrupted):                                                "runningpausedwaitingdonegatedcancelledauthtimeoutinterrupted",
		fmt.Sprint(RunStarted, RunResumed, RunEnded, WaveStarted, WaveSoaking, WaveGated, WaveEnded, Approval, Approved, Paused, Unpaused, Stopping, Ignored, MachineMove): "run-startedrun-resumedrun-endedwave-startedsoakgatewave-endedapprovalapprovedpausedunpausedstoppingignoredmachine",
		fmt.Sprint(Pause, Resume, Cancel, Approve, Stop, StopNow):                                                                                                          "pauseresumecancelapprovestopstop-now",
		fmt.Sprint(MarkFixed, MarkReplaced, MarkExcluded, MarkSuspect):                                                                                                     "fixedreplacedexcludedsuspect",
	} {
		if got != want {
			t.Errorf("%q is now %q", want, got)
		}
	}
	final := ""
	for _, s := range []Status{RunRunning, RunPaused, RunWaiting, RunDone, RunGated, RunCancelled, RunAuth, RunTimeout, RunInterrupted} {
		if s.Final() {
			final += string(s) + " "
		}
	}
	if final != "done gated cancelled auth timeout " {
		t.Errorf("final are %s", final)
	}
}

// A full disk, a failing one and one that cannot be written are said with what to do; everything else as it is.
func TestWhatToDoAboutADisk(t *testing.T) {
	for text, want := range map[string]string{
		"database or disk is full (13)":               "free some space where the journal lies",
		"disk I/O error (1546)":                       "the disk of the journal is failing or full: look at it before anything else",
		"attempt to write a readonly database (1032)": "the journal must be writable for the one who runs fleetmend",
		"no such table: runs":                         "",
	} {
		err := errors.New(text)
		if got := explain(err); !errors.Is(got, err) || strings.Join(hint.Of(got), "|") != want {
			t.Errorf("%s: %v %q, want %q", text, got, hint.Of(got), want)
		}
	}
	if explain(nil) != nil {
		t.Error("nothing is explained")
	}
}

// IDs of runs sort by time, are files' names, and two of one second differ.
func TestIDsOfRuns(t *testing.T) {
	at := time.Date(2024, 7, 19, 6, 12, 33, 0, time.FixedZone("", 7200))
	seen := map[string]bool{}
	for range 200 {
		id := newID(at)
		if !regexp.MustCompile(`^20240719-041233-[a-km-np-z2-9]{6}$`).MatchString(id) || !fileSafe.MatchString(id) || seen[id] {
			t.Fatalf("%q (seen %v)", id, seen[id])
		}
		seen[id] = true
	}
}

// A run goes on while somebody works on it and it waits for something or nothing; whoever follows it would leave too early otherwise.
func TestWhichRunsGoOn(t *testing.T) {
	j, s, _ := twoWaves(t)
	for status, want := range map[Status]bool{RunRunning: true, RunPaused: true, RunWaiting: true, RunInterrupted: false, RunGated: false} {
		none(t, s.SetStatus(status, Paused, 1, ""))
		if got, err := j.goesOn(t.Context(), s.ID()); err != nil || got != want {
			t.Errorf("%s: %v %v", status, got, err)
		}
	}
	none(t, s.SetStatus(RunRunning, Unpaused, 1, ""), s.Close())
	if got, err := j.goesOn(t.Context(), s.ID()); err != nil || got {
		t.Errorf("nobody works on it: %v %v", got, err)
	}
}

// Who looks does not wait for who writes, however long that takes.
func TestLooksDoNotWaitForAWriter(t *testing.T) {
	j, s, _ := twoWaves(t)
	ctx := t.Context()
	tx, err := j.write(ctx)
	none(t, err)
	defer tx.Rollback() //nolint:errcheck // nothing was written
	_, err = tx.ExecContext(ctx, nextNumber)
	none(t, err)
	_, standing := j.Standing(ctx, s.ID())
	_, number, cases := j.Cases(ctx, "none", 0)
	_, run := j.Run(ctx, s.ID())
	none(t, standing, cases, run)
	if number != 0 {
		t.Errorf("half of a change is seen: %d", number)
	}
}

// What cannot be given back is said when a session is closed, each time.
func TestASessionThatCannotBeClosed(t *testing.T) {
	j, s, _ := twoWaves(t)
	none(t, s.turn.close())
	for range 2 {
		if err := s.Close(); !errors.Is(err, os.ErrClosed) || !strings.HasPrefix(err.Error(), "close journal session: ") {
			t.Errorf("%v", err)
		}
	}
	if _, held, err := j.Owner(s.ID()); held || err != nil {
		t.Errorf("the lock is held: %v %v", held, err)
	}
}
