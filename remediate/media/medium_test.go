package media_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
)

func TestVerifyFindsDifferences(t *testing.T) {
	out, _ := build(t, spec(t, "amd64"))
	root, _ := open(t, out)
	dir := t.TempDir()
	if err := os.CopyFS(dir, root); err != nil {
		t.Fatal(err)
	}
	check := func(changed, missing, added int) {
		t.Helper()
		c, err := media.Verify(ctx, dir)
		if err != nil || len(c.Changed) != changed || len(c.Missing) != missing || len(c.Added) != added {
			t.Errorf("%+v, %v", c, err)
		}
	}
	check(0, 0, 0)
	if sum, err := exec.LookPath("sha256sum"); err == nil {
		cmd := exec.Command(sum, "-c", "--quiet", "sums.sha256") //nolint:noctx // a test
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %s", text)
		}
	}
	write(t, filepath.Join(dir, "fleetmend", "results", "WS001.json"), []byte("{}"))
	check(0, 0, 1)
	write(t, filepath.Join(dir, "boot", "boot.sdi"), []byte("SDI for practicE\r\n"))
	check(1, 0, 1)
	if err := os.Remove(filepath.Join(dir, "EFI", "BOOT", "BOOTX64.EFI")); err != nil {
		t.Fatal(err)
	}
	check(1, 1, 1)
	write(t, filepath.Join(dir, "sums.sha256"), []byte("garbage\n"))
	if _, err := media.Verify(ctx, dir); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Error(err)
	}
}

// TestSilentCorruption flips one bit in each of many places of an image: in a file it must be found.
func TestSilentCorruption(t *testing.T) {
	out, _ := build(t, spec(t, "amd64"))
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	root, _ := open(t, out)
	wimBytes, err := fs.ReadFile(root, "sources/boot.wim")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, wimBytes)
	for i := range 5 {
		c := slices.Clone(b)
		c[at+i*len(wimBytes)/5] ^= 0x10
		name := write(t, filepath.Join(t.TempDir(), "bad.img"), c)
		if got, err := media.Verify(ctx, name); err != nil || !slices.Equal(got.Changed, []string{"sources/boot.wim"}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := media.Verify(ctx, write(t, filepath.Join(t.TempDir(), "cut.img"), b[:len(b)/2])); err == nil {
		t.Error("half an image was taken for whole")
	}
}

func TestInspectMediaOfOthers(t *testing.T) {
	dir := t.TempDir()
	if in, err := media.Inspect(ctx, dir); err != nil || len(in.Problems) != 2 || in.Medium != nil {
		t.Errorf("%+v, %v", in, err)
	}
	write(t, filepath.Join(dir, "efi", "boot", "bootaa64.efi"), practice.Loader("arm64"))
	b, err := practice.WIM(ctx, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "Sources", "BOOT.WIM"), b)
	write(t, filepath.Join(dir, "sources", "réparer.wim"), b)
	in, err := media.Inspect(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(in)
	for _, want := range []string{"is for amd64, its boot files are not", "English letters", "no EFI\\\\Microsoft", `"arch":"arm64"`, `"name":"bitlocker"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	if _, err := media.Inspect(ctx, write(t, filepath.Join(t.TempDir(), "x.img"), []byte("text"))); err == nil {
		t.Error("a text was taken for a medium")
	}
}
