package iso_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
)

func need(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian: %s)", program, pkg)
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func save(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.iso")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestXorrisoReadsOurs(t *testing.T) {
	need(t, "xorriso", "xorriso")
	m := contents(t)
	name := save(t, image(t, iso.Options{Boot: boot, Time: when}, entries(m)))
	dir := filepath.Join(t.TempDir(), "out")
	out := run(t, "xorriso", "-abort_on", "WARNING", "-osirrox", "on", "-indev", name, "-report_el_torito", "plain", "-extract", "/", dir)
	for _, want := range []string{"BIOS  y   none", "UEFI  y   none", "El Torito cat path", "/boot/etfsboot.com", "/efi/microsoft/boot/efisys.bin"} {
		if want != "El Torito cat path" && !strings.Contains(out, want) {
			t.Errorf("no %q in the report of xorriso:\n%s", want, out)
		}
	}
	n := 0
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		rel, _ := filepath.Rel(dir, p)
		got, _ := os.ReadFile(p)
		if want, ok := m[rel]; !ok || !bytes.Equal(got, want) {
			t.Errorf("xorriso extracts %q: known %v, %d bytes of %d", rel, ok, len(got), len(want))
		}
		return nil
	})
	if n != len(m) {
		t.Errorf("xorriso extracted %d of %d files", n, len(m))
	}
}

func TestIsoinfoReadsOurs(t *testing.T) {
	need(t, "isoinfo", "genisoimage")
	m := contents(t)
	name := save(t, image(t, iso.Options{Boot: boot, Time: when}, entries(m)))
	out := run(t, "isoinfo", "-J", "-j", "iso8859-1", "-f", "-i", name)
	have := map[string]bool{}
	for _, l := range strings.Split(out, "\n") {
		var r []rune
		for _, c := range []byte(strings.TrimPrefix(l, "/")) {
			r = append(r, rune(c))
		}
		have[string(r)] = true
	}
	for p := range m {
		if !have[p] && !strings.Contains(p, "日") { // not in the charset of isoinfo
			t.Errorf("isoinfo -J does not list %q", p)
		}
	}
	out = run(t, "isoinfo", "-f", "-i", name)
	for _, want := range []string{"/EFI/MICROSOFT/BOOT/EFISYS.BIN;1", "/SOURCES/BOOT.WIM;1", "/BOOTMGR.;1", "/RESULTS"} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("isoinfo does not list %q", want)
		}
	}
	if got := run(t, "isoinfo", "-i", name, "-x", "/BOOT/BCD.;1"); got != string(m["boot/bcd"]) {
		t.Errorf("isoinfo extracts %d bytes of BCD", len(got))
	}
	if out := run(t, "isoinfo", "-d", "-i", name); !strings.Contains(out, "El Torito VD version 1") || !strings.Contains(out, "Joliet with UCS level 3") {
		t.Errorf("isoinfo -d:\n%s", out)
	}
}

func TestReadsUDF(t *testing.T) {
	need(t, "genisoimage", "genisoimage")
	m, dir := contents(t), t.TempDir()
	for p, c := range m {
		p = filepath.Join(dir, p)
		os.MkdirAll(filepath.Dir(p), 0o755)
		if err := os.WriteFile(p, c, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "udf.iso")
	run(t, "genisoimage", "-quiet", "-D", "-udf", "-input-charset", "utf-8", "-allow-leading-dots", "-allow-limited-size", "-iso-level", "3", "-J", "-joliet-long", "-V", "CCCOMA_X64", "-b", "boot/etfsboot.com", "-no-emul-boot",
		"-boot-load-size", "8", "-c", "boot/boot.cat", "-eltorito-alt-boot", "-e", "efi/microsoft/boot/efisys.bin", "-no-emul-boot", "-o", name, dir)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := iso.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind() != iso.UDF || f.Label() != "CCCOMA_X64" || len(f.Boot()) != 2 {
		t.Errorf("%v %q %+v", f.Kind(), f.Label(), f.Boot())
	}
	j, err := iso.OpenKind(bytes.NewReader(b), int64(len(b)), iso.Joliet)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*iso.FS{f, j} {
		m := withCatalog(m, f)
		checkOurs(t, f, m)
	}
	w, err := f.Open("sources/BOOT.wim")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3000)
	if _, err := w.(io.ReaderAt).ReadAt(p, 1<<20); err != nil || !bytes.Equal(p, m["sources/boot.wim"][1<<20:][:3000]) {
		t.Error("the WIM is not read in place:", err)
	}
	var bad *iso.DamagedError
	if _, err := iso.Open(bytes.NewReader(b[:300*2048]), 300*2048); err == nil {
		f, _ := iso.Open(bytes.NewReader(b[:300*2048]), 300*2048)
		if _, err := fs.ReadFile(f, "sources/boot.wim"); !errors.As(err, &bad) {
			t.Errorf("cut off: %v", err)
		}
	}
}

