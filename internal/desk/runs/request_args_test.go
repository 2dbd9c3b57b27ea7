package runs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// The arguments of a script are said again by the command that is proposed, and a pair of scripts is none of which a half is proposed.
func TestScriptsKeepTheirArguments(t *testing.T) {
	dir := t.TempDir()
	fix, look := filepath.Join(dir, "fix.ps1"), filepath.Join(dir, "look.ps1")
	for _, name := range []string{fix, look} {
		if err := os.WriteFile(name, []byte("exit 0"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	planOf := func(r Request) *plan.Plan {
		t.Helper()
		s, err := r.source()
		if err != nil {
			t.Fatal(err)
		}
		return &plan.Plan{Playbook: s.Playbook, PlaybookFile: sourceFile(r), PlaybookDigest: s.Digest}
	}
	given := []string{"", "-x", "a b", "$(Stop-Computer)"}
	r := Request{Script: fix, Arguments: given}
	if p := planOf(r); !slices.Equal(p.Playbook.Fix[0].Script.Args, given) || !slices.Equal(cases.SaidOf(p).Arguments, given) {
		t.Errorf("%+v", cases.SaidOf(p))
	} else if remark, err := Unchanged(p); err != nil || remark != "" {
		t.Errorf("a plan with arguments counts as changed: %s %v", remark, err)
	}
	if words := strings.Join(r.Args(), "|"); !strings.Contains(words, "|--arg=|--arg=-x|--arg=a b|--arg=$(Stop-Computer)") {
		t.Error(words)
	}
	r.Detect = look
	if p := planOf(r); !p.Playbook.OfPair() || cases.SaidOf(p).Script != "" || len(p.Playbook.Detect) != 1 {
		t.Errorf("%+v %+v", p.Playbook, cases.SaidOf(p))
	} else if _, err := Unchanged(p); err != nil {
		t.Error(err)
	}
	for _, bad := range []Request{{Detect: look, Command: "x"}, {Arguments: given, Command: "x"}, {Detect: look, Playbook: "safeboot-off"}} {
		if _, err := bad.source(); err == nil || !strings.Contains(err.Error(), "needs --script") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
