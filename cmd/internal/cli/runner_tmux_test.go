//go:build unix

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// window is a terminal of tmux in a server of its own.
type window struct {
	t      *testing.T
	socket string
}

// openWindow runs fleetmend in a terminal, as a person would, and shows its exit code and the terminal's settings afterwards.
func (s *shop) openWindow(args ...string) *window {
	s.t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		s.t.Skip("tmux is not installed")
	}
	w := &window{t: s.t, socket: filepath.Join(s.t.TempDir(), "tmux")}
	cmd := s.command(args...)
	var line strings.Builder
	for _, word := range cmd.Args {
		line.WriteString("'" + strings.ReplaceAll(word, "'", `'\''`) + "' ")
	}
	line.WriteString(`; echo "exit code $?"; stty -a | grep -o -e '-\?echo '; sleep 600`)
	start := w.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", line.String())
	start.Env = cmd.Env
	if out, err := start.CombinedOutput(); err != nil {
		s.t.Fatalf("tmux: %v\n%s", err, out)
	}
	s.t.Cleanup(func() { _ = w.tmux("kill-server").Run() })
	return w
}

func (w *window) tmux(args ...string) *exec.Cmd {
	return exec.Command("tmux", append([]string{"-S", w.socket}, args...)...)
}

func (w *window) shows() string {
	out, err := w.tmux("capture-pane", "-p", "-S", "-200").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// await waits for a piece of text and returns the whole screen.
func (w *window) await(piece string) string {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text := w.shows()
		if strings.Contains(text, piece) {
			return text
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("no %q within a minute:\n%s", piece, text)
		}
	}
}

func (w *window) keys(keys ...string) {
	w.t.Helper()
	if out, err := w.tmux(append([]string{"send-keys"}, keys...)...).CombinedOutput(); err != nil {
		w.t.Fatalf("send-keys: %v\n%s", err, out)
	}
}

func long(t *testing.T) {
	t.Helper()
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("long: set FLEETMEND_LONG=1")
	}
}

// The server of the terminal is killed: the run ends by itself with every outcome.
func TestTheTerminalServerIsKilled(t *testing.T) {
	long(t)
	s := openShop(t, "--machines", "60", "--seed", "5", "--latency", "30ms")
	w := s.openWindow(slowRun...)
	w.await("in flight")
	if out, err := w.tmux("kill-server").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if at := s.working(); len(at) != 1 {
		t.Fatalf("at work: %+v", at)
	}
	if r := s.ends(); r.Status != journal.RunDone {
		t.Fatalf("%+v", r)
	}
	checkOutcomes(t, s.config, s.control)
}

// The question between waves is readable while progress is shown; an approval from another window takes it away and lets the
// run go on. Ctrl-C at the next one stops the run, and the terminal is as it was.
func TestApprovalsInTwoWindows(t *testing.T) {
	long(t)
	s := openShop(t, "--machines", "12", "--seed", "5")
	w := s.openWindow("run", "crowdstrike-channel-file-291", "--waves", "1,5,100%", "--yes", "--approve", "--reboot", "never")
	const asks = "wave %d? Type yes:"
	w.await(fmt.Sprintf(asks, 2))
	time.Sleep(time.Second) // five redraws of the status line, which must not touch the question
	if text := w.shows(); !strings.Contains(text, fmt.Sprintf(asks, 2)) {
		t.Fatalf("the question is overwritten:\n%s", text)
	}
	wrong := s.command("runs", "approve", "last", "--wave", "3")
	if said, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(said), "waits for the approval of wave 2, not of wave 3") {
		t.Errorf("approved another wave: %v %s", err, said)
	}
	if said := s.ok("runs", "approve", "last"); !strings.Contains(said, "may go on with wave 2") {
		t.Error(said)
	}
	w.await(fmt.Sprintf(asks, 3))
	w.keys("C-c")
	w.await("exit code 130")
	if text := w.await("echo"); strings.Contains(text, "-echo ") {
		t.Errorf("the terminal stays without echo:\n%s", text)
	}
	if r := s.ends(); r.Status != journal.RunInterrupted || r.Finished != 1 {
		t.Fatalf("%+v", r)
	}
	w = s.openWindow("runs", "resume", "last")
	w.await(fmt.Sprintf(asks, 3))
	w.keys("yes", "Enter")
	w.await("exit code 0")
	checkOutcomes(t, s.config, s.control)
}
