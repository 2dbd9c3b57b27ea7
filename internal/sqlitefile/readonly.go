package sqlitefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// copyAside copies the file and its write-ahead log to a folder of its own; without a file the copy is empty.
func copyAside(path string) (folder string, err error) {
	folder, err = os.MkdirTemp("", "fleetmend-read-")
	if err != nil {
		return "", err
	}
	copied := filepath.Join(folder, filepath.Base(path))
	for _, suffix := range []string{"-wal", ""} { // in this order a commit in between is missing, not torn
		err := copyFile(path+suffix, copied+suffix)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
			if suffix == "" {
				err = Make(copied)
			}
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(folder))
		}
	}
	return folder, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
