package wim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// proof compares resources of a WIM with their SHA-1 while the bytes of the file pass through it in order, from the end of
// the header on: each resource is unpacked by a goroutine of its own, a few at a time, and what is proven are the very bytes
// that passed. Write returns the first error; finish waits for all goroutines and must be called in any case.
type proof struct {
	f    *File
	ctx  context.Context //nolint:containedctx // lives as long as one stream
	list []*blob         // by place, none lying over another
	over []*blob         // which do: read again at the end, each by itself
	at   int64
	feed chan<- []byte // of the resource that is passing; nil between two

	slots chan struct{}
	done  sync.WaitGroup
	mu    sync.Mutex
	err   error
	place int64 // of the resource that failed; the first in the file is told
}

const (
	mostProofs  = 8 // at a time
	proofPieces = 4 // waiting for each; none is larger than a piece that is copied
)

func (f *File) newProof(ctx context.Context, blobs []*blob) *proof {
	p := &proof{f: f, ctx: ctx, at: headerSize, place: math.MaxInt64, slots: make(chan struct{}, min(mostProofs, runtime.GOMAXPROCS(0)))}
	sorted := slices.Clone(blobs)
	slices.SortStableFunc(sorted, func(a, b *blob) int { return int(min(max(a.off-b.off, -1), 1)) })
	end := int64(headerSize)
	for _, e := range sorted {
		if e.off < end || e.stored == 0 {
			p.over = append(p.over, e)
			continue
		}
		p.list, end = append(p.list, e), e.end()
	}
	return p
}

// Write implements io.Writer.
func (p *proof) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && len(p.list) > 0 {
		e := p.list[0]
		if p.at < e.off {
			k := min(e.off-p.at, int64(len(b)))
			b, p.at = b[k:], p.at+k
			continue
		}
		if p.feed == nil {
			if err := p.begin(e); err != nil {
				return 0, err
			}
		}
		k := min(e.end()-p.at, int64(len(b)))
		p.feed <- bytes.Clone(b[:k])
		if b, p.at = b[k:], p.at+k; p.at == e.end() {
			p.cut()
			p.list = p.list[1:]
		}
	}
	p.at += int64(len(b))
	return n, p.failed()
}

// begin starts to unpack a resource, when one of those before is done.
func (p *proof) begin(e *blob) error {
	if err := p.failed(); err != nil {
		return err
	}
	select {
	case <-p.ctx.Done():
		return p.ctx.Err()
	case p.slots <- struct{}{}:
	}
	feed := make(chan []byte, proofPieces)
	p.feed = feed
	p.done.Go(func() {
		defer func() { <-p.slots }()
		s, err := passingResource(&pieces{c: feed}, e.resource, p.f.header.codec, &e.hash)
		if err == nil {
			_, err = io.Copy(io.Discard, s)
		}
		if err != nil {
			p.fail(e, err)
		}
		for range feed { // so that the writer never waits for somebody who is gone
			continue
		}
	})
	return nil
}

func (p *proof) cut() {
	if p.feed != nil {
		close(p.feed)
		p.feed = nil
	}
}

func (p *proof) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// fail keeps the error of the resource that lies first, by the name of the file whose content it is.
func (p *proof) fail(e *blob, err error) {
	name := p.f.nameOf(e)
	if c := (*CorruptError)(nil); errors.As(err, &c) {
		err = corrupt(name, "%s", c.Reason)
	} else {
		err = fmt.Errorf("read %s: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.off < p.place {
		p.place, p.err = e.off, err
	}
}

// finish returns the first error after all that passed, or stopped passing, is looked at. With an error of the caller it only
// waits.
func (p *proof) finish(err error) error {
	if err == nil && len(p.list) > 0 {
		e := p.list[0]
		err = truncated(p.f.nameOf(e), e.off, e.end(), p.at)
	}
	if err != nil {
		p.mu.Lock()
		if p.err == nil {
			p.place, p.err = -1, err // what is cut off from here on is no fault of the file
		}
		p.mu.Unlock()
	}
	p.cut()
	p.done.Wait()
	for _, e := range p.over {
		if p.failed() != nil {
			break
		}
		s, err := openResource(p.f.r, e.resource, p.f.header.codec, "", &e.hash)
		if err == nil {
			_, err = io.Copy(io.Discard, contextReader{p.ctx, s})
		}
		if err != nil && p.ctx.Err() == nil {
			p.fail(e, err)
		}
	}
	if err := p.failed(); err != nil {
		return err
	}
	return p.ctx.Err()
}

// pieces reads what was written piece by piece.
type pieces struct {
	c    <-chan []byte
	rest []byte
}

func (r *pieces) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		var ok bool
		if r.rest, ok = <-r.c; !ok {
			return 0, io.EOF
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// passingResource is [openResource] of one that comes as a stream: its table of chunks comes first and is kept.
func passingResource(r io.Reader, res resource, c codec, want *[sha1.Size]byte) (*stream, error) {
	s, table, err := newStream(res, c, "", want)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, table))
	if err == nil && int64(len(b)) < table {
		err = io.ErrUnexpectedEOF
	}
	s.table, s.data = bufio.NewReader(bytes.NewReader(b)), bufio.NewReaderSize(r, 64<<10)
	return s, err
}

// nameOf names a resource for people: by a file whose content it is.
func (f *File) nameOf(e *blob) string {
	for i, m := range f.metas {
		if m.off == e.off && e.flags&resMetadata != 0 {
			return fmt.Sprintf("the metadata of image %d", i+1)
		}
	}
	for i := range f.metas {
		m, err := f.tree(i + 1)
		if err != nil {
			continue
		}
		if path := m.root.pathOf(e.hash, nil); path != "" {
			return fmt.Sprintf("file %q of image %d", path, i+1)
		}
	}
	return fmt.Sprintf("resource %x at byte %d, which no file uses", e.hash, e.off)
}

// pathOf finds the first name with a content.
func (n *node) pathOf(h digest, above []string) string {
	if slices.Contains(n.hashes(), h) {
		return strings.Join(append(above, n.name), "/")
	}
	if n.name != "" {
		above = append(above, n.name)
	}
	for _, k := range n.kids {
		if path := k.pathOf(h, above); path != "" {
			return path
		}
	}
	return ""
}
