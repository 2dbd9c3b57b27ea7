package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
)

// TestDiskFull runs with the journal on a file system of its own that fills up: the run stops and says why, and with room
// again it is resumed to the end with every machine changed exactly once.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	state := t.TempDir()
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=50m"); err != nil {
		t.Skipf("no tmpfs to be mounted here: %v", err)
	}
	defer func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) }()
	dir, control := simulate(t, "--machines", "300", "--seed", "7", "--plain")
	base := []string{"--config", filepath.Join(dir, "fleetmend.yaml"), "--state-dir", state}
	fleetmend := func(args ...string) (string, int) {
		cmd := asCommand(t, append(base, args...)...)
		out, err := cmd.CombinedOutput()
		if _, ok := err.(*exec.ExitError); err != nil && !ok { //nolint:errorlint // as exec returns it
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := fleetmend("inventory", "import", filepath.Join(dir, "machines.csv")); code != 0 {
		t.Fatalf("import: %d\n%s", code, out)
	}
	var used syscall.Statfs_t
	if err := syscall.Statfs(state, &used); err != nil {
		t.Fatal(err)
	}
	taken := (used.Blocks - used.Bfree) * uint64(used.Bsize) //nolint:gosec // sizes are not negative
	if err := syscall.Mount("tmpfs", state, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", taken+450<<10)); err != nil {
		t.Fatal(err)
	}
	out, code := fleetmend("run", "crowdstrike-channel-file-291", "--waves", "100%", "--yes", "-q", "--reboot", "never")
	if code != command.ExitError || !strings.Contains(out, "full") || !strings.Contains(out, "hint:") {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", syscall.MS_REMOUNT, "size=50m"); err != nil {
		t.Fatal(err)
	}
	if out, code = fleetmend("runs", "resume", "last", "-q"); code != 0 {
		t.Fatalf("resume: %d\n%s", code, out)
	}
	checkOutcomes(t, base[1], control, "--state-dir", state)
}
