package playbook

import (
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/playbook/shellread"
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
	l.registryWrites(func(at string, c shellread.Command, w registryWrite) {
		switch d := w.danger(); {
		case d != nil && !d.firmware:
			l.add(SeverityError, at, inLine(c, "it changes a vital place of the registry: "+d.breaks), d.advice+" ("+d.source+")")
		case w.vitalTree():
			l.add(SeverityError, at, inLine(c, "it deletes a part of the registry without which Windows does not start, or nobody signs in"), "delete the one value, by the action registry, which undo takes back")
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
	l.registryWrites(func(at string, c shellread.Command, w registryWrite) {
		if d := w.danger(); d != nil && d.firmware {
			l.add(SeverityError, at, inLine(c, "it makes Windows write into the firmware: "+d.breaks), "use the action registry, which plan and report know for permanent ("+d.source+")")
		}
	})
	l.commands(func(at string, c shellread.Command, _ []shellread.Command) {
		if firmwareTool.MatchString(c.Name) || firmwareTool.MatchString(strings.Join(c.Words, " ")) && c.Name == "bcdedit" {
			l.add(SeverityError, at, inLine(c, "it writes into the firmware or the TPM, and no undo takes that back"), "do it at one machine, by hand")
		}
	})
}

var firmwareTool = lazyregexp.New(`(?i)Set-SecureBootUEFI|Clear-Tpm|Initialize-Tpm|\{fwbootmgr\}|FirmwareEnvironmentVariable`)

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

var fixedDrive = lazyregexp.New(`(?i)\bC:\\Windows\b`)

// fixedDriveInScript: a playbook's paths are mapped to the drive that Windows is on, a script's text is not.
func (l *linter) fixedDriveInScript() {
	l.scripts(func(path string, s Script, _ bool) {
		if fixedDrive.MatchString(withoutRemarks(s.Body)) || fixedDrive.MatchString(withoutRemarks(s.Undo)) {
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

// noWayIn: in safe mode without network nobody reaches the machine, not even to take it back.
func (l *linter) noWayIn() {
	for i, a := range l.p.Fix {
		if a.BCD != nil && strings.EqualFold(a.BCD.Set, "safeboot") && strings.EqualFold(a.BCD.Value, "minimal") {
			l.add(SeverityError, fmt.Sprintf("fix[%d].bcd.value", i), "in safe mode without network nobody reaches the machine, not even for undo", "set \"network\", or go to the machine")
		}
	}
}
