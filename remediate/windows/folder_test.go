package windows

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

type offline struct{}

func (offline) Build() (int, error)         { return 0, errors.New("unknown") }
func (offline) Uptime() (int64, error)      { return -1, nil }
func (offline) Variable(name string) string { return OfflineVariable(name) }

// TestFolderFixAndUndo runs the channel file case on real files of another case than the playbook's.
func TestFolderFixAndUndo(t *testing.T) {
	volume := t.TempDir()
	place := filepath.Join(volume, "WINDOWS", "system32", "Drivers", "CrowdStrike")
	if err := os.MkdirAll(place, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(place, "c-00000291-00000000-00000032.SYS")
	content := "\xaa\xaa\xaa\xaa\x01\x00\x23\x01bad"
	when := time.Date(2024, 7, 19, 4, 20, 0, 0, time.UTC)
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, when, when); err != nil {
		t.Fatal(err)
	}
	files, err := OpenFolder(volume)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = files.Close() }()
	c := loadCase(t, filepath.Join(caseFolder, "channel-file-affected.json"))
	do := func(mode agent.Mode) agent.Result {
		return New(Parts{Files: files, System: offline{}}).Do(context.Background(), agent.Request{Run: "r-1", Nonce: "n", Mode: mode, Playbook: c.Playbook})
	}
	if got := do(agent.Fix); got.Outcome != agent.Fixed || got.Changed != 1 {
		t.Fatalf("%+v", got)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there (%v)", err)
	}
	if got := do(agent.Undo); got.Outcome != agent.Undone || got.Changed != 1 {
		t.Fatalf("%+v", got)
	}
	raw, err := os.ReadFile(name)
	info, statErr := os.Stat(name)
	if err != nil || statErr != nil || string(raw) != content || !info.ModTime().Equal(when) {
		t.Errorf("not as it was: %q, %v, %v %v", raw, info, err, statErr)
	}
}

func TestFolderRefusesToLeave(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	volume := t.TempDir()
	files, err := OpenFolder(volume)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = files.Close() }()
	if err := os.Symlink(outside, filepath.Join(volume, "link")); err != nil {
		t.Skip("no symbolic links here")
	}
	for _, path := range []string{`C:\link\secret`, `C:\..\secret`, `D:\secret`, `C:\a/../../secret`, "x", ""} {
		if f, err := files.Open(path); err == nil {
			raw, _ := io.ReadAll(f)
			t.Errorf("%s was opened: %q", path, raw)
		}
		if err := files.Create(path+"2", []byte("x")); err == nil {
			t.Errorf("%s2 was created", path)
		}
	}
	if err := files.Create(`C:\a\B`, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := files.Create(`c:\A\b`, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwrote: %v", err)
	}
	if err := files.Move(`C:\A\b`, `C:\a\B`); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwrote: %v", err)
	}
	if err := files.Move(`C:\A\none`, `C:\x`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("moved nothing: %v", err)
	}
	if _, err := files.List(`C:\none`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("listed nothing: %v", err)
	}
}
