package agentcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

func TestExportWritesOnceAndOverwritesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "agent")
	if err := export(folder); err != nil {
		t.Fatal(err)
	}
	for _, f := range agent.Export() {
		if got, err := os.ReadFile(filepath.Join(folder, f.Name)); err != nil || string(got) != f.Content {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if err := export(folder); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("%v", err)
	}
}
