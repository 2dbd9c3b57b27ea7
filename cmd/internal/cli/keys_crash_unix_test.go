//go:build unix

package cli

import (
	"github.com/fleetmend/fleetmend/internal/terminal"

	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// crash runs a command that may write core files as large as it likes, ends it with SIGABRT when ready says so, and
// returns what it printed and the core files it left.
func crash(t *testing.T, dir string, ready func() bool, command ...string) (printed []byte, cores []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `ulimit -c unlimited; exec "$@"`, "sh"}, command...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "FLEETMEND_TEST_AS_COMMAND=1", "GOTRACEBACK=crash")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); !ready() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // looks at another process's file
	}
	_ = cmd.Process.Signal(syscall.SIGABRT)
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Fatalf("%v was not killed: %v\n%s", command, err, out.String())
	}
	cores, _ = filepath.Glob(filepath.Join(dir, "core*"))
	return out.Bytes(), cores
}

// TestCrashShowsNoPassword kills an import in its middle, with every trace turned on, and looks for the passwords in what it
// printed, in a core file, and in every file it left.
func TestCrashShowsNoPassword(t *testing.T) {
	const rows = 20_000 // so that most of the work is still to come at the signal, also where this process is slow to send it
	var table strings.Builder
	table.WriteString("ComputerName,KeyID,RecoveryKey\n")
	needles := map[string]bool{}
	for i := range rows {
		var groups [8]string
		for g := range groups {
			groups[g] = fmt.Sprintf("%06d", (i*7919+g*12347+4241)%65536*11)
		}
		fmt.Fprintf(&table, "PC-%05d,%08X-0001-4D3C-9B8A-%012X,%s\n", i, uint32(i)*2654435761, i, strings.Join(groups[:], "-"))
		needles[groups[0]+"-"+groups[1]], needles[groups[0]+groups[1]] = true, true
	}
	keyDesk(t, "KeyID,RecoveryKey\n9F00A1B2-0001-4D3C-9B8A-0123456789AB,397309-078848-274615-431123-052811-666798-376805-165770\n")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("many.csv", []byte(table.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	wal := filepath.Join(dir, "state", "keys.db-wal")
	printed, cores := crash(t, dir, func() bool { info, err := os.Stat(wal); return err == nil && info.Size() > 400<<10 },
		os.Args[0], "--config", "config.yaml", "--state-dir", "state", "keys", "import", "many.csv", "--identity", "identity.txt")
	if !bytes.Contains(printed, []byte("goroutine ")) || !bytes.Contains(printed, []byte("bitlocker")) {
		t.Fatalf("no stack traces of the work:\n%s", printed)
	}
	if len(cores) != 0 {
		t.Errorf("core files: %v", cores)
	}
	seen := bytes.Clone(printed)
	for _, name := range []string{"keys.db", "keys.db-wal", "audit.db", "audit.db-wal", "audit.db.head"} {
		content, err := os.ReadFile(filepath.Join("state", name))
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, content...)
	}
	// Every 13 characters that could be two groups, rather than one search for each.
	for i := range len(seen) - 13 {
		if c := seen[i]; c >= '0' && c <= '9' && (needles[string(seen[i:i+13])] || needles[string(seen[i:i+12])]) {
			t.Fatalf("a password is in what the crash left: %q", seen[max(0, i-60):i+13])
		}
	}
	// Stack traces print arguments of functions: the numbers of a password, two to a word, must not be among them.
	for i := range rows {
		var raw [8]byte
		for g := range 4 {
			binary.LittleEndian.PutUint16(raw[2*g:], uint16((i*7919+g*12347+4241)%65536))
		}
		if word := "0x" + strconv.FormatUint(binary.LittleEndian.Uint64(raw[:]), 16); bytes.Contains(printed, []byte(word)) {
			t.Fatalf("the numbers of a password are in a stack trace: %s", word)
		}
	}
	// What was committed is whole.
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Width: 100}, append([]string{"--config", "config.yaml", "--state-dir", "state"}, args...)); code != 0 {
			t.Fatalf("%q: exit code %d\n%s", args, code, out.String())
		}
		return out.String()
	}
	wants(t, run("audit", "verify"), "all sound")
	wants(t, run("keys", "status"), "1 key known, 1 password sealed") // all of the table or nothing of it
	wants(t, run("keys", "import", "many.csv", "--identity", "identity.txt"), fmt.Sprint(rows, " passwords sealed"))
	// The same shell lets another program leave a core file where the system writes any: the test would see it.
	_, control := crash(t, dir, func() bool { _, err := os.Stat("started"); return err == nil }, "sh", "-c", "touch started; exec sleep 600")
	t.Logf("%d bytes of stack traces, %d files, core files of another program: %v", len(printed), 5, control)
}
