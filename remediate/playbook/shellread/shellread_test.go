package shellread

import (
	"fmt"
	"strings"
	"testing"
)

// said is what Read finds, one command a line.
func said(shell, body string) string {
	var text strings.Builder
	for _, c := range Read(shell, body) {
		fmt.Fprintf(&text, "%d %s %q", c.Line, c.Name, c.Words)
		if len(c.Input) > 0 {
			fmt.Fprintf(&text, " < %q", c.Input)
		}
		if c.Opaque {
			text.WriteString(" opaque")
		}
		text.WriteString("\n")
	}
	return text.String()
}

var readings = []struct{ shell, body, want string }{
	{"powershell", "Get-Item `\n  'a b' -Force # not -Recurse", "1 get-item [\"a b\" \"-Force\"]\n"},
	{"powershell", "$a = 'x'; rm \"$a\\y\", z", "1 remove-item [\"x\\\\y\" \"z\"]\n"},
	{"powershell", "'it''s', \"say \"\"no\"\"\" | Out-Null", "1 out-null [] < [\"it's\" \"say \\\"no\\\"\"]\n"},
	{"powershell", "a; b | c && d || e & f", "1 a []\n1 b []\n1 c [] < [\"b\"]\n1 d []\n1 e []\n1 f []\n"},
	{"powershell", "@\"\none $(two)\n\"@ | three", "2 two []\n3 three [] < [\"one two\"]\n"},
	{"powershell", "if (x) { y } else { z }", "1 x []\n1 y []\n1 z []\n1 if [\"x\" \"else\"]\n"},
	{"powershell", "foo > a.txt 2>&1; bar 2>$null", "1 > [\"a.txt\"]\n1 foo []\n1 bar []\n"},
	{"cmd", "a & b && c || d | e", "1 a []\n1 b []\n1 c []\n1 d []\n1 e [] < []\n"},
	{"cmd", "@echo off\r\nset \"x=1 2\"\r\nfoo \"%x%\" %y% ^& z", "1 write-output [\"off\"]\n3 foo [\"1 2\" \"%y%\" \"&\" \"z\"]\n"},
	{"cmd", "rem a & b\n:label\n::c\nd", "4 d []\n"},
	{"cmd", "if /i \"%a%\"==\"b\" (c) else d", "1 if [\"if\" \"/i\" \"%a%==b\"]\n1 c []\n1 d []\n"},
	{"cmd", "for %%f in (a b) do c %%f", "1 c [\"a\"]\n1 c [\"b\"]\n"},
	{"cmd", "cmd /c \"powershell -c a b\"", "1 cmd [\"/c\" \"powershell -c a b\"]\n1 powershell [\"-c\" \"a\" \"b\"]\n1 a [\"b\"]\n"},
}

func TestRead(t *testing.T) {
	for _, r := range readings {
		got := said(r.shell, r.body)
		if strings.ReplaceAll(got, " < []", "") != strings.ReplaceAll(r.want, " < []", "") {
			t.Errorf("%s: %s\n%swanted\n%s", r.shell, r.body, got, r.want)
		}
	}
}

// Hostile scripts end, within the bounds: nested brackets and shells, variables that double, loops in loops.
func TestHostileScriptsEnd(t *testing.T) {
	double := "$a = 'xxxxxxxxxxxxxxxx'\n"
	for range 40 {
		double += "$a = \"$a$a\"; $b = $b, $b, $a\n"
	}
	for name, body := range map[string]string{
		"brackets": strings.Repeat("(", 24<<10), "braces": strings.Repeat("a{", 24<<10), "subexpressions": strings.Repeat("\"$(", 16<<10),
		"doubling": double + "rm $a $b", "pipes": strings.Repeat("a|", 24<<10), "loops": strings.Repeat("for %%i in (a b c d) do ", 2000) + "rd %%i",
		"iex": strings.Repeat("iex '", 9000), "if": strings.Repeat("if exist a ", 4000), "cmd": strings.Repeat("cmd /c ", 6000), "start": strings.Repeat("start ", 8000), "call": strings.Repeat("call ", 9000),
		"carets": strings.Repeat("^\n", 24<<10), "quotes": strings.Repeat("'\"", 24<<10), "unclosed": "@'\n" + strings.Repeat("x", 40<<10), "words": "rm " + strings.Repeat("a ", 20<<10),
		"aliases": "sal a b; sal b a; a", "functions": "function f { f; f; f }\nfunction g { " + strings.Repeat("f; g; ", 1000) + "}\nf; g", "returns": strings.Repeat("return ", 7000),
	} {
		for _, shell := range []string{"powershell", "cmd"} {
			if all := Read(shell, body); len(all) > maxCommands {
				t.Errorf("%s: %d commands", name, len(all))
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, r := range readings {
		f.Add(r.shell == "cmd", r.body)
	}
	f.Fuzz(func(t *testing.T, cmd bool, body string) {
		shell := "powershell"
		if cmd {
			shell = "cmd"
		}
		if len(body) > 48<<10 {
			return
		}
		for _, c := range Read(shell, body) {
			if c.Name == "" || c.Line < 1 || len(c.Words) > maxWords {
				t.Errorf("%+v", c)
			}
		}
	})
}
