package sqlitefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// ErrReadOnly is returned for every change of a file that lies where nothing can be written.
var ErrReadOnly = errors.New("it can only be read")

// Writable returns [ErrReadOnly], with what to do, where the file can only be read.
func (db *DB) Writable() error {
	if db.copy == nil {
		return nil
	}
	return hint.Wrapf(fmt.Errorf("change the %s: %w: %s", db.what, ErrReadOnly, db.path),
		"it is evidence as it lies there; to work on, copy the folder to one that you may write and give that with --state-dir")
}

// readOnlyPlace reports whether making the file failed because nothing may be written to it, or in its folder, which is there.
func readOnlyPlace(path string, err error) bool {
	if !errors.Is(err, fs.ErrPermission) && !slices.ContainsFunc(writeProtected, func(e error) bool { return errors.Is(err, e) }) {
		return false
	}
	if f, err := os.Open(path); err == nil {
		return f.Close() == nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	info, err := os.Stat(filepath.Dir(path))
	return err == nil && info.IsDir()
}

// errInUse is returned where a file was written to each time that it was copied.
var errInUse = errors.New("it is written to all the time, and no copy of it is of one moment")

// tries is how often a file that is written to meanwhile is copied anew.
const tries = 20

// aside is a copy that is read instead of a file, in a folder of its own. Held is a file there that is held while the process lives.
// Nobody reads pipes: while there is a copy, who prints for a reader that has gone gets an error instead of being ended on the spot,
// and removes it.
type aside struct {
	folder string
	held   *textfile.Aside
	pipes  chan os.Signal
}

const asideName = "fleetmend-read-"

// copyAside copies the file and its write-ahead log, as they are at one moment, to a folder of its own; without a file the copy is
// empty.
func copyAside(path string) (*aside, error) {
	sweep()
	folder, err := os.MkdirTemp("", asideName)
	if err != nil {
		return nil, err
	}
	a := &aside{folder: folder, pipes: make(chan os.Signal, 1)}
	signal.Notify(a.pipes, syscall.SIGPIPE)
	if a.held, err = textfile.Create(filepath.Join(folder, "held"), textfile.Private); err != nil {
		signal.Stop(a.pipes)
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	copied := filepath.Join(folder, filepath.Base(path))
	for range tries {
		var whole bool
		if whole, err = copyBoth(path, copied); err != nil || whole {
			break
		}
		err = hint.Wrap(fmt.Errorf("read %s: %w", path, errInUse), "try again, or when the run that writes it has ended")
	}
	if err != nil {
		return nil, errors.Join(err, a.remove())
	}
	return a, nil
}

func (a *aside) remove() error {
	if a == nil {
		return nil
	}
	a.held.Discard()
	err := os.RemoveAll(a.folder)
	signal.Stop(a.pipes)
	return err
}

// sweep removes the copies of processes that were ended in the middle: by kill, with their terminal, or because nobody read on what
// they printed. What cannot be removed stays.
func sweep() {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), asideName+"*"))
	if err != nil {
		return
	}
	for _, folder := range left {
		if info, err := os.Lstat(folder); err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute {
			continue // one that has just been made may not be held yet
		}
		textfile.Sweep(folder)
		if held, err := filepath.Glob(filepath.Join(folder, ".fleetmend-*.tmp")); err == nil && len(held) == 0 {
			_ = os.RemoveAll(folder)
		}
	}
}

// copyBoth reports whether the copies are of one moment. What is committed is appended to the log, which does no harm. But from time
// to time somebody brings it into the file, and begins it anew: a log over a file that is newer than it would hide some of its pages
// and not others. Neither has happened where the file is still what was copied, and the log has the same header
// (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
func copyBoth(path, copied string) (whole bool, err error) {
	err = copyFile(path, copied)
	if errors.Is(err, fs.ErrNotExist) {
		return true, Make(copied)
	}
	if err != nil {
		return false, err
	}
	if err := os.Remove(copied + "-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := copyFile(path+"-wal", copied+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	const header = 32 // of the log
	if whole, err = same(path, copied, math.MaxInt64); err != nil || !whole {
		return false, err
	}
	whole, err = same(path+"-wal", copied+"-wal", header)
	if errors.Is(err, fs.ErrNotExist) { // it came or went meanwhile, or there is none
		_, now := os.Stat(path + "-wal")
		_, then := os.Stat(copied + "-wal")
		return errors.Is(now, fs.ErrNotExist) && errors.Is(then, fs.ErrNotExist), nil
	}
	return whole, err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// same reports whether two files begin with the same, or are the same where they are shorter.
func same(a, b string, begin int64) (bool, error) {
	f, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer g.Close()
	readers := [2]io.Reader{io.LimitReader(f, begin), io.LimitReader(g, begin)}
	var pieces [2][64 << 10]byte
	for {
		n, err := io.ReadFull(readers[0], pieces[0][:])
		m, failed := io.ReadFull(readers[1], pieces[1][:])
		if n != m || !bytes.Equal(pieces[0][:n], pieces[1][:m]) {
			return false, nil
		}
		over := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if over && (errors.Is(failed, io.EOF) || errors.Is(failed, io.ErrUnexpectedEOF)) {
			return true, nil
		}
		if err != nil || failed != nil {
			return false, errors.Join(err, failed)
		}
	}
}
