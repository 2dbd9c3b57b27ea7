package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/pwsh"
)

// aDozen of the cases, one of each kind of step; all of them are run by test/powershell/run.sh.
const aDozen = "bcd-replace,channel-file-affected,file-umlauts,order-of-undo,put-replace,quarantine-came-back," +
	"quarantine-kept-changed,reboot-if-fixed,registry-qword-exact,registry-set,script-action,service-disable"

// runCases starts conformance.ps1 in a time zone that is not UTC and has a summer time.
func runCases(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	return runScript(t, "conformance.ps1", args...)
}

func runScript(t *testing.T, name string, args ...string) (output string, err error) {
	t.Helper()
	// PowerShell starts the runner's file with real arrays of names only by -Command.
	command := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command",
		"& ./"+name+" "+strings.Join(args, " ")+"; exit $LASTEXITCODE")
	command.Env = append(os.Environ(), "TZ=America/St_Johns", "TMPDIR="+t.TempDir())
	all, err := command.CombinedOutput()
	return string(all), err
}

// TestConformance runs a dozen cases through the real agent in the mode that allows it least.
func TestConformance(t *testing.T) {
	t.Parallel()
	output, err := runCases(t, "-LanguageMode", "Constrained", "-Case", "'"+aDozen+"'")
	if err != nil || !strings.Contains(output, "12 passed, 0 failed") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestConformanceAsARoute starts a PowerShell for every request of a case, as a route does.
func TestConformanceAsARoute(t *testing.T) {
	t.Parallel()
	output, err := runCases(t, "-Spawn", "1", "-Case", "registry-set-same")
	if err != nil || !strings.Contains(output, "1 passed, 0 failed") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestConformanceNoticesWhatIsWrong: each case of testdata/wrong says something untrue, or misspells it.
func TestConformanceNoticesWhatIsWrong(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "wrong", "*.json"))
	if err != nil || len(paths) < 19 {
		t.Fatal(paths, err)
	}
	output, _ := runCases(t, "-Path", "../testdata/wrong")
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		_, said, found := strings.Cut(output, "FAIL "+name+": ")
		if !found {
			t.Errorf("%s was not noticed", name)
		}
		if strings.HasSuffix(name, "-field") && !strings.Contains(strings.SplitN(said, "\n", 2)[0], "unknown field") {
			t.Errorf("%s was noticed for another reason: %.200s", name, said)
		}
	}
	if t.Failed() {
		t.Log(output)
	}
}

// TestEndedAnywhere ends the agent at outward calls of a fix and an undo, and asks again: every ninth of one case, every one
// of four where there is time.
func TestEndedAnywhere(t *testing.T) {
	t.Parallel()
	cases, step := "channel-file-affected", "9"
	switch {
	case os.Getenv("FLEETMEND_PROVE") != "":
		cases, step = "order-of-undo,channel-file-affected,service-disable,bcd-replace,registry-set,script-action", "1"
	case os.Getenv("FLEETMEND_LONG") != "":
		cases, step = "order-of-undo,service-disable,bcd-replace", "3"
	}
	output, err := runScript(t, "trouble.ps1", "-Case", "'"+cases+"'", "-Step", step)
	if err != nil || strings.Count(output, "ok   ") != strings.Count(cases, ",")+1 {
		t.Errorf("%v\n%s", err, output)
	}
	t.Log(output)
}
