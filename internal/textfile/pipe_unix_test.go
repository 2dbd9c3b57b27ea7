//go:build unix

package textfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fleetmend/fleetmend/internal/textfile"
)

func TestPipesAndDevices(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Skip(err)
	}
	// Nobody writes: this must come back, not wait.
	if _, _, err := textfile.Secret(fifo); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("a pipe without a writer: %v", err)
	}
	if _, err := textfile.Read("/dev/zero", 100); err == nil || !strings.Contains(err.Error(), "device") {
		t.Errorf("/dev/zero: %v", err)
	}
	// What a shell hands over for <(command).
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wrote := make(chan error, 1)
	go func() {
		_, err := w.WriteString("from a pipe\n")
		w.Close()
		wrote <- err
	}()
	name := "/dev/fd/" + strconv.Itoa(int(r.Fd()))
	if _, err := os.Stat(name); err != nil {
		t.Skip(err)
	}
	got, _, err := textfile.Secret(name)
	if err != nil || got.Reveal() != "from a pipe" || <-wrote != nil {
		t.Errorf("%q, %v", got.Reveal(), err)
	}
	if err := textfile.Write(fifo, textfile.Shared, says("x")); err == nil {
		t.Error("a pipe was replaced by a file")
	}
}

// A secret that others can read is taken, and remarked on; the remark repeats nothing of it.
func TestSecretThatOthersCanRead(t *testing.T) {
	for mode, want := range map[os.FileMode]string{0o600: "", 0o400: "", 0o640: "(mode 0640)", 0o644: "(mode 0644)", 0o622: "(mode 0622)"} {
		name := filepath.Join(t.TempDir(), "passphrase")
		if err := errors.Join(os.WriteFile(name, []byte("correct horse\n"), 0o600), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		got, remark, err := textfile.Secret(name)
		if err != nil || got.Reveal() != "correct horse" || (remark == "") != (want == "") || !strings.Contains(remark, want) || strings.Contains(remark, "horse") {
			t.Errorf("%04o: remark %q, %v", mode, remark, err)
		}
	}
}
