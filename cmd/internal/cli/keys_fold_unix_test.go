//go:build unix

package cli

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// TestKilledRotationIsTold kills a rotation with signal 9 while one machine keeps it from its end. The machines done before
// are known to vault and audit at the next look; after resume every machine is, and each once.
func TestKilledRotationIsTold(t *testing.T) {
	fleet, err := simfleet.New(simfleet.Options{Machines: 40, Seed: 7, Mix: &simfleet.Mix{Affected: .6}})
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	dir := t.TempDir()
	if err := fleet.Write(dir); err != nil {
		t.Fatal(err)
	}
	fleetmend := func(args ...string) string {
		t.Helper()
		out, err := asCommand(t, append([]string{"--config", filepath.Join(dir, "fleetmend.yaml")}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	fleetmend("inventory", "import", filepath.Join(dir, "machines.csv"))
	fleetmend("keys", "sync", "--from", "ad")

	// One machine that is named hangs up on everybody: it is knocked at for minutes.
	named := []string{}
	for _, m := range fleet.Machines() {
		keys, err := fleet.RecoveryKeys(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) > 0 && len(named) < 12 {
			named = append(named, m.Name)
		}
	}
	// Their keys were printed in an incident, so that the cases want all of them replaced.
	fleetmend("run", "crowdstrike-channel-file-291", "--on", strings.Join(named, ","), "--waves", "100%", "--reboot", "never", "--max-fail", "none", "--yes", "-q")
	fleetmend("keys", "sheet", strings.Join(named, ","), "--reason", "INC-1", "--out", filepath.Join(dir, "keys.html"))
	wanted := func() []string {
		t.Helper()
		var rows []struct{ Name, Next string }
		if err := json.Unmarshal([]byte(fleetmend("incident", "machines", "-o", "json")), &rows); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range rows {
			if r.Next == "rotate" {
				names = append(names, r.Name)
			}
		}
		return names
	}
	slices.Sort(named)
	if got := wanted(); !slices.Equal(got, named) {
		t.Fatalf("the keys of %q are to be replaced, want %q", got, named)
	}
	opened := map[string][]simfleet.Protector{} // before
	for _, name := range named {
		if opened[name], err = fleet.Protectors(name); err != nil {
			t.Fatal(err)
		}
	}
	stuck := named[6]
	if err := fleet.SetFaults(stuck, simfleet.Faults{Drops: []simfleet.Drop{{Times: -1}}}); err != nil {
		t.Fatal(err)
	}
	cmd := asCommand(t, append([]string{"--config", filepath.Join(dir, "fleetmend.yaml"), "keys", "rotate", "--via", "winrm", "--escrow", "ad", "--waves", "100%", "--max-fail", "none", "--forks", "3", "--backoff", "5m", "--reason", "INC-1", "--yes", "--foreground"}, named...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j, id, before := untilDone(t, filepath.Join(dir, "state", "journal.db"), 4)
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the rotation was not killed in its middle: %v", err)
	}
	if err := fleet.SetFaults(stuck, simfleet.Faults{}); err != nil {
		t.Fatal(err)
	}
	// The status is the first to look, and knows all of them: whose key is replaced, and what goes on with the others.
	status := fleetmend("incident", "status")
	wants(t, status, "runs resume "+id+"\n")
	wants(t, status, `their\s+recovery\s+keys\s+were\s+being\s+replaced`)
	wants(t, fleetmend("audit", "list", "--action", "rotate", "--machine", before, "-o", "wide"), "fixed: replaced by")
	wants(t, fleetmend("keys", "find", before, "-o", "csv"), "rotated 20")
	if got := wanted(); slices.Contains(got, before) || !slices.Contains(got, stuck) {
		t.Errorf("the keys of %q are to be replaced, %s is done and %s is not", got, before, stuck)
	}

	fleetmend("runs", "resume", "last", "-q")
	if text := fleetmend("incident", "status"); strings.Contains(text, "runs resume") {
		t.Errorf("nothing is left to resume:\n%s", text)
	}
	if got := wanted(); len(got) > 0 {
		t.Errorf("the keys of %q are to be replaced again", got)
	}
	machines, err := j.Machines(t.Context(), id)
	if err != nil || len(machines) != len(named) {
		t.Fatalf("%d machines in the run, want %d: %v", len(machines), len(named), err)
	}
	log, err := audit.Open(t.Context(), filepath.Join(dir, "state", "audit.db"), audit.Operator{OSUser: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	entries, err := log.List(t.Context(), audit.Filter{Run: id})
	if err != nil {
		t.Fatal(err)
	}
	told := map[[2]string]int{}
	for _, e := range entries {
		told[[2]string{e.Machine, e.KeyID}]++
	}
	vault, err := bitlocker.OpenVault(t.Context(), filepath.Join(dir, "state", "keys.db"), bitlocker.Options{Audit: log})
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	removed := 0
	for _, m := range machines {
		if m.Outcome != journal.Fixed {
			t.Errorf("%s: %s, %s", m.Target.Name, m.Outcome, m.Reason)
		}
		now, err := fleet.Protectors(m.Target.Name)
		if err != nil {
			t.Fatal(err)
		}
		opens := map[string]bool{}
		for _, p := range now {
			opens[p.ID] = true
		}
		for _, p := range opened[m.Target.Name] {
			if opens[p.ID] { // of another volume
				continue
			}
			removed++
			found, err := vault.Find(t.Context(), bitlocker.Query{KeyID: bitlocker.Prefix(p.ID)})
			if err != nil || found.Matches[0].Rotated.IsZero() || told[[2]string{m.Target.Name, p.ID}] != 1 {
				t.Errorf("%s: key %s: %+v, %v, %d entries in the audit", m.Target.Name, p.ID, found.Matches, err, told[[2]string{m.Target.Name, p.ID}])
			}
		}
	}
	if removed < len(named) || len(entries) != removed {
		t.Errorf("%d entries for %d protectors that %d machines removed", len(entries), removed, len(named))
	}
	if _, err := log.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// untilDone waits until so many machines of the newest run have ended, and names one of them.
func untilDone(t *testing.T, path string, n int) (j *journal.Journal, id, name string) {
	t.Helper()
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { // another process's work
		all, err := j.Runs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 || all[0].Playbook != runs.RotatePlaybook || all[0].Counts[journal.Fixed] < n {
			continue
		}
		machines, err := j.Machines(t.Context(), all[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range machines {
			if m.Outcome == journal.Fixed {
				return j, all[0].ID, m.Target.Name
			}
		}
	}
	t.Fatal("no machine was done within two minutes")
	return nil, "", ""
}
