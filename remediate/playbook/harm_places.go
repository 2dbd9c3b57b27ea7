package playbook

import (
	"path"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/playbook/shellread"
)

// What is asked of the places that a command names (rows of harm_rows.go).

// target is a place in the file system that a command is about.
type scriptTarget struct {
	path  string // in lower case, with backslashes, without . and .., without a wildcard for all that is in it
	all   bool   // a wildcard for all that is in it stood behind
	wild  bool   // it has another wildcard
	given bool   // it is an argument, and did not come by the pipeline
}

var (
	notATarget = set("-erroraction -ea -include -exclude -filter -warningaction -wa -stream -credential -errorvariable -confirm -encoding -value -newname -name")
	localShare = lazyregexp.New(`^\\\\(?:localhost|127\.0\.0\.1|\.|\?|::1)\\(?:([a-z])\$|unc\\localhost\\([a-z])\$|([a-z]:))`)
	driveAlone = lazyregexp.New(`^[a-z]:$`)
)

// targets are the places that a command names, or that come to it by the pipeline where it names none.
func targets(c shellread.Command) (all []scriptTarget) {
	listed := false
	for i, w := range c.Words {
		before := ""
		if i > 0 {
			before = strings.ToLower(c.Words[i-1])
		}
		if isSwitch(w) || notATarget[before] || w == "" || strings.HasPrefix(w, "$") {
			continue
		}
		if strings.HasPrefix(w, "[") && strings.Contains(w, "::") { // what a method of .NET lists
			listed = true
			continue
		}
		t := scriptTargetOf(w, c.Folder)
		t.given = true
		all = append(all, t)
	}
	for i := range all {
		all[i].all = all[i].all || listed
	}
	if len(all) > 0 {
		return all
	}
	for _, w := range c.Input {
		if strings.ContainsAny(w, `\/:`) && !isSwitch(w) {
			all = append(all, scriptTargetOf(w, c.Folder))
		}
	}
	return all
}

