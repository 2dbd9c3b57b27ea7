package textfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Modes of new files; the umask narrows them. A file that is replaced never becomes readable for more people than it was.
const (
	Private fs.FileMode = 0o600
	Shared  fs.FileMode = 0o644
)

// Aside is a file that is being written beside the place where it will appear.
type Aside struct {
	*os.File
	name string
	done bool
}

// Create begins to write the file name. Whoever gets an Aside ends it with [Aside.Commit], and defers [Aside.Discard].
// A link, folder or device under the name is refused.
func Create(name string, mode fs.FileMode) (*Aside, error) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, hint.Wrap(fmt.Errorf("%s is a link, which is not followed", name), "name the file itself, or remove the link")
	case !info.Mode().IsRegular():
		return nil, hint.Wrap(fmt.Errorf("%s is no regular file", name), "name a file")
	default:
		mode &= info.Mode().Perm() | 0o600
	}
	aside := filepath.Join(filepath.Dir(name), ".fleetmend-"+rand.Text()+".tmp")
	f, err := os.OpenFile(aside, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	hold(f)
	return &Aside{File: f, name: name}, nil
}

// Commit makes what was written durable and lets it appear under its name. After an error the name shows what it showed
// before, and nothing is left beside it.
func (a *Aside) Commit() error {
	if a.done {
		return fs.ErrClosed
	}
	err := a.Sync()
	if err = errors.Join(err, a.Close()); err == nil {
		err = patiently(func() error { return os.Rename(a.Name(), a.name) }, heldOpen)
	}
	a.done = true
	if err != nil {
		return errors.Join(err, os.Remove(a.Name()))
	}
	return syncFolder(filepath.Dir(a.name))
}

// The pauses between attempts to put a file in the place of one that another process has open, about a second in all.
const (
	firstPause = time.Millisecond
	lastPause  = 512 * time.Millisecond
)

// patiently repeats what fails because another process has the file open for the moment, as Windows has it: there a file that
// somebody reads is not replaced.
func patiently(do func() error, held func(error) bool) error {
	err := do()
	for pause := firstPause; err != nil && held(err) && pause <= lastPause; pause *= 2 {
		<-time.After(pause)
		err = do()
	}
	return err
}

// Discard throws away what was written. After [Aside.Commit] it does nothing.
func (a *Aside) Discard() {
	if !a.done {
		a.done = true
		_, _ = a.Close(), os.Remove(a.Name()) // what made it useless is the error that matters
	}
}

// Write writes a file whole or not at all: aside, to disk, and then under its name. A process that is killed meanwhile
// leaves a file .fleetmend-*.tmp in the folder, never half of the file; [Sweep] removes it.
func Write(name string, mode fs.FileMode, write func(io.Writer) error) error {
	a, err := Create(name, mode)
	if err == nil {
		defer a.Discard()
		if err = write(a); err == nil {
			err = a.Commit()
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
