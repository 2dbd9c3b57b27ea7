package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// Who looks whether a lock is held, and who shares it, is no owner.
func TestALookIsNoOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	if owner, held, err := ownerOf(path); held || err != nil || owner != (Owner{}) {
		t.Errorf("no file: %v %v %v", owner, held, err)
	}
	shared, err := takeLock(t.Context(), path, nil)
	none(t, err)
	if owner, held, err := ownerOf(path); held || err != nil || owner != (Owner{}) {
		t.Errorf("shared: %v %v %v", owner, held, err)
	}
	none(t, shared.release())
	own, err := takeLock(t.Context(), path, self("r"))
	none(t, err)
	if owner, held, err := ownerOf(path); !held || err != nil || owner.Run != "r" {
		t.Errorf("owned: %v %v %v", owner, held, err)
	}
	none(t, own.release())
}

// A lock whose file its owner takes away as he goes is never with two at once, however often that happens.
func TestALockIsWithOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	var inside, most, taken atomic.Int32
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for taken.Load() < 2000 && !t.Failed() {
				f, err := tryPath(path, true)
				switch {
				case errors.Is(err, errHeld):
					continue
				case err != nil:
					t.Errorf("%v", err)
					return
				}
				taken.Add(1)
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched() // to others who might have it
				inside.Add(-1)
				if err := dropLock(f); err != nil {
					t.Errorf("%v", err)
					return
				}
			}
		})
	}
	group.Wait()
	if most.Load() != 1 {
		t.Errorf("%d had it at once", most.Load())
	}
}

// A change that is refused or fails half-way leaves no lock behind: the next one writes.
func TestARefusedChangeLetsOthersWrite(t *testing.T) {
	j, s, p := twoWaves(t)
	ctx := t.Context()
	_, err := j.db.ExecContext(ctx, "CREATE TRIGGER ill BEFORE DELETE ON digest BEGIN SELECT RAISE(ABORT, 'ill'); END")
	none(t, err)
	_, err = j.db.ExecContext(ctx, "INSERT INTO digest (scope, part, n, rows, maker, packed) VALUES ('i', 0, 1, 1, 'm', x'00')")
	none(t, err)
	for name, change := range map[string]func() error{
		"a medium of a run that is there": func() error { return j.CreateForMedium(ctx, s.ID(), p) },
		"a result of no run of a medium": func() error {
			_, err := j.recordByMedium(ctx, "20240719-041233-aaaaaa", []ByMedium{{Machine: "m0"}})
			return err
		},
		"a mark in no incident":        func() error { _, err := j.Mark(ctx, "none", []string{"m0"}, MarkFixed, "why", "ada"); return err },
		"a wave that does not wait":    func() error { return j.Control(ctx, s.ID(), Approve, "ada") },
		"cases that cannot be put off": func() error { return j.RebuildCases(ctx) },
		"a sign-in that cannot be":     func() error { return j.SignIns().change(ctx, func(*sql.Tx) error { return errors.New("ill") }) },
	} {
		soon, cancel := context.WithTimeout(ctx, 20*time.Second)
		if err := change(); err == nil {
			t.Errorf("%s is taken", name)
		}
		tx, err := j.write(soon)
		if err != nil {
			t.Fatalf("nobody can write after %s: %v", name, err)
		}
		none(t, tx.Rollback())
		cancel()
	}
}

