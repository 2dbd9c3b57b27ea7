package bitlocker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// A full disk is told as a full disk, whatever was under way, and nothing is lost by it.
func TestDiskFullSaysSo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=20m"); err != nil {
		t.Skipf("no tmpfs to be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	resize := func(size int64) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
			t.Fatal(err)
		}
	}
	used := func() int64 {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		return int64(s.Blocks-s.Bfree) * s.Bsize //nolint:gosec // sizes are small
	}
	full := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "the disk is full") || strings.Contains(err.Error(), "damaged") || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v (hints %q)", what, err, hint.Of(err))
		}
	}
	d := openDesk(t, dir)
	if err := d.ProtectWithPassphrase(t.Context(), secret.New(passphrase)); err != nil {
		t.Fatal(err)
	}
	small := &breaking{source(5), 5, nil}
	if _, err := d.Take(t.Context(), small, "ticket", "5 passwords"); err != nil {
		t.Fatal(err)
	}
	resize(used() + 300<<10)
	_, err := d.Take(t.Context(), &breaking{source(5000), 5000, nil}, "ticket", "5000 passwords")
	full("an import", err)
	if s, err := d.Status(t.Context()); err != nil || s.Refs != 5 || s.Passwords != 5 {
		t.Errorf("after it: %+v, %v", s, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("there was room left")
	}
	_, err = audit.Open(t.Context(), filepath.Join(dir, "new.db"), audit.Operator{OSUser: "ops"})
	full("a new audit", err)
	_, err = bitlocker.OpenVault(t.Context(), filepath.Join(dir, "new-keys.db"), bitlocker.Options{Audit: d.log})
	full("a new vault", err)
	var failed error
	for range 200 { // until the free pages of the log are used up
		if _, failed = d.log.Append(t.Context(), audit.Entry{Action: audit.Reveal, Reason: strings.Repeat("x", 1500)}); failed != nil {
			break
		}
	}
	full("an entry of the audit", failed)

	resize(50 << 20)
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	if k, err := d.Reveal(t.Context(), id(1), "ticket"); err != nil || !k.Password.Equal(password(1)) {
		t.Errorf("with room again: %v", err)
	}
	if _, err := d.log.Verify(t.Context()); err != nil || len(d.log.Broken()) > 0 {
		t.Errorf("the audit: %v, broken %q", err, d.log.Broken())
	}
}
