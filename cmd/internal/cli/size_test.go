package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// TestCommandsStayFaces: use cases, joins and words belong to the desk and what is below it, where every face finds them. A command
// that grows past these bounds holds something that is not its own.
func TestCommandsStayFaces(t *testing.T) {
	const ofAll, ofOne = 5_000, 1_500 // lines of Go that is no test
	all, packages := 0, map[string]int{}
	cmd := os.DirFS("../..")
	err := fs.WalkDir(cmd, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err == nil && d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return err
		}
		text, err := fs.ReadFile(cmd, name)
		n := bytes.Count(text, []byte("\n"))
		all, packages[path.Dir(name)] = all+n, packages[path.Dir(name)]+n
		return err
	})
	if err != nil || packages["fleetmend"] == 0 || packages["internal/cli"] == 0 {
		t.Fatalf("%v %v", err, packages)
	}
	if all > ofAll {
		t.Errorf("cmd has %d lines, more than %d: %v", all, ofAll, packages)
	}
	for name, n := range packages {
		if n > ofOne {
			t.Errorf("cmd/%s has %d lines, more than %d", name, n, ofOne)
		}
	}
}