// A session has a connection of its own beside those of who looks, and a watch another.
func TestRoomForSessions(t *testing.T) {
	j, s, _ := twoWaves(t)
	if most := j.db.Stats().MaxOpenConnections; most != 6 {
		t.Errorf("%d connections beside one session", most)
	}
	if none(t, s.Close(), s.Close()); j.db.Stats().MaxOpenConnections != 5 {
		t.Errorf("%d connections without one", j.db.Stats().MaxOpenConnections)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Resume(over, s.ID(), nil); err == nil || j.db.Stats().MaxOpenConnections != 5 {
		t.Errorf("%v, %d connections after a session that was not opened", err, j.db.Stats().MaxOpenConnections)
	}
}

// Advice to try again is given where something was left undone, and of a run that is not there nothing is read.
func TestWhatARunLeft(t *testing.T) {
	for outcome, left := range map[Outcome]bool{Failed: true, Unreachable: true, Unknown: true, Held: true, Fixed: false, Clean: false, Skipped: false, Affected: false} {
		err := (&Run{ID: "r1", Status: RunDone, Counts: map[Outcome]int{outcome: 1}}).Over()
		if ended, ok := errors.AsType[*EndedError](err); !ok || ended.Run != "r1" || ended.Status != RunDone || (len(hint.Of(err)) > 0) != left {
			t.Errorf("%s: %v %q", outcome, err, hint.Of(err))
		}
	}
	j, s, _ := twoWaves(t)
	for name, read := range map[string]func(context.Context, string) ([]Machine, error){"machines": j.Machines, "left": j.Left} {
		if all, err := read(t.Context(), s.ID()); err != nil || len(all) != 3 {
			t.Errorf("%s: %d, %v", name, len(all), err)
		}
		_, err := read(t.Context(), "20240719-041233-aaaaaa")
		if _, ok := errors.AsType[*NotFoundError](err); !ok {
			t.Errorf("%s of no run: %v", name, err)
		}
	}
}

// The book of sign-ins: what is noted under an account's lock the next who has it reads, what counts against an account, and who took it.
func TestTheBookOfSignIns(t *testing.T) {
	j, _, _ := twoWaves(t)
	ctx, book := t.Context(), j.SignIns()
	for _, account := range []string{"first", "second"} { // the folder of the locks is there or not
		none(t, os.RemoveAll(j.locks()))
		if account == "second" {
			none(t, makeLocks(j.locks()))
		}
		l, err := book.Lock(ctx, account)
		none(t, err)
		if info, err := l.(*signInLock).f.Stat(); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", account, info.Mode(), err)
		}
		none(t, l.Release())
	}
	for _, mark := range []int64{0, 42, -7} {
		l, err := book.Lock(ctx, "k")
		none(t, err)
		if mark != 0 {
			none(t, l.Note(mark), l.Release())
			if info, err := os.Stat(l.(*signInLock).f.Name()); err != nil || info.Size() != 8 {
				t.Errorf("%v %v", info, err)
			}
			l, err = book.Lock(ctx, "k")
			none(t, err)
		}
		if l.Mark() != mark {
			t.Errorf("mark %d, not %d", l.Mark(), mark)
		}
		over, cancel := context.WithTimeoutCause(ctx, 20*time.Millisecond, errHeld)
		if _, err := book.Lock(over, "k"); !errors.Is(err, errHeld) {
			t.Errorf("a lock that is held: %v", err)
		}
		cancel()
		other, err := book.Lock(ctx, "another")
		none(t, err, other.Release(), l.Release())
	}
	at := time.Now().Add(-time.Minute)
	states := []signin.State{signin.Sent, signin.Refused, signin.Unanswered, signin.Accepted, signin.Unjudged, signin.Accepted}
	var numbers []int64
	for i, state := range states {
		n, err := book.Add(ctx, signin.Entry{Account: "k", Domain: "D", Target: route.Target{ID: fmt.Sprint(i), Name: fmt.Sprint("PC", i)}, Time: at, State: state})
		none(t, err)
		numbers = append(numbers, n)
	}
	against := func(account string, since time.Time) (list []string) {
		all, err := book.Against(ctx, account, since)
		none(t, err)
		for _, e := range all {
			if e.Account != account || e.Domain != "D" || e.Time.UnixMilli() != at.UnixMilli() || !slices.Contains(numbers, e.N) {
				t.Errorf("%+v", e)
			}
			list = append(list, e.Target.Name+" "+string(e.State))
		}
		return list
	}
	took := func(account, domain string, most int) (list []string) {
		all, err := book.Took(ctx, account, domain, most)
		none(t, err)
		for _, target := range all {
			list = append(list, target.ID+" "+target.Name)
		}
		return list
	}
	if got := against("k", at.Add(-time.Second)); !slices.Equal(got, []string{"PC0 sent", "PC1 refused", "PC2 unanswered"}) {
		t.Errorf("%q", got)
	}
	if got := slices.Concat(against("k", at), against("other", at.Add(-time.Second)), took("other", "D", 9), took("k", "E", 9)); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := took("k", "D", 9); !slices.Equal(got, []string{"5 PC5", "3 PC3"}) {
		t.Errorf("%q", got)
	}
	if got := took("k", "D", 1); !slices.Equal(got, []string{"5 PC5"}) {
		t.Errorf("%q", got)
	}
	none(t, book.Settle(ctx, signin.Accepted, numbers[0], numbers[1]), book.Settle(ctx, signin.Refused, numbers[5]))
	if got := against("k", at.Add(-time.Second)); !slices.Equal(got, []string{"PC2 unanswered", "PC5 refused"}) {
		t.Errorf("%q", got)
	}
	if got := took("k", "D", 9); !slices.Equal(got, []string{"3 PC3", "1 PC1", "0 PC0"}) {
		t.Errorf("%q", got)
	}
}

