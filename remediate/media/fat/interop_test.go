package fat_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
)

var when = time.Date(2026, 3, 1, 12, 30, 42, 0, time.UTC)

// Contents are names and data that stress the writer: long names, names that collide in 8.3, names beyond ASCII,
// empty files, files of exactly one cluster, deep and crowded directories.
func contents() map[string][]byte {
	rng := rand.NewChaCha8([32]byte{7})
	noise := func(n int) []byte {
		b := make([]byte, n)
		rng.Read(b)
		return b
	}
	m := map[string][]byte{
		"EFI/BOOT/BOOTX64.EFI":                      noise(573_000),
		"EFI/Microsoft/Boot/BCD":                    noise(16384),
		"EFI/Microsoft/Boot/Fonts/segoe_slboot.ttf": noise(4096),
		"sources/boot.wim":                          noise(3 << 20),
		"empty.txt":                                 nil,
		"one.bin":                                   noise(1),
		"Prüfung Übergröße für alle.txt":            noise(700),
		"fleetmend/日本語の名前.json":                     noise(12),
		"a.b.c.d":                                   noise(10),
		".hidden":                                   noise(9),
		"thirteenchars":                             noise(513),
		"exactly26charactersxxxxxxxx":               noise(512),
		strings.Repeat("x", 251) + ".txt":           noise(100),
		"deep/" + strings.Repeat("level/", 30) + "file.txt": noise(77),
		"😀 emoji.txt": noise(5),
	}
	for i := range 300 {
		m[fmt.Sprintf("crowd/a long name number %d.txt", i)] = noise(i)
	}
	m["crowd/ALONGN~1.TXT"] = noise(33)
	return m
}

func entries(m map[string][]byte) (list []content.Entry) {
	for p, c := range m {
		list = append(list, content.Bytes(p, c))
	}
	return append(list, content.Entry{Path: "results", Dir: true})
}

// Sparse writes runs of zeros as holes, so that large volumes cost little disk.
type sparse struct {
	f  *os.File
	at int64
}

func (s *sparse) Write(p []byte) (int, error) {
	for o := 0; o < len(p); o += 65536 {
		q := p[o:min(o+65536, len(p))]
		if bytes.Count(q, []byte{0}) != len(q) {
			if _, err := s.f.WriteAt(q, s.at); err != nil {
				return o, err
			}
		}
		s.at += int64(len(q))
	}
	return len(p), nil
}

func image(t testing.TB, o fat.Options, list []content.Entry) (string, *fat.Plan) {
	t.Helper()
	p, err := fat.NewPlan(o, list)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "volume.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &sparse{f: f}
	if err := p.WriteTo(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	if w.at != p.Size() {
		t.Fatalf("wrote %d bytes, planned %d", w.at, p.Size())
	}
	if err := f.Truncate(p.Size()); err != nil {
		t.Fatal(err)
	}
	return f.Name(), p
}

func need(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian: %s)", program, pkg)
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=0", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func fsck(t testing.TB, name string) {
	t.Helper()
	out := run(t, "fsck.vfat", "-n", "-v", name)
	for _, bad := range []string{"Too few", "differ", "uninitialized", "wrong", "Bad ", "bad ", "Reclaim", "Dirty", "extends", "Orphan", "only"} {
		if strings.Contains(out, bad) {
			t.Errorf("fsck.vfat: %s", out)
			return
		}
	}
}

func TestSizes(t *testing.T) {
	need(t, "fsck.vfat", "dosfstools")
	m := map[string][]byte{"EFI/BOOT/BOOTX64.EFI": make([]byte, 70000), "a long name.txt": []byte("x")}
	sizes := []int64{34, 64, 259, 260, 261, 2046}
	if os.Getenv("FLEETMEND_LONG") != "" {
		sizes = nil
		for n := int64(34); n <= 8<<10; n += max(n/5, 1) {
			sizes = append(sizes, n)
		}
		sizes = append(sizes, 64, 259, 260, 261, 512, 1023, 1024, 1025, 2046, 2047, 2048, 7689, 8191, 8192, 8193, 16385, 32769)
		t.Logf("%d sizes", len(sizes))
	}
	for _, mib := range sizes {
		for _, extra := range []int64{0, 7 * 512} {
			t.Run(fmt.Sprintf("%dMiB+%d", mib, extra), func(t *testing.T) {
				name, _ := image(t, fat.Options{Size: mib<<20 + extra, Label: "FLEETMEND"}, entries(m))
				fsck(t, name)
			})
		}
	}
}

