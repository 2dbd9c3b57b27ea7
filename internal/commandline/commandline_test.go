package commandline

import (
	"os"
	"os/exec"
	"path/filepath"
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
		"run": "run", `site == "LON"`: `'site == ''LON'''`, "it's": "'it''s'", "WS1,WS2": "'WS1,WS2'", `C:\state`: `C:\state`, `C:\state\`: `C:\state\`, `D:\my state\`: `'D:\my state\\'`, `D:\my state`: `'D:\my state'`, "$x": "'$x'", "10%": "10%",
	} {
		if got := LineFor("windows", word); got != "fleetmend "+want {
			t.Errorf("%q is written as %s, want %s", word, got, want)
		}
	}
}

// hostile are words that Windows PowerShell 5.1 hands on damaged where they are quoted for 7 alone, and some that have a meaning to it.
var hostile = []string{
	"run", Pair("x", "OU=a,DC=b"), `name == "O'Brien" || site == "LON"`, `site == "LON" && os.build < 22631`, `say "it's"`, `C:\a b\"c`, `ends in \"`, `a\b`, "", `Write-Host "$x" | Out-Null`, `"`, `a"b c"d`, "\u201cx\u2019", "1,10,100%", "%PATH%",
	"back`quote", "--on", "@{a=1}", "{", "a;b", "&",
}

// TestPowerShellReadsTheWordsBack has a real PowerShell hand them to a program, by the rules of Windows PowerShell 5.1 (Legacy) and by
// those of PowerShell 7. An expression comes back with other quotes.
func TestPowerShellReadsTheWordsBack(t *testing.T) {
	pwsh, err := exec.LookPath("pwsh")
	if err != nil {
		t.Skip("no PowerShell here: pwsh on PATH")
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, Name), []byte("#!/bin/sh\nfor w in \"$@\"; do printf '%s\\0' \"$w\"; done\nprintf '\\1'\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	sets := [][]string{hostile, slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" || strings.ContainsAny(w, `"`) })}
	styles := []string{"Legacy", "Windows", "Standard"}
	var script strings.Builder
	for _, set := range sets {
		for _, style := range styles {
			script.WriteString("$PSNativeCommandArgumentPassing = '" + style + "'\n" + LineFor("windows", set...) + "\n")
		}
	}
	file := filepath.Join(folder, "typed.ps1")
	if err := os.WriteFile(file, []byte("\ufeff"+script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), pwsh, "-NoProfile", "-NonInteractive", "-File", file)
	cmd.Env = append(os.Environ(), "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	answers := strings.Split(strings.ReplaceAll(string(out), "\r\n", "\n"), "\x01")
	if len(answers) != len(sets)*len(styles)+1 {
		t.Fatalf("%d answers: %q", len(answers), out)
	}
	for i, set := range sets {
		var want []string
		for _, word := range set {
			want = append(want, expression(word))
		}
		for j, style := range styles {
			answer := strings.TrimPrefix(answers[i*len(styles)+j], "\n")
			if got := strings.Split(strings.TrimSuffix(answer, "\x00"), "\x00"); !slices.Equal(got, want) {
				t.Errorf("%s: read back as\n%q, want\n%q", style, got, want)
			}
		}
	}
}

// What is no selector keeps its quotes: they are the value's.
func TestOnlyExpressionsChangeTheirQuotes(t *testing.T) {
	for word, want := range map[string]string{
		`site == "LON"`: `site == 'LON'`, `!(os.name contains "11") && tags in ["a", "b"]`: `!(os.name contains '11') && tags in ['a', 'b']`,
		`Write-Host "a == b"`: "", `"x=OU=a,DC=b"`: "", `name == "O'Brien"`: "", `name == "a\"b"`: "", `a = "b"`: "", `site == "LON`: "",
	} {
		if want == "" {
			want = word
		}
		if got := expression(word); got != want {
			t.Errorf("%s becomes %s", word, got)
		}
	}
}

