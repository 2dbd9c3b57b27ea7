package playbook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// The rules about what keeps a machine from starting, and what nothing takes back.

func (l *linter) vitalRegistry() {
	for i, a := range l.p.Fix {
		key, name, whole := "", "", false
		switch {
		case a.Registry != nil:
			key, name = a.Registry.Key, a.Registry.Name
		case a.RegistryKey != nil:
			key, whole = a.RegistryKey.Key, true
		default:
			continue
		}
		if d := dangerOf(key, name, whole); d != nil && !d.firmware {
			l.add(SeverityError, fmt.Sprintf("fix[%d]", i), fmt.Sprintf("%s is vital: %s", strings.TrimSpace(key+" "+name), d.breaks), d.advice+" ("+d.source+")")
		}
	}
	l.scripts(func(path string, s Script, fixes bool) {
		for i := range registryDangers {
			d := &registryDangers[i]
			if fixes && !d.firmware && d.inScript(s.Body) {
				l.add(SeverityError, path+".body", "the script changes a vital place of the registry: "+d.breaks, d.advice+" ("+d.source+")")
			}
		}
	})
}

func (l *linter) firmwareWrites() {
	for i, a := range l.p.Fix {
		if a.Registry == nil {
			continue
		}
		if d := dangerOf(a.Registry.Key, a.Registry.Name, false); d != nil && d.firmware && !d.harmless(*a.Registry) {
			l.add(SeverityError, fmt.Sprintf("fix[%d]", i), "this cannot be undone: "+d.breaks, d.advice+" ("+d.source+")")
		}
	}
	l.scripts(func(path string, s Script, fixes bool) {
		for i := range registryDangers {
			if d := &registryDangers[i]; fixes && d.firmware && d.inScript(s.Body) {
				l.add(SeverityError, path+".body", "the script makes Windows write into the firmware: "+d.breaks, "use the action registry, which plan and report know for permanent ("+d.source+")")
			}
		}
		if fixes && firmwareTool.MatchString(s.Body) {
			l.add(SeverityError, path+".body", "the script writes into the firmware or the TPM, and no undo takes that back", "do it at one machine, by hand")
		}
	})
}

var (
	firmwareTool = lazyregexp.New(`(?i)Set-SecureBootUEFI|Clear-Tpm|Initialize-Tpm|\{fwbootmgr\}|FirmwareEnvironmentVariable`)
	keyInScript  = lazyregexp.New(`(?i)(?:HKLM:?|HKEY_LOCAL_MACHINE|Registry::HKEY_LOCAL_MACHINE)\\([^"'\r\n/]+)`)
	writesKey    = lazyregexp.New(`(?i)\breg(?:\.exe)?"?\s+(?:add|delete|import|copy|restore)|(?:Set|New|Remove|Clear)-Item(?:Property)?\b|\b(?:sp|rp|ri|ni)\s`)
)

// inScript is a rule of thumb: a line that writes into the registry, and names such a key and, where that matters, the value.
func (d *registryDanger) inScript(body string) bool {
	for line := range strings.Lines(body) {
		if !writesKey.MatchString(line) {
			continue
		}
		for _, found := range keyInScript.FindAllStringSubmatch(line, -1) {
			key := strings.TrimRight(found[1], `\ `)
			for key != "" { // unquoted, a key ends somewhere at a blank
				whole := d.name == "" || slices.ContainsFunc(strings.Split(d.name, "|"), func(name string) bool { return strings.Contains(strings.ToLower(line), strings.ToLower(name)) })
				if whole && matches(d.key, anyControlSet.ReplaceAllString(key, `SYSTEM\CurrentControlSet$1`)) {
					return true
				}
				key = strings.TrimRight(key[:max(strings.LastIndexByte(key, ' '), 0)], `\ `)
			}
		}
	}
	return false
}

var hiveRoots = set("system software sam security hardware components drivers bcd00000000 elam")

