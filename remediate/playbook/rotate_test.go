package playbook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wine runs scripts of a playbook under Wine's cmd.exe, with a stand-in for manage-bde.exe.
type wine struct {
	program, prefix, system string
}

func newWine(t *testing.T) *wine {
	t.Helper()
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
	w := &wine{program: program, prefix: filepath.Join(t.TempDir(), "prefix")}
	w.system = filepath.Join(w.prefix, "drive_c", "windows", "system32")
	if code, out := w.run(t, "exit 7", nil); code != 7 {
		t.Skipf("Wine does not run here: code %d, %s", code, out)
	}
	t.Cleanup(func() {
		cmd := exec.Command(strings.TrimSuffix(program, "wine64")+"wineserver", "-k")
		cmd.Env = append(os.Environ(), "WINEPREFIX="+w.prefix)
		_ = cmd.Run() // it may have ended by itself
	})
	if _, err := os.Stat(filepath.Join(w.system, "bcryptprimitives.dll")); err != nil { // Wine before 8.15
		if out, err := exec.Command("go", "run", "../../test/interop/bcryptprimitives", filepath.Join(w.system, "bcryptprimitives.dll")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(w.system, "manage-bde.exe"), "./testdata/managebde")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return w
}

// run runs a body as an agent does: a .cmd file, and arguments in the environment.
func (w *wine) run(t *testing.T, body string, args []string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "step.cmd")
	text := "@echo off\r\n" + strings.ReplaceAll(body, "\n", "\r\n")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, w.program, "cmd", "/d", "/c", `Z:`+strings.ReplaceAll(path, "/", `\`))
	cmd.Env = append(os.Environ(), "WINEPREFIX="+w.prefix, "WINEDEBUG=-all", "DISPLAY=")
	for i, a := range args {
		cmd.Env = append(cmd.Env, fmt.Sprintf("FLEETMEND_ARG%d=%s", i+1, a))
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), scripts(string(out))
}

// scripts leaves out what Wine says of itself in between, such as that one of its own services crashed and a debugger
// starts: no setting silences it, and it is not of the script.
func scripts(output string) string {
	var kept strings.Builder
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "wine: ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// set puts protectors on the volume and says which command fails.
func (w *wine) set(t *testing.T, fail string, ids ...string) {
	t.Helper()
	for name, text := range map[string]string{".txt": strings.Join(ids, "\n"), ".fail": fail, ".log": ""} {
		if err := os.WriteFile(filepath.Join(w.system, "managebde"+name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *wine) read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.system, "managebde"+name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestRotateRecoveryPassword runs the scripts of the built-in playbook as they are.
func TestRotateRecoveryPassword(t *testing.T) {
	w := newWine(t)
	const first, second = "11111111-2222-3333-4444-555555555555", "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE"
	tests := []struct {
		name      string
		set       map[string]string
		fail      string
		ids       []string
		detect    int
		fix       int
		verify    int
		keeps     []string // of the old ones
		added     bool
		mentioned []string // commands, in this order
		never     string   // a command
	}{
		{name: "one", ids: []string{first}, detect: 10, added: true, mentioned: []string{"-add C: -RecoveryPassword", "-adbackup C: -id {0A1B2C3D", "-delete C: -id {" + first}},
		{name: "two", ids: []string{first, second}, detect: 10, added: true, mentioned: []string{"-add", "-adbackup", "-delete C: -id {" + first, "-delete C: -id {" + second}},
		{name: "the one that was used", set: map[string]string{"protector": strings.ToLower(second)}, ids: []string{first, second}, detect: 10, added: true, keeps: []string{first},
			mentioned: []string{"-add", "-adbackup", "-delete C: -id {" + second}},
		{name: "one that is gone", set: map[string]string{"protector": second}, ids: []string{first}, detect: 0, fix: -1},
		{name: "both escrows", set: map[string]string{"escrow": "both"}, ids: []string{first}, detect: 10, added: true, mentioned: []string{"-add", "-aadbackup", "-adbackup", "-delete"}},
		{name: "Entra alone", set: map[string]string{"escrow": "entra"}, ids: []string{first}, detect: 10, added: true, mentioned: []string{"-add", "-aadbackup", "-delete"}},
		{name: "no protector", detect: 0, fix: -1},
		{name: "not added", fail: "-add", ids: []string{first}, detect: 10, fix: 21, keeps: []string{first}},
		{name: "not escrowed", fail: "-adbackup", ids: []string{first}, detect: 10, fix: 23, keeps: []string{first}, mentioned: []string{"-add", "-adbackup", "-delete C: -id {0A1B2C3D"}},
		{name: "Entra refuses the first of both", set: map[string]string{"escrow": "both"}, fail: "-aadbackup", ids: []string{first}, detect: 10, fix: 23, keeps: []string{first}, never: "-adbackup",
			mentioned: []string{"-add", "-aadbackup", "-delete C: -id {0A1B2C3D"}},
		{name: "AD refuses the second of both", set: map[string]string{"escrow": "both"}, fail: "-adbackup", ids: []string{first}, detect: 10, fix: 25, keeps: []string{first}, added: true, never: "-delete",
			mentioned: []string{"-add", "-aadbackup", "-adbackup"}},
		{name: "not removed", fail: "-delete", ids: []string{first}, detect: 10, fix: 24, keeps: []string{first}, added: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, err := Builtin("rotate-recovery-password")
			if err != nil {
				t.Fatal(err)
			}
			p, err := source.Bind(test.set)
			if err != nil {
				t.Fatal(err)
			}
			w.set(t, test.fail, test.ids...)
			if code, out := w.run(t, p.Detect[0].Script.Body, p.Detect[0].Script.Args); code != test.detect {
				t.Fatalf("detect: %d: %s", code, out)
			}
			if test.fix < 0 {
				return
			}
			code, out := w.run(t, p.Fix[0].Script.Body, p.Fix[0].Script.Args)
			if code != test.fix {
				t.Fatalf("fix: %d: %s\n%s", code, out, w.read(t, ".log"))
			}
			if strings.Contains(out, "000011") || strings.Contains(out, "Kennwort") {
				t.Errorf("the script prints what manage-bde says: %s", out)
			}
			left := strings.Fields(w.read(t, ".txt"))
			if want := len(test.keeps) + map[bool]int{true: 1}[test.added]; len(left) != want {
				t.Errorf("%d protectors are left, want %d: %v", len(left), want, left)
			}
			for _, id := range test.keeps {
				if !strings.Contains(strings.Join(left, " "), id) {
					t.Errorf("%s is gone", id)
				}
			}
			rest := w.read(t, ".log")
			for _, command := range test.mentioned {
				_, after, ok := strings.Cut(rest, command)
				if !ok {
					t.Fatalf("%q does not come where it should:\n%s", command, w.read(t, ".log"))
				}
				rest = after
			}
			if test.never != "" && strings.Contains(w.read(t, ".log"), test.never) {
				t.Errorf("%s was called:\n%s", test.never, w.read(t, ".log"))
			}
			if test.fix != 0 {
				return
			}
			if gone := len(test.ids) - len(test.keeps); !strings.HasPrefix(out, "new recovery password {0A1B2C3D-") || strings.Count(out, "}") != 1+gone {
				t.Errorf("it does not say what is new and what is gone: %s", out)
			}
			if code, out := w.run(t, p.Verify[0].Script.Body, p.Verify[0].Script.Args); code != 0 {
				t.Errorf("verify: %d: %s", code, out)
			}
		})
	}
	t.Run("verify finds what is left", func(t *testing.T) {
		source, err := Builtin("rotate-recovery-password")
		if err != nil {
			t.Fatal(err)
		}
		for protector, want := range map[string]int{"all": 32, first: 31} {
			p, err := source.Bind(map[string]string{"protector": protector})
			if err != nil {
				t.Fatal(err)
			}
			w.set(t, "", first, second)
			if code, out := w.run(t, p.Verify[0].Script.Body, p.Verify[0].Script.Args); code != want {
				t.Errorf("%s: %d: %s", protector, code, out)
			}
		}
	})
}
