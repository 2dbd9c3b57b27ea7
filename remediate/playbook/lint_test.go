package playbook

import (
	"slices"
	"strings"
	"testing"
)

// Each rule has a playbook that it finds and one close to it that it leaves alone. A short form is used: the parts that
// are not given are sound.
var lintCases = []struct{ rule, fires, silent string }{
	{"no-detect", "fix: [{bcd: {delete: safeboot}}]", "detect: [{bcd: safeboot, present: true}]\nfix: [{bcd: {delete: safeboot}}]"},
	{"no-fix", "detect: [{bcd: safeboot, present: true}]", "fix: [{bcd: {delete: safeboot}}]"},
	{"no-verify", "fix: [{bcd: {delete: safeboot}}]", "fix: [{bcd: {delete: safeboot}}]\nverify: [{bcd: safeboot, present: false}]"},
	{"verify-elsewhere", `detect: [{file: 'C:\a'}]` + "\n" + `verify: [{no-file: 'C:\b'}]`, `detect: [{file: 'C:\a'}]` + "\n" + `verify: [{no-file: 'C:\A'}]`},
	{"verify-elsewhere", `detect: [{file: 'C:\a'}]` + "\n" + `verify: [{file: 'C:\a'}]`, `detect: [{driver: x, present: true}]` + "\n" + `verify: [{driver: x, start: disabled}]`},
	{"unguarded-wildcard", `fix: [{quarantine: {file: 'C:\x\abc*.sys'}}]`, `fix: [{quarantine: {file: 'C:\x\abc*.sys', header: AA}}]`},
	{"unguarded-wildcard", `fix: [{quarantine: {file: 'C:\x\abc?.sys'}}]`, `fix: [{quarantine: {file: 'C:\x\abc.sys'}}]`},
	{"weak-guard", `fix: [{quarantine: {file: 'C:\x\abc*', modified: {after: 2024-07-19T04:09:00Z}}}]`, `fix: [{quarantine: {file: 'C:\x\abc*', modified: {after: 2024-07-19T04:09:00Z, before: 2024-07-20T00:00:00Z}}}]`},
	{"weak-guard", `fix: [{quarantine: {file: 'C:\x\abc*', modified: {after: 2024-07-19T04:09:00Z}}}]`, `fix: [{quarantine: {file: 'C:\x\abc*', version: 1.2.3.4, modified: {after: 2024-07-19T04:09:00Z}}}]`},
	{"fix-wider-than-detect", `detect: [{file: 'C:\a', version: {max: 1.2.3.4}}]` + "\n" + `fix: [{quarantine: {file: 'C:\A'}}]`, `detect: [{file: 'C:\a', version: {max: 1.2.3.4}}]` + "\n" + `fix: [{quarantine: {file: 'C:\A', version: {max: 1.2.3.4}}}]`},
	{"wide-wildcard", `fix: [{quarantine: {file: 'C:\Windows\System32\drivers\*.sys', header: AA}}]`, `fix: [{quarantine: {file: 'C:\Windows\System32\drivers\bad*.sys', header: AA}}]`},
	{"fix-wider-than-detect", `detect: [{file: 'C:\a', header: AA}]` + "\n" + `fix: [{quarantine: {file: 'C:\A'}}]`, `detect: [{file: 'C:\a', header: AA}]` + "\n" + `fix: [{quarantine: {file: 'C:\A', header: AA}}]`},
	{"default-value", `detect: [{registry: 'HKLM\SOFTWARE\A', present: true}]`, `detect: [{registry-key: 'HKLM\SOFTWARE\A', present: true}]`},
	{"optional-alone", `fix: [{bcd: {delete: safeboot}, optional: true}]`, "fix: [{bcd: {delete: safeboot}, optional: true}, {bcd: {delete: safeboot}}]"},
	{"wrong-path", `detect: [{file: 'C:\Windows\System32\drivers\C-00000291*.sys'}]`, `detect: [{file: 'C:\Windows\System32\drivers\CrowdStrike\C-00000291*.sys'}]`},
	{"wrong-path", `fix: [{quarantine: {file: '%windir%\System32\drivers\C-00000291*.sys', header: AA}}]`, `fix: [{quarantine: {file: '%windir%\System32\drivers\CrowdStrike\C-00000291*.sys', header: AA}}]`},
	{"outside-c", `detect: [{file: 'D:\a'}]`, `detect: [{file: 'c:\a'}]`},
	{"user-variable", `detect: [{file: '%APPDATA%\a'}]`, `detect: [{file: '%ProgramData%\a'}]`},
	{"own-folder", `fix: [{quarantine: {file: '%ProgramData%\fleetmend\runs\x'}}]`, `fix: [{quarantine: {file: '%ProgramData%\fleetmender\x'}}]`},
	{"vital-driver", `fix: [{driver: {name: StorAHCI, start: disabled}}]`, `fix: [{driver: {name: csagent, start: disabled}}]`},
	{"vital-driver", `fix: [{registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Services\disk', name: Start, value: 4}}]`, `fix: [{registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Services\disk', name: Start, value: 0}}]`},
	{"vital-driver", `fix: [{service: {name: RpcSs, start: disabled}}]`, `fix: [{service: {name: RpcSs, start: auto}}]`},
	{"vital-file", `fix: [{quarantine: {file: '%SystemRoot%\System32\drivers\ntfs.sys'}}]`, `fix: [{quarantine: {file: '%SystemRoot%\System32\drivers\ntfs2.sys'}}]`},
	{"vital-file", `fix: [{quarantine: {file: 'C:\Windows\System32\config\SYSTEM'}}]`, `fix: [{quarantine: {file: 'C:\Other\config\SYSTEM'}}]`},
	{"system-file", `fix: [{put: {file: 'C:\Windows\System32\drivers\etc\hosts', content: x}}]`, `fix: [{put: {file: 'C:\ProgramData\x', content: x}}]`},
	{"lifeline", `fix: [{service: {name: WinRM, start: disabled}}]`, `fix: [{service: {name: Spooler, start: disabled, stop: true}}]`},
	{"early-start", `fix: [{service: {name: x, start: boot}}]`, `fix: [{service: {name: x, start: auto}}]`},
	{"early-start", `fix: [{driver: {name: x, start: system}}]`, `fix: [{driver: {name: x, start: manual}}]`},
	{"vital-registry", `fix: [{registry: {key: 'HKLM\SYSTEM\Select', name: Current, value: 2}}]`, `fix: [{registry: {key: 'HKLM\SOFTWARE\Select', name: Current, value: 2}}]`},
	{"vital-registry", `fix: [{registry: {key: 'HKLM\SYSTEM\ControlSet001\Control\Session Manager', name: bootexecute, delete: true}}]`, `fix: [{registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Control\Session Manager', name: GlobalFlag, delete: true}}]`},
	{"vital-registry", `fix: [{script: {shell: cmd, body: 'reg add HKLM\SYSTEM\Setup /v SetupType /t REG_DWORD /d 2 /f'}}]`, `fix: [{script: {shell: cmd, body: 'reg query HKLM\SYSTEM\Setup /v SetupType'}}]`},
	{"firmware-write", `fix: [{registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot', name: AvailableUpdates, value: 0x280}}]`, `fix: [{registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot', name: AvailableUpdates, value: 0}}]`},
	{"firmware-write", `fix: [{registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Control\Lsa', name: RunAsPPL, value: 1}}]`, `fix: [{registry: {key: 'HKLM\SYSTEM\CurrentControlSet\Control\Lsa', name: RunAsPPL, value: 2}}]`},
	{"firmware-write", `fix: [{script: {shell: powershell, body: 'Set-SecureBootUEFI -Name dbx'}}]`, `fix: [{script: {shell: powershell, body: 'Get-SecureBootUEFI -Name dbx'}}]`},
	{"unknown-root", `detect: [{registry: 'HKLM\SOFTWAER\A', name: x, present: true}]`, `detect: [{registry: 'HKLM\software\A', name: x, present: true}]`},
	{"never-holds", `detect: [{bcd: safeboot, equals: network}, {bcd: safeboot, present: false}]`, `detect: [{bcd: safeboot, present: true}, {bcd: safeboot, equals: network}]`},
	{"never-holds", `detect: [{os: {max-build: 22631}}, {os: {min-build: 26100.1}}]`, `detect: [{os: {max-build: 26100}}, {os: {min-build: 26100.1}}]`},
	{"never-holds", `detect: [{file: 'C:\a', header: AA}, {no-file: 'c:\A'}]`, `detect: [{file: 'C:\a'}, {no-file: 'C:\a', header: AA}]`},
	{"fixed-drive", `fix: [{script: {shell: cmd, body: 'copy C:\windows\a b'}}]`, `fix: [{script: {shell: cmd, body: 'copy %SystemRoot%\a b'}}]`},
	{"fixed-drive", `fix: [{registry: {key: 'HKLM\SOFTWARE\A', name: x, value: 'C:\Windows\a.exe'}}]`, `fix: [{registry: {key: 'HKLM\SOFTWARE\A', name: x, value: 'C:\Program Files\a.exe'}}]`},
	{"harmful-script", `fix: [{script: {shell: cmd, body: 'del /q %programdata%\x\*.sys'}}]`, `fix: [{script: {shell: cmd, body: 'del /q %programdata%\x\a.sys'}}]`},
	{"unreadable-script", `fix: [{script: {shell: cmd, body: 'powershell -enc SQBFAFgA'}}]`, `fix: [{script: {shell: cmd, body: 'powershell -ex Bypass -c exit'}}]`},
	{"safeboot-no-way-in", `fix: [{bcd: {set: safeboot, value: minimal}}]`, `fix: [{bcd: {set: safeboot, value: network}}]`},
	{"alternate-shell", `fix: [{bcd: {set: safebootalternateshell, value: 'yes'}}]`, `fix: [{bcd: {delete: safeboot}}]`},
	{"boot-element", `fix: [{bcd: {set: testsigning, value: 'on'}}]`, `fix: [{bcd: {delete: safeboot}}]`},
	{"safeboot-stays", `fix: [{bcd: {set: safeboot, value: network}}]`, "summary: take back with undo\nfix: [{bcd: {set: safeboot, value: network}}]"},
	{"script-parameter", "params: {x: {pattern: a}}\nfix: [{script: {shell: cmd, body: 'echo ${x}'}}]", "params: {x: {pattern: a}}\nfix: [{script: {shell: cmd, body: 'echo %1', args: ['${x}']}}]"},
	{"script-timeout", "fix: [{script: {shell: cmd, body: x}}]", "fix: [{script: {shell: cmd, body: x, timeout: 5}}]"},
	{"script-undo", "fix: [{script: {shell: cmd, body: x}}]", "fix: [{script: {shell: cmd, body: x, undo: y}}]\ndetect: [{script: {shell: cmd, body: x}}]"},
	{"reboot-always", "reboot: always", "reboot: if-fixed"},
	{"long-header", `detect: [{file: 'C:\a', header: ` + strings.Repeat("AB", 65) + "}]", `detect: [{file: 'C:\a', header: ` + strings.Repeat("AB", 64) + "}]"},
	{"slash-in-key", `detect: [{registry: 'HKLM\SYSTEM\Ciphers\AES 128/128', present: true}]`, `detect: [{registry: 'HKLM\SYSTEM\Ciphers\AES 128', present: true}]`},
	{"unused-parameter", "params: {x: {pattern: a}}\nfix: [{script: {shell: cmd, body: '${x}'}}]", "params: {x: {pattern: a}}\nfix: [{service: {name: a, start: disabled, stop: '${x}'}}]"},
	{"wide-pattern", "params: {x: {pattern: '.*'}}", "params: {x: {pattern: '[a-z]*'}}"},
}

