package playbook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// julyScripts went round on 19 July 2024 and the days after it, in these words or close to them: sent by group policy and by Intune.
var julyScripts = map[string]string{
	"the wrong folder, and safe mode for everybody": `
		bcdedit /set {current} safeboot minimal
		del C:\Windows\System32\drivers\C-00000291*.sys
		shutdown -r -t 00`,
	"the wrong folder, quietly": `
		if (Test-Path "C:\Windows\System32\drivers\C-00000291*.sys") { exit 1 }
		Remove-Item -Path "C:\Windows\System32\drivers\C-00000291*.sys" -Force`,
	"good files as well": `
		$p = "$env:SystemRoot\System32\drivers\CrowdStrike"
		Remove-Item "$p\C-00000291*.sys" -Force -ErrorAction SilentlyContinue`,
	"the whole folder": `
		cd %WINDIR%\System32\drivers\CrowdStrike
		del /f /q *.*`,
	"safe mode that stays": `
		bcdedit /set {default} safeboot network
		shutdown /r /t 0`,
	"the sensor's start": `reg add HKLM\SYSTEM\ControlSet001\Control\SafeBoot\Network\CSAgent /ve /d Service /f`,
}

func errorsOf(t *testing.T, s *Source) (found []Finding) {
	t.Helper()
	for _, f := range Lint(s) {
		if f.Severity != SeverityError {
			continue
		}
		found = append(found, f)
		if f.Text == "" || len(f.Advice) < 8 {
			t.Errorf("%s says nothing of what to do", f)
		}
	}
	return found
}

// Each of the wrong scripts is stopped, in a playbook and given by itself, and told what to do instead.
func TestTheScriptsOfJuly2024AreStopped(t *testing.T) {
	for name, body := range julyScripts {
		shell := "cmd"
		if strings.Contains(body, "Remove-Item") {
			shell = "powershell"
		}
		s, err := FromScript(shell, body)
		if err != nil {
			t.Fatal(err)
		}
		if len(errorsOf(t, s)) == 0 {
			t.Errorf("%s: lint finds nothing in %s", name, body)
		}
	}
	for _, good := range []string{
		"bcdedit /deletevalue {current} safeboot", "del C:\\ProgramData\\one.txt", "reg query HKLM\\SYSTEM\\Select", "Get-ChildItem C:\\x\\*.sys", "echo delete * # nothing",
		"bcdedit /set {current} safeboot network\nrem later: bcdedit /deletevalue {current} safeboot",
	} {
		s, err := FromScript("cmd", good)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range errorsOf(t, s) {
			t.Errorf("%q: %s", good, f)
		}
	}
}

// trap is a value, or a whole key, of which an existing playbook could think nothing bad.
func TestTheTrapsOfTheRegistryAreFound(t *testing.T) {
	traps := map[string]string{ // key, name -> what lint must say of it
		`SYSTEM\Select|Current`: "vital-registry", `SYSTEM\Setup|SystemSetupInProgress`: "vital-registry", `SYSTEM\Setup|CmdLine`: "vital-registry",
		`SYSTEM\CurrentControlSet\Control\Session Manager|BootExecute`:                                 "vital-registry",
		`SYSTEM\CurrentControlSet\Control\Class\{4d36e967-e325-11ce-bfc1-08002be10318}|UpperFilters`:   "vital-registry",
		`SYSTEM\ControlSet002\Control\Class\{4D36E97B-E325-11CE-BFC1-08002BE10318}|lowerfilters`:       "vital-registry",
		`SYSTEM\MountedDevices|\DosDevices\C:`:                                                         "vital-registry",
		`SYSTEM\CurrentControlSet\Enum\PCI\VEN_8086|ConfigFlags`:                                       "vital-registry",
		`SYSTEM\CurrentControlSet\Control\Session Manager\SubSystems|Windows`:                          "vital-registry",
		`SYSTEM\CurrentControlSet\Control\Session Manager\KnownDLLs|ntdll`:                             "vital-registry",
		`SYSTEM\CurrentControlSet\Control\ServiceGroupOrder|List`:                                      "vital-registry",
		`SYSTEM\CurrentControlSet\Control\hivelist|\REGISTRY\MACHINE\SYSTEM`:                           "vital-registry",
		`SYSTEM\CurrentControlSet\Control\SafeBoot\Minimal\Base|`:                                      "vital-registry",
		`SYSTEM\CurrentControlSet\Control\Lsa|Security Packages`:                                       "vital-registry",
		`SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon|Userinit`:                               "vital-registry",
		`SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options\lsass.exe|Debugger`: "vital-registry",
		`SYSTEM\CurrentControlSet\Control\SecureBoot|AvailableUpdates`:                                 "firmware-write",
		`SYSTEM\CurrentControlSet\Control\Lsa|RunAsPPL`:                                                "firmware-write",
		`SOFTWARE\Policies\Microsoft\Windows\System|RunAsPPL`:                                          "firmware-write", `SOFTWARE\Policies\Microsoft\Windows\DeviceGuard|HypervisorEnforcedCodeIntegrity`: "firmware-write",
		`SYSTEM\CurrentControlSet\Control\DeviceGuard|Locked`: "firmware-write",
		`SYSTEM\CurrentControlSet\Services\stornvme|Start`:    "vital-driver",
	}
	used := map[*registryDanger]bool{}
	for place, rule := range traps {
		key, name, _ := strings.Cut(place, "|")
		value := int64(1)
		if rule == "vital-driver" {
			value = 4
		}
		p := Playbook{Fix: []Action{{Registry: &RegistryChange{Key: `HKEY_LOCAL_MACHINE\` + key, Name: name, Value: value}}}}
		found := LintBound(&Source{Playbook: p, at: map[string]Position{}}, p)
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == rule && f.Advice != "" }) {
			t.Errorf("%s: %v", place, found)
		}
		if got := p.Permanent(); (len(got) == 1) != (rule == "firmware-write") {
			t.Errorf("%s: permanent: %v", place, got)
		}
		used[dangerOf(`HKEY_LOCAL_MACHINE\`+key, name, false)] = true
	}
	for i := range registryDangers {
		if d := &registryDangers[i]; !used[d] || !strings.HasPrefix(d.source, "https://") || d.breaks == "" || d.advice == "" {
			t.Errorf("the row %s %s has no example, no source, or no words", d.key, d.name)
		}
	}
}

// What cannot be undone is said at its step, and only there.
func TestPermanentIsSaid(t *testing.T) {
	s, err := Parse("p.yaml", []byte(`playbook: p
fix:
  - registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot', name: AvailableUpdates, value: 0x40}
  - script: {shell: cmd, body: 'echo', undo: 'echo'}
  - script: {shell: cmd, body: 'echo'}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Playbook.Permanent()
	if len(got) != 2 || !strings.HasPrefix(got[0], "step 1, registry: Windows then writes") || got[1] != "step 3, script: the script has no undo" {
		t.Errorf("%q", got)
	}
	said := 0
	for _, line := range Describe(s.Playbook) {
		if strings.Contains(line, "This cannot be undone: ") {
			said++
		}
	}
	if said != 2 {
		t.Error(fmt.Sprint(Describe(s.Playbook)))
	}
}
