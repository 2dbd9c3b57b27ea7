package content_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/content"
)

func TestEntries(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := content.File("a", name)
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{"d/y": {Data: []byte("from a file system")}}
	other, err := content.FromFS("b", fsys, "d/y")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := content.NewWriter(&b)
	for _, e := range []content.Entry{file, other, content.Bytes("c", []byte("from memory"))} {
		w.Content(context.Background(), e)
		w.Zeros(2)
		w.Zeros(-1)
	}
	if err := w.Close(); err != nil || b.String() != "from a file\x00\x00from a file system\x00\x00from memory\x00\x00" || w.Len() != int64(b.Len()) {
		t.Errorf("%q %d %v", b.String(), w.Len(), err)
	}
	if _, err := content.File("a", filepath.Dir(name)); err == nil {
		t.Error("a directory taken as a file")
	}
	if _, err := content.FromFS("a", fsys, "d"); err == nil {
		t.Error("a directory taken as a file")
	}
	if _, err := content.File("a", name+"-none"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return f.left, errors.New("disk full")
	}
	f.left -= len(p)
	return len(p), nil
}

func TestFirstErrorStays(t *testing.T) {
	w := content.NewWriter(&full{3 << 20})
	opened := 0
	e := content.Entry{Path: "x", Size: 1, Open: func(context.Context) (io.ReadCloser, error) {
		opened++
		return io.NopCloser(strings.NewReader("x")), nil
	}}
	w.Zeros(10 << 20)
	w.Content(context.Background(), e)
	if err := w.Close(); err == nil || err.Error() != "disk full" || opened != 0 {
		t.Errorf("%v, opened %d times", err, opened)
	}
	for _, e := range []content.Entry{
		{Path: "bad.bin", Size: 2, Open: e.Open},
		{Path: "bad.bin", Size: 0, Open: e.Open},
		{Path: "bad.bin", Size: 1, Open: func(context.Context) (io.ReadCloser, error) { return nil, os.ErrPermission }},
		{Path: "bad.bin", Size: 1, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(fail{}), nil }},
	} {
		w := content.NewWriter(io.Discard)
		w.Content(context.Background(), e)
		if err := w.Close(); err == nil || !strings.Contains(err.Error(), "bad.bin") {
			t.Errorf("%+v: %v, hints %v", e, err, hint.Of(err))
		}
	}
}

type fail struct{}

func (fail) Read([]byte) (int, error) { return 0, errors.New("read error") }

// TestStream: the writer behind a stream is ended and waited for, also when nobody reads to the end.
func TestStream(t *testing.T) {
	ended := false
	write := func(ctx context.Context, w io.Writer) error {
		defer func() { ended = true }()
		for range 3 {
			if _, err := w.Write([]byte("abc")); err != nil {
				<-ctx.Done() // tells apart a Close that only ends the pipe
				return err
			}
		}
		return nil
	}
	r := content.Stream(context.Background(), write)
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "abcabcabc" || r.Close() != nil || !ended {
		t.Errorf("%q, %v, ended %v", got, err, ended)
	}
	ended = false
	r = content.Stream(context.Background(), write)
	if _, err := r.Read(make([]byte, 2)); err != nil || r.Close() != nil || !ended {
		t.Errorf("given up: %v, ended %v", err, ended)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r = content.Stream(ctx, func(ctx context.Context, _ io.Writer) error { <-ctx.Done(); return ctx.Err() })
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) || r.Close() != nil {
		t.Errorf("cancelled: %v", err)
	}
	broken := errors.New("broken")
	r = content.Stream(context.Background(), func(context.Context, io.Writer) error { return broken })
	if _, err := io.ReadAll(r); !errors.Is(err, broken) || r.Close() != nil {
		t.Errorf("a failure: %v", err)
	}
}