func TestSmallTypes(t *testing.T) {
	need(t, "fsck.vfat", "dosfstools")
	for _, tt := range []struct {
		o    fat.Options
		want fat.Type
		load int
	}{
		{fat.Options{Type: fat.Small}, fat.FAT12, 900_000},
		{fat.Options{Type: fat.Small}, fat.FAT12, 2_900_000},
		{fat.Options{Type: fat.Small}, fat.FAT16, 9_000_000},
		{fat.Options{Type: fat.FAT12, Size: 1440 << 10}, fat.FAT12, 900_000},
		{fat.Options{Type: fat.FAT16}, fat.FAT16, 10},
		{fat.Options{Type: fat.FAT16, Size: 200 << 20}, fat.FAT16, 100_000_000},
		{fat.Options{Type: fat.FAT32, Slack: 50 << 20}, fat.FAT32, 100_000_000},
	} {
		t.Run(fmt.Sprintf("%v/%d", tt.want, tt.load), func(t *testing.T) {
			m := map[string][]byte{"EFI/BOOT/BOOTX64.EFI": make([]byte, tt.load), "EFI/BOOT/a long name.txt": []byte("x")}
			name, p := image(t, tt.o, entries(m))
			if p.Type() != tt.want {
				t.Errorf("%v", p.Type())
			}
			if p.Free() < tt.o.Slack {
				t.Errorf("%d bytes free", p.Free())
			}
			fsck(t, name)
			need(t, "mdir", "mtools")
			if out := run(t, "mtype", "-i", name, "::/EFI/BOOT/a long name.txt"); out != "x" {
				t.Errorf("%q", out)
			}
		})
	}
}

func TestEveryFileReadsBack(t *testing.T) {
	m := contents()
	for _, o := range []fat.Options{
		{Label: "FLEETMEND", Time: when, Slack: 1 << 20},
		{Type: fat.FAT16, Size: 32 << 20, Time: when},
	} {
		name, _ := image(t, o, entries(m))
		checkOurs(t, name, m, o)
		need(t, "fsck.vfat", "dosfstools")
		fsck(t, name)
		need(t, "mcopy", "mtools")
		dir := t.TempDir()
		run(t, "mcopy", "-s", "-i", name, "::/*", dir)
		n := 0
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			n++
			rel, _ := filepath.Rel(dir, p)
			got, _ := os.ReadFile(p)
			want, ok := m[rel]
			if !ok && !strings.Contains(rel, "emoji") {
				t.Errorf("mtools finds %q", rel)
			}
			if ok && sha256.Sum256(got) != sha256.Sum256(want) {
				t.Errorf("%q differs", rel)
			}
			return nil
		})
		if n < len(m)-1 { // mtools does not write names outside the basic plane everywhere
			t.Errorf("mtools extracted %d of %d files", n, len(m))
		}
		if out := run(t, "mlabel", "-s", "-i", name); o.Label != "" && !strings.Contains(out, o.Label) {
			t.Errorf("label: %s", out)
		}
	}
}

// So many small files fit only with clusters smaller than a volume of this size usually has.
func TestManySmallFiles(t *testing.T) {
	need(t, "fsck.vfat", "dosfstools")
	b := make([]byte, 2000)
	var list []content.Entry
	for i := range 90_000 {
		list = append(list, content.Bytes(fmt.Sprintf("DIR%d/FILE%d", i/1000, i), b))
	}
	name, p := image(t, fat.Options{Size: 261 << 20}, list)
	if p.Free() < 0 || p.Size() != 261<<20 {
		t.Errorf("%d bytes, %d free", p.Size(), p.Free())
	}
	fsck(t, name)
}
