package wim_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

var when = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func blank() []byte {
	return wim.Blank(wim.Image{Name: "PE <1> & more", Description: "made by a test", Architecture: "amd64"}, when)
}

func inject(t testing.TB, src []byte, o wim.Options, changes ...wim.Change) []byte {
	t.Helper()
	var out bytes.Buffer
	rep, err := wim.Inject(context.Background(), bytes.NewReader(src), int64(len(src)), &out, o, changes)
	if err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != rep.NewSize {
		t.Fatalf("wrote %d bytes, planned %d", out.Len(), rep.NewSize)
	}
	return out.Bytes()
}

func small(t testing.TB) []byte {
	return inject(t, blank(), wim.Options{Time: when},
		wim.PutBytes("Windows/System32/startnet.cmd", []byte("wpeinit\r\n")),
		wim.PutBytes("Windows/System32/Recovery/Winre.wim", bytes.Repeat([]byte("re"), 40000)),
		wim.PutBytes("empty.txt", nil), wim.PutBytes("b/copy.cmd", []byte("wpeinit\r\n")))
}

func TestBlankIsFilledAndRead(t *testing.T) {
	w := small(t)
	f, err := wim.Open(bytes.NewReader(w), int64(len(w)))
	if err != nil {
		t.Fatal(err)
	}
	im := f.Images()[0]
	if im.Name != "PE <1> & more" || im.Architecture != "amd64" || im.Files != 4 || !im.Boot {
		t.Errorf("%+v", im)
	}
	fsys, err := f.FS(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(fsys, "Windows/System32/startnet.cmd", "empty.txt", "b/copy.cmd"); err != nil {
		t.Error(err)
	}
	var re bytes.Buffer
	if _, err := f.ExtractWinRE(context.Background(), 1, &re); err != nil || re.Len() != 80000 {
		t.Errorf("%v, %d bytes", err, re.Len())
	}
	e, err := f.Stat(1, `WINDOWS\system32\STARTNET.cmd`)
	if err != nil || e.Path != "Windows/System32/startnet.cmd" || !e.Modified.Equal(when) {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := f.Stat(1, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if out, err := os.CreateTemp(t.TempDir(), "*.wim"); err == nil {
		out.Write(w)
		out.Close()
		needWimlib(t)
		wimlib(t, "verify", out.Name())
	}
}

func TestSameInputSameBytes(t *testing.T) {
	if a, b := small(t), small(t); !bytes.Equal(a, b) {
		t.Error("two builds differ")
	}
	again := inject(t, small(t), wim.Options{}, wim.PutBytes("x", []byte("x")))
	other := inject(t, small(t), wim.Options{}, wim.PutBytes("x", []byte("x")))
	if !bytes.Equal(again, other) {
		t.Error("two builds without a time differ")
	}
	if bytes.Equal(again[24:40], small(t)[24:40]) {
		t.Error("the copy has the GUID of its source")
	}
}

func TestRefusals(t *testing.T) {
	put := func(off int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[off:], v); return b }
	}
	tests := []struct {
		name   string
		change func([]byte) []byte
		kind   wim.Kind
		remedy string
	}{
		{"solid", put(12, 0xe00), wim.Solid, "Export"},
		{"lzms", put(16, 0x80002), wim.Solid, "Export"},
		{"split", put(40, 1|2<<16), wim.Split, "Join"},
		{"writing", put(16, 0x40), wim.WriteInProgress, "original"},
		{"pipable", func(b []byte) []byte { copy(b, "WLPWM"); return b }, wim.Pipable, "--not-pipable"},
		{"chunks of what is not compressed", put(20, 0x1300), wim.ChunkSize, "32768"},
		{"chunks", func(b []byte) []byte { put(16, 0x40002)(b); return put(20, 65536)(b) }, wim.ChunkSize, "32768"},
		{"codec", put(16, 0x200002), wim.Codec, "LZX"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.change(small(t))
			_, err := wim.Inject(context.Background(), bytes.NewReader(w), int64(len(w)), io.Discard, wim.Options{}, []wim.Change{wim.Mkdir("x")})
			var u *wim.UnsupportedError
			if !errors.As(err, &u) || u.Kind != tt.kind || !strings.Contains(strings.Join(hint.Of(err), " "), tt.remedy) {
				t.Errorf("%v, hints %q", err, hint.Of(err))
			}
		})
	}
	if _, err := wim.Open(strings.NewReader("MZ this is no WIM at all"), 24); !errors.Is(err, wim.ErrNotWIM) {
		t.Error(err)
	}
}

