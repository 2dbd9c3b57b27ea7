// Package pwsh finds a real PowerShell for tests. [Find] gives its path or skips the test with one line, [Path] says why
// there is none; nothing but tests uses it, and it installs nothing system-wide.
package pwsh

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Find returns the path of a PowerShell: pwsh or powershell.exe on PATH, else the one that the laboratory
// (FLEETMEND_LABS/powershell.sh) unpacks once into .ci/.tools of this tree. Where there is none the test is skipped.
func Find(t testing.TB) string {
	t.Helper()
	path, why := Path()
	if path == "" {
		t.Skip("no PowerShell here: " + why)
	}
	return path
}

// Path returns the path of a PowerShell, or why there is none.
func Path() (path, why string) { return find() }

var find = sync.OnceValues(func() (path, why string) {
	for _, name := range []string{"pwsh", "powershell.exe"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, ""
		}
	}
	labs := os.Getenv("FLEETMEND_LABS") //nolint:forbidigo // test support: there is no command above it
	if labs == "" {
		return "", "put pwsh on PATH, or set FLEETMEND_LABS to the laboratory files"
	}
	_, self, _, _ := runtime.Caller(0)
	tools := filepath.Join(filepath.Dir(self), "..", "..", ".ci", ".tools")
	output, err := exec.Command("bash", filepath.Join(labs, "powershell.sh"), tools).Output()
	if err != nil {
		return "", "the laboratory's powershell.sh ended with " + err.Error()
	}
	return strings.TrimSpace(string(output)), ""
})
