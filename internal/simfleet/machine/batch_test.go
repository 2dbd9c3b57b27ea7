package machine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// batchCases are batch files with what they print and how they end.
var batchCases = []struct {
	name, body, output string
	exit               int
}{
	{"variables", "set A=1\nset \"B=two words\" dropped\necho %A% %B% [%NONE%] 100%%", "1 two words [] 100%\r\n", 0},
	{"late variables", "setlocal EnableDelayedExpansion\nset X=before\nif 1==1 (\n  set X=after\n  echo %X% !X!\n)", "before after\r\n", 0},
	{"if and else", "if /i \"A\"==\"a\" (echo same) else (echo other)\nif not \"A\"==\"a\" echo other\nif \"A\"==\"a\" (echo same) else echo other", "same\r\nother\r\nother\r\n", 0},
	{"if exist", "if exist C:\\Windows (echo yes)\nif not exist C:\\nope\\nope.exe echo no", "yes\r\nno\r\n", 0},
	{"if defined", "set A=1\nif defined A echo yes\nset A=\nif defined A echo no", "yes\r\n", 0},
	{"words", "for %%w in (a b,c) do echo [%%w]\nfor %%w in () do echo never", "[a]\r\n[b]\r\n[c]\r\n", 0},
	{"lines", "for /f \"tokens=2 delims={}\" %%g in ('echo ID: {one} x') do echo %%g\nfor /f \"tokens=2 delims={}\" %%g in ('echo none') do echo %%g", "one\r\n", 0},
	{"two tokens", "for /f \"tokens=1,3\" %%a in ('echo a b c') do echo %%a%%b", "ac\r\n", 0},
	{"sum", "set /a N=1\nset /a N+=2\nset /a N-=4\necho %N%", "-1\r\n", 0},
	{"goto", "goto over\necho never\n:over\necho here\ngoto :eof\necho never", "here\r\n", 0},
	{"goto leaves a block", "if 1==1 (\n  echo in\n  goto out\n  echo never\n)\necho never\n:out\necho out", "in\r\nout\r\n", 0},
	{"call", "set N=x\ncall :add one\nfor %%w in (two three) do call :add %%w\necho %N%\nexit /b 4\n:add\nset \"N=%N% %1\"\nexit /b 0", "x one two three\r\n", 4},
	{"code of a call", "setlocal EnableDelayedExpansion\ncall :fail\necho !ERRORLEVEL!\nexit 0\n:fail\nexit /b 7", "7\r\n", 0},
	{"joints", "ver >nul && echo yes\nver >nul || echo never\nnope 2>nul || echo no\nnope 2>nul && echo never\nexit 0", "yes\r\nno\r\n", 0},
	{"exit in a block", "if 1==1 (\n  echo a\n  exit 23\n)\necho never", "a\r\n", 23},
	{"remarks", "rem so & echo never\n:: echo never\necho done", "done\r\n", 0},
}

func TestBatch(t *testing.T) {
	m := New(Spec{Name: "LON-WS-1", FQDN: "lon-ws-1.fleet.test", Product: "Windows 11 Enterprise", Build: 22631})
	for _, test := range batchCases {
		output, exit, err := (&tools{m}).Script(t.Context(), "cmd", "@echo off\n"+test.body, nil)
		if err != nil || output != test.output || exit != test.exit {
			t.Errorf("%s: exit %d, want %d, %v\n got %q\nwant %q", test.name, exit, test.exit, err, output, test.output)
		}
	}
	for name, body := range map[string]string{
		"open block": "if 1==1 (\necho a", "nothing to do": "if 1==1", "no body": "for %%a in (a)", "options": "for /f \"usebackq\" %%a in ('ver') do echo %%a",
		"file": "for /f %%a in (file.txt) do echo %%a", "label": "goto nowhere", "endless": ":again\ncall :again", "arithmetic": "set /a N=2*3",
	} {
		if output, exit, err := (&tools{m}).Script(t.Context(), "cmd", body, nil); err != nil || exit == 0 {
			t.Errorf("%s: exit %d, %v, %q", name, exit, err, output)
		}
	}
}

// TestBatchAsWine runs the same files under Wine's cmd.exe, which shares no code with this one.
func TestBatchAsWine(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") != "1" {
		t.Skip("runs scripts under Wine; set FLEETMEND_LONG=1")
	}
	program := ""
	for _, candidate := range []string{"wine64", "wine", "/usr/lib/wine/wine64"} {
		if path, err := exec.LookPath(candidate); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("no Wine here")
	}
	dir := t.TempDir()
	env := append(os.Environ(), "WINEPREFIX="+filepath.Join(dir, "prefix"), "WINEDEBUG=-all", "DISPLAY=")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	t.Cleanup(func() {
		stop := exec.Command(strings.TrimSuffix(program, "wine64")+"wineserver", "-k")
		stop.Env = env
		_ = stop.Run() // it may have ended by itself
	})
	for _, test := range batchCases {
		if test.name == "joints" { // Wine 8 runs what follows && after a failure, and what follows || after a success
			continue
		}
		path := filepath.Join(dir, "step.cmd")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll("@echo off\n"+test.body+"\n", "\n", "\r\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, program, "cmd", "/d", "/c", "Z:"+strings.ReplaceAll(path, "/", `\`))
		cmd.Env = env
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		// Both Windows and Wine keep a blank at the end of what echo says; ours drops what surrounds a command.
		if trimmed(string(out)) != trimmed(test.output) || cmd.ProcessState.ExitCode() != test.exit {
			t.Errorf("%s under Wine: exit %d, want %d\n got %q\nwant %q", test.name, cmd.ProcessState.ExitCode(), test.exit, out, test.output)
		}
	}
}

func trimmed(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		out = append(out, strings.TrimSpace(line))
	}
	return strings.Join(out, "\n")
}
