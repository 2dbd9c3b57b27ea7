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
	// PowerShell starts the runner's file with real arrays of names only by -Command.
	command := exec.CommandContext(t.Context(), pwsh.Find(t), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command",
		"& ./conformance.ps1 "+strings.Join(args, " ")+"; exit $LASTEXITCODE")
	command.Env = append(os.Environ(), "TZ=America/St_Johns", "TMPDIR="+t.TempDir())
	all, err := command.CombinedOutput()
	return string(all), err
}

// TestConformance runs a dozen cases through the real agent in the mode that allows it least.
func TestConformance(t *testing.T) {
	t.Parallel()
	output, err := runCases(t, "-LanguageMode", "Constrained", "-Case", aDozen)
	if err != nil || !strings.Contains(output, "12 passed, 0 failed") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestConformanceAsARoute starts a PowerShell for every request of a case, as a route does.
func TestConformanceAsARoute(t *testing.T) {
	t.Parallel()
	output, err := runCases(t, "-Spawn", "1", "-Case", "channel-file-affected")
	if err != nil || !strings.Contains(output, "1 passed, 0 failed") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestConformanceNoticesWhatIsWrong: each of these edits of right cases must be a finding of the runner.
func TestConformanceNoticesWhatIsWrong(t *testing.T) {
	t.Parallel()
	edits := []struct{ name, from, old, new, says string }{
		{"outcome", "channel-file-affected", `"outcome": "affected"`, `"outcome": "clean"`, "outcome is 'affected', not 'clean'"},
		{"field-of-a-step", "channel-file-affected", `"expect": {`, `"calld": [], "expect": {`, "unknown field 'calld'"},
		{"field-of-expect", "channel-file-affected", `"outcome": "affected"`, `"outcom": "affected"`, "unknown field 'outcom'"},
		{"field-of-the-machine", "channel-file-affected", `"before": {`, `"before": {"file": [], `, "unknown field 'file'"},
		{"field-of-the-case", "channel-file-affected", `"before": {`, `"bfore": {}, "before": {`, "unknown field 'bfore'"},
		{"step-of-the-result", "channel-file-affected", `"outcome": "fixed"`, `"outcome": "fixed"}, "steps": [{"action": "put"}], "run": "r-1", "services": {`, "has"},
		{"upper-case", "registry-set-same", `"registry": {`, `"registry": {`, ""},
	}
	folder := t.TempDir()
	for _, e := range edits {
		raw, err := os.ReadFile(filepath.Join("..", "testdata", "conformance", e.from+".json"))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(raw), e.old, e.new, 1)
		if err := os.WriteFile(filepath.Join(folder, e.name+".json"), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	output, _ := runCases(t, "-Path", folder)
	for _, e := range edits {
		at := strings.Index(output, "FAIL "+e.name)
		if at < 0 || !strings.Contains(output[at:], e.says) {
			t.Errorf("%s was not noticed\n%s", e.name, output)
		}
	}
}
