package textfile_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/textfile"
)

// TestSweep removes what a killed writer left, and nothing that is being written, has just been begun, or is another's.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	plant := func(name string, when time.Time) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
		return name
	}
	plant(".fleetmend-LEFT.tmp", old)
	young, other := plant(".fleetmend-YOUNG.tmp", time.Now()), plant("notes.tmp", old)
	written, err := textfile.Create(filepath.Join(dir, "image"), textfile.Shared)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Discard()
	if err := os.Chtimes(written.Name(), old, old); err != nil {
		t.Fatal(err)
	}
	textfile.Sweep(dir)
	alone(t, dir, young, other, written.Name())
	if err := written.Commit(); err != nil {
		t.Errorf("what was being written was swept away: %v", err)
	}
	alone(t, dir, young, other, filepath.Join(dir, "image"))
}
