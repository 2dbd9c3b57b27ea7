package cli

import (
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// proposedCmds are the script commands around commands that fleetmend proposes.
var proposedCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){"typed": typedAsProposed}

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
