package errand_test

import (
	"os/exec"
	"regexp"
	"testing"
)

// Whoever works on machines elsewhere links errands and outcomes, and no store.
func TestAnErrandLinksNoStore(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".", "../../outcome").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %s", out)
	}
	store := regexp.MustCompile(`(?m)^(modernc\.org/.*|database/sql.*|.*/internal/sqlitefile|.*/remediate/journal)$`)
	if found := store.FindAllString(string(out), -1); found != nil {
		t.Errorf("an errand links %q", found)
	}
}
