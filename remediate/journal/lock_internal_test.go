package journal

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
