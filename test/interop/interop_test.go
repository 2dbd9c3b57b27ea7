// Package interop runs independent WinRM clients against the simulated fleet.
package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestIndependentClients runs clients.py in the virtual environment that FLEETMEND_VENV names (see run.sh and
// requirements.txt). Without it there is nothing to run.
func TestIndependentClients(t *testing.T) {
	venv := os.Getenv("FLEETMEND_VENV")
	if venv == "" {
		t.Skip("FLEETMEND_VENV is not set: no virtual environment with pywinrm, pypsrp and Ansible")
	}
	python := filepath.Join(venv, "bin", "python")
	if runtime.GOOS == "windows" {
		t.Skip("Ansible does not run on Windows")
	}
	if out, err := exec.Command(python, "-c", "import winrm, pypsrp, spnego, ansible").CombinedOutput(); err != nil {
		t.Skipf("%s lacks a client: %s", venv, strings.TrimSpace(string(out)))
	}
	dir := t.TempDir()
	fleetmend := filepath.Join(dir, "fleetmend")
	if out, err := exec.Command("go", "build", "-o", fleetmend, "../../cmd/fleetmend").CombinedOutput(); err != nil {
		t.Fatalf("build fleetmend: %v\n%s", err, out)
	}
	out, err := exec.Command(python, "clients.py", "--server", fleetmend+" sim", "--dir", filepath.Join(dir, "fleet")).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("clients.py: %v", err)
	}
}
