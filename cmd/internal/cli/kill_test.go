//go:build unix

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/pwsh"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// command is this test binary as fleetmend itself.
func asCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), "FLEETMEND_TEST_AS_COMMAND=1")
	return cmd
}

// simulate runs fleetmend sim as a process of its own and returns its folder and control address.
func simulate(t *testing.T, args ...string) (dir, control string) {
	t.Helper()
	dir, control, _ = simulateProcess(t, args...)
	return dir, control
}

// simulateProcess is simulate for a test that does something to the process itself.
func simulateProcess(t *testing.T, args ...string) (dir, control string, process *os.Process) {
	t.Helper()
	dir = t.TempDir()
	sim := asCommand(t, append([]string{"sim", "--dir", dir}, args...)...)
	out, err := sim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Process.Kill(); _ = sim.Wait() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the fleet does not start: %v", err)
	}
	var ready struct {
		Event   string `json:"event"`
		Control string `json:"control"`
	}
	if err := json.Unmarshal(line, &ready); err != nil || ready.Event != "ready" {
		t.Fatalf("not ready: %s (%v)", line, err)
	}
	return dir, ready.Control, sim.Process
}

func fetch(t *testing.T, url string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v: %.200s", url, err, body)
	}
}

// TestKilledClient kills the client twenty times at random moments of a run over 300 machines, resumes each time, and
// wants the outcomes that the fleet expects with every machine changed exactly once.
func TestKilledClient(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("long: set FLEETMEND_LONG=1")
	}
	dir, control := simulate(t, "--machines", "300", "--seed", "11")
	killAndResume(t, dir, control, "90s", 20, 200*time.Millisecond, 1500*time.Millisecond)
}

// TestKilledClientRealAgent is the same on machines that run the agent itself under a real PowerShell: 20 of them and four
// kills, 200 and twenty for FLEETMEND_PROVE. Each request takes a second of computing.
func TestKilledClientRealAgent(t *testing.T) {
	machines, kills := "20", 4
	switch {
	case os.Getenv("FLEETMEND_PROVE") != "":
		machines, kills = "200", 20
	case os.Getenv("FLEETMEND_LONG") == "":
		t.Skip("long: set FLEETMEND_LONG=1")
	}
	dir, control := simulate(t, "--machines", machines, "--seed", "11", "--unreachable", "0", "--powershell", pwsh.Find(t))
	killAndResume(t, dir, control, "10m", kills, 3*time.Second, 15*time.Second)
}

func killAndResume(t *testing.T, dir, control, patience string, wanted int, least, most time.Duration) {
	t.Helper()
	config := filepath.Join(dir, "fleetmend.yaml")
	if out, err := asCommand(t, "--config", config, "inventory", "import", filepath.Join(dir, "machines.csv")).CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	args := []string{"--config", config, "run", "crowdstrike-channel-file-291", "--waves", "1,10,100%", "--yes", "--chase", "--machine-timeout", patience, "--forks", "20", "--max-fail", "none", "--foreground"}
	for kills := 0; kills < wanted; {
		cmd := asCommand(t, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			t.Logf("the run was over after %d kills: %v", kills, err)
			kills = wanted
		case <-time.After(least + rand.N(most-least)):
			_ = cmd.Process.Kill()
			<-ended
			kills++
		}
		args = []string{"--config", config, "runs", "resume", "last", "--foreground", "--sign-ins", manyKills}
	}
	out, err := asCommand(t, "--config", config, "runs", "resume", "last", "--sign-ins", manyKills).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("last resume: %v\n%.600s", err, out)
	checkOutcomes(t, config, control)
}

// checkOutcomes compares the last run with what the fleet expects of itself and has seen done to it.
func checkOutcomes(t *testing.T, config, control string, more ...string) {
	t.Helper()
	shown, err := asCommand(t, append([]string{"--config", config, "runs", "show", "last", "-o", "json"}, more...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var run struct {
		Machines []journal.Machine `json:"machines"`
	}
	if err := json.Unmarshal(shown, &run); err != nil {
		t.Fatal(err)
	}
	var fleet []simfleet.Info
	fetch(t, control+"/machines", &fleet)
	expected := map[string]simfleet.Info{}
	for _, m := range fleet {
		expected[m.Name] = m
	}
	if len(run.Machines) != len(fleet) {
		t.Fatalf("%d machines in the run, %d in the fleet", len(run.Machines), len(fleet))
	}
	for _, m := range run.Machines {
		want := expected[m.Target.Name]
		// Who was killed while a machine was asked does not know whether it heard: one that never answers stays in doubt.
		doubt := want.Expected == string(journal.Unreachable) && m.Outcome == journal.Unknown
		if string(m.Outcome) != want.Expected && !doubt {
			t.Errorf("%s (%s): %s, want %s: %s", m.Target.Name, want.Kind, m.Outcome, want.Expected, m.Reason)
		}
		var state simfleet.State
		fetch(t, control+"/machines/"+m.Target.Name, &state)
		changes := int64(0)
		if want.Expected == string(journal.Fixed) {
			changes = 1
		}
		if state.Changes != changes {
			t.Errorf("%s (%s): changed %d times, want %d", m.Target.Name, want.Kind, state.Changes, changes)
		}
	}
}

// manyKills is for tests that kill a run again and again within half an hour: a sign-in that was under way then had no answer, and two of
// them are all that is borne unless somebody says otherwise.
const manyKills = "40"
