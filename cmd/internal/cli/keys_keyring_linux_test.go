package cli

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestSecretServiceUnlocks runs the commands in a desktop session of their own, whose keyring is GNOME's.
func TestSecretServiceUnlocks(t *testing.T) {
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (Debian: dbus-daemon, gnome-keyring)", program)
		}
	}
	keyDesk(t, "KeyID,RecoveryKey\n9F00A1B2-0001-4D3C-9B8A-0123456789AB,397309-078848-274615-431123-052811-666798-376805-165770\n")
	const session = `
printf test | gnome-keyring-daemon --unlock --components=secrets >/dev/null || exit 77
f() { "$PROGRAM" --config config.yaml --state-dir state "$@"; }
show() { f keys show 9F00A1B2 --reason INC-1 -o json "$@" | grep -c 397309-078848; }
f keys protect --new-passphrase-file passphrase --identity identity.txt
echo "before: $(show)"
f keys unlock --passphrase-file passphrase
echo "by keyring: $(show --keyring)"
echo "by itself: $(show)"
f keys status
f keys lock
echo "after: $(show)"
`
	if err := os.WriteFile("passphrase", []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "dbus-run-session", "--", "sh", "-c", session)
	cmd.Env = append(os.Environ(), "FLEETMEND_TEST_AS_COMMAND=1", "PROGRAM="+os.Args[0], "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "XDG_DATA_HOME="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, line := range []string{"before: 0", "by keyring: 1", "by itself: 1", "after: 0"} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no %q in\n%s", line, out.String())
		}
	}
	wants(t, out.String(), "unlocked by keyring")
}
