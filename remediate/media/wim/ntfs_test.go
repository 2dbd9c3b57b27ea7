package wim_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// Details parses "wimlib-imagex dir --detailed" into one block of lines for each path.
func details(t *testing.T, name string) map[string][]string {
	t.Helper()
	all, path := map[string][]string{}, ""
	for _, l := range strings.Split(wimlib(t, "dir", name, "1", "--detailed"), "\n") {
		if p, ok := strings.CutPrefix(l, "Full Path"); ok {
			path = strings.Trim(strings.TrimLeft(p, " ="), `"`)
		}
		// Where and how a blob is stored, and how often it is used, may change.
		if !strings.Contains(l, "Offset") && !strings.Contains(l, "Reference Count") {
			all[path] = append(all[path], l)
		}
	}
	return all
}

// testdata/ntfs.wim was captured by wimlib from an NTFS volume: security descriptors, 8.3 names, named streams (one
// of them on a hard-linked file, one on an empty file) and a symbolic link.
func TestNTFSDetailsSurvive(t *testing.T) {
	const src = "testdata/ntfs.wim"
	f := open(t, src)
	if err := f.Verify(context.Background()); err != nil {
		t.Fatal(err)
	}
	long := "Windows/System32/a rather long name.txt"
	if e, err := f.Stat(1, long); err != nil || e.Size == 0 || e.Link == 0 || e.Security < 0 {
		t.Errorf("%+v %v", e, err)
	}
	if e, err := f.Stat(1, "empty_ads"); err != nil || e.Size != 0 {
		t.Errorf("%+v %v", e, err)
	}
	dst := filepath.Join(t.TempDir(), "new.wim")
	if _, err := wim.InjectFile(context.Background(), src, dst, wim.Options{}, []wim.Change{
		wim.PutBytes("windows/system32/REPLACE this one.cmd", []byte("new content")),
		wim.PutBytes(long, []byte("one link replaced")),
		wim.PutBytes("link", []byte("a file now")),
		wim.PutBytes("Windows/System32/fleetmend-pe.exe", []byte("MZ")),
		wim.PutBytes("Program Files/fleetmend/a.txt", []byte("a")),
	}); err != nil {
		t.Fatal(err)
	}
	g := open(t, dst)
	if err := g.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	e, err := g.Stat(1, "Windows/System32/replace this one.cmd")
	if err != nil || e.ShortName != "REPLAC~1.CMD" || e.Size != 11 {
		t.Errorf("%+v %v", e, err)
	}
	sibling, _ := g.Stat(1, "Windows/System32/startnet.cmd")
	for _, p := range []string{"Windows/System32/fleetmend-pe.exe", "Program Files/fleetmend", "Program Files/fleetmend/a.txt"} {
		if e, err := g.Stat(1, p); err != nil || e.Security != sibling.Security {
			t.Errorf("%q: security %d, sibling %d, %v", p, e.Security, sibling.Security, err)
		}
	}
	if e, _ := g.Stat(1, "Windows/hard link.txt"); e.Size < 20000 {
		t.Errorf("the other link changed: %+v", e)
	}

	needWimlib(t)
	wimlib(t, "verify", dst)
	before, after := details(t, src), details(t, dst)
	changed := []string{"/link", "/" + long, "/Windows/System32/replace this one.cmd"}
	for _, p := range slices.Sorted(maps.Keys(before)) {
		if slices.Contains(changed, p) || p == "/Windows/hard link.txt" { // its link count is one less
			continue
		}
		if !slices.Equal(before[p], after[p]) {
			t.Errorf("%q changed:\n%s\nto\n%s", p, strings.Join(before[p], "\n"), strings.Join(after[p], "\n"))
		}
	}
	if text := strings.Join(after["/"+long], "\n"); strings.Contains(text, "Named data stream") || !strings.Contains(text, "Link Count          = 1") {
		t.Errorf("the replaced link keeps what belongs to the old file:\n%s", text)
	}
	if text := strings.Join(after["/link"], "\n"); strings.Contains(text, "REPARSE") {
		t.Errorf("the replaced link is still one:\n%s", text)
	}
	got := filepath.Join(t.TempDir(), "got")
	wimlib(t, "apply", dst, "1", got)
	if b, err := os.ReadFile(filepath.Join(got, "Windows", "hard link.txt")); err != nil || !bytes.HasPrefix(b, []byte("some text line 1\n")) {
		t.Error(err)
	}
}
