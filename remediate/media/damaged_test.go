package media_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// sources are Windows PEs as they come: none has an integrity table.
func sources(t testing.TB) map[string][]byte {
	t.Helper()
	text := []byte(strings.Repeat("a line of a file that compresses well\r\n", 3000))
	noise := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{9}).Read(noise)
	raw, err := practice.WIM(ctx, "amd64", wim.PutBytes("Windows/System32/config/SYSTEM", text), wim.PutBytes("Windows/System32/ntdll.dll", noise),
		wim.PutBytes("Windows/System32/copy.dll", noise))
	if err != nil {
		t.Fatal(err)
	}
	name := write(t, filepath.Join(t.TempDir(), "raw.wim"), raw)
	all := map[string][]byte{"raw": raw}
	for _, codec := range []string{"LZX", "XPRESS"} {
		out := filepath.Join(t.TempDir(), codec+".wim")
		if text, err := exec.Command("wimlib-imagex", "export", name, "all", out, "--boot", "--compress="+codec, "--chunk-size=32768").CombinedOutput(); err != nil { //nolint:noctx // a test
			t.Fatalf("%v %s", err, text)
		}
		if all[codec], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// mutate changes a WIM as bad cables, disks and downloads do.
func mutate(b []byte, rng *rand.Rand) ([]byte, string) {
	b = bytes.Clone(b)
	at, n := rng.IntN(len(b)), 1+rng.IntN(600)
	end := min(at+n, len(b))
	switch kind := rng.IntN(6); kind {
	case 0:
		b[at] ^= 1 << rng.IntN(8)
		return b, fmt.Sprintf("a bit at %d", at)
	case 1:
		clear(b[at:end])
		return b, fmt.Sprintf("zeros from %d to %d", at, end)
	case 2:
		copy(b[at:end], b[rng.IntN(len(b)):])
		return b, fmt.Sprintf("other bytes of it from %d to %d", at, end)
	case 3:
		for i := at; i < end; i++ {
			b[i] = byte(rng.Uint32())
		}
		return b, fmt.Sprintf("noise from %d to %d", at, end)
	case 4:
		at = rng.IntN(208) // the header decides much
		b[at] ^= byte(1 + rng.IntN(255))
		return b, fmt.Sprintf("header byte %d is %#x", at, b[at])
	default: // and so do the tables behind the resources
		at = len(b) - 1 - rng.IntN(min(len(b), 6000))
		b[at] ^= byte(1 + rng.IntN(255))
		return b, fmt.Sprintf("byte %d of %d is %#x", at, len(b), b[at])
	}
}

// TestMutatedSources builds media from damaged sources: whatever is built and called good is so for wimlib too.
// FLEETMEND_MUTANTS is how many; default 24, 100 with FLEETMEND_LONG.
func TestMutatedSources(t *testing.T) {
	if _, err := exec.LookPath("wimlib-imagex"); err != nil {
		t.Skip("wimlib-imagex is not installed (Debian: wimtools)")
	}
	count := 24
	if os.Getenv("FLEETMEND_LONG") != "" {
		count = 100
	}
	if n, err := strconv.Atoi(os.Getenv("FLEETMEND_MUTANTS")); err == nil {
		count = n
	}
	s := spec(t, "amd64")
	s.Slack = 1 << 20
	dir := t.TempDir()
	s.Source = filepath.Join(dir, "boot.wim")
	good := func(b []byte, what string) bool {
		write(t, s.Source, b)
		out := filepath.Join(dir, "medium.img")
		if _, err := media.Build(ctx, s, out); err != nil {
			return false
		}
		m, err := media.OpenMedium(out)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer m.Close()
		inner, err := fs.ReadFile(m.FS, "sources/boot.wim")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		name := write(t, filepath.Join(dir, "inner.wim"), inner)
		if text, err := exec.Command("wimlib-imagex", "verify", name).CombinedOutput(); err != nil { //nolint:noctx // a test
			t.Errorf("%s: the medium was built, and wimlib says: %s", what, text)
		}
		in, err := m.Inspect(ctx)
		if err != nil || len(in.Problems) > 0 {
			t.Errorf("%s: the medium was built, and inspect says: %v %v", what, err, in)
		}
		return true
	}
	for name, whole := range sources(t) {
		if !good(whole, name) {
			t.Fatalf("%s: a sound source was refused", name)
		}
		built := 0
		for i := range (count + 2) / 3 {
			b, what := mutate(whole, rand.New(rand.NewPCG(uint64(i), 15)))
			if good(b, fmt.Sprintf("%s, mutant %d, %s", name, i, what)) {
				built++
			}
		}
		t.Logf("%s of %d bytes: %d of %d damaged sources were built from, each good for wimlib", name, len(whole), built, (count+2)/3)
		if built*2 > (count+2)/3 {
			t.Errorf("%s: most damage was not noticed", name)
		}
	}
}

// TestDamageIsNamed: wherever the content of a file is damaged, the build says which, and nothing is left of it.
func TestDamageIsNamed(t *testing.T) {
	noise := make([]byte, 3<<20+5)
	rand.NewChaCha8([32]byte{8}).Read(noise)
	b, err := practice.WIM(ctx, "amd64", wim.PutBytes("Windows/System32/drivers/disk.sys", noise), wim.PutBytes("Windows/System32/ntdll.dll", noise[:5000]))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int]string{
		bytes.Index(b, noise) + 2<<20:                        `file "Windows/System32/drivers/disk.sys" of image 1`,
		bytes.LastIndex(b, noise[:5000]) + 4999:              `file "Windows/System32/ntdll.dll" of image 1`,
		bytes.Index(b, []byte("chkdsk.exe of no Windows")):   `file "Windows/System32/chkdsk.exe" of image 1`,
		bytes.Index(b, []byte("w\x00i\x00n\x00p\x00e\x00s")): "the metadata of image 1",
	} {
		damaged := bytes.Clone(b)
		damaged[at] ^= 4
		s := spec(t, "amd64")
		s.Source = write(t, filepath.Join(t.TempDir(), "boot.wim"), damaged)
		dir := t.TempDir()
		_, err := media.Build(ctx, s, filepath.Join(dir, "out.img"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("byte %d: %v, want %s", at, err, want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}
