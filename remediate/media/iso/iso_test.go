package iso_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
)

var when = time.Date(2026, 3, 1, 12, 30, 42, 0, time.UTC)

func efisys(t testing.TB) []byte {
	t.Helper()
	p, err := fat.NewPlan(fat.Options{Type: fat.Small, Time: when}, []content.Entry{content.Bytes("EFI/BOOT/BOOTX64.EFI", make([]byte, 10000))})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Contents are names and data that stress the writer.
func contents(t testing.TB) map[string][]byte {
	rng := rand.NewChaCha8([32]byte{7})
	noise := func(n int) []byte {
		b := make([]byte, n)
		rng.Read(b)
		return b
	}
	m := map[string][]byte{
		"bootmgr":                       noise(400_000),
		"bootmgr.efi":                   noise(4000),
		"boot/bcd":                      noise(16384),
		"boot/boot.sdi":                 noise(3 << 20),
		"boot/etfsboot.com":             noise(4096),
		"efi/boot/bootx64.efi":          noise(573_000),
		"efi/microsoft/boot/efisys.bin": efisys(t),
		"efi/microsoft/boot/fonts/segoe_slboot.ttf":          noise(2048),
		"efi/microsoft/boot/resources/en-US/bootres.dll.mui": noise(2049),
		"sources/boot.wim":                              noise(5 << 20),
		"empty.txt":                                     nil,
		"Prüfung Übergröße.txt":                         noise(7),
		"fleetmend/playbooks/日本語.json":                  noise(12),
		"a.b.c.d":                                       noise(10),
		".hidden":                                       noise(9),
		"exactly thirty one characters..x":              noise(5),
		strings.Repeat("n", 99) + ".txt":                noise(100),
		"deep/" + strings.Repeat("level/", 6) + "f.txt": noise(77),
	}
	for i := range 300 {
		m["crowd/a rather long name that has the same beginning as all the others, number "+string(rune('a'+i%26))+strings.Repeat("z", i/26)+".txt"] = noise(i)
	}
	return m
}

func entries(m map[string][]byte) (list []content.Entry) {
	for p, c := range m {
		list = append(list, content.Bytes(p, c))
	}
	return append(list, content.Entry{Path: "results", Dir: true})
}

var boot = []iso.Boot{{Platform: iso.BIOS, Path: "boot/etfsboot.com"}, {Platform: iso.UEFI, Path: "EFI/Microsoft/boot/efisys.bin"}}

func image(t testing.TB, o iso.Options, list []content.Entry) []byte {
	t.Helper()
	p, err := iso.NewPlan(o, list)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != p.Size() {
		t.Fatalf("wrote %d bytes, planned %d", b.Len(), p.Size())
	}
	return b.Bytes()
}

func checkOurs(t testing.TB, f *iso.FS, m map[string][]byte) {
	t.Helper()
	n, seen := 0, map[string]bool{}
	err := fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		seen[p] = true
		got, err := fs.ReadFile(f, p)
		want, ok := m[p]
		if !ok || !bytes.Equal(got, want) {
			t.Errorf("%v %q: known %v, %d bytes, want %d (%v)", f.Kind(), p, ok, len(got), len(want), err)
		}
		return err
	})
	if err != nil || n != len(m) {
		t.Errorf("%v: %d of %d files, %v", f.Kind(), n, len(m), err)
		for p := range m {
			if !seen[p] {
				t.Errorf("missing %q", p)
			}
		}
	}
}

func TestReadsItself(t *testing.T) {
	m := contents(t)
	b := image(t, iso.Options{Volume: "Fleet mend 1", Boot: boot, Time: when}, entries(m))
	f, err := iso.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind() != iso.Joliet || f.Label() != "Fleet mend 1" {
		t.Errorf("%v %q", f.Kind(), f.Label())
	}
	checkOurs(t, f, m)
	if st, err := fs.Stat(f, "SOURCES/BOOT.WIM"); err != nil || !st.ModTime().Equal(when) {
		t.Errorf("%v %v", st, err)
	}
	e := f.Boot()
	if len(e) != 2 || e[0].Platform != iso.BIOS || e[0].Size != 4096 || e[1].Platform != iso.UEFI || !e[1].Bootable {
		t.Fatalf("%+v", e)
	}
	sys := f.BootImage(e[1])
	v, err := fat.Open(sys, sys.Size())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(v, "efi/boot/bootx64.efi"); err != nil {
		t.Error(err)
	}
	plain, err := iso.OpenKind(bytes.NewReader(b), int64(len(b)), iso.ISO9660)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"boot/bcd", "efi/microsoft/boot/fonts/segoe_slboot.ttf", "sources/boot.wim", "bootmgr", "efi/microsoft/boot/resources/en-us/bootres.dll.mui"} {
		got, err := fs.ReadFile(plain, p)
		if err != nil {
			t.Errorf("plain %q: %v", p, err)
		}
		for name, want := range m {
			if strings.EqualFold(name, p) && !bytes.Equal(got, want) {
				t.Errorf("plain %q differs", p)
			}
		}
	}
	if plain.Label() != "FLEET_MEND_1" {
		t.Errorf("%q", plain.Label())
	}
	list, _ := fs.ReadDir(plain, "CROWD")
	if len(list) != 300 {
		t.Errorf("%d plain names", len(list))
	}
}

