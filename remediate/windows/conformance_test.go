package windows

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const caseFolder = "../testdata/conformance"

func loadCase(t *testing.T, path string) Case {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCase(raw)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c
}

func TestConformance(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(caseFolder, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in %s (%v)", caseFolder, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			t.Parallel()
			c := loadCase(t, path)
			problems, answers := Rehearse(t.Context(), c)
			for _, p := range problems {
				t.Error(p)
			}
			if len(problems) == 0 && len(answers) != len(c.Steps) {
				t.Errorf("%d answers to %d steps", len(answers), len(c.Steps))
			}
		})
	}
}

// A case that is wrong is noticed: each of these edits of a right one must give a finding.
func TestRehearseNoticesWhatIsWrong(t *testing.T) {
	for name, edit := range map[string]func(*Case){
		"outcome":      func(c *Case) { c.Steps[0].Expect["outcome"] = "clean" },
		"file content": func(c *Case) { (*c.Steps[1].Files)[0].Hex += "00" },
		"file missing": func(c *Case) { *c.Steps[1].Files = (*c.Steps[1].Files)[1:] },
		"no steps":     func(c *Case) { c.Steps = nil },
		"bad hex":      func(c *Case) { c.Before.Files[0].Hex = "zz" },
	} {
		c := loadCase(t, filepath.Join(caseFolder, "channel-file-affected.json"))
		edit(&c)
		if problems, _ := Rehearse(t.Context(), c); len(problems) == 0 {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// TestWrongCases: each case of testdata/wrong says something untrue, or misspells it.
func TestWrongCases(t *testing.T) {
	paths, err := filepath.Glob("../testdata/wrong/*.json")
	if err != nil || len(paths) < 19 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCase(raw)
		if err != nil {
			if !strings.Contains(err.Error(), "unknown field") {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		problems, _ := Rehearse(t.Context(), c)
		if len(problems) != 1 {
			t.Errorf("%s: %d findings, not one: %s", path, len(problems), problems)
		}
	}
}
