package compile_test

import (
	"bytes"
	"debug/pe"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/compile"
)

// checkout is a source checkout of this module with nothing in it but the program.
func checkout(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module github.com/fleetmend/fleetmend\n\ngo 1.26\n",
		"cmd/fleetmend-pe/main.go": source,
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// small is as small as a Windows program gets, so that the test needs little of the standard library.
const small = "package main\n\nvar version = \"dev\"\n\nfunc main() { println(version) }\n"

func TestCheckout(t *testing.T) {
	dir := checkout(t, small)
	below := filepath.Join(dir, "cmd", "fleetmend-pe")
	for _, from := range []string{dir, below, filepath.Join(below, "not-there")} {
		if got, ok := compile.Checkout(from); !ok || got != dir {
			t.Errorf("from %s: %q, %v", from, got, ok)
		}
	}
	// A module of its own below it is not the checkout, but lies in it; another module elsewhere is none.
	if err := os.WriteFile(filepath.Join(below, "go.mod"), []byte("module github.com/fleetmend/fleetmender\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := compile.Checkout(below); !ok || got != dir {
		t.Errorf("%q, %v", got, ok)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := compile.Checkout(below); ok {
		t.Errorf("%q was taken for a checkout", got)
	}
}

func TestProgram(t *testing.T) {
	first, second := checkout(t, small), checkout(t, small)
	for arch, machine := range map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64} {
		var made [][]byte
		for _, dir := range []string{first, second} {
			out := filepath.Join(t.TempDir(), "fleetmend-pe.exe")
			if err := compile.Program(t.Context(), dir, arch, out); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, b)
		}
		f, err := pe.NewFile(bytes.NewReader(made[0]))
		if err != nil || f.Machine != machine {
			t.Errorf("%s: %+v, %v", arch, f, err)
		}
		if !bytes.Equal(made[0], made[1]) {
			t.Errorf("%s: two folders give different bytes", arch)
		}
	}
}

func TestProgramRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.exe")
	if err := compile.Program(t.Context(), checkout(t, small), "386", out); err == nil || !strings.Contains(err.Error(), "amd64 and arm64 only") {
		t.Error(err)
	}
	err := compile.Program(t.Context(), checkout(t, "package main\n\nfunc main() { nowhere() }\n"), "amd64", out)
	if err == nil || !strings.Contains(err.Error(), "undefined: nowhere") || !strings.Contains(strings.Join(hint.Of(err), ""), "--agent") {
		t.Errorf("%v, %v", err, hint.Of(err))
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was left behind")
	}
	t.Setenv("PATH", t.TempDir())
	if err := compile.Program(t.Context(), checkout(t, small), "amd64", out); !errors.Is(err, compile.ErrNoSource) {
		t.Errorf("without Go: %v", err)
	}
}