// unknownRoot: such a key is on no Windows, so a condition on it never holds and a step always fails.
func (l *linter) unknownRoot() {
	check := func(path, key string) {
		_, rest, _ := strings.Cut(key, `\`)
		root, _, _ := strings.Cut(rest, `\`)
		if root != "" && !strings.Contains(root, "${") && !hiveRoots[strings.ToLower(root)] {
			l.add(SeverityError, path, fmt.Sprintf(`no Windows has HKEY_LOCAL_MACHINE\%s`, root), `write SYSTEM or SOFTWARE, such as 'HKLM\SOFTWARE\...'`)
		}
	}
	l.keys(check)
}

// keys visits every registry key that the playbook names.
func (l *linter) keys(visit func(path, key string)) {
	for i, a := range l.p.Fix {
		if a.Registry != nil {
			visit(fmt.Sprintf("fix[%d].registry.key", i), a.Registry.Key)
		}
		if a.RegistryKey != nil {
			visit(fmt.Sprintf("fix[%d].registry-key.key", i), a.RegistryKey.Key)
		}
	}
	for name, list := range map[string][]Condition{"detect": l.p.Detect, "verify": l.p.Verify} {
		for i, c := range list {
			visit(fmt.Sprintf("%s[%d].registry", name, i), c.Registry)
			visit(fmt.Sprintf("%s[%d].registry-key", name, i), c.RegistryKey)
		}
	}
}

// neverHolds finds two conditions of one list of which only one can hold.
func (l *linter) neverHolds() {
	for name, list := range map[string][]Condition{"detect": l.p.Detect, "verify": l.p.Verify} {
		for i, c := range list {
			for j := range i {
				if contradict(list[j], c) {
					l.add(SeverityError, fmt.Sprintf("%s[%d]", name, i), fmt.Sprintf("this can never hold together with condition %d of %s", j+1, name),
						"all conditions of a list must hold at once; take one out, or make two playbooks")
				}
			}
		}
	}
}

func contradict(a, b Condition) bool {
	if a.OS != nil && b.OS != nil {
		return apart(*a.OS, *b.OS) || apart(*b.OS, *a.OS)
	}
	if a.NoFile != "" {
		a, b = b, a
	}
	if a.File != "" && b.NoFile != "" {
		return strings.EqualFold(a.File, b.NoFile) && (sameTest(a.FileTest, b.FileTest) || b.FileTest == (FileTest{}))
	}
	if target(a) == "" || target(a) != target(b) || a.Kind() != b.Kind() || a.File != "" || a.Script != nil {
		return false
	}
	absent := func(c Condition) bool { return c.Present != nil && !*c.Present }
	differ := func(x, y string) bool { return x != "" && y != "" && !strings.EqualFold(x, y) }
	return absent(a) != absent(b) || a.Equals != nil && b.Equals != nil && !strings.EqualFold(fmt.Sprint(a.Equals), fmt.Sprint(b.Equals)) ||
		differ(string(a.Start), string(b.Start)) || differ(a.State, b.State)
}

func sameTest(a, b FileTest) bool {
	return same(Condition{File: "x", FileTest: a}, Condition{File: "x", FileTest: b})
}

// apart reports whether all builds of one end before those of the other begin.
func apart(low, high OSTest) bool {
	return low.MaxBuild > 0 && above(OSTest{MinBuild: high.MinBuild, MinRevision: high.MinRevision, MaxBuild: low.MaxBuild, MaxRevision: low.MaxRevision})
}

var (
	fixedDrive = lazyregexp.New(`(?i)\bC:\\Windows\b`)
	deletes    = lazyregexp.New(`(?im)^[^\r\n#]*(?:^|[\s&|;(@])(?:del|erase|Remove-Item|rm|ri)\s[^\r\n]*[*?][^\r\n]*$`)
	lostFile   = lazyregexp.New(`(?i)([^\s"'\\]*)\\C-0000\d{4}[^\s"'\\]*\.sys`)
	setsSafe   = lazyregexp.New(`(?i)bcdedit[^\r\n]*/set[^\r\n]*\ssafeboot\s`)
	takesSafe  = lazyregexp.New(`(?i)bcdedit[^\r\n]*/deletevalue[^\r\n]*\ssafeboot\b`)
)

// fixedDriveInScript: a playbook's paths are mapped to the drive that Windows is on, a script's text is not.
func (l *linter) fixedDriveInScript() {
	l.scripts(func(path string, s Script, _ bool) {
		if fixedDrive.MatchString(s.Body) || fixedDrive.MatchString(s.Undo) {
			l.add(SeverityWarning, path+".body", `the script names C:\Windows, and Windows may be on another drive`, "write %SystemRoot% in cmd, $env:SystemRoot in PowerShell")
		}
	})
	for i, a := range l.p.Fix {
		if text, ok := registryText(a); ok && fixedDrive.MatchString(text) {
			l.add(SeverityWarning, fmt.Sprintf("fix[%d].registry.value", i), `the value names C:\Windows, and Windows may be on another drive`, "write %SystemRoot%, with type: expand-string")
		}
	}
}

func registryText(a Action) (string, bool) {
	if a.Registry == nil {
		return "", false
	}
	text, ok := a.Registry.Value.(string)
	return text, ok
}

// julyScripts are the mistakes of the scripts that went round on 19 July 2024.
func (l *linter) julyScripts() {
	l.scripts(func(path string, s Script, fixes bool) {
		for _, found := range lostFile.FindAllStringSubmatch(s.Body, -1) {
			if !strings.EqualFold(found[1], "CrowdStrike") {
				l.add(SeverityError, path+".body", "CrowdStrike's channel files are not in this folder, so nothing would be found", `write %SystemRoot%\System32\drivers\CrowdStrike\..., or use the playbook crowdstrike-channel-file-291`)
				break
			}
		}
		if fixes && deletes.MatchString(s.Body) {
			l.add(SeverityError, path+".body", "the script deletes by a wildcard: good files go as well, and for good", "use the action quarantine with \"header\", \"sha256\" or \"modified\", which undo takes back")
		}
		if fixes && setsSafe.MatchString(s.Body) && !takesSafe.MatchString(s.Body) && !takesSafe.MatchString(s.Undo) {
			l.add(SeverityError, path+".body", "the script sets safe mode and nothing takes it back: the machines stay in it, and WinRM does not run there", "use the action bcd, which registers WinRM for safe mode and is undone")
		}
	})
}

// noWayIn: in safe mode without network nobody reaches the machine, not even to take it back.
func (l *linter) noWayIn() {
	for i, a := range l.p.Fix {
		if a.BCD != nil && strings.EqualFold(a.BCD.Set, "safeboot") && strings.EqualFold(a.BCD.Value, "minimal") {
			l.add(SeverityError, fmt.Sprintf("fix[%d].bcd.value", i), "in safe mode without network nobody reaches the machine, not even for undo", "set \"network\", or go to the machine")
		}
	}
}
