package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// ErrReadOnly is returned for every change of a journal that lies where nothing can be written.
var ErrReadOnly = errors.New("the journal can only be read")

func errReadOnly(path string) error {
	return hint.Wrapf(fmt.Errorf("%w: %s", ErrReadOnly, path), "it is evidence as it lies there; give --state-dir a folder that can be written to work on")
}

// cannotWrite reports whether a file is there that this process may only read.
func cannotWrite(path string, err error) bool {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errReadOnlySystem) {
		return false
	}
	f, err := os.Open(path)
	return err == nil && f.Close() == nil
}

// copyAside copies the file and its write-ahead log to a folder of its own: SQLite reads no log without writing beside it.
func copyAside(path string) (folder string, err error) {
	folder, err = os.MkdirTemp("", "fleetmend-journal-")
	if err != nil {
		return "", err
	}
	for _, suffix := range []string{"-wal", ""} { // in this order a commit in between is missing, not torn
		err := copyFile(path+suffix, filepath.Join(folder, filepath.Base(path)+suffix))
		if err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
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
	defer in.Close() //nolint:errcheck // only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
