//go:build unix

package sqlitefile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestACopyGoesThoughNobodyReadsOn prints, in a process of its own that holds a copy, for a reader that has gone: the process is not
// ended in the middle, and takes its copy along.
func TestACopyGoesThoughNobodyReadsOn(t *testing.T) {
	if path := os.Getenv("FLEETMEND_TEST_COPY"); path != "" {
		a, err := copyAside(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(os.Stderr, a.folder)
		if _, err := os.Stdout.WriteString("data"); err == nil {
			t.Error("somebody reads")
		}
		if err := a.remove(); err != nil {
			t.Error(err)
		}
		os.Exit(0) // what the test itself prints has no reader, either
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var said strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestACopyGoesThoughNobodyReadsOn$") //nolint:gosec // this program
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "FLEETMEND_TEST_COPY="+path, "TMPDIR="+t.TempDir()), w, &said
	if err := cmd.Run(); err != nil {
		t.Errorf("%v: %s", err, said.String())
	}
	if _, err := os.Stat(said.String()); !os.IsNotExist(err) || !strings.Contains(said.String(), asideName) {
		t.Errorf("%q stays: %v", said.String(), err)
	}
}
