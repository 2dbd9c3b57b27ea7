// Package shellread reads which commands a script holds, as cmd or PowerShell would understand it: quotes, escapes, aliases, variables that
// the script sets, pipelines, loops, and shells that are started within.
//
// [Read] is for warnings, not for proofs. It runs nothing and follows no file; what is put together while the script runs (encoded text,
// downloaded text, text made of parts) it cannot know, and says so ([Command.Opaque]). It takes any text, never fails, and is bounded: at most
// 4,096 commands, 64 words of 4 KiB each, 1 MiB of text however often it is come back to. The grammar is that of about_Parsing and about_Quoting_Rules, and of cmd's own help.
package shellread

import (
	"strings"
)

// Command is one command of a script.
type Command struct {
	Line   int      // of the script; the first is 1
	Name   string   // in lower case, without folder and ending, aliases resolved: remove-item, sc, [io.file]::delete
	Words  []string // its arguments without quotes, variables put in where the script sets them
	Input  []string // the words of what comes by the pipeline
	Folder string   // where the shell stands, as far as the script says; "" if it does not
	Opaque bool     // it runs text that does not stand in the script
}

// The bounds of what is kept.
const (
	maxCommands = 4096
	maxWords    = 64
	maxWord     = 4 << 10
	maxDepth    = 24
	maxVariants = 8       // values of one word
	maxText     = 1 << 20 // bytes that are read, those of functions and inner shells each time
)

// Read returns the commands of a script in the order in which they stand, those of shells within after the command that starts them. The
// shell is powershell or cmd.
func Read(shell, body string) []Command {
	s := &scope{vars: map[string][]string{}, aliases: map[string]string{}, functions: map[string]function{}}
	s.read(shell, body, 1)
	return s.out
}

// scope is what a script knows at a place: its variables, its aliases, where it stands.
type scope struct {
	vars      map[string][]string // names in lower case
	aliases   map[string]string
	functions map[string]function
	folder    string
	out       []Command
	depth     int
	text      int // bytes read so far
}

func (s *scope) read(shell, body string, line int) {
	s.text += len(body)
	if s.depth >= maxDepth || s.text > maxText {
		s.add(Command{Line: line, Name: shell, Opaque: true})
		return
	}
	s.depth++
	if shell == "cmd" {
		s.readCmd(body, line)
	} else {
		r := &reader{scope: s, src: []rune(body), line: line}
		for r.at < len(r.src) {
			r.block(nil, 0)
			r.next() // a bracket that closes nothing
		}
	}
	s.depth--
}

func (s *scope) add(c Command) {
	if len(s.out) < maxCommands {
		s.out = append(s.out, c)
	}
}

// known are variables of the environment, with what stands in their place.
var known = map[string]string{
	"systemroot": `C:\Windows`, "windir": `C:\Windows`, "systemdrive": "C:", "homedrive": "C:", "programdata": `C:\ProgramData`, "allusersprofile": `C:\ProgramData`,
	"programfiles": `C:\Program Files`, "programfiles(x86)": `C:\Program Files (x86)`, "temp": `C:\Windows\Temp`, "tmp": `C:\Windows\Temp`, "public": `C:\Users\Public`,
	"comspec": "cmd",
}

// value is what is known of a variable; nil if nothing is.
func (s *scope) value(name string) []string {
	name = strings.ToLower(name)
	if v, ok := s.vars[name]; ok {
		return v
	}
	if env, ok := strings.CutPrefix(name, "env:"); ok {
		name = env
	}
	if v, ok := known[name]; ok {
		return []string{v}
	}
	return nil
}

func (s *scope) set(name string, values []string) {
	if len(values) > maxVariants {
		values = values[:maxVariants]
	}
	s.vars[strings.ToLower(name)] = values
}

// product appends every value to every word, within bounds.
func product(words, values []string) []string {
	all := make([]string, 0, len(words))
	for _, w := range words {
		for _, v := range values {
			if len(w)+len(v) <= maxWord && len(all) < maxVariants {
				all = append(all, w+v)
			}
		}
	}
	if len(all) == 0 {
		return words
	}
	return all
}

// aliases are PowerShell's own for what changes something, and cmd's words for the same.
var aliases = map[string]string{
	"ri": "remove-item", "rm": "remove-item", "rmdir": "remove-item", "del": "remove-item", "erase": "remove-item", "rd": "remove-item",
	"rp": "remove-itemproperty", "sp": "set-itemproperty", "clp": "clear-itemproperty", "cli": "clear-item", "clc": "clear-content", "si": "set-item", "ni": "new-item",
	"mi": "move-item", "mv": "move-item", "move": "move-item", "rni": "rename-item", "ren": "rename-item", "rename": "rename-item",
	"iex": "invoke-expression", "icm": "invoke-command", "saps": "start-process", "spps": "stop-process", "kill": "stop-process", "spsv": "stop-service",
	"sasv": "start-service", "sal": "set-alias", "nal": "new-alias", "sl": "set-location", "cd": "set-location", "chdir": "set-location",
	"pushd": "push-location", "gci": "get-childitem", "ls": "get-childitem", "dir": "get-childitem", "gi": "get-item", "gsv": "get-service", "gwmi": "get-wmiobject",
	"iwmi": "invoke-wmimethod", "rwmi": "remove-wmiobject", "rcim": "remove-ciminstance", "icim": "invoke-cimmethod", "gcim": "get-ciminstance",
	"echo": "write-output", "write": "write-output", "rmo": "remove-module", "copy": "copy-item", "cp": "copy-item", "cpi": "copy-item", "xcopy": "copy-item", "net1": "net", "pwsh": "powershell", "rcsn": "remove-cimsession", "%": "foreach-object", "foreach": "foreach-object",
}

// canonical is a command's name without folder, ending and module, its alias resolved.
func (s *scope) canonical(name string) string {
	name = strings.ToLower(strings.Trim(name, `"'`))
	if !strings.HasPrefix(name, "[") {
		name = name[strings.LastIndexAny(name, `\/`)+1:]
	}
	for _, ending := range []string{".exe", ".com"} {
		name = strings.TrimSuffix(name, ending)
	}
	for range 4 { // aliases of aliases
		to, ok := s.aliases[name]
		if !ok {
			to, ok = aliases[name]
		}
		if !ok {
			break
		}
		name = to
	}
	return name
}
