package fat_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
)

func checkOurs(t testing.TB, image string, m map[string][]byte, o fat.Options) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, _ := f.Stat()
	v, err := fat.Open(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	if v.Label() != o.Label || v.Type() != o.Type || v.Serial() == 0 {
		t.Errorf("label %q, %v, serial %x", v.Label(), v.Type(), v.Serial())
	}
	n := 0
	err = fs.WalkDir(v, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		got, err := fs.ReadFile(v, p)
		if want, ok := m[p]; !ok || !bytes.Equal(got, want) {
			t.Errorf("%q: known %v, %d bytes, want %d (%v)", p, ok, len(got), len(want), err)
		}
		if i, _ := d.Info(); !i.ModTime().Equal(when) {
			t.Errorf("%q: time %v", p, i.ModTime())
		}
		return err
	})
	if err != nil || n != len(m) {
		t.Errorf("%d of %d files, %v", n, len(m), err)
	}
	if got, err := fs.ReadFile(v, "efi/microsoft/BOOT/bcd"); err != nil || !bytes.Equal(got, m["EFI/Microsoft/Boot/BCD"]) {
		t.Errorf("case: %v", err)
	}
}

func small(t testing.TB, o fat.Options) []byte {
	t.Helper()
	p, err := fat.NewPlan(o, []content.Entry{content.Bytes("EFI/BOOT/BOOTX64.EFI", bytes.Repeat([]byte("boot"), 500)), content.Bytes("readme with a long name.txt", []byte("hello"))})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHiddenSectors: the volume knows how many sectors of its disk lie before it; boot code and Windows add them to every
// address (FAT specification 1.03, BPB_HiddSec), and fsck does not look.
func TestHiddenSectors(t *testing.T) {
	for _, kind := range []fat.Type{fat.FAT12, fat.FAT16, fat.FAT32} {
		size := map[fat.Type]int64{fat.FAT12: 200 << 10, fat.FAT16: 20 << 20, fat.FAT32: 40 << 20}[kind]
		b := small(t, fat.Options{Type: kind, Size: size, Hidden: 0x12345678})
		if got := binary.LittleEndian.Uint32(b[28:]); got != 0x12345678 {
			t.Errorf("%v: %#x", kind, got)
		}
		if kind == fat.FAT32 && !bytes.Equal(b[:512], b[6*512:7*512]) {
			t.Error("the copy of the boot sector differs")
		}
	}
}

func TestFSRules(t *testing.T) {
	b := small(t, fat.Options{Type: fat.FAT12, Size: 200 << 10})
	v, err := fat.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(v, "EFI/BOOT/BOOTX64.EFI", "readme with a long name.txt"); err != nil {
		t.Error(err)
	}
	f, err := v.Open("EFI/BOOT/BOOTX64.EFI")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4)
	if _, err := f.(io.ReaderAt).ReadAt(p, 1996); err != nil || string(p) != "boot" {
		t.Errorf("%q %v", p, err)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	m := contents()
	build := func() []byte {
		p, err := fat.NewPlan(fat.Options{Type: fat.FAT16, Size: 20 << 20, Label: "x", Time: when}, entries(m)) // the order of a map differs
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := p.WriteTo(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if !bytes.Equal(build(), build()) {
		t.Error("two builds differ")
	}
}

func TestRefusals(t *testing.T) {
	var large *fat.FileTooLargeError
	_, err := fat.NewPlan(fat.Options{}, []content.Entry{{Path: "install.wim", Size: 1 << 32}})
	if !errors.As(err, &large) || large.Path != "install.wim" || len(hint.Of(err)) == 0 {
		t.Error(err)
	}
	open := func(context.Context) (io.ReadCloser, error) { return nil, errors.New("not opened by a plan") }
	if _, err := fat.NewPlan(fat.Options{}, []content.Entry{{Path: "install.wim", Size: fat.MaxFile, Open: open}}); err != nil {
		t.Error(err)
	}
	var space *fat.NoSpaceError
	_, err = fat.NewPlan(fat.Options{Size: 100 << 20}, []content.Entry{{Path: "boot.wim", Size: 300 << 20, Open: open}})
	if !errors.As(err, &space) || space.Missing() < 200<<20 || space.Missing() > 210<<20 || len(hint.Of(err)) == 0 {
		t.Error(err)
	} else if _, err := fat.NewPlan(fat.Options{Size: space.Need}, []content.Entry{{Path: "boot.wim", Size: 300 << 20, Open: open}}); err != nil {
		t.Errorf("the size it asks for is not enough: %v", err)
	}
	if _, err := fat.NewPlan(fat.Options{Size: 10 << 20}, nil); !errors.As(err, &space) {
		t.Errorf("10 MiB of FAT32: %v", err)
	}
	for _, list := range [][]content.Entry{
		{content.Bytes("a", nil), content.Bytes("A", nil)}, {content.Bytes("a", nil), content.Bytes("a/b", nil)}, {content.Bytes("a:b", nil)}, {content.Bytes("a/../b", nil)},
		{content.Bytes("", nil)}, {content.Bytes("dot.", nil)}, {content.Bytes(strings.Repeat("x", 256), nil)}, {{Path: "x", Size: 4}},
	} {
		if _, err := fat.NewPlan(fat.Options{}, list); err == nil {
			t.Errorf("%q accepted", list[len(list)-1].Path)
		}
	}
	for _, label := range []string{"TWELVE CHARS", "Ü", "a/b"} {
		if _, err := fat.NewPlan(fat.Options{Label: label}, nil); err == nil {
			t.Errorf("label %q accepted", label)
		}
	}
}

// The size that an error asks for is enough, whatever the files and the cluster size that goes with the volume.
func TestAskedSizeIsEnough(t *testing.T) {
	open := func(context.Context) (io.ReadCloser, error) { return nil, errors.New("not opened by a plan") }
	for _, tt := range []struct {
		files int
		each  int64
		have  int64
	}{{1, 1, 1 << 20}, {1, 70 << 20, 40 << 20}, {20000, 100, 34 << 20}, {90000, 2000, 261 << 20}, {90000, 2000, 200 << 20}, {3, 3 << 30, 8 << 30}, {2, 4 << 29, 2046 << 20}} {
		var list []content.Entry
		for i := range tt.files {
			list = append(list, content.Entry{Path: fmt.Sprintf("d%d/f%d", i/1000, i), Size: tt.each, Open: open})
		}
		_, err := fat.NewPlan(fat.Options{Size: tt.have}, list)
		var space *fat.NoSpaceError
		if err == nil {
			continue
		}
		if !errors.As(err, &space) || space.Missing() <= 0 {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if _, err := fat.NewPlan(fat.Options{Size: space.Need}, list); err != nil {
			t.Errorf("%+v: %d bytes were asked for, and then: %v", tt, space.Need, err)
		}
	}
}

func TestContentMustHaveItsSize(t *testing.T) {
	for _, size := range []int64{3, 5} {
		e := content.Bytes("x.txt", []byte("four"))
		e.Size = size
		p, err := fat.NewPlan(fat.Options{Type: fat.FAT12}, []content.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.WriteTo(context.Background(), io.Discard); err == nil || !strings.Contains(err.Error(), "x.txt") {
			t.Errorf("size %d: %v", size, err)
		}
	}
	p, _ := fat.NewPlan(fat.Options{Type: fat.FAT12}, []content.Entry{content.Bytes("x", []byte("x"))})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.WriteTo(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	b := small(f, fat.Options{Type: fat.FAT12, Size: 24 << 10})
	f.Add(b)
	c := bytes.Clone(b)
	c[22], c[36], c[44], c[64] = 0, 2, 2, 0 // the same as FAT32
	f.Add(c)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		v, err := fat.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		n := 0
		fs.WalkDir(v, ".", func(p string, d fs.DirEntry, err error) error {
			if n++; n > 200 {
				return fs.SkipAll
			}
			if err == nil && !d.IsDir() {
				if r, err := v.Open(p); err == nil {
					io.Copy(io.Discard, io.LimitReader(r, 1<<20))
				}
			}
			return nil
		})
	})
}
