package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// turn orders the processes that write. SQLite gives its write lock to whoever happens to look when it is free, so that a
// run at full speed starves all others; who waits for it here has the turn, and who has just written is behind him.
type turn struct{ f *os.File }

func (j *Journal) openTurn() (*turn, error) {
	open := func() (*os.File, error) {
		return os.OpenFile(filepath.Join(j.locks(), "turn"), os.O_RDWR|os.O_CREATE, 0o600) // every version takes this file
	}
	f, err := open()
	if errors.Is(err, os.ErrNotExist) {
		if err = makeLocks(j.locks()); err == nil {
			f, err = open()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the journal: %w", err)
	}
	return &turn{f}, nil
}

// makeLocks makes the folder of the locks, never that which it lies in: a state folder that was deleted stays so.
func makeLocks(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// turnPatience bounds the wait for a process that has the turn and was stopped; after it SQLite's own lock decides alone.
const turnPatience = 10 * time.Second

// wait returns when it is this one's turn to take SQLite's write lock. It has to be followed by leave, as soon as that is
// taken.
func (t *turn) wait(ctx context.Context) error {
	err := tryLock(t.f, true)
	if !errors.Is(err, errHeld) {
		return err
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for began := time.Now(); time.Since(began) < turnPatience; {
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := tryLock(t.f, true); !errors.Is(err, errHeld) {
			return err
		}
	}
	return nil
}

func (t *turn) leave() error { return unlock(t.f) }

func (t *turn) close() error { return t.f.Close() }

// write begins a transaction that changes something.
func (j *Journal) write(ctx context.Context) (*sql.Tx, error) {
	if err := j.db.Writable(); err != nil {
		return nil, err
	}
	t, err := j.openTurn()
	if err != nil {
		return nil, err
	}
	defer t.close() //nolint:errcheck // nothing was written into it
	if err := t.wait(ctx); err != nil {
		return nil, err
	}
	return j.db.Write(ctx)
}
