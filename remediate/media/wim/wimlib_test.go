package wim_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// Wimlib runs wimlib-imagex, the independent program that judges our files.
func wimlib(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("wimlib-imagex", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("wimlib-imagex %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func needWimlib(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("wimlib-imagex"); err != nil {
		t.Skip("wimlib-imagex is not installed (Debian: wimtools)")
	}
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Tree makes a directory that looks a little like Windows PE: text, executables, noise, empty files, empty
// directories, hard links, long names and names beyond ASCII.
func tree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	text := func(n int) []byte {
		var b bytes.Buffer
		for b.Len() < n {
			fmt.Fprintf(&b, "line %d of a file that compresses, %x\r\n", b.Len(), rng.IntN(1000))
		}
		return b.Bytes()[:n]
	}
	sys := filepath.Join(dir, "Windows", "System32")
	write(t, filepath.Join(sys, "startnet.cmd"), []byte("wpeinit\r\n"))
	write(t, filepath.Join(sys, "winpeshl.ini"), []byte("[LaunchApps]\r\nX:\\sources\\recovery\\recenv.exe\r\n"))
	write(t, filepath.Join(sys, "config", "SYSTEM"), text(300_000))
	write(t, filepath.Join(sys, "Recovery", "Winre.wim"), noise(100_000))
	write(t, filepath.Join(sys, "noise.bin"), noise(200_001))
	write(t, filepath.Join(sys, "empty.txt"), nil)
	write(t, filepath.Join(sys, "exact.bin"), text(65536))
	write(t, filepath.Join(sys, "Übergröße mit Leerzeichen und ziemlich langem Namen.txt"), text(70_000))
	exe := append(text(10), bytes.Repeat([]byte{0xe8, 1, 2, 3, 0, 0x90, 0x48, 0x8b}, 9000)...)
	write(t, filepath.Join(sys, "calls.exe"), exe)
	write(t, filepath.Join(sys, "zeros.bin"), make([]byte, 1<<20))
	for i := range 200 {
		write(t, filepath.Join(sys, "drivers", fmt.Sprintf("driver%03d.sys", i)), text(100+i*37))
	}
	if err := os.MkdirAll(filepath.Join(dir, "Users", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"linked.dll", "linked2.dll"} {
		if err := os.Link(filepath.Join(sys, "exact.bin"), filepath.Join(sys, l)); err != nil {
			t.Skipf("no hard links here: %v", err)
		}
	}
	return dir
}

func capture(t testing.TB, dir string, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "boot.wim")
	wimlib(t, append([]string{"capture", dir, name, "Microsoft Windows PE (amd64)", "--boot"}, args...)...)
	return name
}

func open(t testing.TB, name string) *wim.File {
	t.Helper()
	r, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	st, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := wim.Open(r, st.Size())
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	return f
}

var kinds = map[string][]string{
	"LZX":           {"--compress=LZX", "--check"},
	"XPRESS":        {"--compress=XPRESS", "--check"},
	"none":          {"--compress=none"},
	"LZX-unchecked": {"--compress=LZX"},
}

func TestReadsWhatWimlibWrote(t *testing.T) {
	needWimlib(t)
	dir := tree(t)
	for name, args := range kinds {
		t.Run(name, func(t *testing.T) {
			f := open(t, capture(t, dir, args...))
			if want := strings.TrimSuffix(name, "-unchecked"); f.Compression() != want {
				t.Errorf("compression %s, want %s", f.Compression(), want)
			}
			if err := f.Verify(context.Background()); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			err := f.Walk(context.Background(), 1, func(e wim.Entry) error {
				seen[e.Path] = true
				if e.Dir {
					return nil
				}
				want, err := os.ReadFile(filepath.Join(dir, e.Path))
				if err != nil {
					return err
				}
				r, _, err := f.OpenFile(1, strings.ToUpper(e.Path))
				if err != nil {
					return err
				}
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, want) || e.Size != int64(len(want)) {
					t.Errorf("%s: %d bytes (%v), want %d", e.Path, len(got), err, len(want))
				}
				return r.Close()
			})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			filepath.WalkDir(dir, func(p string, _ os.DirEntry, _ error) error {
				n++
				if rel, _ := filepath.Rel(dir, p); rel != "." && !seen[rel] {
					t.Errorf("%s is missing", rel)
				}
				return nil
			})
			if im := f.Images()[0]; len(seen) != n || im.Name != "Microsoft Windows PE (amd64)" || !im.Boot || im.Files+im.Dirs != int64(n) {
				t.Errorf("%d of %d names, image %+v", len(seen), n, im)
			}
		})
	}
}

