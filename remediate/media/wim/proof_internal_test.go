package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fileOf is a WIM of one image with the given files, nothing compressed.
func fileOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	b := Blank(Image{Name: "n"}, fileTime(1<<57))
	var changes []Change
	for name, text := range files {
		changes = append(changes, PutBytes(name, []byte(text)))
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	var out bytes.Buffer
	if _, err := Inject(t.Context(), bytes.NewReader(b), int64(len(b)), &out, Options{}, changes); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openBytes(t *testing.T, b []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestProofOfWhatLiesOverAnother: resources that share bytes are each proven, whatever their order in the table.
func TestProofOfWhatLiesOverAnother(t *testing.T) {
	b := fileOf(t, map[string]string{"a": "content of a file", "b": "content of another"})
	f := openBytes(t, b)
	at := int64(bytes.Index(b, []byte("content of a file")))
	inner := &blob{resource: resource{4, 0, at + 13, 4}, hash: sha1.Sum([]byte("file"))}
	twice := &blob{resource: resource{17, 0, at, 17}, hash: sha1.Sum([]byte("content of a file"))}
	good := append(slices.Clone(f.blobs), inner, twice)
	prove := func(blobs []*blob) error {
		p := f.newProof(t.Context(), blobs)
		_, err := io.CopyBuffer(p, onlyReader{bytes.NewReader(b[headerSize:])}, make([]byte, 7))
		return p.finish(err)
	}
	if err := prove(good); err != nil {
		t.Error(err)
	}
	slices.Reverse(good)
	if err := prove(good); err != nil {
		t.Error(err)
	}
	wrong := *inner
	wrong.hash[0] ^= 1
	if err := prove(append(slices.Clone(f.blobs), &wrong)); !errors.As(err, new(*CorruptError)) || !strings.Contains(err.Error(), "which no file uses") {
		t.Errorf("a wrong one over another: %v", err)
	}
}

// TestProofTellsTheFirst: of many that are damaged the first is told, by its name, and what is missing at the end is noticed.
func TestProofTellsTheFirst(t *testing.T) {
	files := map[string]string{}
	for _, c := range "abcdefghij" {
		files["dir/"+string(c)] = strings.Repeat(string(c), 1000)
	}
	b := fileOf(t, files)
	for _, c := range "dfi" {
		b[bytes.Index(b, []byte(files["dir/"+string(c)]))] ^= 1
	}
	f := openBytes(t, b)
	if err := f.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), `file "dir/d" of image 1`) {
		t.Error(err)
	}
	p := f.newProof(t.Context(), f.blobs)
	_, err := p.Write(b[headerSize : headerSize+500])
	if err := p.finish(err); !errors.As(err, new(*TruncatedError)) || !strings.Contains(err.Error(), `"dir/a"`) {
		t.Errorf("cut off: %v", err)
	}
	broken := errors.New("broken")
	p = f.newProof(t.Context(), f.blobs)
	_, _ = p.Write(b[headerSize : headerSize+500])
	if err := p.finish(broken); err != broken { //nolint:errorlint // exactly the caller's
		t.Errorf("the caller's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestHeaderComesLast: a copy that could not be finished is no WIM.
func TestHeaderComesLast(t *testing.T) {
	b := fileOf(t, map[string]string{"a": "content of a file"})
	f := openBytes(t, b)
	opened := 0
	broken := errors.New("broken")
	p, err := f.Plan(t.Context(), Options{}, []Change{{Op: OpPut, Path: "x", Open: func() (io.ReadCloser, error) {
		if opened++; opened > 1 {
			return nil, broken
		}
		return io.NopCloser(strings.NewReader("new")), nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.wim")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.writeFile(t.Context(), out), out.Close()); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	left, err := os.ReadFile(name)
	if err != nil || len(left) <= headerSize {
		t.Fatalf("%d bytes, %v", len(left), err)
	}
	if _, err := Open(bytes.NewReader(left), int64(len(left))); !errors.Is(err, ErrNotWIM) {
		t.Errorf("half a copy opens: %v", err)
	}
}
