package wim

import (
	"context"
	"crypto/sha1"
	"fmt"
	"hash"
	"io"
)

func integritySize(end int64) int64 {
	return 12 + sha1.Size*((end-headerSize+integrityStep-1)/integrityStep)
}

// Integrity hashes what passes through in steps of 10 MiB. As far as the steps are those of the source, it compares: a
// damaged source must not become a copy with a table that calls it sound.
type integrity struct {
	w    io.Writer
	sum  hash.Hash
	left int64
	all  []byte
	want []digest // of the first steps
	err  error
}

// NewIntegrity expects the source up to keep, and then other data.
func (f *File) newIntegrity(w io.Writer, keep int64) (*integrity, error) {
	t := &integrity{w: w, sum: sha1.New(), left: integrityStep}
	sums, _, err := f.integritySums()
	t.want = sums[:min(int64(len(sums)), (keep-headerSize)/integrityStep)]
	return t, err
}

func (t *integrity) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	for q := p[:n]; len(q) > 0; {
		k := min(int64(len(q)), t.left)
		t.sum.Write(q[:k])
		q = q[k:]
		if t.left -= k; t.left == 0 {
			t.flush()
		}
	}
	if err == nil {
		err = t.err
	}
	return n, err
}

func (t *integrity) flush() {
	if t.left == integrityStep {
		return
	}
	sum := digest(t.sum.Sum(nil))
	if k := len(t.all) / sha1.Size; k < len(t.want) && sum != t.want[k] && t.err == nil {
		t.err = damagedStep(k)
	}
	t.all = append(t.all, sum[:]...)
	t.sum.Reset()
	t.left = integrityStep
}

func damagedStep(k int) error {
	from := headerSize + int64(k)*integrityStep
	return corrupt(fmt.Sprintf("the data in bytes %d to %d", from, from+integrityStep-1), "they do not have the hash that the integrity table promises")
}

func (t *integrity) table() []byte {
	t.flush()
	b := make([]byte, 12, 12+len(t.all))
	le.PutUint32(b, uint32(12+len(t.all)))
	le.PutUint32(b[4:], uint32(len(t.all)/sha1.Size))
	le.PutUint32(b[8:], integrityStep)
	return append(b, t.all...)
}

// IntegritySums reads the table of the source and where what it covers ends. None, or one with another step than
// everybody's, gives no sums.
func (f *File) integritySums() ([]digest, int64, error) {
	r, end := f.header.integrity, f.header.table.end()
	if r.stored == 0 {
		return nil, 0, nil
	}
	b, err := readAll(f.r, r, f.header.codec, "the integrity table", nil)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < 12 || int64(le.Uint32(b)) != int64(len(b)) || int64(le.Uint32(b[4:]))*sha1.Size != int64(len(b)-12) {
		return nil, 0, corrupt("the integrity table", "its length contradicts itself")
	}
	if le.Uint32(b[8:]) != integrityStep {
		return nil, 0, nil
	}
	if int64(len(b)) != integritySize(end) {
		return nil, 0, corrupt("the integrity table", "it does not cover the file")
	}
	var sums []digest
	for b = b[12:]; len(b) > 0; b = b[sha1.Size:] {
		sums = append(sums, digest(b))
	}
	return sums, end, nil
}

// CheckIntegrity reads and compares every step that does not lie wholly before from.
func (f *File) checkIntegrity(ctx context.Context, from int64) error {
	sums, end, err := f.integritySums()
	if err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for k := (from - headerSize) / integrityStep; k < int64(len(sums)); k++ {
		start := headerSize + k*integrityStep
		sum := sha1.New()
		part := io.NewSectionReader(f.r, start, min(integrityStep, end-start))
		if _, err := io.CopyBuffer(onlyWriter{sum}, contextReader{ctx, onlyReader{part}}, buf); err != nil {
			return fmt.Errorf("check WIM: %w", err)
		}
		if digest(sum.Sum(nil)) != sums[k] {
			return damagedStep(int(k))
		}
	}
	return nil
}
