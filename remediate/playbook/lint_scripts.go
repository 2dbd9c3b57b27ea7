package playbook

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
	"github.com/fleetmend/fleetmend/remediate/playbook/shellread"
)

// The rules about what scripts do. They read commands, not lines: quotes, aliases, case and the order of switches hide nothing, and a remark or
// a text that is printed is no command.

// commands visits every command of every script, of conditions and of undo as well.
func (l *linter) commands(visit func(at string, c shellread.Command, all []shellread.Command)) {
	l.scripts(func(path string, s Script, _ bool) {
		for part, text := range map[string]string{"body": s.Body, "undo": s.Undo} {
			all := shellread.Read(s.Shell, text)
			for _, c := range all {
				visit(path+"."+part, c, all)
			}
		}
	})
}

// inLine says where in a script something is.
func inLine(c shellread.Command, text string) string {
	shown := strings.TrimSpace(c.Name + " " + strings.Join(c.Words, " "))
	return fmt.Sprintf("line %d of the script, `%s`: %s", c.Line, clip(shown), text)
}

// harmfulScripts goes through the maintained list (harm_rows.go), and two mistakes of July 2024 that take more than one command.
func (l *linter) harmfulScripts() {
	l.commands(func(at string, c shellread.Command, all []shellread.Command) {
		if d := harmOf(c, all); d != nil {
			severity := SeverityError
			if d.warning {
				severity = SeverityWarning
			}
			l.add(severity, at, inLine(c, d.breaks), d.advice+" ("+d.source+")")
		}
		if found := lostFile.FindStringSubmatch(strings.Join(c.Words, " ")); found != nil && !prints(c) && !strings.EqualFold(found[1], "CrowdStrike") {
			l.add(SeverityError, at, inLine(c, "CrowdStrike's channel files are not in this folder, so nothing would be found"), `write %SystemRoot%\System32\drivers\CrowdStrike\..., or use the playbook crowdstrike-channel-file-291`)
		}
	})
	l.scripts(func(path string, s Script, _ bool) {
		if c := safeboot(shellread.Read(s.Shell, s.Body), "set"); c != nil && safeboot(shellread.Read(s.Shell, s.Body+"\n"+s.Undo), "deletevalue") == nil && !promises(s.Body) {
			l.add(SeverityError, path+".body", inLine(*c, "the script sets safe mode and nothing takes it back: the machines stay in it, and WinRM does not run there"), "use the action bcd, which registers WinRM for safe mode and is undone")
		}
	})
}

var (
	lostFile = lazyregexp.New(`(?i)([^\s"'\\]*)\\C-0000\d{4}[^\s"'\\]*\.sys`)
	takesOff = lazyregexp.New(`(?i)bcdedit[^\r\n]*/deletevalue[^\r\n]*\ssafeboot\b`)
)

// promises: a remark or a text names the command that takes safe mode back, which somebody else will run.
func promises(body string) bool { return takesOff.MatchString(body) }

func safeboot(all []shellread.Command, does string) *shellread.Command {
	for i, c := range all {
		if c.Name == "bcdedit" && hasWord(c, "-"+does) && hasWord(c, "safeboot") {
			return &all[i]
		}
	}
	return nil
}

// harmOf is the first row that a command is found in; an error goes before a warning.
func harmOf(c shellread.Command, all []shellread.Command) *scriptHarm {
	if asksOnly(c) {
		return nil
	}
	var warning *scriptHarm
	for _, d := range harmsByName()[c.Name] {
		if d.warning && warning != nil || !d.is(c, all) {
			continue
		}
		if !d.warning {
			return d
		}
		warning = d
	}
	return warning
}

var harmsByName = sync.OnceValue(func() map[string][]*scriptHarm {
	all := map[string][]*scriptHarm{}
	for i := range scriptHarms {
		for _, name := range strings.Fields(scriptHarms[i].names) {
			all[name] = append(all[name], &scriptHarms[i])
		}
	}
	return all
})

func (d *scriptHarm) is(c shellread.Command, all []shellread.Command) bool {
	for _, spec := range strings.Fields(d.needs) {
		if !hasWord(c, spec) {
			return false
		}
	}
	return !slices.ContainsFunc(strings.Fields(d.spares), func(spec string) bool { return hasWord(c, spec) }) && (d.also == nil || d.also(c, all))
}

// asksOnly: help, or a cmdlet that is told only to say what it would do.
func asksOnly(c shellread.Command) bool {
	cmdlet := strings.Contains(c.Name, "-") && c.Name != "manage-bde"
	return slices.ContainsFunc(c.Words, func(w string) bool {
		lower := strings.ToLower(w)
		return lower == "/?" || lower == "-?" || cmdlet && (lower == "-whatif" || lower == "-wi" || lower == "-whatif:$true")
	})
}

func prints(c shellread.Command) bool {
	return strings.HasPrefix(c.Name, "write-") || c.Name == "rem"
}

// hasWord reports whether one of the arguments is such a word. "-name" is a switch, with - or /, and of a cmdlet any abbreviation.
func hasWord(c shellread.Command, spec string) bool {
	name, isSwitch := strings.CutPrefix(spec, "-")
	for _, w := range c.Words {
		lower := strings.ToLower(w)
		if !isSwitch {
			if value, ok := switchValue(lower); matches(spec, lower) || ok && matches(spec, value) {
				return true
			}
			continue
		}
		if !strings.HasPrefix(lower, "-") && !strings.HasPrefix(lower, "/") || len(lower) < 2 {
			continue
		}
		given, _, _ := strings.Cut(lower[1:], ":")
		for _, one := range strings.Split(name, "|") {
			one = strings.TrimPrefix(one, "-")
			if matches(one, given) || strings.Contains(c.Name, "-") && c.Name != "manage-bde" && strings.HasPrefix(one, given) {
				return true
			}
		}
	}
	return false
}

// switchValue is what stands behind the colon or the = of a switch.
func switchValue(w string) (string, bool) {
	if !strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "/") && !strings.Contains(w, "=") {
		return "", false
	}
	at := strings.IndexAny(w, ":=")
	if at < 0 {
		return "", false
	}
	return w[at+1:], true
}

// unreadableScripts: what nobody can read, nobody has looked at.
func (l *linter) unreadableScripts() {
	l.commands(func(at string, c shellread.Command, _ []shellread.Command) {
		if c.Opaque {
			l.add(SeverityError, at, inLine(c, "it runs text that is encoded, fetched or put together while it runs: nobody can see what it does"), "write that text out in the script")
		}
	})
}

// withoutRemarks leaves out the lines that are nothing but a remark.
func withoutRemarks(body string) string {
	var rest strings.Builder
	for line := range strings.Lines(body) {
		text := strings.ToLower(strings.TrimLeft(line, " \t@"))
		if !strings.HasPrefix(text, "#") && !strings.HasPrefix(text, "::") && !strings.HasPrefix(text, "rem ") {
			rest.WriteString(line)
		}
	}
	return rest.String()
}
