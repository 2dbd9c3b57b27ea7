// Package statefolder brings the files of a state folder to the versions of this program: all of them together, with
// copies kept, or none.
//
// [Upgrade] is the only call; it is cheap where there is nothing to do. It never touches a folder in which one file was
// written by a newer program, nor one that another process works with. What an older program wrote lies unchanged in
// before-N afterwards, N counting up: copying these files back is the way back.
package statefolder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// File is one SQLite file of the folder.
type File struct {
	Name          string   // journal.db
	ApplicationID int      // of SQLite
	Version       int      // user_version that this program writes
	Beside        []string // plain files that belong to it, kept with it where they are there
	// Migrate opens the file at a path, which brings it to Version in one transaction for each step, and closes it.
	Migrate func(ctx context.Context, path string) error
}

// Upgraded says what [Upgrade] did; the zero value: nothing was to be done.
type Upgraded struct {
	Files  []string // names of the files that were older
	Copies string   // path of the folder in which all files lie as they were
}

// ErrNewer is returned for a folder that a newer fleetmend has written to.
var ErrNewer = errors.New("the state folder was written by a newer fleetmend")

// Upgrade looks at the files in dir. Where one is newer than this program it returns [ErrNewer] and has touched nothing.
// Where one is older, quiet must give the right to change them all (it fails while a run is at work); then all are copied
// to before-N, every migration is tried on copies, and only then the files themselves are migrated, each in transactions
// of its own. A file that is not there is made by its store later.
//
// The files are not replaced by their migrated copies: a process that has one open would go on writing to a file that is
// no longer there.
func Upgrade(ctx context.Context, dir string, files []File, quiet func(context.Context) (release func() error, err error)) (Upgraded, error) {
	old, err := outdated(ctx, dir, files)
	if err != nil || len(old) == 0 {
		return Upgraded{}, err
	}
	release, err := quiet(ctx)
	if err != nil {
		return Upgraded{}, fmt.Errorf("bring the state folder %s to this version: %w", dir, err)
	}
	done, err := upgrade(ctx, dir, files)
	if err = errors.Join(err, release()); err != nil {
		return Upgraded{}, fmt.Errorf("bring the state folder %s to this version: %w", dir, err)
	}
	return done, nil
}

func upgrade(ctx context.Context, dir string, files []File) (Upgraded, error) {
	old, err := outdated(ctx, dir, files) // another process may have done it meanwhile
	if err != nil || len(old) == 0 {
		return Upgraded{}, err
	}
	kept, err := keep(ctx, dir, files, old)
	if err != nil {
		return Upgraded{}, hint.Wrap(err, "nothing was changed; see whether the disk is full, or go on with the fleetmend you had")
	}
	done := Upgraded{Copies: kept}
	for _, f := range old {
		if err := f.Migrate(ctx, filepath.Join(dir, f.Name)); err != nil {
			return done, hint.Wrapf(err, "all files lie in %s as they were; what is done so far goes on with the next try", kept)
		}
		done.Files = append(done.Files, f.Name)
	}
	return done, nil
}

// outdated returns the files that are older than this program, and refuses a folder with one that is newer.
func outdated(ctx context.Context, dir string, files []File) ([]File, error) {
	var old []File
	for _, f := range files {
		version, ours, err := look(ctx, filepath.Join(dir, f.Name), f)
		switch {
		case err != nil:
			return nil, fmt.Errorf("look at %s: %w", filepath.Join(dir, f.Name), err)
		case !ours: // not there, empty or another program's: its store says so
		case version > f.Version:
			return nil, hint.Wrapf(fmt.Errorf("%w: %s has version %d, this program knows %d", ErrNewer, f.Name, version, f.Version),
				"nothing was touched; update fleetmend on this computer, or give it another folder with --state-dir")
		case version < f.Version:
			old = append(old, f)
		}
	}
	return old, nil
}

// header is the beginning of an SQLite file (https://www.sqlite.org/fileformat.html, 1.3): the version at 60, the
// application at 68.
const header = 100

// look reads the version of a file. What its header says holds unless a write-ahead log lies beside it.
func look(ctx context.Context, path string, f File) (version int, ours bool, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer file.Close() //nolint:errcheck // only read
	head := make([]byte, header)
	_, err = io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, false, err
	}
	wal, _ := os.Stat(path + "-wal") //nolint:errcheck // without one the header holds
	if whole := err == nil && strings.HasPrefix(string(head), "SQLite format 3\x00"); whole &&
		(wal == nil || wal.Size() == 0 || int(binary.BigEndian.Uint32(head[60:])) == f.Version) {
		return int(binary.BigEndian.Uint32(head[60:])), int(binary.BigEndian.Uint32(head[68:])) == f.ApplicationID, nil
	} else if !whole && (wal == nil || wal.Size() == 0) {
		return 0, false, nil
	}
	application, version, err := sqlitefile.Look(ctx, path)
	return version, application == f.ApplicationID, err
}

// keep copies all files to before-N and tries the migrations on copies of them.
func keep(ctx context.Context, dir string, files, old []File) (string, error) {
	kept, err := nextFolder(dir)
	if err != nil {
		return "", err
	}
	making := kept + ".new"
	if err := errors.Join(os.RemoveAll(making), os.Mkdir(making, 0o700), os.Mkdir(filepath.Join(making, "trial"), 0o700)); err != nil {
		return "", err
	}
	for _, f := range files {
		from := filepath.Join(dir, f.Name)
		if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := sqlitefile.Snapshot(ctx, from, filepath.Join(making, f.Name)); err != nil {
			return "", fmt.Errorf("copy %s: %w", from, err)
		}
		for _, name := range f.Beside {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(making, name), data, 0o600)
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return "", fmt.Errorf("copy %s: %w", name, err)
			}
		}
	}
	for _, f := range old {
		trial := filepath.Join(making, "trial", f.Name)
		if err := sqlitefile.Snapshot(ctx, filepath.Join(making, f.Name), trial); err != nil {
			return "", fmt.Errorf("copy %s: %w", f.Name, err)
		}
		if err := f.Migrate(ctx, trial); err != nil {
			return "", fmt.Errorf("try the new version on a copy of %s: %w", f.Name, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(making, "trial")); err != nil {
		return "", err
	}
	return kept, os.Rename(making, kept)
}

// nextFolder is the first before-N that is not there.
func nextFolder(dir string) (string, error) {
	for n := 1; ; n++ {
		path := filepath.Join(dir, fmt.Sprintf("before-%d", n))
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", err
		}
	}
}
