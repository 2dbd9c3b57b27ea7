//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/cmd/internal/command"

	"github.com/fleetmend/fleetmend/remediate/journal"
)

// shop is a simulated fleet in a process of its own with its machines imported.
type shop struct {
	t       *testing.T
	dir     string
	config  string
	control string
	fleet   *os.Process
}

func openShop(t *testing.T, args ...string) *shop {
	t.Helper()
	s := &shop{t: t}
	s.dir, s.control, s.fleet = simulateProcess(t, append([]string{"--plain"}, args...)...)
	s.config = filepath.Join(s.dir, "fleetmend.yaml")
	s.ok("inventory", "import", filepath.Join(s.dir, "machines.csv"))
	return s
}

func (s *shop) command(args ...string) *exec.Cmd {
	return asCommand(s.t, append([]string{"--config", s.config}, args...)...)
}

// ok runs a command that has to end well and returns what it printed.
func (s *shop) ok(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start begins a command and collects what it prints.
func (s *shop) start(args ...string) (*exec.Cmd, *transcript) {
	s.t.Helper()
	out := &transcript{}
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, out
}

var slowRun = []string{"run", "crowdstrike-channel-file-291", "--waves", "100%", "--yes", "--forks", "4", "--reboot", "never"}

// list is what runs list says.
func (s *shop) list() []journal.Run {
	s.t.Helper()
	out, err := s.command("runs", "list", "-o", "json").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var all []journal.Run
	if err := json.Unmarshal(out, &all); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return all
}

// ends waits until the newest run is over.
func (s *shop) ends() journal.Run {
	s.t.Helper()
	_, _ = s.command("runs", "watch", "last").CombinedOutput() //nolint:errcheck // its code is that of the run
	r := s.list()[0]
	if r.Owner != nil {
		s.t.Fatalf("still at work: %+v", r)
	}
	return r
}

// The terminal of a run dies without a word: the run ends by itself, with every outcome.
func TestARunOutlivesItsTerminal(t *testing.T) {
	s := openShop(t, "--machines", "60", "--seed", "5", "--latency", "30ms")
	cmd, out := s.start(slowRun...)
	out.awaitOutcomes(t, 2)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() //nolint:errcheck // killed
	if r := s.ends(); r.Status != journal.RunDone {
		t.Fatalf("%+v", r)
	}
	checkOutcomes(t, s.config, s.control)
	if left, err := os.ReadDir(filepath.Join(s.dir, "state", "runners")); err != nil || len(left) != 0 {
		t.Errorf("logs of a run that had nothing to say: %v %v", left, err)
	}
}

// The process of a run is killed: its follower says so and ends, runs list says so, and resume goes on.
func TestAKilledRunnerIsSaidAndResumed(t *testing.T) {
	s := openShop(t, "--machines", "60", "--seed", "5", "--latency", "30ms")
	cmd, out := s.start(slowRun...)
	out.awaitOutcomes(t, 2)
	owner := s.list()[0].Owner
	if owner == nil || owner.PID == cmd.Process.Pid {
		t.Fatalf("the run is carried out by %+v, its follower is %d", owner, cmd.Process.Pid)
	}
	s.noSecret(owner.PID)
	if err := syscall.Kill(owner.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if text := out.String(); cmd.ProcessState.ExitCode() != command.ExitError || !strings.Contains(text, "ended before the run did") || !strings.Contains(text, "runs resume 2") {
		t.Errorf("the follower ends with %v:\n%s", err, text)
	}
	if text := s.ok("runs", "list"); !strings.Contains(text, "running, nobody works on it") || !strings.Contains(text, "`fleetmend --config "+s.config+" runs resume 2") {
		t.Errorf("runs list:\n%s", text)
	}
	stopped := s.command("runs", "stop", "last")
	if said, _ := stopped.CombinedOutput(); stopped.ProcessState.ExitCode() == 0 || !strings.Contains(string(said), "nobody works on run") { //nolint:errcheck // its code is looked at
		t.Errorf("runs stop: %s", said)
	}
	s.ok("runs", "resume", "last")
	checkOutcomes(t, s.config, s.control)
}

// noSecret looks whether the password of the fleet is in the arguments or the environment of a process.
func (s *shop) noSecret(pid int) {
	s.t.Helper()
	password, err := os.ReadFile(filepath.Join(s.dir, "password"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range []string{"cmdline", "environ"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if os.IsNotExist(err) {
			s.t.Log("no /proc here: the arguments of the process are not looked at")
			return
		}
		if err != nil || len(data) == 0 {
			s.t.Errorf("%s: %v", file, err)
		}
		if bytes.Contains(data, bytes.TrimSpace(password)) {
			s.t.Errorf("the password is in the %s of the runner", file)
		}
	}
}

// A password that can be read once only (a pipe) reaches the process of the run.
func TestAPasswordFromAPipe(t *testing.T) {
	s := openShop(t, "--machines", "3", "--seed", "5")
	password, err := os.ReadFile(filepath.Join(s.dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, password, 0o600) }()
	s.ok(append(slowRun, "--password-file", pipe)...)
	if err := <-written; err != nil {
		t.Error(err)
	}
	checkOutcomes(t, s.config, s.control)
}

// Who reads what a run prints stops reading: the run ends all the same, and when he reads on nothing is missing.
func TestAReaderStopsReading(t *testing.T) {
	for _, where := range []string{"", "--foreground"} {
		t.Run("run"+where, func(t *testing.T) {
			s := openShop(t, "--machines", "400", "--seed", "5")
			args := append([]string{"--json"}, slowRun...)
			args[slices.Index(args, "--forks")+1] = "40"
			if where != "" {
				args = append(args, where)
			}
			cmd := s.command(args...)
			events, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			reader := bufio.NewReader(events)
			if _, err := reader.Peek(1); err != nil { // it has begun
				t.Fatal(err)
			}
			if r := s.ends(); r.Status != journal.RunDone {
				t.Fatalf("%+v", r)
			}
			rest, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			next := int64(1)
			for line := range strings.Lines(string(rest)) {
				var e struct {
					Type string `json:"type"`
					Seq  int64  `json:"seq"`
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				if e.Type == "event" && e.Seq != next {
					t.Fatalf("event %d after %d", e.Seq, next-1)
				}
				if e.Type == "event" {
					next++
				}
			}
			if next < 400*2 {
				t.Errorf("%d events of 400 machines", next-1)
			}
		})
	}
}

// The end of the terminal stops a run in the foreground as Ctrl-C does: those in flight end, and it can be resumed.
func TestHangupOfARunInTheForeground(t *testing.T) {
	s := openShop(t, "--machines", "60", "--seed", "5", "--latency", "30ms")
	cmd, out := s.start(append(slowRun, "--foreground")...)
	out.awaitOutcomes(t, 2)
	if owner := s.list()[0].Owner; owner == nil || owner.PID != cmd.Process.Pid {
		t.Fatalf("the run is carried out by %+v, not by %d", owner, cmd.Process.Pid)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() //nolint:errcheck // its code is looked at
	if r := s.list()[0]; cmd.ProcessState.ExitCode() != command.ExitInterrupted || r.Status != journal.RunInterrupted || r.Owner != nil {
		t.Fatalf("exit code %d, %+v\n%s", cmd.ProcessState.ExitCode(), r, out)
	}
	for _, m := range s.machines() {
		if m.State != journal.Done && m.State != journal.Pending {
			t.Errorf("%s is %s", m.Target.Name, m.State)
		}
	}
	s.ok("runs", "resume", "last", "--foreground")
	checkOutcomes(t, s.config, s.control)
}

func (s *shop) machines() []journal.Machine {
	s.t.Helper()
	out, err := s.command("runs", "show", "last", "-o", "json").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var shown struct{ Machines []journal.Machine }
	if err := json.Unmarshal(out, &shown); err != nil {
		s.t.Fatal(err)
	}
	return shown.Machines
}

// Two runs work at once on different machines; a third that wants those of the first leaves them out and says who has them.
func TestTwoRunsAndAThird(t *testing.T) {
	s := openShop(t, "--machines", "40", "--seed", "5", "--latency", "30ms")
	var names []string
	out, err := s.command("inventory", "list", "-o", "name").Output()
	if err != nil {
		t.Fatal(err)
	}
	names = strings.Fields(string(out))
	first, second := strings.Join(names[:20], ","), strings.Join(names[20:], ",")
	a, said := s.start(append(slowRun, "--on", first)...)
	said.awaitOutcomes(t, 1)
	signalTo(t, s.fleet, syscall.SIGSTOP) // what is in flight stays so
	b, _ := s.start(append(slowRun, "--on", second)...)
	for deadline := time.Now().Add(time.Minute); len(s.working()) != 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("at work: %+v", s.list())
		}
	}
	run := s.list()[1]
	plan := s.ok("plan", "safeboot-off", "--on", first)
	if want := fmt.Sprintf("run %s of %s has it (process %d on ", run.ID, run.Operator, run.Owner.PID); !strings.Contains(strings.Join(strings.Fields(plan), " "), want) {
		t.Errorf("no %q in\n%s", want, plan)
	}
	signalTo(t, s.fleet, syscall.SIGCONT)
	if err := a.Wait(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if err := b.Wait(); err != nil {
		t.Error(err)
	}
	for _, r := range s.list() {
		if r.Status != journal.RunDone || r.Counts[journal.Fixed]+r.Counts[journal.Clean] != 20 {
			t.Errorf("%+v", r)
		}
	}
}

// working are the runs that some process works on.
func (s *shop) working() (at []journal.Run) {
	for _, r := range s.list() {
		if r.Owner != nil {
			at = append(at, r)
		}
	}
	return at
}

// The state folder is deleted in mid-run: the run stops soon, with exit code 1, and says where a copy of its record lies.
func TestTheStateFolderIsDeleted(t *testing.T) {
	s := openShop(t, "--machines", "60", "--seed", "5", "--latency", "30ms")
	cmd, out := s.start(slowRun...)
	out.awaitOutcomes(t, 2)
	if err := os.RemoveAll(filepath.Join(s.dir, "state")); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	_ = cmd.Wait() //nolint:errcheck // its code is looked at
	if took := time.Since(gone); took > 5*time.Second {
		t.Errorf("it went on for %s", took)
	}
	copies, _ := filepath.Glob(filepath.Join(s.dir, "state-rescued-*")) //nolint:errcheck // the pattern is right
	if cmd.ProcessState.ExitCode() != command.ExitError || len(copies) != 1 || !strings.Contains(out.String(), copies[0]) {
		t.Fatalf("exit code %d, copies %v\n%s", cmd.ProcessState.ExitCode(), copies, out)
	}
	// Every command that is proposed is for the copy: report, hints.
	proposed := regexp.MustCompile("fleetmend --config \\S+ ([^`\n]*)").FindAllStringSubmatch(out.String(), -1)
	for _, command := range proposed {
		if !strings.HasPrefix(command[1], "--state-dir "+copies[0]+" ") || strings.Count(command[1], " --state-dir ") > 0 {
			t.Errorf("this is proposed: %s", command[0])
		}
	}
	if len(proposed) < 5 {
		t.Errorf("proposed are %q\n%s", proposed, out)
	}
	if text := s.ok("runs", "list", "--state-dir", copies[0]); !strings.Contains(text, "nobody works on it") {
		t.Errorf("the copy:\n%s", text)
	}
}