// TestReadOnlyMark: the mark protects the source, which is only read; the copy is for somebody else.
func TestReadOnlyMark(t *testing.T) {
	w := small(t)
	w[16] |= 4
	copied := inject(t, w, wim.Options{}, wim.Mkdir("x"))
	if f, err := wim.Open(bytes.NewReader(copied), int64(len(copied))); err != nil || f.Verify(context.Background()) != nil || copied[16]&4 != 0 || w[16]&4 == 0 {
		t.Errorf("%v, flags %#x", err, copied[16])
	}
}

func TestTruncationSaysWhere(t *testing.T) {
	w := small(t)
	for _, n := range []int{20, 150, 208, 400, 40000, len(w) - 1} {
		_, err := wim.Open(bytes.NewReader(w[:n]), int64(n))
		var tr *wim.TruncatedError
		if !errors.As(err, &tr) || tr.Size != int64(n) || tr.Need <= int64(n) || len(hint.Of(err)) == 0 {
			t.Errorf("at %d: %v", n, err)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	w := small(t)
	i := bytes.Index(w, []byte("rererere"))
	w[i+100] ^= 1
	f, err := wim.Open(bytes.NewReader(w), int64(len(w)))
	if err != nil {
		t.Fatal(err)
	}
	var c *wim.CorruptError
	if _, err := f.ReadFile(1, wim.WinREPath, 1<<20); !errors.As(err, &c) {
		t.Errorf("damaged content read: %v", err)
	}
	if err := f.Verify(context.Background()); !errors.As(err, &c) {
		t.Error(err)
	}
}

func TestBadChanges(t *testing.T) {
	w := small(t)
	f, err := wim.Open(bytes.NewReader(w), int64(len(w)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []wim.Change{
		wim.PutBytes("", nil), wim.PutBytes("a/../b", nil), wim.PutBytes("a:b", nil), wim.PutBytes("dot.", nil),
		wim.PutBytes("Windows", []byte("x")), wim.PutBytes("empty.txt/below", []byte("x")), wim.Mkdir("empty.txt"),
		wim.Delete("not there"), {Op: "rename", Path: "x"}, {Op: wim.OpPut, Path: "x"}, wim.PutFile("x", filepath.Join(t.TempDir(), "none")),
		wim.PutBytes(strings.Repeat("n", 256), nil),
	} {
		if _, err := f.Plan(context.Background(), wim.Options{}, []wim.Change{c}); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
	if _, err := f.Plan(context.Background(), wim.Options{Image: 2}, nil); !errors.Is(err, wim.ErrNoImage) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Plan(ctx, wim.Options{}, []wim.Change{wim.Mkdir("x")}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestContentThatChangesIsAnError(t *testing.T) {
	w := small(t)
	n := 0
	c := wim.Change{Op: wim.OpPut, Path: "x", Open: func() (io.ReadCloser, error) {
		n++
		return io.NopCloser(strings.NewReader(strings.Repeat("x", n))), nil
	}}
	_, err := wim.Inject(context.Background(), bytes.NewReader(w), int64(len(w)), io.Discard, wim.Options{}, []wim.Change{c})
	if err == nil || !strings.Contains(err.Error(), "changed since") {
		t.Error(err)
	}
}

func TestFileAppearsOnlyWhenComplete(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "boot.wim"), filepath.Join(dir, "new.wim")
	write(t, src, small(t))
	ctx := context.Background()
	if _, err := wim.InjectFile(ctx, src, src, wim.Options{}, nil); err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("wrote over the source: %v", err)
	}
	n := 0
	bad := wim.Change{Op: wim.OpPut, Path: "x", Open: func() (io.ReadCloser, error) {
		if n++; n > 1 {
			return nil, errors.New("gone")
		}
		return io.NopCloser(strings.NewReader("x")), nil
	}}
	if _, err := wim.InjectFile(ctx, src, dst, wim.Options{}, []wim.Change{bad}); err == nil {
		t.Error("no error")
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	if _, err := wim.InjectFile(ctx, src, dst, wim.Options{}, []wim.Change{wim.PutBytes("x", []byte("x"))}); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(dst)
	if b := inject(t, small(t), wim.Options{}, wim.PutBytes("x", []byte("x"))); !bytes.Equal(a, b) {
		t.Error("the file differs from the stream")
	}
}

// WrongCounts: a table that counts one reference for a content that two names use must not lose it.
func TestWrongReferenceCountsLoseNothing(t *testing.T) {
	w := small(t)
	table := binary.LittleEndian.Uint64(w[56:])
	for o := table; o < table+uint64(binary.LittleEndian.Uint32(w[48:])); o += 50 {
		binary.LittleEndian.PutUint32(w[o+26:], 1)
	}
	w = inject(t, w, wim.Options{}, wim.Delete("b/copy.cmd"))
	f, err := wim.Open(bytes.NewReader(w), int64(len(w)))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestMain(m *testing.M) { leaktest.Main(m) }