func isSwitch(w string) bool {
	return strings.HasPrefix(w, "-") || strings.HasPrefix(w, "/") && len(w) < 12 && !strings.Contains(w[1:], "/") && !strings.Contains(w, `\`)
}

func scriptTargetOf(w, folder string) (t scriptTarget) {
	p := strings.ToLower(strings.ReplaceAll(strings.Trim(w, `"'`), "/", `\`))
	for _, provider := range []string{`microsoft.powershell.core\`, "filesystem::"} {
		p = strings.TrimPrefix(p, provider)
	}
	if m := localShare.FindStringSubmatch(p); m != nil {
		p = strings.TrimSuffix(m[1]+m[2]+m[3], ":") + ":" + p[len(m[0]):]
	}
	if !strings.Contains(p, ":") && !strings.HasPrefix(p, `\`) && folder != "" {
		p = strings.ToLower(strings.ReplaceAll(folder, "/", `\`)) + `\` + p
	} else if strings.HasPrefix(p, `\`) && !strings.HasPrefix(p, `\\`) {
		p = "c:" + p
	}
	if p == `\` || p == "." && folder == "" {
		p = "c:"
	}
	slashed := path.Clean(strings.ReplaceAll(p, `\`, "/"))
	for _, end := range []string{"/*", "/*.*", "/.", "/**"} {
		for strings.HasSuffix(slashed, end) {
			slashed, t.all = strings.TrimSuffix(slashed, end), true
		}
	}
	t.path = strings.TrimRight(strings.ReplaceAll(slashed, "/", `\`), `\`)
	t.wild = strings.ContainsAny(t.path, "*?")
	return t
}

// vitalFolders are folders that must not go, below a drive. Wildcards of a target are matched against them.
var vitalFolders = []string{"", `\windows`, `\windows\system32`, `\windows\syswow64`, `\windows\winsxs`, `\windows\system32\config`, `\windows\system32\drivers`, `\windows\boot`, `\windows\servicing`,
	`\windows\installer`, `\windows\system32\driverstore`, `\windows\system32\catroot`, `\windows\system32\drivers\crowdstrike`, `\users`, `\program files`, `\program files (x86)`, `\programdata`,
	`\programdata\fleetmend`, `\boot`, `\efi`, `\efi\microsoft`, `\efi\boot`, `\recovery`, `\bootmgr`, `\system volume information`, `\programdata\microsoft\windows`}

// scratch are folders of Windows whose content comes back by itself, or is meant to go: repairs empty them.
var scratch = []string{`\windows\temp`, `\windows\softwaredistribution`, `\windows\system32\catroot2`, `\windows\prefetch`, `\windows\minidump`, `\windows\logs`, `\windows\ccmcache`, `\windows\livekernelreports`,
	`\windows\system32\spool\printers`, `\windows\system32\grouppolicy`, `\windows\system32\grouppolicyusers`, `\windows\serviceprofiles\localservice\appdata\local\fontcache`, `\windows\downloaded program files`,
	`\windows\system32\wbem\repository`, `\windows\memory.dmp`, `\windows\ccm\logs`, `\windows\panther`}

// below cuts the drive off; ok is false where the place is on none.
func (t scriptTarget) below() (rest string, ok bool) {
	if len(t.path) < 2 || t.path[1] != ':' {
		return "", false
	}
	return t.path[2:], true
}

func within(rest string, folders []string) bool {
	for _, f := range folders {
		if rest == f || strings.HasPrefix(rest, f+`\`) || strings.HasPrefix(rest, f+".") {
			return true
		}
	}
	return false
}

// vital: the place is a vital folder, holds one, or is a folder or a wildcard inside of Windows.
func (t scriptTarget) vital() bool {
	rest, ok := t.below()
	if !ok || within(rest, scratch) {
		return false
	}
	for _, f := range vitalFolders {
		if same, err := path.Match(strings.ReplaceAll(rest, `\`, "/"), strings.ReplaceAll(f, `\`, "/")); rest == f || err == nil && same {
			return true
		}
	}
	inWindows := strings.HasPrefix(rest, `\windows\`) || strings.HasPrefix(rest, `\efi\`) || strings.HasPrefix(rest, `\boot\`)
	return inWindows && (t.all || t.wild || !strings.Contains(rest[strings.LastIndexByte(rest, '\\'):], "."))
}

// recursive: the command goes into folders.
func recursive(c shellread.Command) bool {
	return hasWord(c, "-recurse|-s") || c.Name != "remove-item" || strings.Contains(strings.ToLower(strings.Join(c.Input, " ")), "-r")
}

// filtered: what comes by the pipeline is only part of what is there.
func filtered(c shellread.Command) bool {
	text := strings.ToLower(strings.Join(c.Input, " "))
	return strings.Contains(text, "-filter") || strings.Contains(text, "-include") || strings.Contains(text, "where")
}

func anyTarget(c shellread.Command, is func(scriptTarget) bool) bool {
	for _, t := range targets(c) {
		if is(t) {
			return true
		}
	}
	return false
}

func deletesCrowdStrike(c shellread.Command, _ []shellread.Command) bool {
	return anyTarget(c, func(t scriptTarget) bool {
		return strings.HasSuffix(t.path, `\drivers\crowdstrike`) || strings.Contains(t.path, `\drivers\crowdstrike\`) && t.wild || t.path == `c:\windows\system32\drivers\csagent.sys`
	})
}

func deletesSystem(c shellread.Command, _ []shellread.Command) bool {
	if len(c.Words) == 0 && len(c.Input) == 0 || filtered(c) {
		return false
	}
	return anyTarget(c, func(t scriptTarget) bool {
		if driveAlone.MatchString(t.path) && !t.given || driveAlone.MatchString(t.path) && !t.all && !recursive(c) {
			return false
		}
		return t.vital() || t.vitalFile()
	})
}

// vitalFile: Windows does not start without that file.
func (t scriptTarget) vitalFile() bool {
	rest, _ := t.below()
	name := rest[strings.LastIndexByte(rest, '\\')+1:]
	driver, isDriver := strings.CutSuffix(name, ".sys")
	return strings.HasPrefix(rest, `\windows\`) && (vitalFile[name] || isDriver && vital[driver] && strings.Contains(rest, `\drivers\`)) || hiveFile.MatchString(rest)
}

// overwritesVital: the last place that is named is written.
func overwritesVital(c shellread.Command, _ []shellread.Command) bool {
	all := targets(c)
	if c.Name == "copy-item" && len(all) > 1 {
		all = all[1:]
	}
	for _, t := range all {
		if t.given && t.vitalFile() {
			return true
		}
	}
	return false
}

var hiveFile = lazyregexp.New(`^\\windows\\system32\\config\\(?:system|software|sam|security|default|components)$`)

func movesSystem(c shellread.Command, _ []shellread.Command) bool {
	all := targets(c)
	if len(all) == 0 {
		return false
	}
	rest, ok := all[0].below()
	return ok && !within(rest, scratch) && (all[0].vital() || hiveFile.MatchString(rest))
}

func deletesByWildcard(c shellread.Command, _ []shellread.Command) bool {
	return anyTarget(c, func(t scriptTarget) bool {
		rest, ok := t.below()
		return (t.wild || t.all && t.given && !hasWord(c, "-recurse")) && (!ok || !within(rest, scratch)) && !strings.Contains(t.path, "::") && !strings.HasPrefix(t.path, "hk") && !strings.HasPrefix(t.path, "cert:") && !strings.HasPrefix(t.path, "env:")
	}) || filtered(c) && anyTarget(c, func(t scriptTarget) bool { rest, ok := t.below(); return ok && !within(rest, scratch) })
}

func deletesOneOfWindows(c shellread.Command, _ []shellread.Command) bool {
	return anyTarget(c, func(t scriptTarget) bool {
		rest, ok := t.below()
		return ok && strings.HasPrefix(rest, `\windows\`) && !within(rest, scratch)
	})
}

func mirrorsOverSystem(c shellread.Command, _ []shellread.Command) bool {
	all := targets(c)
	return len(all) > 1 && (all[1].vital() || driveAlone.MatchString(all[1].path))
}

func rightsOfSystem(c shellread.Command, _ []shellread.Command) bool {
	changes := c.Name == "takeown" || c.Name == "set-acl" || hasWord(c, "-grant|-reset|-deny|-remove|-setowner|-inheritance|-inheritancelevel|-g|-p|-e")
	return changes && anyTarget(c, func(t scriptTarget) bool { return t.vital() })
}

// diskpartChanges: what it is told is in sight, and only asks.
func diskpartChanges(c shellread.Command, _ []shellread.Command) bool {
	if len(c.Input) == 0 || hasWord(c, "-s") {
		return true
	}
	for _, w := range c.Input {
		for line := range strings.Lines(w) {
			first, _, _ := strings.Cut(strings.TrimSpace(strings.ToLower(line)), " ")
			switch first {
			case "", "list", "lis", "select", "sel", "detail", "det", "rescan", "exit", "rem", "disk", "volume", "partition", "write-output", "echo":
			default:
				if len(first) > 2 || first == "gpt" {
					return true
				}
			}
		}
	}
	return false
}
