package textfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/textfile"
)

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// alone fails when there is anything beside the names in the folder.
func alone(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(names) {
		t.Errorf("%v in the folder, want %v; %v", entries, names, err)
	}
}

func says(text string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
}

func TestWriteWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "report.html")
	if err := textfile.Write(name, textfile.Private, says("first")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is full")
	err := textfile.Write(name, textfile.Private, func(w io.Writer) error { return errors.Join(says("half")(w), broken) })
	if !errors.Is(err, broken) || content(t, name) != "first" {
		t.Errorf("%v, %q", err, content(t, name))
	}
	alone(t, dir, name)
	if err := textfile.Write(name, textfile.Shared, says("second")); err != nil || content(t, name) != "second" {
		t.Errorf("%v, %q", err, content(t, name))
	}
	alone(t, dir, name)
	if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("a private file became %v, %v", info.Mode(), err)
	}
	if err := textfile.Write(filepath.Join(dir, "none", "x"), textfile.Shared, says("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := textfile.Write(dir, textfile.Shared, says("x")); err == nil {
		t.Error("a folder was replaced")
	}
}

// Somebody who may write into the folder cannot make the program write elsewhere, by a link under the name itself or
// under a name that the program is about to use.
func TestLinksAreNotFollowed(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "out")
	if err := os.Symlink(other, name); err != nil {
		t.Skip("no links here:", err)
	}
	if err := os.Symlink(other, name+".new"); err != nil {
		t.Fatal(err)
	}
	if err := textfile.Write(name, textfile.Shared, says("x")); err == nil || !strings.Contains(err.Error(), "is a link") || content(t, other) != "other" {
		t.Errorf("%v, %q", err, content(t, other))
	}
	if target, err := os.Readlink(name); err != nil || target != other {
		t.Errorf("the link was replaced: %q, %v", target, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := textfile.Write(name, textfile.Shared, says("x")); err != nil || content(t, name) != "x" || content(t, other) != "other" {
		t.Errorf("%v, %q, %q", err, content(t, name), content(t, other))
	}
}

func TestAsideIsDiscarded(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "image")
	a, err := textfile.Create(name, textfile.Shared)
	if err != nil {
		t.Fatal(err)
	}
	if err := says("half")(a); err != nil {
		t.Fatal(err)
	}
	a.Discard()
	a.Discard()
	alone(t, dir)
	if err := a.Commit(); err == nil {
		t.Error("what was discarded was committed")
	}
	if a, err = textfile.Create(name, textfile.Shared); err != nil {
		t.Fatal(err)
	}
	defer a.Discard()
	if err := errors.Join(says("whole")(a), a.Commit()); err != nil || content(t, name) != "whole" {
		t.Error(err)
	}
	a.Discard()
	alone(t, dir, name)
}
