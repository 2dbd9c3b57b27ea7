//go:build unix

package cli

import (
	"strings"
	"testing"
)

// After a sync a plan says how many sign-ins the account bears, and whoever says more is told what that may do.
func TestAPlanSaysWhatTheAccountBears(t *testing.T) {
	for threshold, want := range map[string]struct{ line, more, doctor string }{
		"10": {"account: at most 5 sign-ins without an answer: half of FLEET's threshold of 10", "at most 6 sign-ins without an answer: as you said, which is more than half of FLEET's threshold of 10 (5)",
			"FLEET locks an account after 10 wrong passwords within 30 min; a run sends the password of FLEET\\admin at most 5 times without an answer"},
		"2":  {"account: at most 1 sign-in without an answer: half of FLEET's threshold of 2", "at most 6 sign-ins without an answer: as you said, which is more than half of FLEET's threshold of 2 (1)", "at most 1 time without"},
		"-1": {"account: at most 10 sign-ins without an answer: FLEET locks no account", "at most 6 sign-ins without an answer: as you said", "FLEET locks no account; a run"},
	} {
		s := openShop(t, "--machines", "12", "--seed", "5", "--lockout", threshold)
		plan := func(more ...string) string {
			out := s.ok(append([]string{"plan", "crowdstrike-channel-file-291", "--out", t.TempDir() + "/plan.json"}, more...)...)
			return strings.Join(strings.Fields(out), " ")
		}
		if text := plan(); !strings.Contains(text, "account: at most 2 sign-ins without an answer: the threshold of FLEET is not known, `fleetmend inventory sync` asks for it") {
			t.Errorf("before a sync:\n%s", text)
		}
		s.ok("inventory", "sync")
		if text := plan(); !strings.Contains(text, want.line) {
			t.Errorf("%s: no %q in\n%s", threshold, want.line, text)
		}
		if text := plan("--sign-ins", "6"); !strings.Contains(text, want.more) {
			t.Errorf("%s: no %q in\n%s", threshold, want.more, text)
		}
		out, _ := s.command("doctor").CombinedOutput() //nolint:errcheck // other findings decide its code
		if text := strings.Join(strings.Fields(string(out)), " "); !strings.Contains(text, want.doctor) {
			t.Errorf("%s: no %q in\n%s", threshold, want.doctor, text)
		}
	}
}
