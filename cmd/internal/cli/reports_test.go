package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReportsAreKept: every row of docs/reports.md names a test, and every test that it names is there.
func TestReportsAreKept(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "reports.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)` (Test[A-Za-z0-9]+)|script ([a-z_]+\\.txtar)")
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| reported ") {
			continue
		}
		rows++
		found := named.FindAllStringSubmatch(line, -1)
		if len(found) == 0 {
			t.Errorf("no test is named in %s", line)
		}
		for _, f := range found {
			if f[3] != "" {
				if _, err := os.Stat(filepath.Join("testdata", "script", f[3])); err != nil {
					t.Error(err)
				}
				continue
			}
			if !declares(t, filepath.Join(root, filepath.FromSlash(f[1])), f[2]) {
				t.Errorf("%s has no %s", f[1], f[2])
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows", rows)
	}
}

func declares(t *testing.T, folder, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("func "+test+"(t *testing.T)")) {
			return true
		}
	}
	return false
}
