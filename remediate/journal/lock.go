package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Owner is the process that holds the journal's lock.
type Owner struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Run   string    `json:"run"`
	Since time.Time `json:"since"`
}

// LockedError says that another engine works with this journal. The lock dies with its process, so there is never a
// stale one to remove.
type LockedError struct{ Owner Owner }

func (e *LockedError) Error() string {
	if e.Owner.PID == 0 {
		return "the journal is locked by another run"
	}
	return fmt.Sprintf("the journal is locked by run %s (process %d on %s, since %s)",
		e.Owner.Run, e.Owner.PID, e.Owner.Host, e.Owner.Since.Local().Format(time.DateTime))
}

// errHeld is what the platform's tryLock returns when another open file has the lock.
var errHeld = errors.New("lock is held")

type fileLock struct{ f *os.File }

// lockPatience covers the moment in which Owner looks whether a lock is held.
const lockPatience = 500 * time.Millisecond

func takeLock(ctx context.Context, path string, owner Owner) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock journal: %w", err)
	}
	again := time.NewTicker(lockPatience / 10)
	defer again.Stop()
	for began := time.Now(); ctx.Err() == nil; <-again.C {
		err = tryLock(f, true)
		if !errors.Is(err, errHeld) || time.Since(began) >= lockPatience {
			break
		}
	}
	if ctx.Err() != nil && err == nil {
		err = ctx.Err()
	}
	if errors.Is(err, errHeld) {
		held := &LockedError{Owner: readOwner(f)}
		_ = f.Close()
		return nil, hint.Wrap(held, "wait until it ends, stop it with `fleetmend runs cancel`, or give this run a journal of its own")
	}
	if err == nil {
		err = writeOwner(f, owner)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock journal: %w", err)
	}
	return &fileLock{f}, nil
}

// Quiet takes the lock of the journal at path without opening it, so that no run begins until release is called. It
// returns a *LockedError while a run is at work.
func Quiet(ctx context.Context, path string) (release func() error, err error) {
	host, _ := os.Hostname() //nolint:errcheck // only told to people
	lock, err := takeLock(ctx, path+".lock", Owner{PID: os.Getpid(), Host: host, Run: "(an upgrade)", Since: time.Now().UTC()})
	if err != nil {
		return nil, err
	}
	return lock.release, nil
}

func writeOwner(f *os.File, owner Owner) error {
	data, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return err
}

func readOwner(f *os.File) (owner Owner) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil || json.Unmarshal(data, &owner) != nil {
		return Owner{}
	}
	return owner
}

func (l *fileLock) release() error {
	return errors.Join(l.f.Truncate(0), l.f.Close())
}

// Owner returns who works with the journal now, and whether anybody does. A run that is not final and has no owner was
// interrupted by a crash.
func (j *Journal) Owner() (Owner, bool, error) {
	f, err := os.Open(j.lockPath())
	if errors.Is(err, os.ErrNotExist) {
		return Owner{}, false, nil
	}
	if err != nil {
		return Owner{}, false, fmt.Errorf("look at lock: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	err = tryLock(f, false)
	if errors.Is(err, errHeld) {
		return readOwner(f), true, nil
	}
	if err != nil {
		return Owner{}, false, fmt.Errorf("look at lock: %w", err)
	}
	return Owner{}, false, nil
}

func (j *Journal) lockPath() string { return j.path + ".lock" }
