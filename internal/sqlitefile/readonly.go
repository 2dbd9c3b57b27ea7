package sqlitefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// ErrReadOnly is returned for every change of a file that lies where nothing can be written.
var ErrReadOnly = errors.New("it can only be read")

// Writable returns [ErrReadOnly], with what to do, where the file can only be read.
func (db *DB) Writable() error {
	if db.copy == "" {
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

// copyAside copies the file and its write-ahead log, as they are at one moment, to a folder of its own; without a file the copy is
// empty.
func copyAside(path string) (folder string, err error) {
	folder, err = os.MkdirTemp("", "fleetmend-read-")
	if err != nil {
		return "", err
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
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	return folder, nil
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
	var readers [2]io.Reader
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			return false, err
		}
		defer f.Close()
		readers[i] = io.LimitReader(f, begin)
	}
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
