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

	"github.com/fleetmend/fleetmend/cmd/internal/command"
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
	dir, control, fleet := simulateProcess(t, "--machines", "200", "--seed", "5", "--plain", "--latency", "30ms")
	config := filepath.Join(dir, "fleetmend.yaml")
	if out, err := asCommand(t, "--config", config, "inventory", "import", filepath.Join(dir, "machines.csv")).CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	start := []string{"--config", config, "run", "crowdstrike-channel-file-291", "--waves", "100%", "--yes", "--forks", "4", "--reboot", "never"}
	if out, code := interrupted(t, fleet, 1, start...); code != command.ExitInterrupted || !strings.Contains(out, "runs resume") {
		t.Fatalf("after one Ctrl-C: exit code %d\n%s", code, out)
	}
	// With the second a machine must be in flight. It may be that none has begun when the fleet falls silent; then nothing is
	// left to stop at once, and the next part of the run shows it.
	for part := 1; ; part++ {
		out, code := interrupted(t, fleet, 2, "--config", config, "runs", "resume", "last")
		if !strings.Contains(out, "stopping at once") && part < 15 {
			continue
		}
		if code != command.ExitInterrupted || !strings.Contains(out, "stopping at once") || !strings.Contains(out, "runs resume") {
			t.Fatalf("after two Ctrl-C, part %d: exit code %d\n%s", part, code, out)
		}
		break
	}
	out, err := asCommand(t, "--config", config, "runs", "resume", "last").CombinedOutput()
	if err != nil {
		if _, ok := err.(*exec.ExitError); !ok { //nolint:errorlint // as exec returns it
			t.Fatal(err)
		}
		t.Fatalf("resume: %v\n%s", err, out)
	}
	checkOutcomes(t, config, control)
}

// interrupted runs fleetmend, sends it Ctrl-C so many times when two machines are done, and returns what it printed and its
// exit code.
func interrupted(t *testing.T, fleet *os.Process, times int, args ...string) (string, int) {
	t.Helper()
	var out transcript
	cmd := asCommand(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The first machine goes alone, it proves the credentials. When one of those after it has ended, others are on their way.
	out.awaitOutcomes(t, 2)
	signalTo(t, fleet, syscall.SIGSTOP) // the fleet falls silent: those in flight cannot end before the last Ctrl-C
	_ = cmd.Process.Signal(os.Interrupt)
	out.await(t, "no further machine is started")
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	if times == 2 {
		_ = cmd.Process.Signal(os.Interrupt)
		out.awaitThat(t, `"stopping at once", or the end,`, func(text string) bool {
			select {
			case <-ended:
				return true
			default:
				return strings.Contains(text, "stopping at once")
			}
		})
	}
	signalTo(t, fleet, syscall.SIGCONT)
	<-ended
	return out.String(), cmd.ProcessState.ExitCode()
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
	fleetmend := func(args ...string) *exec.Cmd { return asCommand(t, append([]string{"--config", config}, args...)...) }
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
