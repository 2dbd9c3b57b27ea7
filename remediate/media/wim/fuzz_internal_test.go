package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

// exercise does everything with a WIM that callers do.
func exercise(t *testing.T, b []byte) {
	ctx := context.Background()
	w, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return
	}
	for _, im := range w.Images() {
		n := 0
		_ = w.Walk(ctx, im.Index, func(e Entry) error {
			if n++; n > 200 {
				return io.EOF
			}
			if r, _, err := w.OpenFile(im.Index, e.Path); err == nil {
				_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			}
			return nil
		})
	}
	_ = w.Verify(ctx)
	changes := []Change{PutBytes("a/b", []byte("c")), PutBytes("Windows/System32/startnet.cmd", []byte("x")), Delete("Windows/System32"), Delete("b")}
	p, err := w.Plan(ctx, Options{}, changes[:2])
	if err != nil {
		return
	}
	if q, err := w.Plan(ctx, Options{}, changes); err == nil {
		p = q
	}
	if p.Size() > 1<<24 {
		return
	}
	var n bytes.Buffer
	if err := p.WriteTo(ctx, &n); err != nil {
		return
	}
	if int64(n.Len()) != p.Size() {
		t.Fatalf("%d bytes, planned %d", n.Len(), p.Size())
	}
	if _, err := Open(bytes.NewReader(n.Bytes()), p.Size()); err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
}

func fuzzSeeds(f *testing.F) map[string][]byte {
	seeds := map[string][]byte{"blank": Blank(Image{Name: "n"}, fileTime(1<<57))}
	for _, name := range []string{"lzx", "ntfs", "xpress"} {
		b, err := os.ReadFile("testdata/" + name + ".wim")
		if err != nil {
			f.Fatal(err)
		}
		seeds[name] = b
	}
	return seeds
}

// FuzzOpen mutates whole files: header, tables, compressed data.
func FuzzOpen(f *testing.F) {
	for _, b := range fuzzSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		exercise(t, b)
	})
}

// FuzzMetadata mutates what is behind the checksums: the tree of names and the description. Around them it builds a
// WIM whose hashes are right.
func FuzzMetadata(f *testing.F) {
	var hashes []digest
	for _, b := range fuzzSeeds(f) {
		w, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range w.blobs {
			if e.flags&resMetadata == 0 {
				hashes = append(hashes, e.hash)
			}
		}
		meta, err := readAll(w.r, w.metas[0].resource, w.header.codec, "metadata", nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(meta, w.xml, true)
	}
	f.Fuzz(func(t *testing.T, meta []byte, doc string, integrity bool) {
		defer bounded.Input(t, len(meta)+len(doc))()
		exercise(t, around(meta, doc, hashes, integrity))
	})
}

// around is a WIM of one image, with a few bytes in place of each content, whose hashes are therefore wrong.
func around(meta []byte, doc string, hashes []digest, withIntegrity bool) []byte {
	b := append(Blank(Image{}, fileTime(0))[:headerSize:headerSize], meta...)
	m := &blob{resource: resource{int64(len(meta)), resMetadata, headerSize, int64(len(meta))}, hash: sha1.Sum(meta)}
	var table []byte
	entry := func(e *blob) {
		var raw [blobSize]byte
		e.put(raw[:])
		le.PutUint16(raw[24:], 1)
		le.PutUint32(raw[26:], 1)
		copy(raw[30:], e.hash[:])
		table = append(table, raw[:]...)
	}
	entry(m)
	m.put(b[96:])
	for _, h := range hashes {
		entry(&blob{resource: resource{5, 0, int64(len(b)), 5}, hash: h})
		b = append(b, "hello"...)
	}
	resource{int64(len(table)), resMetadata, int64(len(b)), int64(len(table))}.put(b[48:])
	b = append(b, table...)
	end := int64(len(b))
	text := append([]byte{0xff, 0xfe}, encode16(strings.ToValidUTF8(doc, "?"))...)
	resource{int64(len(text)), resMetadata, end, int64(len(text))}.put(b[72:])
	b = append(b, text...)
	if withIntegrity {
		t := &integrity{w: io.Discard, sum: sha1.New(), left: integrityStep}
		_, _ = t.Write(b[headerSize:end])
		sums := t.table()
		resource{int64(len(sums)), resMetadata, int64(len(b)), int64(len(sums))}.put(b[124:])
		b = append(b, sums...)
	}
	return b
}

// A few bytes that claim to be half a gigabyte, paths without end, and contents that are all missing cost little.
func TestClaimsCostLittle(t *testing.T) {
	done := bounded.Input(t, 0)
	defer done()
	const claimed = 400 << 20
	stored := int64(claimed/chunkSize)*4 + 1000
	if _, err := readAll(bytes.NewReader(make([]byte, stored)), resource{stored, resCompressed, 0, claimed}, codecLZX, "it", nil); err == nil || !strings.Contains(err.Error(), "more than any real file") {
		t.Errorf("a bomb: %v", err)
	}

	leaf := newNode("leaf", false, 0, digest{1}, 0)
	top := leaf
	for range 200 {
		d := newNode(strings.Repeat("x", 200), true, 0, digest{}, 0)
		d.add(top)
		top = d
	}
	tree := func(kids ...*node) []byte {
		root := newNode("", true, 0, digest{}, 0)
		root.kids = kids
		return (&metadata{[]byte{8, 0, 0, 0, 0, 0, 0, 0}, root}).encode()
	}
	if _, err := parseMetadata(tree(top), "it"); err == nil || !strings.Contains(err.Error(), "path") {
		t.Errorf("a path of 40,000 characters: %v", err)
	}

	all := make([]*node, 20_000)
	for i := range all {
		all[i] = newNode("n", false, 0, digest{1}, 0)
	}
	b := around(tree(all...), "<WIM/>", nil, false)
	w, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Verify(t.Context()); err == nil || len(err.Error()) > 1000 {
		t.Errorf("all contents missing: %.200v", err)
	}
}
