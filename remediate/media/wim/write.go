package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"os"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// WriteTo writes the whole copy in order, [Plan.Size] bytes, in one pass, and compares every resource that it copies with its
// SHA-1: a [*CorruptError] names the file inside that is damaged. If it fails, what was written is no WIM worth keeping. To
// write a file whose header comes last, use [InjectFile].
func (p *Plan) WriteTo(ctx context.Context, w io.Writer) error {
	if _, err := w.Write(p.header[:]); err != nil {
		return fmt.Errorf("write WIM header: %w", err)
	}
	return p.writeBody(ctx, w)
}

// WriteBody writes everything behind the header.
func (p *Plan) writeBody(ctx context.Context, w io.Writer) error {
	body, withSum := w, p.f.header.integrity.stored > 0
	sum, err := p.f.newIntegrity(w, p.keep)
	if err != nil {
		return err
	}
	if withSum {
		body = sum
	}
	buf := make([]byte, 1<<20)
	src := io.NewSectionReader(p.f.r, headerSize, p.keep-headerSize)
	copied := p.f.newProof(ctx, p.copied)
	_, err = io.CopyBuffer(io.MultiWriter(body, copied), contextReader{ctx, onlyReader{src}}, buf)
	if err = copied.finish(err); err != nil {
		return fmt.Errorf("copy WIM: %w", err)
	}
	if err := p.f.checkIntegrity(ctx, p.keep); err != nil {
		return err
	}
	for _, c := range p.add {
		if err := c.write(ctx, body, buf); err != nil {
			return err
		}
	}
	n := p.sumEnd - p.tailStart()
	if _, err := body.Write(p.tail[:n]); err != nil {
		return fmt.Errorf("write WIM metadata: %w", err)
	}
	if _, err := w.Write(p.tail[n:]); err != nil {
		return fmt.Errorf("write WIM description: %w", err)
	}
	if withSum {
		if _, err := w.Write(sum.table()); err != nil {
			return fmt.Errorf("write integrity table: %w", err)
		}
	}
	return nil
}

// TailStart is where the metadata begins.
func (p *Plan) tailStart() int64 {
	n := p.keep
	for _, c := range p.add {
		n += c.blob.stored
	}
	return n
}

func (c content) write(ctx context.Context, w io.Writer, buf []byte) error {
	path := c.change.Path
	r, err := c.change.Open()
	if err != nil {
		return fmt.Errorf("open content of %q: %w", path, err)
	}
	defer r.Close()
	sum := sha1.New()
	n, err := io.CopyBuffer(onlyWriter{w}, io.TeeReader(contextReader{ctx, io.LimitReader(r, c.blob.size+1)}, sum), buf)
	if err != nil {
		return fmt.Errorf("write content of %q: %w", path, err)
	}
	if n != c.blob.size || !bytes.Equal(sum.Sum(nil), c.blob.hash[:]) {
		return hint.Wrap(fmt.Errorf("write content of %q: it changed since it was first read", path), "Run it again when nothing writes to that file.")
	}
	return nil
}

type onlyReader struct{ io.Reader }

// WriteFile writes the copy into f, the header last, and syncs it: a file that was not finished has no header.
func (p *Plan) writeFile(ctx context.Context, f *os.File) error {
	if _, err := f.Write(make([]byte, headerSize)); err != nil {
		return fmt.Errorf("write WIM: %w", err)
	}
	if err := p.writeBody(ctx, f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync WIM: %w", err)
	}
	if _, err := f.WriteAt(p.header[:], 0); err != nil {
		return fmt.Errorf("write WIM header: %w", err)
	}
	return f.Sync()
}

// Inject reads the WIM in src and writes a copy with the changes to dst in one sequential pass.
func Inject(ctx context.Context, src io.ReaderAt, size int64, dst io.Writer, o Options, changes []Change) (Report, error) {
	f, err := Open(src, size)
	if err != nil {
		return Report{}, err
	}
	p, err := f.Plan(ctx, o, changes)
	if err != nil {
		return Report{}, err
	}
	return p.Report(), p.WriteTo(ctx, dst)
}

// InjectFile writes a copy of the WIM src with the changes to the file dst. The copy appears under its name only when it
// is complete and on disk; src is never changed, and dst may not be src.
func InjectFile(ctx context.Context, src, dst string, o Options, changes []Change) (Report, error) {
	in, err := os.Open(src)
	if err != nil {
		return Report{}, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return Report{}, err
	}
	if d, err := os.Stat(dst); err == nil && os.SameFile(st, d) {
		return Report{}, hint.Wrap(fmt.Errorf("write %q: it is the source itself", dst), "The source is never changed: choose another name for the copy.")
	}
	f, err := Open(in, st.Size())
	if err != nil {
		return Report{}, fmt.Errorf("read %q: %w", src, err)
	}
	p, err := f.Plan(ctx, o, changes)
	if err != nil {
		return Report{}, err
	}
	return p.Report(), p.commit(ctx, dst)
}

func (p *Plan) commit(ctx context.Context, dst string) error {
	aside, err := textfile.Create(dst, textfile.Shared)
	if err == nil {
		defer aside.Discard()
		if err = p.writeFile(ctx, aside.File); err == nil {
			err = aside.Commit()
		}
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", dst, err)
	}
	return nil
}
