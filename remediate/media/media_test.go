package media_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
	"github.com/fleetmend/fleetmend/remediate/media/keybundle"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

var ctx = context.Background()

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func source(t testing.TB, arch string, more ...wim.Change) string {
	t.Helper()
	b, err := practice.WIM(ctx, arch, more...)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(t.TempDir(), "boot.wim"), b)
}

func book(t testing.TB) playbook.Playbook {
	t.Helper()
	s, err := playbook.Builtin("crowdstrike-channel-file-291")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// driver writes a driver's folder and returns it.
func driver(t testing.TB, inf string, files ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "iaStorVD")
	write(t, filepath.Join(dir, "iaStorVD.inf"), []byte(inf))
	for _, f := range files {
		write(t, filepath.Join(dir, f), []byte("content of "+f))
	}
	return dir
}

const goodINF = "; a driver\r\n[Version]\r\nSignature=\"$WINDOWS NT$\"\r\nCatalogFile=iaStorVD.cat\r\n[Manufacturer]\r\n%INTEL%=Intel,NTamd64,NTamd64.10.0\r\n"

func spec(t testing.TB, arch string) media.Spec {
	t.Helper()
	return media.Spec{
		Source: source(t, arch), Format: media.USB, Playbooks: []playbook.Playbook{book(t)},
		Agent:    write(t, filepath.Join(t.TempDir(), "fleetmend-pe.exe"), practice.Loader(arch)),
		Settings: aboard.Settings{Run: "20240719-081500-abcdef", Site: "LON"},
	}
}

const planted = "111111-222222-333333-444444-555555-666666-000011-000022"

func keys() *keybundle.Bundle {
	made := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return &keybundle.Bundle{Made: made, Expires: made.Add(72 * time.Hour), Keys: []keybundle.Key{
		{Machine: "WS001", ID: "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE", Password: secret.New(planted)}}}
}

func build(t testing.TB, s media.Spec) (string, media.Report) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "medium.img")
	r, err := media.Build(ctx, s, out)
	if err != nil {
		t.Fatal(err, hint.Of(err))
	}
	return out, r
}

