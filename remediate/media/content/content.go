// Package content is what goes onto a medium: one list of files and directories from which a FAT volume or an ISO image is
// made, and the writer that streams it.
//
// [Bytes], [File] and [FromFS] make an [Entry]; [Writer] is for the packages that lay an image out. Nothing is read
// before the image is written, and a file that is not as long as it said is an error, never a silent gap.
package content

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Entry is a file or a directory to write. Directories above an entry need not be listed.
type Entry struct {
	Path    string // with slashes, relative to the root of the medium
	Dir     bool
	Size    int64     // of a file: exactly what Open gives
	ModTime time.Time // zero: that of the whole image
	// Open is called once for every writing, with the context of that writing; it may be nil for an empty file.
	Open func(context.Context) (io.ReadCloser, error)
}

// Bytes is a file with content in memory.
func Bytes(path string, b []byte) Entry {
	return Entry{Path: path, Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// File is a file of this machine. Its time is not taken over, so that copies of the same file give the same image.
func File(path, name string) (Entry, error) {
	st, err := os.Stat(name)
	if err != nil {
		return Entry{}, err
	}
	if !st.Mode().IsRegular() {
		return Entry{}, fmt.Errorf("%q is not a regular file", name)
	}
	return Entry{Path: path, Size: st.Size(), Open: func(context.Context) (io.ReadCloser, error) { return os.Open(name) }}, nil
}

// FromFS is a file of a file system, for example one out of a WIM or an ISO.
func FromFS(path string, fsys fs.FS, name string) (Entry, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return Entry{}, err
	}
	if !st.Mode().IsRegular() {
		return Entry{}, fmt.Errorf("%q is not a regular file", name)
	}
	return Entry{Path: path, Size: st.Size(), Open: func(context.Context) (io.ReadCloser, error) { return fsys.Open(name) }}, nil
}

// Writer writes an image from its beginning to its end and keeps the first error, so that a layout reads as a list.
type Writer struct {
	w   *bufio.Writer
	buf []byte
	n   int64
	err error
}

// NewWriter buffers 1 MiB in front of w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, 1<<20), buf: make([]byte, 1<<20)}
}

// Len returns how many bytes were written.
func (b *Writer) Len() int64 { return b.n }

// Bytes writes p.
func (b *Writer) Bytes(p []byte) {
	if b.err == nil {
		var n int
		n, b.err = b.w.Write(p)
		b.n += int64(n)
	}
}

// Zeros writes n zeros; n below one writes nothing.
func (b *Writer) Zeros(n int64) {
	clear(b.buf[:min(max(n, 0), int64(len(b.buf)))])
	for n > 0 && b.err == nil {
		k := min(n, int64(len(b.buf)))
		b.Bytes(b.buf[:k])
		n -= k
	}
}

// Content copies the content of a file and checks its length.
func (b *Writer) Content(ctx context.Context, e Entry) {
	if b.err == nil {
		b.err = ctx.Err()
	}
	if b.err == nil && e.Open != nil {
		b.err = b.content(ctx, e)
	}
}

func (b *Writer) content(ctx context.Context, e Entry) error {
	r, err := e.Open(ctx)
	if err != nil {
		return fmt.Errorf("open content of %q: %w", e.Path, err)
	}
	defer r.Close()
	if e.Size >= int64(len(b.buf)) { // whole pieces then pass the buffer by
		if err := b.w.Flush(); err != nil {
			return err
		}
	}
	left := e.Size
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(b.buf)
		if int64(n) > left {
			return changed(e, "more")
		}
		b.Bytes(b.buf[:n])
		left -= int64(n)
		switch {
		case b.err != nil:
			return b.err
		case err == io.EOF && left > 0:
			return changed(e, "fewer")
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read content of %q: %w", e.Path, err)
		}
	}
}

func changed(e Entry, how string) error {
	return hint.Wrap(fmt.Errorf("content of %q has %s than the %d bytes planned", e.Path, how, e.Size), "Run it again when nothing writes to that file.")
}

// Close flushes and returns the first error.
func (b *Writer) Close() error {
	if b.err == nil {
		b.err = b.w.Flush()
	}
	return b.err
}
