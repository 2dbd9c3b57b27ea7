// Package commandline writes commands of fleetmend so that they can be typed as they stand: quoted for the shell of the platform,
// with the global flags that say which settings and which state they work on.
//
// [Line] quotes the words of a command; [Program.In] puts the global flags into every command that a text proposes. A command has a
// line of its own, or stands in a sentence between backquotes; [Fields] keeps it whole where text is broken into lines. The package
// runs nothing and knows no flag of any command.
package commandline

import (
	"runtime"
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
	words := make([]string, 0, len(args)+1)
	words = append(words, Name)
	for _, arg := range args {
		if goos == "windows" {
			words = append(words, powershell(arg))
		} else {
			words = append(words, posix(arg))
		}
	}
	return strings.Join(words, " ")
}

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
// only a single quote has to be doubled, of which PowerShell knows five; a double quote inside is lost by 5.1 and kept by 7.3
// unless it is escaped for the one and not for the other, so that expressions with texts are written with single-quoted texts. Backslashes
// at the end of a word with blanks are doubled for 5.1; it is a folder's name, to which another one does no harm.
func powershell(word string) string {
	if plain.MatchString(word) || windowsPath.MatchString(word) {
		return word
	}
	if strings.ContainsRune(word, '"') && !strings.ContainsRune(word, '\'') {
		word = strings.ReplaceAll(word, `"`, `'`)
	}
	if body := strings.TrimRight(word, `\`); strings.ContainsAny(word, " \t") {
		word += word[len(body):] // 5.1 puts double quotes around such a word, and the last of these backslashes would escape one
	}
	for _, quote := range []string{"'", "\u2018", "\u2019", "\u201a", "\u201b"} {
		word = strings.ReplaceAll(word, quote, quote+quote)
	}
	return "'" + word + "'"
}

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

// Program is how this process was called: the global flags to repeat, such as --config FILE.
type Program struct{ Same []string }

// proposed is a command within a text: the name of the program and the word of a command after it.
var proposed = lazyregexp.New(`\bfleetmend (run|runs|plan|apply|incident|inventory|keys|media|playbook|audit|doctor|worker)\b`)

// In returns text with the global flags in every command that it proposes.
func (p Program) In(text string) string {
	if len(p.Same) == 0 {
		return text
	}
	name := Line(p.Same...)
	return proposed.ReplaceAllStringFunc(text, func(found string) string {
		return name + strings.TrimPrefix(found, Name)
	})
}

// Part is a piece of a sentence: plain text, or a command without the backquotes around it.
type Part struct {
	Text    string
	Command bool
}

// Parts cuts a sentence into its text and its commands. A backquote that none closes is text.
func Parts(text string) []Part {
	var parts []Part
	for text != "" {
		before, rest, open := strings.Cut(text, "`")
		command, after, closed := strings.Cut(rest, "`")
		if !open || !closed {
			return append(parts, Part{Text: text})
		}
		if before != "" {
			parts = append(parts, Part{Text: before})
		}
		parts = append(parts, Part{command, true})
		text = after
	}
	return parts
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
