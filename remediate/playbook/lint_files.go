package playbook

import (
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// The rules about files.

// place is a path that a playbook names, and where.
type place struct {
	path string // in the playbook: fix[0].quarantine.file
	file string
	test FileTest
}

func (l *linter) quarantines() (all []place) {
	for i, a := range l.p.Fix {
		if a.Quarantine != nil {
			all = append(all, place{fmt.Sprintf("fix[%d].quarantine.file", i), a.Quarantine.File, a.Quarantine.FileTest})
		}
	}
	return all
}

func (l *linter) changedFiles() []place {
	all := l.quarantines()
	for i, a := range l.p.Fix {
		if a.Put != nil {
			all = append(all, place{fmt.Sprintf("fix[%d].put.file", i), a.Put.File, FileTest{}})
		}
	}
	return all
}

func (l *linter) allFiles() []place {
	all := l.changedFiles()
	for name, list := range map[string][]Condition{"detect": l.p.Detect, "verify": l.p.Verify} {
		for i, c := range list {
			if c.File != "" {
				all = append(all, place{fmt.Sprintf("%s[%d].file", name, i), c.File, c.FileTest})
			}
			if c.NoFile != "" {
				all = append(all, place{fmt.Sprintf("%s[%d].no-file", name, i), c.NoFile, c.FileTest})
			}
		}
	}
	return all
}

func (p place) wild() bool { return strings.ContainsAny(p.file, "*?") }

// name is the last part in lower case, folder what stands before it.
func (p place) split() (folder, name string) {
	at := strings.LastIndexByte(p.file, '\\')
	return normalFolder(p.file[:max(at, 0)]), strings.ToLower(p.file[at+1:])
}

// normalFolder writes the folders of Windows in one way.
func normalFolder(folder string) string {
	folder = strings.ToLower(folder)
	for variable, real := range map[string]string{"%systemroot%": `c:\windows`, "%windir%": `c:\windows`, "%systemdrive%": "c:", "%programdata%": `c:\programdata`} {
		if rest, ok := strings.CutPrefix(folder, variable); ok {
			return real + rest
		}
	}
	return folder
}

func (l *linter) unguardedWildcard() {
	for _, q := range l.quarantines() {
		if q.wild() && q.test == (FileTest{}) {
			l.add(SeverityError, q.path, "every file that matches the wildcard goes into quarantine, good ones, too",
				"add \"header\", \"sha256\" or \"modified\" to tell the bad file from a good one")
		}
	}
}

func (l *linter) weakGuard() {
	for _, q := range l.quarantines() {
		w := q.test.Modified
		if q.wild() && w != nil && q.test.Header == "" && q.test.SHA256 == "" && q.test.Version == nil && (w.After.IsZero() || w.Before.IsZero()) {
			l.add(SeverityWarning, q.path, "only a time that is open at one end guards the wildcard; a corrected file may match as well",
				"give both \"after\" and \"before\", or add \"header\" or \"sha256\"")
		}
	}
}

func (l *linter) wideWildcard() {
	for _, q := range l.quarantines() {
		_, name := q.split()
		stem, _, _ := strings.Cut(name, ".")
		if q.wild() && q.test.SHA256 == "" && len(strings.Trim(stem, "*?")) < 3 {
			l.add(SeverityError, q.path, fmt.Sprintf("the wildcard %q takes almost every file of the folder", name),
				"name the beginning of the bad file's name, or its sha256")
		}
	}
}

var channelFile = lazyregexp.New(`^c-0000\d{4}.*\.sys$`)

// wrongPath is the mistake of several scripts of 19 July 2024: they looked in drivers and found nothing.
func (l *linter) wrongPath() {
	for _, f := range l.allFiles() {
		folder, name := f.split()
		if channelFile.MatchString(name) && !strings.HasSuffix(folder, `\crowdstrike`) {
			l.add(SeverityError, f.path, "CrowdStrike's channel files are not in this folder, so nothing would be found",
				`write 'C:\Windows\System32\drivers\CrowdStrike\...'`)
		}
	}
}

var otherDrive = lazyregexp.New(`^[abd-z]:`)

func (l *linter) outsideC() {
	for _, f := range l.allFiles() {
		if folder, _ := f.split(); otherDrive.MatchString(folder) {
			l.add(SeverityError, f.path, "the path is not on drive C:; offline, only the volume of Windows is known",
				`write paths as 'C:\...' or '%SystemRoot%\...'`)
		}
	}
}

var knownVariable = set("systemroot windir systemdrive programdata programfiles programfiles(x86) commonprogramfiles public")

func (l *linter) userVariable() {
	for _, f := range l.allFiles() {
		name, _, found := strings.Cut(strings.TrimPrefix(f.file, "%"), "%")
		if strings.HasPrefix(f.file, "%") && found && !knownVariable[strings.ToLower(name)] {
			l.add(SeverityError, f.path, fmt.Sprintf("%%%s%% is the agent's own, or not set on every machine", name),
				"use %SystemRoot%, %ProgramData% or %ProgramFiles%, or write the path out")
		}
	}
}

func (l *linter) ownFolder() {
	for _, f := range l.changedFiles() {
		if folder, _ := f.split(); strings.HasPrefix(folder+`\`, `c:\programdata\fleetmend\`) {
			l.add(SeverityError, f.path, "this folder holds what undo needs", "leave it to fleetmend")
		}
	}
}

var vitalFile = set(`ntoskrnl.exe hal.dll ci.dll bootmgr bootmgfw.efi winload.exe winload.efi winresume.exe winresume.efi bcd
	smss.exe csrss.exe wininit.exe winlogon.exe services.exe lsass.exe svchost.exe ntdll.dll kernel32.dll kernelbase.dll
	user32.dll win32k.sys userinit.exe logonui.exe lsasrv.dll rpcss.dll`)

var hives = set("system software sam security default components")

func (l *linter) vitalFile() {
	for _, f := range l.changedFiles() {
		folder, name := f.split()
		driver := strings.HasSuffix(folder, `\system32\drivers`) && vital[strings.TrimSuffix(name, ".sys")] && strings.HasSuffix(name, ".sys")
		hive := strings.HasSuffix(folder, `\system32\config`) && hives[name]
		system := (strings.HasPrefix(folder, `c:\windows\system32`) || folder == "c:" || strings.HasSuffix(folder, `\boot`)) && vitalFile[name]
		if driver || hive || system {
			l.add(SeverityError, f.path, fmt.Sprintf("Windows does not start without %s", name), "find the file that really is at fault")
		}
	}
}

func (l *linter) systemFile() {
	for i, a := range l.p.Fix {
		if a.Put == nil {
			continue
		}
		folder, _ := place{file: a.Put.File}.split()
		for _, part := range []string{`c:\windows\system32`, `c:\windows\syswow64`, `c:\windows\winsxs`} {
			if folder == part || strings.HasPrefix(folder, part+`\`) {
				l.add(SeverityWarning, fmt.Sprintf("fix[%d].put.file", i), "a file among Windows' own is written",
					"make sure that it is the right one for every build: limit detect with \"os\" and \"sha256\"")
				break
			}
		}
	}
}

func (l *linter) longHeader() {
	const most = 64
	for _, f := range l.allFiles() {
		if len(f.test.Header)/2 > most {
			l.add(SeverityWarning, f.path, fmt.Sprintf("the header has %d bytes", len(f.test.Header)/2), "use \"sha256\" to recognise a whole file")
		}
	}
}
