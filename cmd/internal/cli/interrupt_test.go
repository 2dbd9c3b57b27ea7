//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// transcript collects what a process prints and lets a test wait for a piece of it.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until piece was printed, awaitOutcomes until that many machines have one.
func (o *transcript) await(t *testing.T, piece string) {
	t.Helper()
	o.awaitThat(t, fmt.Sprintf("%q", piece), func(text string) bool { return strings.Contains(text, piece) })
}

var outcomeLine = regexp.MustCompile(`(?m)^\S+ +(fixed|not affected)`)

func (o *transcript) awaitOutcomes(t *testing.T, machines int) {
	t.Helper()
	o.awaitThat(t, fmt.Sprintf("outcome %d", machines), func(text string) bool {
		return len(outcomeLine.FindAllString(text, machines)) == machines
	})
}

func (o *transcript) awaitThat(t *testing.T, what string, came func(text string) bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !came(o.String()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come:\n%s", what, o)
		}
	}
}

// TestInterrupt sends Ctrl-C to a run: the first lets those in flight end, the second ends at once, and either way the run
// is resumed to the end.
func TestInterrupt(t *testing.T) {
	dir, control, fleet := simulateProcess(t, "--machines", "100", "--seed", "5", "--plain", "--latency", "30ms")
	config := filepath.Join(dir, "fleetmend.yaml")
	if out, err := command(t, "--config", config, "inventory", "import", filepath.Join(dir, "machines.csv")).CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	args := []string{"run", "crowdstrike-channel-file-291", "--waves", "100%", "--yes", "--forks", "4", "--reboot", "never"}
	for signals := 1; signals <= 2; signals++ {
		var out transcript
		cmd := command(t, append([]string{"--config", config}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first machine goes alone, it proves the credentials. When one of those after it has ended, others are in flight.
		out.awaitOutcomes(t, 2)
		signalTo(t, fleet, syscall.SIGSTOP) // the fleet falls silent: those in flight cannot end before the last Ctrl-C
		_ = cmd.Process.Signal(os.Interrupt)
		out.await(t, "no further machine is started")
		if signals == 2 {
			_ = cmd.Process.Signal(os.Interrupt)
			out.await(t, "stopping at once")
		}
		signalTo(t, fleet, syscall.SIGCONT)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Fatalf("after %d: exit code %d\n%s", signals, code, &out)
		}
		if !strings.Contains(out.String(), "runs resume") {
			t.Errorf("after %d: it does not say how to go on\n%s", signals, &out)
		}
		args = []string{"runs", "resume", "last"}
	}
	out, err := command(t, "--config", config, "runs", "resume", "last").CombinedOutput()
	if err != nil {
		if _, ok := err.(*exec.ExitError); !ok { //nolint:errorlint // as exec returns it
			t.Fatal(err)
		}
		t.Fatalf("resume: %v\n%s", err, out)
	}
	checkOutcomes(t, config, control)
}

func signalTo(t *testing.T, process *os.Process, signal os.Signal) {
	t.Helper()
	if err := process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// TestApproval lets a run wait between its waves for a word from another process.
func TestApproval(t *testing.T) {
	dir, control := simulate(t, "--machines", "6", "--seed", "5", "--plain")
	config := filepath.Join(dir, "fleetmend.yaml")
	fleetmend := func(args ...string) *exec.Cmd { return command(t, append([]string{"--config", config}, args...)...) }
	if out, err := fleetmend("inventory", "import", filepath.Join(dir, "machines.csv")).CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	var out transcript
	cmd := fleetmend("run", "crowdstrike-channel-file-291", "--waves", "1,100%", "--yes", "--approve", "--reboot", "never")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "is awaited")
	if said, err := fleetmend("runs", "approve", "last").CombinedOutput(); err != nil {
		t.Fatalf("approve: %v\n%s", err, said)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	checkOutcomes(t, config, control)
}
