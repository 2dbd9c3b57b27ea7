package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// wineHive is a registry file as Wine loads it: Wine has a format of its own.
const wineHive = `WINE REGISTRY Version 2

#arch=win64

[ControlSet001\\Services\\csagent] 1721361600
"Start"=dword:00000001

[ControlSet002\\Services\\csagent] 1721361600
"Start"=dword:00000001
"DisplayName"="Faulty sensor"
"Group"=str(2):"%SystemRoot%\\x"
"DependOnService"=str(7):"one\0two\0"
"FailureActions"=hex:80,51,01,00

[Select] 1721361600
"Current"=dword:00000002
`

const registryBook = `playbook: offline-registry
summary: Disable a driver on a Windows that does not run
detect:
  - driver: csagent
    start: system
  - registry: 'HKLM\SYSTEM\CurrentControlSet\Services\csagent'
    name: DependOnService
    equals: [one, two]
  - registry: 'HKLM\SYSTEM\CurrentControlSet\Services\csagent'
    name: FailureActions
    equals: '80510100'
fix:
  - driver: {name: csagent, start: disabled}
  - registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Services\csagent', name: Group, type: expand-string, value: '%SystemRoot%\y'}
  - registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Services\csagent', name: List, value: [a, b]}
  - registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Services\csagent', name: DisplayName, delete: true}
  - bcd: {delete: safeboot}
verify:
  - driver: csagent
    start: disabled
  - registry: 'HKLM\SYSTEM\CurrentControlSet\Services\csagent'
    name: DisplayName
    present: false
`

// TestRegistryOfOfflineWindowsUnderWine works through the registry API of Windows, as Wine has it, on a registry file of
// an installation that does not run. Another program (reg, called in the middle) sees the loaded file and what was changed
// in it, and afterwards that it is unloaded, also when the playbook failed. Wine forgets a file when it is unloaded and
// does not write it, so that real files of Windows are not proved by this.
func TestRegistryOfOfflineWindowsUnderWine(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("runs Windows programs under Wine for a minute: set FLEETMEND_LONG=1")
	}
	prefix, run := wine(t)
	stick, ram, disk := t.TempDir(), t.TempDir(), t.TempDir()
	drives(t, prefix, map[string]string{"d:": disk, "e:": stick, "x:": ram})
	bcdedit := bcdeditUnder(t, prefix)
	put(t, bcdedit+".state", []byte("safeboot                Minimal\r\n"))
	put(t, filepath.Join(disk, "Windows", "System32", "config", "SYSTEM"), []byte(wineHive))
	exe, err := os.ReadFile(compiled(t, "amd64"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(ram, "fleetmend", "fleetmend-pe.exe"), exe)
	medium := asJSON(t, aboard.Medium{Version: 1, ID: "0123456789abcdef"})
	put(t, filepath.Join(ram, "fleetmend", "medium.json"), medium)
	put(t, filepath.Join(stick, "fleetmend", "medium.json"), medium)
	put(t, filepath.Join(ram, "fleetmend", "settings.json"), asJSON(t, aboard.Settings{Version: 1, Run: "20240719-081500-abcdef", Choose: aboard.Auto}))
	source, err := playbook.Parse("offline-registry.yaml", []byte(registryBook))
	if err != nil {
		t.Fatal(err)
	}
	book, err := source.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		run, outcome string
		verify       playbook.Condition
	}{
		{"20240719-081500-abcdef", agent.Fixed, book.Verify[0]},
		{"20240719-081500-abcdeg", agent.Failed, playbook.Condition{Driver: "csagent", Start: playbook.StartBoot}},
	} {
		book.Verify[0] = c.verify
		put(t, filepath.Join(ram, "fleetmend", "playbooks", "book.json"), asJSON(t, book))
		put(t, filepath.Join(ram, "fleetmend", "settings.json"), asJSON(t, aboard.Settings{Version: 1, Run: c.run, Choose: aboard.Auto}))
		put(t, bcdedit+".state", []byte("safeboot                Minimal\r\n"))
		out, _ := run(`X:\fleetmend\fleetmend-pe.exe`, "--no-reboot") // 3 after a failure
		files, err := aboard.ReadResults(os.DirFS(stick))
		if err != nil || len(files) != 1 || files[0].Err != nil {
			t.Fatalf("%+v, %v\n%s", files, err, out)
		}
		if r := files[0].Result; r.Outcome != c.outcome || r.Playbooks[0].Result.Message != "" && c.outcome == agent.Fixed {
			t.Errorf("%+v\n%s", r, out)
		}
		raw, err := os.ReadFile(bcdedit + ".registry")
		if err != nil {
			t.Fatal(err)
		}
		seen := strings.ReplaceAll(string(raw), "\r", "")
		_, key, _ := strings.Cut(seen, `ControlSet002\Services\csagent`)
		for _, want := range []string{`Start\s+REG_DWORD\s+0x4\n`, `Group\s+REG_EXPAND_SZ\s+%SystemRoot%\\y\n`, `List\s+REG_MULTI_SZ\s+a\\0b\n`} {
			if !regexp.MustCompile(want).MatchString(key) {
				t.Errorf("reg does not see %s:\n%s", want, seen)
			}
		}
		if strings.Contains(seen, "Faulty sensor") || !regexp.MustCompile(`ControlSet001\\Services\\csagent\n\s+Start\s+REG_DWORD\s+0x1\n`).MatchString(seen) {
			t.Errorf("reg sees:\n%s", seen)
		}
		if out, err := run("reg", "query", `HKLM\fleetmend-SYSTEM`); err == nil {
			t.Errorf("the registry file is still loaded:\n%s", out)
		}
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
