package program_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/pe/program"
)

// TestExitCodes: what the screen says and how the program ends where there is no machine to repair.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--version"}, 0, "fleetmend-pe 1.2.3\r\n"},
		{[]string{"--help"}, 0, "-no-reboot"},
		{[]string{"--rot", "x"}, 2, "flag provided but not defined"},
		{[]string{"--base", t.TempDir(), "--root", t.TempDir()}, 1, "hint: build the medium again with `fleetmend media build`\r\n"},
	} {
		var out bytes.Buffer
		code := program.Run(t.Context(), program.Process{Args: c.args, In: strings.NewReader(""), Out: &out, Version: "1.2.3"})
		if code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%v: exit code %d, want %d\n%s", c.args, code, c.code, out.String())
		}
	}
}
