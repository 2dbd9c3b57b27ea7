package playbook

import (
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/playbook/shellread"
)

// registryWrite is what a command of a script changes in the registry.
type registryWrite struct {
	key     string   // HKEY_LOCAL_MACHINE\...
	words   []string // names and values
	deletes bool     // the whole key
}

var (
	machineRoot = lazyregexp.New(`(?i)^(?:\\\\[^\\]+\\)?(?:Microsoft\.PowerShell\.Core\\)?(?:Registry::)?(?:HKLM|HKEY_LOCAL_MACHINE):?(?:\\+|$)`)
	otherRoot   = lazyregexp.New(`(?i)^(?:Registry::)?(?:HKCR|HKEY_CLASSES_ROOT|HKU|HKEY_USERS|HKCU|HKEY_CURRENT_USER):?\\*$`)
	writers     = set(`set-itemproperty new-itemproperty remove-itemproperty clear-itemproperty rename-itemproperty remove-item new-item set-item clear-item rename-item move-item
		[microsoft.win32.registry]::setvalue [registry]::setvalue`)
)

// registryWrites visits what the commands of scripts change below HKEY_LOCAL_MACHINE.
func (l *linter) registryWrites(visit func(at string, c shellread.Command, w registryWrite)) {
	l.commands(func(at string, c shellread.Command, _ []shellread.Command) {
		reg := c.Name == "reg" && hasWord(c, "add|delete|import|copy|restore|load|unload")
		if !reg && !writers[c.Name] || asksOnly(c) {
			return
		}
		for i, w := range append(slices.Clone(c.Words), c.Input...) {
			if machineRoot.MatchString(c.Folder) && !isSwitch(w) && !strings.Contains(w, ":") {
				w = c.Folder + `\` + strings.TrimPrefix(strings.TrimPrefix(w, "."), `\`)
			}
			root := machineRoot.FindString(w)
			if root == "" && !otherRoot.MatchString(w) {
				continue
			}
			key := `HKEY_LOCAL_MACHINE\` + strings.TrimRight(strings.ReplaceAll(w[len(root):], `\\`, `\`), `\*`)
			if root == "" {
				key = "" // the whole of another root
			}
			one := registryWrite{key: hiveOf(strings.TrimRight(key, `\`)), words: slices.Delete(append(slices.Clone(c.Words), c.Input...), i, i+1)}
			names := reg && (hasWord(c, "-v") || hasWord(c, "-ve"))
			one.deletes = reg && hasWord(c, "delete") && !names || reg && hasWord(c, "restore") || c.Name == "remove-item" || c.Name == "rename-item" || c.Name == "move-item"
			visit(at, c, one)
		}
	})
}

// hiveOf gives a key in a hive that the script has loaded under a name of its own the name of that hive.
func hiveOf(key string) string {
	parts := strings.SplitN(key, `\`, 3)
	if len(parts) < 3 || hiveRoots[strings.ToLower(parts[1])] {
		return key
	}
	first, _, _ := strings.Cut(strings.ToLower(parts[2]), `\`)
	switch {
	case strings.HasPrefix(first, "controlset") || first == "select" || first == "setup" || first == "mounteddevices":
		parts[1] = "SYSTEM"
	case first == "microsoft" || first == "classes":
		parts[1] = "SOFTWARE"
	}
	return strings.Join(parts, `\`)
}

// danger is the row of the list of vital places (vital_registry.go) that the write is found in.
func (w registryWrite) danger() *registryDanger {
	if d := dangerOf(w.key, "", true); d != nil {
		return d
	}
	for _, word := range w.words {
		if d := dangerOf(w.key, word, false); d != nil && !(d.firmware && slices.ContainsFunc(w.words, func(v string) bool { return v == "0" || v == "2" && matches(withoutLock, word) })) {
			return d
		}
	}
	return nil
}

// vitalTrees are keys that must not go with all below them.
var vitalTrees = strings.Fields(`SYSTEM\CurrentControlSet\Control SYSTEM\CurrentControlSet\Services SYSTEM\CurrentControlSet\Enum SYSTEM\Select SYSTEM\Setup SYSTEM\MountedDevices SAM\SAM SECURITY\Policy
	SOFTWARE\Classes SOFTWARE\Microsoft\Windows\CurrentVersion SOFTWARE\Microsoft\Cryptography BCD00000000\Objects SYSTEM\CurrentControlSet\Control\Lsa
	SYSTEM\CurrentControlSet\Control\Class`)

// vitalTree: a key goes that is one of them or holds one, or a service that must not end.
func (w registryWrite) vitalTree() bool {
	_, rest, _ := strings.Cut(w.key, `\`)
	rest = strings.ToLower(anyControlSet.ReplaceAllString(rest, `SYSTEM\CurrentControlSet$1`))
	if service, ok := strings.CutPrefix(rest, `system\currentcontrolset\services\`); ok {
		service, below, _ := strings.Cut(service, `\`)
		off := slices.ContainsFunc(w.words, func(v string) bool { return strings.EqualFold(v, "start") }) && slices.ContainsFunc(w.words, func(v string) bool { return v == "4" || v == "0x4" })
		return vitalService(service) && (w.deletes && below == "" || off)
	}
	if !w.deletes {
		return false
	}
	if w.key == "" {
		return true
	}
	trees := append(slices.Clone(vitalTrees), `SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon`, `SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList`)
	return slices.ContainsFunc(trees, func(tree string) bool {
		return strings.HasPrefix(strings.ToLower(tree)+`\`, strings.TrimPrefix(rest+`\`, `\`))
	})
}
