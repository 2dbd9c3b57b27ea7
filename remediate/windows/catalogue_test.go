package windows

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// incidents are the built-in cures of one known trouble: those that ask for nothing.
func incidents(t *testing.T) (all []playbook.Playbook) {
	t.Helper()
	for _, s := range playbook.Builtins() {
		if !s.Playbook.Cure() {
			continue
		}
		if p, err := s.Bind(nil); err == nil {
			all = append(all, p)
		}
	}
	if len(all) < 4 {
		t.Fatalf("only %d incidents", len(all))
	}
	return all
}

func incidentCase(t *testing.T, name, state string) Case {
	t.Helper()
	return loadCase(t, filepath.Join(caseFolder, "incident-"+name+"-"+state+".json"))
}

// A tool that changes a machine by itself, without parameters, has the same three cases as an incident.
func TestEveryToolHasItsCases(t *testing.T) {
	found := 0
	for _, s := range playbook.Builtins() {
		p, err := s.Bind(nil)
		if err != nil || !p.Tool || strings.HasPrefix(p.Name, "safeboot-") || p.Name == "rotate-recovery-password" {
			// safe mode has cases of its own (safeboot-*.json, bcd-*.json), a rotation a domain and a TPM to prove itself at (rotate_test.go)
			continue
		}
		found++
		for state, want := range map[string]string{"affected": "undone", "clean": "clean", "half-fixed": "fixed"} {
			c := loadCase(t, filepath.Join(caseFolder, "tool-"+p.Name+"-"+state+".json"))
			if diff := cmp.Diff(wire(t, p), wire(t, c.Playbook)); diff != "" {
				t.Errorf("%s, %s: the case has another playbook:\n%s", p.Name, state, diff)
			}
			if !slices.ContainsFunc(c.Steps, func(s CaseStep) bool { return s.Expect["outcome"] == want }) {
				t.Errorf("%s, %s: no step is %s", p.Name, state, want)
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d tools", found)
	}
}

func wire(t *testing.T, p playbook.Playbook) (form map[string]any) {
	t.Helper()
	p.Summary, p.References = "", nil // are not sent
	raw, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(raw, &form)
	}
	if err != nil {
		t.Fatal(err)
	}
	return form
}

// Each incident has a machine that is affected, one that is clean and one that somebody has half mended; their cases hold the very
// playbook that is built in, are run through both interpreters, and say what they are for.
func TestEveryIncidentHasItsCases(t *testing.T) {
	for _, p := range incidents(t) {
		for state, want := range map[string][]string{"affected": {"affected", "fixed", "undone"}, "clean": {"clean"}, "half-fixed": {"affected", "fixed"}} {
			c := incidentCase(t, p.Name, state)
			if diff := cmp.Diff(wire(t, p), wire(t, c.Playbook)); diff != "" {
				t.Errorf("%s, %s: the case has another playbook:\n%s", p.Name, state, diff)
			}
			outcomes := map[string]bool{}
			for _, s := range c.Steps {
				outcomes[fmt.Sprint(s.Expect["outcome"])] = true
			}
			for _, outcome := range want {
				if !outcomes[outcome] {
					t.Errorf("%s, %s: no step is %s", p.Name, state, outcome)
				}
			}
		}
		if len(p.References) == 0 || p.Summary == "" {
			t.Errorf("%s says nothing of where it is from", p.Name)
		}
	}
}

// healthy are machines without any of the troubles.
func healthy() map[string]CaseState {
	of := func(build, product string, revision int) CaseState {
		return CaseState{
			BCD: map[string]string{"path": `\Windows\system32\winload.efi`},
			Registry: map[string]map[string]any{
				versionKey: {"CurrentBuildNumber": build, "UBR": json.Number(fmt.Sprint(revision))},
				`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\ProductOptions`:   {"ProductType": product},
				`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SecureBoot\State`: {"UEFISecureBootEnabled": json.Number("1")},
				`HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\DeviceGuard`:      {"EnableVirtualizationBasedSecurity": json.Number("1")},
			},
		}
	}
	return map[string]CaseState{
		"10 22H2": of("19045", "WinNT", 6456), "11 23H2": of("22631", "WinNT", 5335), "11 24H2": of("26100", "WinNT", 7705), "11 25H2": of("26200", "WinNT", 7705),
		"Server 2022": of("20348", "ServerNT", 4294), "Server 2025, domain controller": of("26100", "LanmanNT", 7705),
	}
}

// No incident's detect finds a machine that has another one's trouble, or none. The matrix is printed.
func TestNoIncidentIsTakenForAnother(t *testing.T) {
	machines := healthy()
	all := incidents(t)
	for _, p := range all {
		machines[p.Name] = incidentCase(t, p.Name, "affected").Before
	}
	var matrix strings.Builder
	for _, p := range all {
		for name, before := range machines {
			want := agent.Clean
			if name == p.Name {
				want = agent.Affected
			}
			c := Case{Playbook: p, Before: before, Steps: []CaseStep{{Mode: agent.Detect, Expect: map[string]any{"outcome": want}}}}
			problems, _ := Rehearse(t.Context(), c)
			for _, problem := range problems {
				t.Errorf("%s on the machine of %s: %s", p.Name, name, problem)
			}
			fmt.Fprintf(&matrix, "%-45s on %-45s %s\n", p.Name, name, want)
		}
	}
	t.Logf("%d playbooks on %d machines\n%s", len(all), len(machines), &matrix)
}
