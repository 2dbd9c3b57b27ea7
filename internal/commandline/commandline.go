// Package commandline writes commands of fleetmend so that they can be typed as they stand: quoted for the shell of the platform,
// with the global flags that say which settings and which state they work on.
//
// [Line] quotes the words of a command; [Program.In] puts the global flags into every command that a text proposes. A command has a
// line of its own, or stands in a sentence between backquotes; [Fields] keeps it whole where text is broken into lines. The package
// runs nothing and knows no flag of any command.
package commandline

import (
	"runtime"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// Name is what the program is called in a proposed command.
const Name = "fleetmend"

// Line is the command of args, without the name of the program in them, quoted for the shell that people use on this system:
// PowerShell on Windows, a POSIX shell elsewhere.
func Line(args ...string) string { return LineFor(runtime.GOOS, args...) }

// LineFor is [Line] for the system goos.
func LineFor(goos string, args ...string) string {
	quote := posix
	if goos == "windows" {
		quote = powershell
		if slices.ContainsFunc(args, func(arg string) bool { return arg == "" || strings.Contains(expression(arg), `"`) }) {
			return legacy + line(Name, legacyWord, args) + legacyEnd
		}
	}
	return line(Name, quote, args)
}

func line(name string, quote func(string) string, args []string) string {
	words := []string{name}
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// legacy begins a command with a word that Windows PowerShell 5.1 hands on damaged, with a double quote in it or an empty one. What
// has to be written for 5.1 is wrong for 7.3 and later, unless they are told to do as 5.1 does; to 5.1 it is a variable like any other.
const legacy, legacyEnd = "& { $PSNativeCommandArgumentPassing = 'Legacy'; ", " }"

// legacyWord writes a word for that: 5.1 puts double quotes around a word with blanks and escapes nothing, so that the rules by which
// programs of Windows part their command line are followed here.
func legacyWord(word string) string {
	if word == "" {
		return `'""'`
	}
	return powershell(beforeQuote.ReplaceAllStringFunc(expression(word), func(found string) string {
		return found[:len(found)-1] + found[:len(found)-1] + `\"`
	}))
}

var beforeQuote = lazyregexp.New(`\\*"`)

// plain are words that mean the same in every shell. A percent sign is plain to both; a comma, @ or # is not to PowerShell.
var plain = lazyregexp.New(`^[A-Za-z0-9_./:=%+-]+$`)

// posix quotes a word as POSIX.1 2.2.2 has it: nothing within single quotes means anything, and a single quote ends them.
func posix(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// powershell quotes a word so that Windows PowerShell 5.1 and PowerShell 7 hand it to a program unchanged. Within single quotes
// only a single quote has to be doubled, of which PowerShell knows five. Backslashes at the end of a word with blanks are doubled for
// 5.1; it is a folder's name, to which another one does no harm. The word has no double quote but those of an expression.
func powershell(word string) string {
	if plain.MatchString(word) || windowsPath.MatchString(word) {
		return word
	}
	word = expression(word)
	if body := strings.TrimRight(word, `\`); strings.ContainsAny(word, " \t") {
		word += word[len(body):] // 5.1 puts double quotes around such a word, and the last of these backslashes would escape one
	}
	for _, quote := range []string{"'", "\u2018", "\u2019", "\u201a", "\u201b"} {
		word = strings.ReplaceAll(word, quote, quote+quote)
	}
	return "'" + word + "'"
}

// expression writes the texts of a selector in single quotes, where that means the same: they need no escape for anybody. All other
// words stay as they are.
func expression(word string) string {
	if !compared.MatchString(word) || strings.ContainsAny(word, "'\\$`") {
		return word
	}
	return strings.ReplaceAll(word, `"`, `'`)
}

var compared = lazyregexp.New(`^[(!]*[a-z][a-z_.]* *(==|!=|in \[|contains|startsWith|endsWith|matches) *"([^"]*"[^"]*")*[^"]*"[^"]*$`)

var windowsPath = lazyregexp.New(`^[A-Za-z0-9_./:\\=+-]+$`)

// Pair is name=value as a flag of such pairs, --set, reads it: one with more than one = is a line of CSV. Double quotes, which
// PowerShell 5.1 loses, are set only where a line of CSV needs them.
func Pair(name, value string) string {
	text := name + "=" + value
	if strings.Contains(value, "=") && strings.ContainsAny(value, "\",\r\n") {
		text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	}
	return text
}

// Program is how this process was called: the flags to repeat, so that a proposed command does the same in the same place.
type Program struct {
	Same  []string // the global ones, each with its value, such as --config FILE, for every command
	Carry []Carry
}

// StateDir is the global flag that names the state folder.
const StateDir = "--state-dir"

// At is p for another state folder.
func (p Program) At(folder string) Program {
	var same []string
	for pair := range slices.Chunk(p.Same, 2) {
		if pair[0] != StateDir {
			same = append(same, pair...)
		}
	}
	p.Same = append(same, StateDir, folder)
	return p
}

// Carry are flags of a command that commands which come after it need as well.
type Carry struct {
	Words []string // --password-file FILE
	Onto  []string // the commands that take them: "run", "runs retry"
}

// proposed is the beginning of a command: the name of the program and the word of a command after it.
var proposed = lazyregexp.New(`^(& \{ [^;]*; )?fleetmend (run|runs|plan|apply|incident|inventory|keys|media|playbook|audit|doctor|worker)\b`)

// In returns text with the global flags in every command that it proposes, and nowhere else: what stands within a command, the name of a
// file say, is the command's.
func (p Program) In(text string) string {
	if len(p.Same)+len(p.Carry) == 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if head := len(line) - len(strings.TrimLeft(line, " ")); proposed.MatchString(line[head:]) {
			lines[i] = line[:head] + p.with(line[head:])
			continue
		}
		var b strings.Builder
		for _, part := range Parts(line) {
			if part.Command {
				b.WriteString("`" + p.with(part.Text) + "`")
			} else {
				b.WriteString(part.Text)
			}
		}
		lines[i] = b.String()
	}
	return strings.Join(lines, "\n")
}

// with is a command with the flags; anything else as it stands.
func (p Program) with(command string) string {
	if !proposed.MatchString(command) {
		return command
	}
	before, after, _ := strings.Cut(command, Name+" ")
	end := ""
	if before != "" {
		after, end = strings.TrimSuffix(after, legacyEnd), legacyEnd
	}
	var same []string
	for pair := range slices.Chunk(p.Same, 2) {
		if !strings.Contains(after+" ", " "+pair[0]+" ") {
			same = append(same, pair...)
		}
	}
	line := before + Line(same...) + " " + after
	for _, c := range p.Carry {
		said := strings.Contains(after+" ", " "+c.Words[0]+" ")
		if !said && slices.ContainsFunc(c.Onto, func(verb string) bool { return strings.HasPrefix(after+" ", verb+" ") }) {
			line += strings.TrimPrefix(Line(c.Words...), Name)
		}
	}
	return line + end
}

// Part is a piece of a sentence: plain text, or a command without the backquotes around it.
type Part struct {
	Text    string
	Command bool
}

// Parts cuts a sentence into its text and its commands. A backquote that none closes is text; one within the quotes of a command is
// the command's.
func Parts(text string) []Part {
	var parts []Part
	for text != "" {
		before, rest, _ := strings.Cut(text, "`")
		end := closing(rest)
		if end < 0 {
			return append(parts, Part{Text: text})
		}
		if before != "" {
			parts = append(parts, Part{Text: before})
		}
		parts = append(parts, Part{rest[:end], true})
		text = rest[end+1:]
	}
	return parts
}

// closing is where the backquote stands that ends the command at the beginning of text; -1 without one.
func closing(text string) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\'' && strings.HasPrefix(text, Name):
			quoted = !quoted
		case text[i] == '\\' && !quoted && strings.HasPrefix(text[i+1:], "'"):
			i++
		case text[i] == '`' && !quoted:
			return i
		}
	}
	return -1
}

// Fields are the words of a text, between which a line may be broken: a command is one, with its backquotes and what touches it.
func Fields(text string) []string {
	var b strings.Builder
	for _, p := range Parts(text) {
		if p.Command {
			b.WriteString("`" + strings.ReplaceAll(p.Text, " ", inside) + "`")
		} else {
			b.WriteString(p.Text)
		}
	}
	words := strings.Fields(b.String())
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], inside, " ")
	}
	return words
}

// inside stands for a blank of a command while words are parted; no text of ours has it.
const inside = "\x00"
