package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// ErrGone says that the file of the journal was deleted or moved away while a run worked with it.
var ErrGone = errors.New("the file of the journal was deleted or moved away")

// GoneError is [ErrGone] with the folder that a copy of what the journal held was written to.
type GoneError struct{ Folder string }

func (e *GoneError) Error() string { return ErrGone.Error() + copied + e.Folder }

const copied = "; a copy of all it held lies in "

// CopiedTo is the folder that a [GoneError] names which somebody told in words, such as another process; empty where there is none.
func CopiedTo(text string) string {
	_, folder, _ := strings.Cut(text, ErrGone.Error()+copied)
	folder, _, _ = strings.Cut(folder, "\n")
	return strings.TrimRight(folder, "\r ")
}

// Is reports that it is [ErrGone].
func (e *GoneError) Is(target error) bool { return target == ErrGone }

// inPlace reports whether the file that the session writes is still the one at its path.
func (s *Session) inPlace() bool {
	now, err := os.Stat(s.journal.path)
	return err == nil && os.SameFile(s.file, now)
}

// rescue copies what the journal holds, which the open file still has, to a folder of its own beside the state folder, or where
// temporary files go. The error, a [GoneError], says where it lies: the commands in its advice are for that folder.
func (s *Session) rescue() error {
	state := filepath.Dir(s.journal.path)
	dir, err := os.MkdirTemp(filepath.Dir(state), filepath.Base(state)+"-rescued-")
	if err != nil {
		dir, err = os.MkdirTemp("", "fleetmend-rescued-")
	}
	if err == nil {
		_, err = s.conn.ExecContext(context.Background(), "VACUUM INTO ?", filepath.Join(dir, filepath.Base(s.journal.path)))
	}
	if err != nil {
		return fmt.Errorf("%w, and what it held could not be copied: %w", ErrGone, err)
	}
	return hint.Wrapf(&GoneError{dir}, "see the run with `fleetmend runs report %s`, go on with it with `fleetmend runs resume %s`", s.id, s.id)
}
