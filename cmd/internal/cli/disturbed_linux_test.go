package cli

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// TestDisturbedRunsEndAsUndisturbed ends runs at random moments: kill -9, the terminal gone, a reader gone, the disk full. Each time
// `runs list` tells the truth, and the run that is resumed has the outcomes of one that nobody disturbed, with every machine changed once.
// FLEETMEND_DISTURBANCES is how often.
func TestDisturbedRunsEndAsUndisturbed(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("FLEETMEND_DISTURBANCES"))
	if err != nil {
		rounds = 4
	}
	kinds := []string{"kill", "hangup", "pipe", "disk"}
	for round := range rounds {
		kind, after := kinds[round%len(kinds)], time.Duration(rand.Int64N(int64(2500*time.Millisecond)))
		t.Run(fmt.Sprintf("%s after %s", kind, after.Round(time.Millisecond)), func(t *testing.T) { disturb(t, kind, after) })
	}
}

func disturb(t *testing.T, kind string, after time.Duration) {
	s := &shop{t: t}
	s.dir, s.control, s.fleet = simulateProcess(t, "--plain", "--machines", "40", "--seed", strconv.Itoa(rand.IntN(100)), "--latency", "25ms")
	s.config = filepath.Join(s.dir, "fleetmend.yaml")
	state := filepath.Join(s.dir, "state")
	if kind == "disk" {
		if err := os.MkdirAll(state, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=50m"); err != nil {
			t.Skipf("no small file system to be mounted here: %v", err)
		}
		defer func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) }()
	}
	s.ok("inventory", "import", filepath.Join(s.dir, "machines.csv"))
	s.list() // the journal is there
	args := append([]string{"--json"}, slowRun...)
	cmd := s.command(append(args, "--foreground")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has begun
		t.Fatal(err)
	}
	go func() {
		for buffer := make([]byte, 1<<16); ; {
			if _, err := out.Read(buffer); err != nil {
				return
			}
		}
	}()
	time.Sleep(after)
	switch kind {
	case "kill":
		_ = cmd.Process.Kill()
	case "hangup":
		_ = cmd.Process.Signal(syscall.SIGHUP)
	case "pipe":
		_ = out.Close()
	case "disk":
		fill(t, state, 24<<10)
	}
	_ = cmd.Wait() //nolint:errcheck // its code is looked at
	if kind == "disk" {
		if err := syscall.Mount("tmpfs", state, "tmpfs", syscall.MS_REMOUNT, "size=50m"); err != nil {
			t.Fatal(err)
		}
	}
	r, open := s.list()[0], 0
	for _, m := range s.machines() {
		if m.State != journal.Done {
			open++
		}
	}
	switch {
	case r.Owner != nil:
		t.Fatalf("somebody works on it: %+v", r.Owner)
	case r.Status.Final() && open > 0:
		t.Fatalf("%s with %d machines that are not done", r.Status, open)
	case !r.Status.Final():
		s.ok("runs", "resume", "last", "--foreground", "--sign-ins", manyKills)
	}
	checkOutcomes(t, s.config, s.control)
}

// fill leaves so many bytes of a small file system.
func fill(t *testing.T, dir string, left uint64) {
	t.Helper()
	var used syscall.Statfs_t
	if err := syscall.Statfs(dir, &used); err != nil {
		t.Fatal(err)
	}
	taken := (used.Blocks - used.Bfree) * uint64(used.Bsize) //nolint:gosec // sizes are not negative
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", taken+left)); err != nil {
		t.Fatal(err)
	}
}