// images of a medium, read back: the root, and the image in its boot.wim.
func open(t testing.TB, name string) (root, image fs.FS) {
	t.Helper()
	m, err := media.OpenMedium(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	b, err := fs.ReadFile(m.FS, "sources/boot.wim")
	if err != nil {
		t.Fatal(err)
	}
	w, err := wim.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Verify(ctx); err != nil {
		t.Error(err)
	}
	if image, err = w.FS(w.BootIndex()); err != nil {
		t.Fatal(err)
	}
	return m.FS, image
}

func TestBuildHoldsWhatWasAskedFor(t *testing.T) {
	for _, format := range []media.Format{media.USB, media.ISO} {
		t.Run(string(format), func(t *testing.T) {
			s := spec(t, "amd64")
			s.Format, s.Drivers = format, []string{driver(t, goodINF, "IASTORVD.CAT", "x64/iaStorVD.sys")}
			before, err := os.ReadFile(s.Source)
			if err != nil {
				t.Fatal(err)
			}
			out, r := build(t, s)
			if after, _ := os.ReadFile(s.Source); !bytes.Equal(before, after) {
				t.Error("the source was changed")
			}
			root, image := open(t, out)
			for _, name := range []string{"EFI/BOOT/BOOTX64.EFI", "EFI/Microsoft/Boot/BCD", "EFI/Microsoft/Boot/boot.stl",
				"EFI/Microsoft/Boot/Fonts/segoe_slboot.ttf", "boot/boot.sdi", "fleetmend/medium.json", "README.txt"} {
				if _, err := fs.Stat(root, name); err != nil {
					t.Error(err)
				}
			}
			for _, name := range []string{"fleetmend/fleetmend-pe.exe", "fleetmend/drivers/iaStorVD/iaStorVD.inf", "fleetmend/drivers/iaStorVD/x64/iaStorVD.sys",
				"Windows/System32/startnet.cmd", "Windows/System32/winpeshl.ini"} {
				if _, err := fs.Stat(image, name); err != nil {
					t.Error(err)
				}
			}
			dir, err := fs.Sub(image, "fleetmend")
			if err != nil {
				t.Fatal(err)
			}
			settings, err := aboard.ReadSettings(dir)
			if err != nil || settings.Run != "20240719-081500-abcdef" || settings.Site != "LON" {
				t.Errorf("%+v, %v", settings, err)
			}
			books, err := aboard.ReadPlaybooks(dir)
			if err != nil || len(books) != 1 || playbook.Digest(books[0]) != playbook.Digest(bare(s.Playbooks[0])) {
				t.Errorf("%+v, %v", books, err)
			}
			c, err := media.Verify(ctx, out)
			if err != nil || !c.OK() || c.Sums != r.Sums || c.Files < 8 || len(c.Added) != 0 {
				t.Errorf("%+v, %v; the build said %s", c, err, r.Sums)
			}
			in, err := media.Inspect(ctx, out)
			if err != nil || len(in.Problems) != 0 || in.Medium == nil || in.Medium.ID != r.Medium.ID || !in.Images[0].Fleetmend || !in.Images[0].Boots {
				t.Fatalf("%+v, %v", in, err)
			}
			if got := strings.Join(in.Loaders[0].Starts, "\n"); !strings.Contains(got, "refused by every machine, because the boot file is not signed") {
				t.Errorf("starts: %s", got)
			}
		})
	}
}

func bare(p playbook.Playbook) playbook.Playbook {
	p.Params, p.References = nil, nil
	return p
}

func TestSameInputSameBytes(t *testing.T) {
	s := spec(t, "amd64")
	s.Drivers = []string{driver(t, goodINF, "iaStorVD.cat")}
	for _, format := range []media.Format{media.USB, media.ISO} {
		for _, at := range []time.Time{{}, time.Unix(1721361600, 0)} {
			s.Format, s.Time = format, at
			var last []byte
			for range 2 {
				out, _ := build(t, s)
				b, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				if last != nil && !bytes.Equal(last, b) {
					t.Errorf("two builds of a %s at %v differ", format, at)
				}
				last = b
			}
		}
	}
	s.Format = media.USB
	_, a := build(t, s)
	s.Settings.Site = "PAR"
	if _, b := build(t, s); a.Medium.ID == b.Medium.ID {
		t.Error("other settings, same medium")
	}
}

// TestOnlyKeysAreRandom compares two builds with keys: they differ in the sealed bundle and nowhere else.
func TestOnlyKeysAreRandom(t *testing.T) {
	for _, format := range []media.Format{media.USB, media.ISO} {
		t.Run(string(format), func(t *testing.T) { onlyKeysAreRandom(t, format) })
	}
}

func onlyKeysAreRandom(t *testing.T, format media.Format) {
	t.Helper()
	s := spec(t, "amd64")
	s.Format, s.Keys, s.Passphrase = format, keys(), secret.New("horse battery staple")
	first, r := build(t, s)
	if strings.Contains(fmt.Sprint(r.Warnings), "cannot be wiped") != (format == media.ISO) {
		t.Errorf("warnings: %v", r.Warnings)
	}
	second, _ := build(t, s)
	x, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(second)
	if err != nil || len(x) != len(y) {
		t.Fatal(len(x), len(y), err)
	}
	if bytes.Contains(x, []byte("111111-2222")) {
		t.Error("the recovery password is readable on the medium")
	}
	root, _ := open(t, first)
	sealed, err := fs.ReadFile(root, "fleetmend/keys.age")
	if err != nil {
		t.Fatal(err)
	}
	b, err := keybundle.Open(bytes.NewReader(sealed), s.Passphrase, keys().Made)
	if err != nil || b.Keys[0].Password.Reveal() != planted {
		t.Fatalf("%v, %v", b, err)
	}
	at := bytes.Index(x, sealed)
	copy(x[at:], make([]byte, len(sealed)))
	copy(y[at:], make([]byte, len(sealed)))
	if at < 0 || !bytes.Equal(x, y) {
		t.Error("two builds differ outside the key bundle")
	}
	c, err := media.Verify(ctx, first)
	if err != nil || !c.OK() || !slices.Equal(c.Added, []string{"fleetmend/keys.age"}) {
		t.Errorf("%+v, %v", c, err)
	}
	in, err := media.Inspect(ctx, first)
	if err != nil || !in.Keys || in.Medium.Keys.Count != 1 {
		t.Errorf("%+v, %v", in, err)
	}
}

func TestSourceItselfIsNeverReplaced(t *testing.T) {
	s := spec(t, "amd64")
	if _, err := media.Build(ctx, s, s.Source); err == nil || !strings.Contains(err.Error(), "source itself") {
		t.Error(err)
	}
}

func TestWinREOutOfInstallation(t *testing.T) {
	inner, err := practice.WIM(ctx, "amd64", wim.PutBytes("Windows/inner.txt", []byte("inner")))
	if err != nil {
		t.Fatal(err)
	}
	s := spec(t, "amd64")
	s.Source = source(t, "amd64", wim.PutBytes(wim.WinREPath, inner))
	s.TempDir = t.TempDir()
	out, r := build(t, s)
	_, image := open(t, out)
	if _, err := fs.Stat(image, "Windows/inner.txt"); err != nil || !strings.Contains(r.Medium.Source, "winre.wim") {
		t.Errorf("%v, %q", err, r.Medium.Source)
	}
	if left, _ := os.ReadDir(s.TempDir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSourceInsideISO(t *testing.T) {
	mk, err := exec.LookPath("genisoimage")
	if err != nil {
		t.Skip("genisoimage is not installed")
	}
	b, err := practice.WIM(ctx, "amd64", wim.Delete("Windows/Boot"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sources", "boot.wim"), b)
	write(t, filepath.Join(dir, "sources", "install.esd"), b)
	write(t, filepath.Join(dir, "efi", "boot", "bootx64.efi"), practice.Loader("amd64"))
	for _, f := range []string{"efi/microsoft/boot/bcd", "efi/microsoft/boot/efisys.bin", "boot/boot.sdi", "boot/etfsboot.com", "boot/bcd", "bootmgr"} {
		write(t, filepath.Join(dir, f), bytes.Repeat([]byte(f), 200))
	}
	disc := filepath.Join(t.TempDir(), "win.iso")
	if text, err := exec.Command(mk, "-quiet", "-udf", "-o", disc, dir).CombinedOutput(); err != nil { //nolint:noctx // a test
		t.Fatal(string(text))
	}
	s := spec(t, "amd64")
	s.Source, s.Format = disc, media.ISO
	out, r := build(t, s)
	root, _ := open(t, out)
	if got, err := fs.ReadFile(root, "EFI/Microsoft/Boot/efisys.bin"); err != nil || !bytes.HasPrefix(got, []byte("efi/microsoft/boot/efisys.bin")) {
		t.Errorf("Microsoft's efisys.bin was not taken: %v", err)
	}
	in, err := media.Inspect(ctx, out)
	if err != nil || !in.BIOS {
		t.Errorf("%+v, %v", in, err)
	}
	if text := fmt.Sprint(r.Warnings); strings.Contains(text, "etfsboot") || !strings.Contains(text, "boot.stl") {
		t.Errorf("warnings: %s", text)
	}
	s.WinRE = true
	if _, err := media.Build(ctx, s, filepath.Join(t.TempDir(), "o")); err == nil || !strings.Contains(strings.Join(hint.Of(err), ""), "Export-Image") {
		t.Errorf("install.esd: %v", err)
	}
}

func TestCancel(t *testing.T) {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	dir := t.TempDir()
	if _, err := media.Build(cancelled, spec(t, "amd64"), filepath.Join(dir, "out.img")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
