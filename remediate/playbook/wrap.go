package playbook

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// FromScript wraps a script body as a playbook of one step, for ad-hoc work. Shell is powershell or cmd. It has no detect
// (every machine is affected), no verify and no undo.
func FromScript(shell, body string, args ...string) (*Source, error) {
	return wrap("script", "Run a script ("+shell+")", shell, body, args)
}

// FromCommand wraps one command line as a playbook of one step; PowerShell runs it, cmdlets and programs alike.
func FromCommand(line string) (*Source, error) {
	return wrap(ofCommand, "Run: "+clip(strings.Join(strings.Fields(line), " ")), "powershell", line, nil)
}

// FromScriptFile wraps the content of a script's file. The name tells the shell: .ps1, .cmd or .bat. UTF-8 and UTF-16 with a
// byte order mark are understood.
func FromScriptFile(name string, data []byte, args ...string) (*Source, error) {
	shell, body, err := scriptOf(name, data)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(name)
	s, err := wrap(ofScript, fmt.Sprintf("Run the script %s (%s)", clip(base), shell), shell, body, args)
	if err != nil {
		return nil, fmt.Errorf("script %q: %w", name, err)
	}
	s.File = name
	return s, nil
}

// runners are the ends of the names of script files, with what runs them.
var runners = map[string]string{".ps1": "powershell", ".cmd": "cmd", ".bat": "cmd"}

// IsScript reports whether a file is a script by its name, as [FromScriptFile] wants it.
func IsScript(name string) bool { return runners[strings.ToLower(filepath.Ext(name))] != "" }

// The names of the playbooks that are made around a command and a script's file. No built-in one is called so.
const ofCommand, ofScript, ofPair = "command", "script", "remediation"

// OfCommand reports whether a playbook that was read from no file is one of [FromCommand].
func (p *Playbook) OfCommand() bool {
	return p.Name == ofCommand && len(p.Fix) == 1 && p.Fix[0].Script != nil
}

// OfPair is OfCommand for [FromPair].
func (p *Playbook) OfPair() bool {
	return p.Name == ofPair && len(p.Fix) == 1 && p.Fix[0].Script != nil
}

// OfScript is OfCommand for [FromScriptFile].
func (p *Playbook) OfScript() bool {
	return p.Name == ofScript && len(p.Fix) == 1 && p.Fix[0].Script != nil
}

// scriptOf tells what runs a script's file, and reads its text.
func scriptOf(name string, data []byte) (shell, body string, err error) {
	shell = runners[strings.ToLower(filepath.Ext(name))]
	if shell == "" {
		return "", "", hint.Wrap(fmt.Errorf("script %q: its name does not tell what runs it", name), "name it .ps1, .cmd or .bat")
	}
	body, err = scriptText(data)
	if err != nil {
		return "", "", fmt.Errorf("script %q: %w", name, err)
	}
	return shell, body, nil
}

// FromPair wraps a script that detects and one that remediates, as Intune knows them: the first ends with 1 where the second has to run, with 0
// where it has not, and anything else is no answer. It is run again after the second, and must then end with 0. Both get the arguments.
func FromPair(detectName string, detect []byte, name string, data []byte, args ...string) (*Source, error) {
	s, err := FromScriptFile(name, data, args...)
	if err != nil {
		return nil, err
	}
	shell, body, err := scriptOf(detectName, detect)
	if err != nil {
		return nil, err
	}
	looks, err := wrap(ofScript, "", shell, body, args) // the same limits
	if err != nil {
		return nil, fmt.Errorf("script %q: %w", detectName, err)
	}
	look, yes := looks.Playbook.Fix[0].Script, 1
	p := &s.Playbook
	p.Name, p.Tool = ofPair, true // it has no name by which an incident could be known
	p.Summary = fmt.Sprintf("Run %s where %s ends with 1", clip(filepath.Base(name)), clip(filepath.Base(detectName)))
	p.Detect = []Condition{{Script: look, ExitCode: &yes, OtherCodes: []int{0}}}
	p.Verify = []Condition{{Script: look, OtherCodes: []int{1}}}
	if size := wireSize(*p); size > maxWire {
		return nil, fmt.Errorf("the scripts have %d bytes on the wire; at most %d are allowed", size, maxWire)
	}
	s.Digest = Digest(*p)
	return s, nil
}

func wrap(name, summary, shell, body string, args []string) (*Source, error) {
	switch {
	case shell != "powershell" && shell != "cmd":
		return nil, fmt.Errorf("%s", unknown("shell", shell, shells))
	case strings.TrimSpace(body) == "":
		return nil, fmt.Errorf("the %s is empty", name)
	case len(body) > maxBody:
		return nil, fmt.Errorf("the %s has %d bytes; at most %d are allowed", name, len(body), maxBody)
	case !utf8.ValidString(body) || strings.ContainsRune(body, 0):
		return nil, fmt.Errorf("the %s is not text", name)
	case len(args) > maxSteps:
		return nil, fmt.Errorf("the %s has %d arguments; at most %d are allowed", name, len(args), maxSteps)
	}
	for _, a := range args {
		if len(a) > maxText || !utf8.ValidString(a) || strings.ContainsRune(a, 0) {
			return nil, fmt.Errorf("the argument %q is not text of at most %d bytes", clip(a), maxText)
		}
	}
	p := Playbook{
		Name: name, Summary: summary, Detect: []Condition{}, Verify: []Condition{},
		Fix: []Action{{Script: &Script{Shell: shell, Body: body, Args: append([]string(nil), args...)}}},
	}
	return &Source{Playbook: p, Digest: Digest(p), at: map[string]Position{}}, nil
}

// scriptText decodes what Windows' editors write.
func scriptText(data []byte) (string, error) {
	text, err := textfile.Decode(data)
	return text.Content, err
}