func TestInjectedWIMIsRightForWimlib(t *testing.T) {
	needWimlib(t)
	dir := tree(t)
	big := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(big)
	changes := []wim.Change{
		wim.PutBytes(`windows\system32\STARTNET.CMD`, []byte("wpeinit\r\nfleetmend-pe\r\n")),
		wim.PutBytes("Windows/System32/fleetmend-pe.exe", big),
		wim.PutBytes("fleetmend/copy/of it.exe", big),
		wim.PutBytes("fleetmend/empty.txt", nil),
		wim.PutBytes("Windows/System32/linked.dll", []byte("no longer linked")),
		wim.PutBytes("Windows/System32/empty.txt", []byte("not empty now")),
		wim.PutBytes("Windows/System32/calls.exe", nil),
		wim.PutBytes("transient.bin", []byte("put and deleted")),
		wim.Delete("transient.bin"),
		wim.Delete("Windows/System32/winpeshl.ini"),
		wim.Delete("Windows/System32/drivers"),
		{Op: wim.OpDelete, Path: "not/there", Optional: true},
		wim.Mkdir("fleetmend/playbooks/Prüfung"),
	}
	for name, args := range kinds {
		t.Run(name, func(t *testing.T) {
			src := capture(t, dir, args...)
			before, _ := os.ReadFile(src)
			dst := filepath.Join(t.TempDir(), "new.wim")
			rep, err := wim.InjectFile(context.Background(), src, dst, wim.Options{}, changes)
			if err != nil {
				t.Fatal(err)
			}
			if after, _ := os.ReadFile(src); !bytes.Equal(before, after) {
				t.Error("the source changed")
			}
			if st, _ := os.Stat(dst); st.Size() != rep.NewSize || rep.Shared != int64(len(big)) {
				t.Errorf("report %+v, size %d", rep, st.Size())
			}
			expectTree(t, dir, dst, "1")
			f := open(t, dst)
			if err := f.Verify(context.Background()); err != nil {
				t.Error(err)
			}
			checkCounts(t, dst, f)

			// Wimlib goes on with our file.
			add := filepath.Join(t.TempDir(), "later.txt")
			write(t, add, []byte("added by wimlib"))
			wimlib(t, "update", dst, "1", "--command=add "+add+" /later.txt")
			wimlib(t, "optimize", dst, "--recompress")
			wimlib(t, "verify", dst)
			if err := open(t, dst).Verify(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// ExpectTree lets wimlib apply the image and compares with the tree changed by hand.
func expectTree(t *testing.T, dir, dst, image string) {
	t.Helper()
	for line := range strings.Lines(wimlib(t, "verify", dst)) {
		if strings.Contains(line, "WARNING") && !strings.Contains(line, "does not contain integrity information") {
			t.Errorf("wimlib warns: %s", line)
		}
	}
	want := filepath.Join(t.TempDir(), "want")
	if out, err := exec.Command("cp", "-a", dir, want).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	big := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(big)
	sys := filepath.Join(want, "Windows", "System32")
	os.Remove(filepath.Join(sys, "linked.dll"))
	write(t, filepath.Join(sys, "startnet.cmd"), []byte("wpeinit\r\nfleetmend-pe\r\n"))
	write(t, filepath.Join(sys, "fleetmend-pe.exe"), big)
	write(t, filepath.Join(want, "fleetmend", "copy", "of it.exe"), big)
	write(t, filepath.Join(want, "fleetmend", "empty.txt"), nil)
	write(t, filepath.Join(sys, "linked.dll"), []byte("no longer linked"))
	write(t, filepath.Join(sys, "empty.txt"), []byte("not empty now"))
	write(t, filepath.Join(sys, "calls.exe"), nil)
	os.Remove(filepath.Join(sys, "winpeshl.ini"))
	os.RemoveAll(filepath.Join(sys, "drivers"))
	os.MkdirAll(filepath.Join(want, "fleetmend", "playbooks", "Prüfung"), 0o755)
	got := filepath.Join(t.TempDir(), "got")
	wimlib(t, "apply", dst, image, got)
	if out, err := exec.Command("diff", "-r", want, got).CombinedOutput(); err != nil {
		t.Errorf("diff -r: %v\n%s", err, out)
	}
	a, _ := os.Stat(filepath.Join(got, "Windows/System32/exact.bin"))
	b, _ := os.Stat(filepath.Join(got, "Windows/System32/linked2.dll"))
	c, _ := os.Stat(filepath.Join(got, "Windows/System32/linked.dll"))
	if !os.SameFile(a, b) || os.SameFile(a, c) {
		t.Error("hard links are not as expected")
	}
}

// CheckCounts compares our XML and reference counts with those that wimlib works out itself when it exports.
func checkCounts(t *testing.T, name string, ours *wim.File) {
	t.Helper()
	again := filepath.Join(t.TempDir(), "again.wim")
	wimlib(t, "export", name, "1", again, "--boot")
	theirs := open(t, again).Images()[0]
	if got := ours.Images()[0]; got.Files != theirs.Files || got.Dirs != theirs.Dirs || got.Bytes != theirs.Bytes {
		t.Errorf("counts %+v, wimlib %+v", got, theirs)
	}
	hard := func(file string) (string, []string) {
		var refs []string
		for _, l := range strings.Split(wimlib(t, "info", file, "--blobs"), "\n") {
			if strings.Contains(l, "Hash") || strings.Contains(l, "Reference Count") {
				refs = append(refs, strings.TrimSpace(l))
			}
		}
		for _, l := range strings.Split(wimlib(t, "info", file), "\n") {
			if strings.Contains(l, "Hard Link Bytes") {
				return l, refs
			}
		}
		return "", refs
	}
	a, ra := hard(name)
	b, rb := hard(again)
	if a != b {
		t.Errorf("%s, wimlib: %s", a, b)
	}
	count := func(l []string) map[string]string {
		m := map[string]string{}
		for i := 0; i+1 < len(l); i += 2 {
			m[l[i]] = l[i+1]
		}
		return m
	}
	ma, mb := count(ra), count(rb)
	if len(ma) < 5 {
		t.Fatalf("no reference counts read: %v", ra)
	}
	diff := 0
	for h, n := range mb {
		if ma[h] != n {
			diff++
		}
	}
	if diff > 1 { // the metadata itself differs
		t.Errorf("%d reference counts differ: %v %v", diff, ma, mb)
	}
}

func TestOnlyTheChosenImageChanges(t *testing.T) {
	needWimlib(t)
	dir := tree(t)
	name := capture(t, dir, "--compress=LZX", "--check")
	other := t.TempDir()
	write(t, filepath.Join(other, "setup.exe"), []byte("setup"))
	write(t, filepath.Join(other, "Windows", "System32", "startnet.cmd"), []byte("wpeinit\r\n"))
	wimlib(t, "append", other, name, "Microsoft Windows Setup (amd64)", "Second image", "--boot")
	f := open(t, name)
	if f.BootIndex() != 2 || len(f.Images()) != 2 {
		t.Fatalf("boot %d, %d images", f.BootIndex(), len(f.Images()))
	}
	im, err := f.Pick("microsoft windows setup (amd64)")
	if err != nil || im.Index != 2 || im.Description != "Second image" {
		t.Fatalf("%+v %v", im, err)
	}
	first := f.Images()[0]
	dst := filepath.Join(t.TempDir(), "new.wim")
	if _, err := wim.InjectFile(context.Background(), name, dst, wim.Options{}, []wim.Change{
		wim.Delete("Windows/System32/startnet.cmd"), wim.PutBytes("a.txt", []byte("a")),
	}); err != nil {
		t.Fatal(err)
	}
	wimlib(t, "verify", dst)
	g := open(t, dst)
	if g.Images()[0].Files != first.Files || g.Images()[1].Files != 2 {
		t.Errorf("%+v", g.Images())
	}
	if _, err := g.Stat(1, "Windows/System32/startnet.cmd"); err != nil {
		t.Error(err)
	}
	got := filepath.Join(t.TempDir(), "got")
	wimlib(t, "apply", dst, "1", got)
	if out, err := exec.Command("diff", "-r", dir, got).CombinedOutput(); err != nil {
		t.Errorf("image 1 changed: %s", out)
	}
	// And image 1 by choice, made the boot image.
	if _, err := wim.InjectFile(context.Background(), name, dst, wim.Options{Image: 1, SetBoot: true}, []wim.Change{wim.PutBytes("b.txt", []byte("b"))}); err != nil {
		t.Fatal(err)
	}
	if out := wimlib(t, "info", dst); !strings.Contains(out, "Boot Index:     1") {
		t.Errorf("boot index: %s", out)
	}
	wimlib(t, "verify", dst)
}
