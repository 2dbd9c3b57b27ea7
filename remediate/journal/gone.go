package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/hint"
)

// ErrGone says that the file of the journal was deleted or moved away while a run worked with it.
var ErrGone = errors.New("the file of the journal was deleted or moved away")

// inPlace reports whether the file that the session writes is still the one at its path.
func (s *Session) inPlace() bool {
	now, err := os.Stat(s.journal.path)
	return err == nil && os.SameFile(s.file, now)
}

// rescue copies what the journal holds, which the open file still has, to a folder of its own beside the state folder, or where
// temporary files go. The error says where it lies.
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
	return hint.Wrapf(fmt.Errorf("%w; a copy of all it held lies in %s", ErrGone, dir),
		"see the run with `%s`, go on with it with `%s`", commandline.Line("runs", "report", s.id, "--state-dir", dir), commandline.Line("runs", "resume", s.id, "--state-dir", dir))
}
