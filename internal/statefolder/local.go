package statefolder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// networkKind names the kind of network file system that holds a path, empty for a local one.
var networkKind = kindOf

// Local refuses a folder on a network file system, with the reason. There neither the locks hold that keep two processes from
// working on one run, nor the shared memory of SQLite's write-ahead log
// (https://www.sqlite.org/wal.html, "does not work over a network filesystem").
func Local(dir string) error {
	kind, err := networkKind(dir)
	if err != nil {
		return fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	if kind == "" {
		return nil
	}
	return hint.Mistake(fmt.Errorf("%s lies on a network file system (%s): its locks do not keep two computers from working on one run, and what is written may be lost", dir, kind),
		"take a folder on a disk of this computer with --state-dir; others work at the same state by sessions on this computer")
}

// ReadOnly reports whether nothing can be written into a folder: it is evidence, another account's, or lies on a medium that is
// write-protected.
func ReadOnly(dir string) bool {
	f, err := os.CreateTemp(dir, ".fleetmend-*")
	if err != nil {
		return errors.Is(err, fs.ErrPermission) || protected(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name())) != nil
}
