//go:build unix

package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Machines that write without end keep nobody: each is asked twice, and ends long before the time of a machine is over.
func TestMachinesThatWriteWithoutEnd(t *testing.T) {
	s := &shop{t: t}
	s.dir, s.control, s.fleet = simulateProcess(t, "--machines", "40", "--seed", "5", "--mix", "endless=20,affected=20")
	s.config = filepath.Join(s.dir, "fleetmend.yaml")
	s.ok("inventory", "import", filepath.Join(s.dir, "machines.csv"))
	began := time.Now()
	cmd, out := s.start("run", "crowdstrike-channel-file-291", "--waves", "100%", "--yes", "--max-fail", "none", "--reboot", "never")
	_ = cmd.Wait() //nolint:errcheck // its outcomes are looked at
	took := time.Since(began)
	counts := map[journal.Outcome]int{}
	for _, m := range s.machines() {
		counts[m.Outcome]++
		if m.Outcome == journal.Unknown && (m.Class != route.Overflow || m.Attempts != 2 || !strings.Contains(m.Reason, "larger than the limit of 4.0 MiB") || !strings.Contains(m.Reason, "asked twice")) {
			t.Errorf("%s: class %s, %d attempts, %s", m.Target.Name, m.Class, m.Attempts, m.Reason)
		}
	}
	if counts[journal.Fixed] != 20 || counts[journal.Unknown] != 20 || took > 3*time.Minute || !strings.Contains(out.String(), "end what writes") {
		t.Errorf("%v after %s\n%s", counts, took, out)
	}
	t.Logf("took %s", took)
}