func TestFSRules(t *testing.T) {
	b := image(t, iso.Options{}, []content.Entry{content.Bytes("a/b.txt", []byte("x")), content.Bytes("c", nil)})
	f, err := iso.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(f, "a/b.txt", "c"); err != nil {
		t.Error(err)
	}
	if len(f.Boot()) != 0 {
		t.Errorf("%+v", f.Boot())
	}
}

func TestSameInputSameBytes(t *testing.T) {
	m := contents(t)
	o := iso.Options{Boot: boot, Time: when}
	if !bytes.Equal(image(t, o, entries(m)), image(t, o, entries(m))) { // the order of a map differs
		t.Error("two builds differ")
	}
}

func TestRefusals(t *testing.T) {
	open := func(context.Context) (io.ReadCloser, error) { return nil, errors.New("not opened by a plan") }
	var large *iso.FileTooLargeError
	_, err := iso.NewPlan(iso.Options{}, []content.Entry{{Path: "install.wim", Size: 1 << 32, Open: open}})
	if !errors.As(err, &large) || len(hint.Of(err)) == 0 {
		t.Error(err)
	}
	x := []byte("x")
	for _, list := range [][]content.Entry{
		{content.Bytes("a", x), content.Bytes("A", x)}, {content.Bytes("a", x), content.Bytes("a/b", x)}, {content.Bytes("a;b", x)},
		{content.Bytes("a/../b", x)}, {content.Bytes("", x)}, {content.Bytes(strings.Repeat("x", 104), x)}, {{Path: "x", Size: 4}},
	} {
		if _, err := iso.NewPlan(iso.Options{}, list); err == nil {
			t.Errorf("%q accepted", list[len(list)-1].Path)
		}
	}
	if _, err := iso.NewPlan(iso.Options{Boot: boot}, []content.Entry{content.Bytes("boot/etfsboot.com", x)}); err == nil || !strings.Contains(err.Error(), "efisys") {
		t.Error(err)
	}
	if _, err := iso.NewPlan(iso.Options{Boot: boot[1:]}, []content.Entry{{Path: boot[1].Path, Size: 40 << 20, Open: open}}); err == nil {
		t.Error("40 MiB boot image accepted")
	}
	if _, err := iso.NewPlan(iso.Options{Volume: strings.Repeat("x", 17)}, nil); err == nil {
		t.Error("long volume name accepted")
	}
	if _, err := iso.Open(strings.NewReader("no image"), 8); !errors.Is(err, iso.ErrNotISO) {
		t.Error(err)
	}
	b := image(t, iso.Options{}, []content.Entry{content.Bytes("a", make([]byte, 5000))})
	var bad *iso.DamagedError
	if _, err := iso.Open(bytes.NewReader(b[:len(b)-4096]), int64(len(b)-4096)); !errors.As(err, &bad) {
		t.Errorf("cut off: %v", err)
	}
}

func fuzzFS(f *iso.FS) {
	n := 0
	fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
		if n++; n > 200 {
			return fs.SkipAll
		}
		if err == nil && !d.IsDir() {
			if r, err := f.Open(p); err == nil {
				io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			}
		}
		return nil
	})
}

// Shrink keeps the sectors that matter, so that mutations hit them. The reader gets the rest as zeros.
type shifted struct {
	b    []byte
	base int64
}

func (s shifted) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < s.base {
		k := min(s.base-off, int64(len(p)))
		n, err := s.ReadAt(p[k:], s.base)
		return n + int(k), err
	}
	if off-s.base >= int64(len(s.b)) {
		return 0, io.EOF
	}
	n := copy(p, s.b[off-s.base:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func FuzzOpen(f *testing.F) {
	b := image(f, iso.Options{Boot: []iso.Boot{{Platform: iso.UEFI, Path: "e"}}}, []content.Entry{content.Bytes("a/b.txt", []byte("x")), content.Bytes("e", []byte("efi"))})
	f.Add(b[16*2048 : 36*2048])
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b)+2<<20)() // two volumes, each 1 MiB larger than what is there
		r := shifted{b, 16 * 2048}
		size := r.base + int64(len(b))
		for _, k := range []iso.Kind{iso.Joliet, iso.ISO9660} {
			// The volume says how large it is; let it be so.
			if v, err := iso.OpenKind(r, size+1<<20, k); err == nil {
				fuzzFS(v)
			}
		}
	})
}