func fires(t *testing.T, rule, text string) bool {
	t.Helper()
	s, err := ParseUnnamed("l.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%s: %v\n%s", rule, err, text)
	}
	return slices.ContainsFunc(Lint(s), func(f Finding) bool { return f.Rule == rule })
}

func TestEveryRuleFiresAndStaysSilent(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range lintCases {
		tested[c.rule] = true
		if !fires(t, c.rule, c.fires) {
			t.Errorf("%s does not find %s", c.rule, c.fires)
		}
		if fires(t, c.rule, c.silent) {
			t.Errorf("%s finds fault with %s", c.rule, c.silent)
		}
	}
	for _, r := range rules {
		if !tested[r.name] {
			t.Errorf("rule %s has no case", r.name)
		}
	}
}

func TestBuiltinsAndTemplateLintClean(t *testing.T) {
	for _, s := range Builtins() {
		for _, f := range Lint(s) {
			if s.Playbook.Name == "rotate-recovery-password" && f.Rule == "script-undo" {
				continue // a password that was removed cannot come back, and the warning says so before each run
			}
			if s.Playbook.Name == "no-automatic-repair" && f.Rule == "boot-element" {
				continue // that is the element it is for
			}
			t.Errorf("%s", f)
		}
	}
	s, err := Parse("t.yaml", Template("My Playbook!"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Playbook.Name != "my-playbook-" || len(Lint(s)) != 0 {
		t.Errorf("%q %v", s.Playbook.Name, Lint(s))
	}
}

func TestFindingSaysWhereAndWhatToDo(t *testing.T) {
	s, err := Parse("gpo.yaml", []byte("playbook: gpo\ndetect:\n  - file: 'C:\\Windows\\System32\\drivers\\C-00000291*.sys'\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `gpo.yaml:3:11: error: CrowdStrike's channel files are not in this folder, so nothing would be found; write 'C:\Windows\System32\drivers\CrowdStrike\...' [wrong-path]`
	if !slices.ContainsFunc(Lint(s), func(f Finding) bool { return f.String() == want }) {
		t.Errorf("got %v", Lint(s))
	}
}

func TestAdHocScriptHasNoErrors(t *testing.T) {
	s, err := FromScriptFile(`fix.ps1`, []byte("\xff\xfeG\x00e\x00t\x00"))
	if err != nil || s.Playbook.Fix[0].Script.Body != "Get" {
		t.Fatalf("%+v %v", s, err)
	}
	for _, f := range Lint(s) {
		if f.Severity == SeverityError {
			t.Error(f)
		}
	}
	if _, err := FromScriptFile("fix.vbs", []byte("x")); err == nil {
		t.Error("a script of unknown kind was taken")
	}
}

func TestLintSeesBoundValues(t *testing.T) {
	s := mustBuiltin(t, "disable-service")
	p, err := s.Bind(map[string]string{"service": "WinRM"})
	if err != nil {
		t.Fatal(err)
	}
	found := LintBound(s, p)
	if len(found) != 1 || found[0].Rule != "lifeline" || found[0].Line == 0 {
		t.Errorf("got %v", found)
	}
}
