package commandline

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var words = []string{
	"run", "crowdstrike-channel-file-291", `site == "LON"`, "it's", "", "a b", "C:\\Program Files\\x.yaml", "$HOME", "`id`", "%PATH%", "10%", "1,10,100%",
	"@list.txt", "-o", "--set", "name=wert mit äöü", "a\nb", "!x", "a*b", "~", "#", "\\", "''",
}

func TestAPosixShellReadsTheWordsBack(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no POSIX shell here")
	}
	line := LineFor("linux", words...)
	out, err := exec.Command(sh, "-c", `fleetmend() { for w in "$@"; do printf '%s\0' "$w"; done; }; `+line).Output() //nolint:noctx // ends by itself
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(got) != len(words) {
		t.Fatalf("%d words, want %d: %q", len(got), len(words), got)
	}
	for i := range words {
		if got[i] != words[i] {
			t.Errorf("%q is read as %q", words[i], got[i])
		}
	}
}

func TestPowerShellQuotes(t *testing.T) {
	for word, want := range map[string]string{
		"run": "run", `site == "LON"`: `'site == ''LON'''`, "it's": "'it''s'", "": "''", "WS1,WS2": "'WS1,WS2'", `C:\state`: `C:\state`, `C:\state\`: `C:\state\`, `D:\my state\`: `'D:\my state\\'`, `D:\my state`: `'D:\my state'`, "$x": "'$x'", "10%": "10%",
	} {
		if got := LineFor("windows", word); got != "fleetmend "+want {
			t.Errorf("%q is written as %s, want %s", word, got, want)
		}
	}
}

func TestTheGlobalFlagsGoIntoEveryCommandOfAText(t *testing.T) {
	p := Program{Same: []string{"--config", "my fleet.yaml"}}
	got := p.In("see the runs with `fleetmend runs list`, or fleetmend keys sync; fleetmend.yaml and fleetmend alone stay")
	want := "see the runs with `" + Line("--config", "my fleet.yaml", "runs", "list") + "`, or " + Line("--config", "my fleet.yaml", "keys", "sync") + "; fleetmend.yaml and fleetmend alone stay"
	if got != want {
		t.Errorf("%s", got)
	}
	if text := "fleetmend runs list"; (Program{}).In(text) != text {
		t.Error("nothing to repeat changes the text")
	}
}

func TestACommandInASentenceIsOneWord(t *testing.T) {
	text := "See it:  `fleetmend runs show last`, or (`fleetmend runs list`). An odd ` stays"
	want := []string{"See", "it:", "`fleetmend runs show last`,", "or", "(`fleetmend runs list`).", "An", "odd", "`", "stays"}
	if got := Fields(text); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	var commands []string
	for _, p := range Parts(text) {
		if p.Command {
			commands = append(commands, p.Text)
		}
	}
	if want := []string{"fleetmend runs show last", "fleetmend runs list"}; !slices.Equal(commands, want) {
		t.Errorf("%q", commands)
	}
}

// A flag of pairs reads what holds more than one = as a line of CSV.
func TestAPairIsQuotedWhereCSVNeedsIt(t *testing.T) {
	for value, want := range map[string]string{"BadAgent": "x=BadAgent", "a,b": "x=a,b", "a=b c": "x=a=b c", "OU=a,DC=b": `"x=OU=a,DC=b"`} {
		got := Pair("x", value)
		if got != want {
			t.Errorf("%q is written as %s, want %s", value, got, want)
		}
	}
}
