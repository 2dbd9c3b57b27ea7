package media_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// inspect returns the problems of a medium, joined.
func inspect(t *testing.T, name string) (*media.Inspection, string) {
	t.Helper()
	in, err := media.Inspect(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return in, strings.Join(in.Problems, "; ")
}

func TestInspectWIM(t *testing.T) {
	name := source(t, "arm64", wim.Delete("Windows/System32/reg.exe"))
	in, problems := inspect(t, name)
	if in.Kind != "WIM" || problems != "" || len(in.Images) != 1 || in.Images[0].Arch != "arm64" || !in.Images[0].Boots || len(in.Loaders) != 0 {
		t.Fatalf("%+v", in)
	}
	for _, c := range in.Images[0].Components {
		if c.Present != (c.Name != "registry" && c.Name != "dism" && c.Name != "powershell") {
			t.Errorf("%+v", c)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("chkdsk.exe of no Windows"))] ^= 1
	if _, problems := inspect(t, write(t, name, b)); !strings.Contains(problems, `file "Windows/System32/chkdsk.exe" of image 1`) {
		t.Errorf("a damaged file inside: %q", problems)
	}
	if _, err := media.Inspect(ctx, write(t, name, b[:len(b)-900])); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("cut off: %v", err)
	}
	if _, err := media.Verify(ctx, source(t, "amd64")); err == nil || !strings.Contains(err.Error(), "no sums.sha256") {
		t.Errorf("verify of a WIM: %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := media.Inspect(done, name); !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "cut off") {
		t.Errorf("cancelled: %v", err)
	}
}

// TestInspectFindsWhatDoesNotStart: damage in the image that starts, and a boot file of another processor under the name.
func TestInspectFindsWhatDoesNotStart(t *testing.T) {
	for _, format := range []media.Format{media.USB, media.ISO} {
		s := spec(t, "amd64")
		s.Format = format
		out, _ := build(t, s)
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte("chkdsk.exe of no Windows"))
		b[at] ^= 1
		if _, problems := inspect(t, write(t, out, b)); !strings.Contains(problems, `sources/boot.wim: WIM is damaged: file "Windows/System32/chkdsk.exe" of image 1`) {
			t.Errorf("%s, damaged: %q", format, problems)
		}
		b[at] ^= 1
		loader := practice.Loader("amd64")
		for at := 0; ; at += len(loader) {
			next := bytes.Index(b[at:], loader)
			if next < 0 {
				break
			}
			at += next
			if bytes.HasPrefix(b[at-208:], []byte("MSWIM")) { // its copy in the WIM stays as it is
				continue
			}
			copy(b[at:], practice.Loader("arm64"))
		}
		if _, problems := inspect(t, write(t, out, b)); !strings.Contains(problems, "EFI/BOOT/BOOTX64.EFI is for arm64") {
			t.Errorf("%s, arm64 under the name of x64: %q", format, problems)
		}
	}
}

// TestStickKnowsItsPlace: the volume begins where its boot sector says.
func TestStickKnowsItsPlace(t *testing.T) {
	out, _ := build(t, spec(t, "amd64"))
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	table, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	at := table.Partitions[0].Offset
	if hidden := binary.LittleEndian.Uint32(b[at+28:]); int64(hidden)*512 != at {
		t.Errorf("%d hidden sectors before a volume at byte %d", hidden, at)
	}
}

// TestKilledBuildIsSwept: what a killed build left is gone before the next one needs the room.
func TestKilledBuildIsSwept(t *testing.T) {
	dir := t.TempDir()
	left := write(t, filepath.Join(dir, ".fleetmend-KILLED.tmp"), make([]byte, 1000))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := media.Build(ctx, spec(t, "amd64"), filepath.Join(dir, "medium.img")); err != nil {
		t.Fatal(err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestSourcesThatAreNone is case 31 of what people give as a source: each is refused with its cause and the way out.
func TestSourcesThatAreNone(t *testing.T) {
	if _, err := exec.LookPath("wimlib-imagex"); err != nil {
		t.Skip("wimlib-imagex is not installed (Debian: wimtools)")
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	wimlib := func(args ...string) {
		t.Helper()
		if text, err := exec.Command("wimlib-imagex", args...).CombinedOutput(); err != nil { //nolint:noctx // a test
			t.Fatalf("%v: %v %s", args, err, text)
		}
	}
	noise := make([]byte, 3_000_000)
	for i := range noise {
		noise[i] = byte(i*i>>7) ^ byte(i*31)
	}
	whole, err := practice.WIM(ctx, "amd64", wim.PutBytes("a.bin", noise))
	if err != nil {
		t.Fatal(err)
	}
	write(t, in("whole.wim"), whole)
	wimlib("export", in("whole.wim"), "all", in("solid.esd"), "--solid")
	wimlib("split", in("whole.wim"), in("multi.swm"), "1")
	wimlib("export", in("whole.wim"), "all", in("pipable.wim"), "--pipable")
	write(t, in("cut.wim"), whole[:len(whole)-2000])
	write(t, in("empty.wim"), nil)
	write(t, in("junk.wim"), noise[:100_000])
	for name, want := range map[string]struct{ cause, wayOut string }{
		"solid.esd":   {"solid (ESD)", "dism /Export-Image"},
		"multi.swm":   {"part 1 of ", "wimlib-imagex join"},
		"multi2.swm":  {"part 2 of ", "wimlib-imagex join"},
		"pipable.wim": {"laid out to be piped", "wimlib-imagex optimize COPY.wim --not-pipable"},
		"cut.wim":     {"bytes missing", "copy it again"},
		"empty.wim":   {"neither a WIM nor an ISO", "winre.wim"},
		"junk.wim":    {"neither a WIM nor an ISO", "winre.wim"},
	} {
		s := spec(t, "amd64")
		s.Source = in(name)
		_, err := media.Build(ctx, s, in("out.img"))
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), want.cause) || !strings.Contains(strings.Join(hint.Of(err), " "), want.wayOut) {
			t.Errorf("%s: %v, hints %v", name, err, hint.Of(err))
		}
		if _, err := media.Inspect(ctx, in(name)); err == nil {
			t.Errorf("%s: inspect calls it a medium", name)
		}
		if _, err := os.Stat(in("out.img")); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
	// The way out is one.
	wimlib("export", in("pipable.wim"), "all", in("copy.wim"), "--pipable")
	wimlib("optimize", in("copy.wim"), "--not-pipable")
	s := spec(t, "amd64")
	s.Source = in("copy.wim")
	build(t, s)
	marked := bytes.Clone(whole)
	marked[16] |= 4 // read-only: only read
	s.Source = write(t, in("marked.wim"), marked)
	build(t, s)
}