// WithCatalog adds the boot catalogue that genisoimage shows as a file.
func withCatalog(m map[string][]byte, f *iso.FS) map[string][]byte {
	n := map[string][]byte{}
	for k, v := range m {
		n[k] = v
	}
	if c, err := fs.ReadFile(f, "boot/boot.cat"); err == nil {
		n["boot/boot.cat"] = c
	}
	return n
}

func TestReadsMkudffs(t *testing.T) {
	mkudffs := "mkudffs"
	if _, err := exec.LookPath("/usr/sbin/mkudffs"); err == nil { // not in the path of everybody
		mkudffs = "/usr/sbin/mkudffs"
	}
	need(t, mkudffs, "udftools")
	for _, block := range []int{512, 2048, 4096} {
		for _, rev := range []string{"1.02", "1.50", "2.01"} {
			t.Run(fmt.Sprint(rev, "/", block), func(t *testing.T) {
				name := filepath.Join(t.TempDir(), "u.img")
				if err := os.WriteFile(name, make([]byte, 8<<20), 0o644); err != nil {
					t.Fatal(err)
				}
				run(t, mkudffs, "-m", "hd", "-r", rev, "-b", fmt.Sprint(block), "-l", "Prüfung", name)
				b, _ := os.ReadFile(name)
				f, err := iso.OpenKind(bytes.NewReader(b), int64(len(b)), iso.UDF)
				if err != nil {
					t.Fatal(err)
				}
				if list, err := fs.ReadDir(f, "."); err != nil || f.Label() != "Prüfung" {
					t.Errorf("%v %v %q", list, err, f.Label())
				}
			})
		}
	}
}

// Parts is an image of which only some sectors are there.
type parts struct {
	at   []int64 // bytes
	data [][]byte
	size int64
}

func (p parts) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	for i, at := range p.at {
		from, to := max(off, at), min(off+int64(len(b)), at+int64(len(p.data[i])))
		if from < to {
			copy(b[from-off:to-off], p.data[i][from-at:])
		}
	}
	if off+int64(len(b)) > p.size {
		return int(max(p.size-off, 0)), io.EOF
	}
	return len(b), nil
}

// SealTags makes the checksum of everything right that looks like a descriptor, so that mutations get behind it.
func sealTags(b []byte) []byte {
	all := bytes.Clone(b)
	for b := all; len(b) >= 16; b = b[4:] {
		id := uint16(b[0]) | uint16(b[1])<<8
		if (id < 1 || id > 9) && (id < 256 || id > 266) || b[2] != 2 && b[2] != 3 || b[3] != 0 || b[5] != 0 {
			continue
		}
		b[4] = 0
		var sum byte
		for _, c := range b[:16] {
			sum += c
		}
		b[4] = sum
	}
	return all
}

// FuzzUDF mutates what a small UDF image made by genisoimage says: its volume descriptors and its partition.
func FuzzUDF(f *testing.F) {
	z, err := os.Open("testdata/udf.iso.gz")
	if err != nil {
		f.Fatal(err)
	}
	defer z.Close()
	g, err := gzip.NewReader(z)
	if err != nil {
		f.Fatal(err)
	}
	b, err := io.ReadAll(g)
	if err != nil {
		f.Fatal(err)
	}
	const volumes, rest = 32 * 2048, 256 * 2048
	vrs, body := b[:volumes], b[rest:]
	f.Add(append(bytes.Clone(b[volumes:volumes+8*2048]), body[:16*2048]...))
	all := len(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, all+len(b))()
		b = sealTags(b)
		n := min(len(b), 8*2048)
		r := parts{[]int64{0, volumes, rest}, [][]byte{vrs, b[:n], b[n:]}, rest + int64(len(body))}
		if v, err := iso.OpenKind(r, r.size, iso.UDF); err == nil {
			fuzzFS(v)
		}
	})
}

// A file of more than 1 GiB lies in several extents of UDF, as the install.wim of every Windows medium does.
func TestReadsLargeUDFFile(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("writes an image of 2.5 GB: set FLEETMEND_LONG=1")
	}
	need(t, "genisoimage", "genisoimage")
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "install.wim"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 5<<29 + 12345 // 2.5 GiB, a hole but for some marks
	marks := []int64{0, 1<<30 - 2048 - 5, 1<<30 - 3, 1<<31 - 4096 - 3, 1<<31 + 100, size - 16}
	for _, at := range marks {
		if _, err := f.WriteAt([]byte(fmt.Sprintf("mark %010d.", at)), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "big.iso")
	run(t, "genisoimage", "-quiet", "-udf", "-o", name, dir)
	b, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	st, _ := b.Stat()
	d, err := iso.Open(b, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Open("install.wim")
	if err != nil {
		t.Fatal(err)
	}
	if i, _ := w.Stat(); d.Kind() != iso.UDF || i.Size() != size {
		t.Errorf("%v, %d bytes", d.Kind(), i.Size())
	}
	for _, at := range marks {
		p := make([]byte, 16)
		if _, err := w.(io.ReaderAt).ReadAt(p, at); err != nil || string(p) != fmt.Sprintf("mark %010d.", at) {
			t.Errorf("at %d: %q %v", at, p, err)
		}
	}
}
