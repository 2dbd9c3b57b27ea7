package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// Owner is the process that works on a run.
type Owner struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Run   string    `json:"run,omitempty"` // empty: it brings the journal to a new version
	Since time.Time `json:"since"`
}

// String is "process 4711 on HOST, since 2024-07-19 04:12:33".
func (o Owner) String() string {
	return fmt.Sprintf("process %d on %s, since %s", o.PID, o.Host, o.Since.Local().Format(time.DateTime))
}

// LockedError says that another process works on the run, or brings the journal to a new version. The lock dies with its
// process, so there is never a stale one to remove.
type LockedError struct{ Owner Owner }

func (e *LockedError) Error() string {
	switch {
	case e.Owner.PID == 0:
		return "the run is at work in another process"
	case e.Owner.Run == "":
		return fmt.Sprintf("the journal is being brought to a new version (%s)", e.Owner)
	}
	return fmt.Sprintf("run %s is at work elsewhere (%s)", e.Owner.Run, e.Owner)
}

// errHeld is what the platform's tryLock returns when another open file has the lock.
var errHeld = errors.New("lock is held")

type fileLock struct {
	f     *os.File
	owned bool // it says whose it is, and goes with him
}

// lockPatience covers the moment in which somebody looks whether a lock is held.
const lockPatience = 500 * time.Millisecond

// takeLock locks the file at path, for one owner or, without one, for many at once.
func takeLock(ctx context.Context, path string, owner *Owner) (*fileLock, error) {
	again := time.NewTicker(lockPatience / 10)
	defer again.Stop()
	for began := time.Now(); ; {
		f, err := tryPath(path, owner != nil)
		switch {
		case err == nil && owner == nil:
			if err := f.Truncate(0); err != nil { // what an owner left who died
				return nil, errors.Join(fmt.Errorf("lock the run: %w", err), f.Close())
			}
			return &fileLock{f: f}, nil
		case err == nil:
			if err = writeOwner(f, *owner); err != nil {
				return nil, errors.Join(sqlitefile.Explain(fmt.Errorf("lock the run: %w", err)), f.Close())
			}
			return &fileLock{f: f, owned: true}, nil
		case !errors.Is(err, errHeld):
			return nil, fmt.Errorf("lock the run: %w", err)
		case time.Since(began) >= lockPatience:
			holder, _, err := ownerOf(path)
			if err != nil {
				return nil, err
			}
			if holder.Run == "" { // a new version, or it is just being written
				return nil, hint.Wrap(&LockedError{Owner: holder}, "wait a moment and try again")
			}
			return nil, hint.Wrapf(&LockedError{Owner: holder}, "follow it with `fleetmend runs watch %[1]s`, or stop it with `fleetmend runs stop %[1]s`", holder.Run)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryPath locks the file that is at path now: one that its last owner took away meanwhile is no lock.
func tryPath(path string, exclusive bool) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := tryLock(f, exclusive); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
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

func (l *fileLock) release() error {
	if !l.owned {
		return l.f.Close()
	}
	return dropLock(l.f)
}

// ownerOf returns who holds the lock at path, and whether anybody does.
func ownerOf(path string) (owner Owner, held bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Owner{}, false, nil
	}
	if err != nil {
		return Owner{}, false, fmt.Errorf("look at lock: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	err = tryLock(f, false)
	if err == nil {
		return Owner{}, false, nil
	}
	if !errors.Is(err, errHeld) {
		return Owner{}, false, fmt.Errorf("look at lock: %w", err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil || json.Unmarshal(data, &owner) != nil {
		return Owner{}, true, nil // it is just being written
	}
	return owner, true, nil
}

func self(run string) *Owner {
	host, _ := os.Hostname() //nolint:errcheck // only told to people
	return &Owner{PID: os.Getpid(), Host: host, Run: run, Since: time.Now().UTC().Truncate(time.Millisecond)}
}

// runLock is the right to write one run: the journal as it is shared with the sessions of other runs, the run for itself.
type runLock struct{ shared, run *fileLock }

func (l *runLock) release() error { return errors.Join(l.run.release(), l.shared.release()) }

// lockRun takes the lock of a run; a *LockedError names who has it.
func (j *Journal) lockRun(ctx context.Context, id string) (*runLock, error) {
	path, err := j.runLockPath(id)
	if err != nil {
		return nil, err
	}
	if err := makeLocks(j.locks()); err != nil {
		return nil, fmt.Errorf("lock run %s: %w", id, err)
	}
	shared, err := takeLock(ctx, j.path+".lock", nil)
	if err != nil {
		return nil, err
	}
	run, err := takeLock(ctx, path, self(id))
	if err != nil {
		return nil, errors.Join(err, shared.release())
	}
	return &runLock{shared, run}, nil
}

var fileSafe = lazyregexp.New(`^[0-9A-Za-z][0-9A-Za-z_-]*$`)

func (j *Journal) runLockPath(id string) (string, error) {
	if !fileSafe.MatchString(id) {
		return "", fmt.Errorf("%q is no ID of a run", id)
	}
	return filepath.Join(j.locks(), id+".lock"), nil
}

func (j *Journal) locks() string { return j.path + ".locks" }

// Quiet keeps every run of the journal at path from working, without opening it, until release is called. It returns a
// *LockedError while a run is at work.
func Quiet(ctx context.Context, path string) (release func() error, err error) {
	lock, err := takeLock(ctx, path+".lock", self(""))
	locked, held := errors.AsType[*LockedError](err)
	if held && locked.Owner.PID == 0 {
		return nil, hint.Wrap(&LockedError{Owner: anyOwner(path + ".locks")}, "wait until it ends, or stop it with the fleetmend that started it")
	}
	if err != nil {
		return nil, err
	}
	return lock.release, nil
}

// anyOwner is one of those who hold a lock in a folder.
func anyOwner(dir string) Owner {
	files, _ := filepath.Glob(filepath.Join(dir, "*.lock")) //nolint:errcheck // the pattern is right
	for _, file := range files {
		if owner, held, err := ownerOf(file); held && err == nil {
			return owner
		}
	}
	return Owner{}
}

// Owner returns who works on a run now, and whether anybody does. A run that is not over and has no owner was interrupted
// by a crash.
func (j *Journal) Owner(run string) (Owner, bool, error) {
	path, err := j.runLockPath(run)
	if err != nil {
		return Owner{}, false, err
	}
	return ownerOf(path)
}
