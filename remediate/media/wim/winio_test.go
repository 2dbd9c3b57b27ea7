//go:build linux || windows

package wim_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	winio "github.com/Microsoft/go-winio/wim"

	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// A second independent reader: Microsoft's own Go package.
func TestGoWinioReadsOurs(t *testing.T) {
	needWimlib(t)
	dir := tree(t)
	big := bytes.Repeat([]byte("fleetmend "), 100_000)
	src := open(t, capture(t, dir, "--compress=LZX", "--check"))
	p, err := src.Plan(context.Background(), wim.Options{}, []wim.Change{
		wim.PutBytes("Windows/System32/fleetmend-pe.exe", big), wim.Delete("Windows/System32/zeros.bin"), wim.Delete("Users/empty")})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if b.Bytes()[96+7]&4 == 0 {
		t.Error("the metadata of the boot image are not compressed")
	}
	ours, err := wim.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	r, err := winio.NewReader(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	root, err := r.Image[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	files, names := 0, 0
	var walk func(*winio.File, string)
	walk = func(d *winio.File, path string) {
		names++
		list, err := d.Readdir()
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		for _, f := range list {
			p := path + "/" + f.Name
			if f.IsDir() {
				walk(f, p)
				continue
			}
			files, names = files+1, names+1
			s, err := f.Open()
			if err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			got, err := io.ReadAll(s)
			if err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			s.Close()
			want, err := ours.ReadFile(1, p, 1<<24)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%q: %d bytes, we read %d (%v)", p, len(got), len(want), err)
			}
		}
	}
	walk(root, "")
	n := 0
	if err := ours.Walk(context.Background(), 1, func(wim.Entry) error { n++; return nil }); err != nil || n != names || files < 200 {
		t.Errorf("go-winio sees %d names (%d files), we %d, %v", names, files, n, err)
	}
}
