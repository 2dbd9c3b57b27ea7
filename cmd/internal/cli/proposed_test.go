package cli

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fleetmend/fleetmend/internal/commandline"
)

// proposedCmds are the script commands around commands that fleetmend proposes.
var proposedCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"typed": typedAsProposed, "ask": askAndRemember, "take": takeProposed, "takeall": takeAllProposed, "alltaken": wantAllTaken, "untilproposed": untilProposed,
}

// typedAsProposed is the script command `typed CODE FILE PATTERN [MORE]`: the first command in the file that matches the pattern is
// typed into a shell as it stands, with MORE behind it, and ends with the exit code.
func typedAsProposed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: typed CODE FILE PATTERN [MORE]")
	}
	pattern := regexp.MustCompile(args[2])
	for _, line := range strings.Split(ts.ReadFile(args[1]), "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "fleetmend ") || !pattern.MatchString(line) {
			continue
		}
		wantExit(ts, false, []string{args[0], "sh", "-c", line + " " + strings.Join(args[3:], " ")})
		return
	}
	ts.Fatalf("no command that matches %s is proposed:\n%s", args[2], ts.ReadFile(args[1]))
}

// proposals are what a script was told to type, the newest last, and whether it did.
type proposals struct {
	lines []string
	taken map[string]bool
}

// scriptProposals maps a script to its *proposals.
var scriptProposals sync.Map

func proposalsOf(ts *testscript.TestScript) *proposals {
	p, _ := scriptProposals.LoadOrStore(ts, &proposals{taken: map[string]bool{}})
	return p.(*proposals)
}

// bare is a command in the middle of a sentence, of which nobody could say where it ends.
var bare = regexp.MustCompile(`\bfleetmend( --?[a-z-]+ \S+)* (run|runs|plan|apply|incident|inventory|keys|media|playbook|audit|doctor)\b`)

// read takes up what a command has printed. A command in it has a line of its own, or stands between backquotes.
func (p *proposals) read(ts *testscript.TestScript, text string) {
	add := func(line string) {
		p.lines = append(slices.DeleteFunc(p.lines, func(l string) bool { return l == line }), line)
	}
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "fleetmend ") {
			add(line)
			continue
		}
		for _, part := range commandline.Parts(line) {
			switch {
			case part.Command && strings.HasPrefix(part.Text, "fleetmend "):
				add(part.Text)
			case !part.Command && bare.MatchString(part.Text):
				ts.Fatalf("a command is proposed of which nobody can say where it ends: %s", line)
			}
		}
	}
}

// askAndRemember is the script command `ask CODE COMMAND...`: it runs the command, wants the exit code, and remembers every command
// that it proposes.
func askAndRemember(ts *testscript.TestScript, neg bool, args []string) {
	wantExit(ts, neg, args)
	p := proposalsOf(ts)
	p.read(ts, ts.ReadFile("stdout"))
	p.read(ts, ts.ReadFile("stderr"))
}

// takeProposed is the script command `take CODE PATTERN [NAME=value...] [-- MORE...]`: the newest proposed command that matches the
// pattern is typed into a shell as it stands, with values for the words in capitals that stand for something, and with MORE behind it.
// What it proposes is remembered, too.
func takeProposed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: take CODE PATTERN [NAME=value...] [-- MORE...]")
	}
	var values, more []string
	for i, arg := range args[2:] {
		if arg == "--" {
			more = args[2+i+1:]
			break
		}
		values = append(values, arg)
	}
	p, pattern := proposalsOf(ts), regexp.MustCompile(args[1])
	for _, line := range slices.Backward(p.lines) {
		if pattern.MatchString(line) {
			p.taken[line] = true
			typed := line
			for _, v := range values {
				name, value, _ := strings.Cut(v, "=")
				typed = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllLiteralString(typed, value)
			}
			for _, word := range more {
				typed += " '" + word + "'"
			}
			askAndRemember(ts, false, []string{args[0], "sh", "-c", typed})
			return
		}
	}
	ts.Fatalf("no command that matches %s was proposed, but\n  %s", args[1], strings.Join(p.lines, "\n  "))
}

// takeAllProposed is the script command `takeall CODE PATTERN`: every proposed command that matches and that nobody has typed yet is
// typed, those that come up meanwhile too.
func takeAllProposed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: takeall CODE PATTERN")
	}
	p, pattern := proposalsOf(ts), regexp.MustCompile(args[1])
	for n := 0; ; n++ {
		i := slices.IndexFunc(p.lines, func(l string) bool { return !p.taken[l] && pattern.MatchString(l) })
		if i < 0 && n == 0 {
			ts.Fatalf("no command that matches %s is left", args[1])
		}
		if i < 0 {
			return
		}
		takeProposed(ts, false, []string{args[0], "^" + regexp.QuoteMeta(p.lines[i]) + "$"})
	}
}

// again are the commands that propose themselves for ever, a retry that ends as the run before did: of them one of a kind is typed.
var again, number = regexp.MustCompile(`runs (retry|undo)|incident mark --undo`), regexp.MustCompile(`[0-9]{8}-[0-9]{6}-[a-z0-9]+|--act [0-9]+`)

// wantAllTaken is the script command `alltaken`: every command that was proposed was typed.
func wantAllTaken(ts *testscript.TestScript, _ bool, _ []string) {
	p := proposalsOf(ts)
	kinds := map[string]bool{}
	for line := range p.taken {
		kinds[number.ReplaceAllString(line, "N")] = again.MatchString(line)
	}
	left := slices.DeleteFunc(slices.Clone(p.lines), func(l string) bool { return p.taken[l] || kinds[number.ReplaceAllString(l, "N")] })
	if len(p.lines) == 0 || len(left) > 0 {
		ts.Fatalf("of %d commands these were proposed and not typed:\n  %s", len(p.lines), strings.Join(left, "\n  "))
	}
}

// untilProposed is the script command `untilproposed FILE PATTERN`: it waits until a command that goes on meanwhile has written a
// matching line into the file, and remembers what it proposes so far.
func untilProposed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: untilproposed FILE PATTERN")
	}
	pattern, end := regexp.MustCompile(args[1]), time.After(5*time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && pattern.Match(text) {
			proposalsOf(ts).read(ts, string(text))
			return
		}
		select {
		case <-end:
			ts.Fatalf("nothing like %s came:\n%s", args[1], ts.ReadFile(args[0]))
		case <-tick.C:
		}
	}
}