// Who waited for his turn has it alone.
func TestATurnThatWasWaitedForIsAlone(t *testing.T) {
	j, _, _ := twoWaves(t)
	var turns [3]*turn
	for i := range turns {
		var err error
		turns[i], err = j.openTurn()
		none(t, err)
		t.Cleanup(func() { _ = turns[i].close() })
	}
	none(t, turns[0].wait(t.Context()))
	waited := make(chan error)
	go func() { waited <- turns[1].wait(t.Context()) }()
	time.Sleep(20 * time.Millisecond) // as long as it takes until he looks again and again; he has it alone either way
	none(t, turns[0].leave(), <-waited)
	if err := tryLock(turns[2].f, false); !errors.Is(err, errHeld) {
		t.Errorf("another looks: %v", err)
	}
	none(t, turns[1].leave(), turns[2].wait(t.Context()), turns[2].leave())
}

// A change that was handed over before its session was closed is written.
func TestWhatWasHandedOverIsWritten(t *testing.T) {
	j, _, p := twoWaves(t)
	for i := range p.Waves {
		for k := range p.Waves[i].Entries {
			p.Waves[i].Entries[k].ID += "'"
		}
	}
	none(t, p.Seal())
	for range 20 { // the writer finds the change or the end first, as it comes
		now := time.Now()
		s, err := j.open(t.Context(), newID(now), nil)
		none(t, err)
		s.plan = p
		none(t, s.insert(t.Context(), p, now))
		o := op{check: nop, apply: func(b *batch) error { return b.event(-1, Event{Kind: Stopping, Text: "last"}) }, done: make(chan error, 1)}
		s.ops <- o
		close(s.closed)
		s.write()
		select {
		case err := <-o.done:
			none(t, err)
		default:
			t.Fatal("nobody answered")
		}
		events, err := j.Events(t.Context(), s.ID(), 0)
		none(t, err, s.abandon())
		if n := len(events); n == 0 || events[n-1].Text != "last" {
			t.Fatalf("%+v", events)
		}
	}
}

func TestAWaveThatIsNotAwaited(t *testing.T) {
	for want, e := range map[string]*NotAwaitedError{
		"run r waits for the approval of wave 1, not of wave 2: nothing was approved":          {Run: "r", Status: RunWaiting, Wave: 2, Awaited: 1},
		"run r does not wait for the approval of wave 1 (it is running): nothing was approved": {Run: "r", Status: RunRunning, Wave: 1},
		"run r does not wait for approval (it is paused): nothing was approved":                {Run: "r", Status: RunPaused},
	} {
		if e.Error() != want {
			t.Errorf("%q, not %q", e.Error(), want)
		}
	}
}