func TestTheGlobalFlagsGoIntoEveryCommandOfAText(t *testing.T) {
	p := Program{Same: []string{"--config", "my fleet.yaml"}}
	got := p.In("see the runs with `fleetmend runs list`, or `fleetmend keys sync`; fleetmend.yaml and fleetmend alone stay\n  fleetmend run x")
	want := "see the runs with `" + Line("--config", "my fleet.yaml", "runs", "list") + "`, or `" + Line("--config", "my fleet.yaml", "keys", "sync") + "`; fleetmend.yaml and fleetmend alone stay\n  " +
		Line("--config", "my fleet.yaml", "run", "x")
	if got != want {
		t.Errorf("%s", got)
	}
	if text := "fleetmend runs list"; (Program{}).In(text) != text {
		t.Error("nothing to repeat changes the text")
	}
}

// What was said of signing in is said again behind the commands that sign in, and there alone.
func TestFlagsAreCarriedOntoTheCommandsThatTakeThem(t *testing.T) {
	p := Program{Same: []string{"--config", "f"}, Carry: []Carry{{[]string{"--password-file", "my pw"}, []string{"run", "runs retry"}}}}
	flag := strings.TrimPrefix(Line("--password-file", "my pw"), Name)
	for text, want := range map[string]string{
		"fleetmend run x": Line("--config", "f", "run", "x") + flag,
		"see `fleetmend runs retry R`, or `fleetmend runs show R`": "see `" + Line("--config", "f", "runs", "retry", "R") + flag + "`, or `" + Line("--config", "f", "runs", "show", "R") + "`",
		"fleetmend runs list":                Line("--config", "f", "runs", "list"),
		"fleetmend run x --password-file y":  Line("--config", "f", "run", "x", "--password-file", "y"),
		LineFor("windows", "run", `say "x"`): legacy + Line("--config", "f") + ` run 'say \"x\"'` + flag + legacyEnd,
	} {
		if got := p.In(text); got != want {
			t.Errorf("%s becomes\n%s, want\n%s", text, got, want)
		}
	}
	if got := (Program{Carry: p.Carry}).In("fleetmend run x"); got != "fleetmend run x"+flag {
		t.Error(got)
	}
}

// A file may be called like a command, and a folder like two.
func TestANameThatReadsLikeACommandStays(t *testing.T) {
	p := Program{Same: []string{"--state-dir", "/srv/fleetmend keys"}}
	same := Line(p.Same...)
	for text, want := range map[string]string{
		"written to /srv/fleetmend keys/x.plan; next: `fleetmend apply '/srv/fleetmend keys/x.plan'`": "written to /srv/fleetmend keys/x.plan; next: `" + same + " apply '/srv/fleetmend keys/x.plan'`",
		"fleetmend apply 'fleetmend runs'": same + " apply 'fleetmend runs'",
		same + " runs list":                same + " runs list",
		"see `fleetmend playbook lint 'fleetmend runs.yaml'` and fleetmend runs.yaml": "see `" + same + " playbook lint 'fleetmend runs.yaml'` and fleetmend runs.yaml",
		"`fleetmend keys`, `x fleetmend keys`":                                        "`" + same + " keys`, `x fleetmend keys`",
		LineFor("windows", "run", `say "x"`):                                          legacy + same + ` run 'say \"x\"' }`,
	} {
		if got := p.In(text); got != want {
			t.Errorf("%s becomes\n%s, want\n%s", text, got, want)
		}
	}
}

func TestACommandInASentenceIsOneWord(t *testing.T) {
	text := "See it:  `fleetmend runs show last`, or (`fleetmend apply 'it'\\''s `x`'`). An odd ` stays"
	want := []string{"See", "it:", "`fleetmend runs show last`,", "or", "(`fleetmend apply 'it'\\''s `x`'`).", "An", "odd", "`", "stays"}
	if got := Fields(text); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	var commands []string
	for _, p := range Parts(text) {
		if p.Command {
			commands = append(commands, p.Text)
		}
	}
	if want := []string{"fleetmend runs show last", "fleetmend apply 'it'\\''s `x`'"}; !slices.Equal(commands, want) {
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
