package csv_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fleetmend/fleetmend/bitlocker/csv"
)

// A folder below that may not be read is named, and the others are read.
func TestUnreadableFolderBelow(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "closed", "z"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		text := "ComputerName,KeyID,RecoveryPassword\nPC-" + name + ",4C4B6D8A-1F2E-4D3C-9B8A-0123456789" + map[string]string{"a": "A1", "closed": "A2", "z": "A3"}[name] +
			",111111-222222-333333-444444-555555-666666-000011-000022\n"
		if err := os.WriteFile(filepath.Join(dir, name, "keys.csv"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(closed, 0o755) }()
	for _, up := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 { // as nobody, on this thread alone
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = unix.SetfsuidRetUid(0) }()
	}
	source, report, err := csv.ReadFolder(t.Context(), dir, csv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(source.Refs()) != 2 || len(report.BadRows) != 1 || report.Files != 2 {
		t.Fatalf("%d keys, %+v", len(source.Refs()), report)
	}
	if bad := report.BadRows[0].String(); !strings.HasPrefix(bad, "closed: permission denied") {
		t.Errorf("said %q", bad)
	}
}
