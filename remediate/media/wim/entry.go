package wim

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Entry describes one name in an image. It is an [fs.FileInfo]'s Sys value too.
type Entry struct {
	Path       string // from the root, with slashes, in the case of the image: "Windows/System32/startnet.cmd"; "" is the root
	ShortName  string // 8.3 name, empty if there is none
	Dir        bool
	Size       int64  // of the unnamed stream
	SHA1       digest // of the unnamed stream; zero if it is empty
	Attributes uint32 // FILE_ATTRIBUTE_*
	Security   int32  // index into the security descriptors of the image, -1 for none
	Link       uint64 // names of one file share it; 0 if there is one name
	Modified   time.Time
}

func (f *File) entry(n *node, path string) (Entry, error) {
	size, err := f.fileSize(n)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Path: path, Dir: n.dir, Size: size, SHA1: n.hashes()[0], Attributes: n.attr(), Security: int32(n.security()),
		Link: n.link(), Modified: fileTime(le.Uint64(n.raw[56:]))}
	if short, name := int(le.Uint16(n.raw[98:])), int(le.Uint16(n.raw[100:])); short > 0 && dentrySize+name+2+short <= len(n.raw) {
		e.ShortName = decode16(n.raw[dentrySize+name+2:][:short])
	}
	return e, nil
}

const epoch1601 = 116444736000000000 // 100 ns from 1601 to 1970

func fileTime(ft uint64) time.Time {
	if ft == 0 || ft > 1<<62 {
		return time.Time{}
	}
	d := int64(ft) - epoch1601
	return time.Unix(d/1e7, d%1e7*100).UTC()
}

func toFileTime(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.Unix()*1e7 + int64(t.Nanosecond()/100) + epoch1601)
}

func splitPath(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' || r == '\\' })
}

// Lookup follows a path without regard to case and returns the path as the image spells it.
func (m *metadata) lookup(path string) (*node, string) {
	n, at := m.root, []string{}
	for _, part := range splitPath(path) {
		if n = n.find(part); n == nil {
			return nil, ""
		}
		at = append(at, n.name)
	}
	return n, strings.Join(at, "/")
}

// Stat describes a path of an image; slashes and backslashes separate, case does not matter. The error wraps
// [fs.ErrNotExist] if there is no such name.
func (f *File) Stat(image int, path string) (Entry, error) {
	m, err := f.tree(image)
	if err != nil {
		return Entry{}, err
	}
	n, p := m.lookup(path)
	if n == nil {
		return Entry{}, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	return f.entry(n, p)
}

// Walk calls fn for every name of an image, parents first, in the order of the image; the root has the path "".
// It stops at the first error.
func (f *File) Walk(ctx context.Context, image int, fn func(Entry) error) error {
	m, err := f.tree(image)
	if err != nil {
		return err
	}
	var walk func(n *node, path string) error
	walk = func(n *node, path string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := f.entry(n, path)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
		for _, k := range n.kids {
			if err := walk(k, strings.TrimPrefix(path+"/"+k.name, "/")); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(m.root, "")
}

// OpenFile opens the unnamed stream of a file. Its SHA-1 is checked when the reader reaches the end: the last Read
// then returns a [*CorruptError] instead of io.EOF.
func (f *File) OpenFile(image int, path string) (io.ReadCloser, Entry, error) {
	e, err := f.Stat(image, path)
	if err != nil {
		return nil, e, err
	}
	if e.Dir {
		return nil, e, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("is a directory")}
	}
	r, err := f.open(e)
	return r, e, err
}

func (f *File) open(e Entry) (io.ReadCloser, error) {
	if e.SHA1 == (digest{}) {
		return io.NopCloser(strings.NewReader("")), nil
	}
	b := f.byHash[e.SHA1]
	s, err := openResource(f.r, b.resource, f.header.codec, fmt.Sprintf("file %q", e.Path), &b.hash)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(s), nil
}

// ReadFile reads a whole file of at most limit bytes.
func (f *File) ReadFile(image int, path string, limit int64) ([]byte, error) {
	r, e, err := f.OpenFile(image, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if e.Size > limit {
		return nil, fmt.Errorf("read %q: %d bytes is more than the expected %d", e.Path, e.Size, limit)
	}
	return io.ReadAll(r)
}

// WinREPath is where Windows keeps its recovery environment inside an installation.
const WinREPath = "Windows/System32/Recovery/winre.wim"

// ExtractWinRE copies the recovery environment out of an image of an install.wim. The error wraps [fs.ErrNotExist]
// if the image holds none.
func (f *File) ExtractWinRE(ctx context.Context, image int, w io.Writer) (Entry, error) {
	r, e, err := f.OpenFile(image, WinREPath)
	if err != nil {
		return e, hint.Wrap(fmt.Errorf("find the recovery environment in image %d: %w", image, err),
			"Only an install.wim holds winre.wim. Choose another image of it, or give a winre.wim or boot.wim directly.")
	}
	defer r.Close()
	if _, err := io.Copy(w, contextReader{ctx, r}); err != nil {
		return e, fmt.Errorf("copy winre.wim out of image %d: %w", image, err)
	}
	return e, nil
}

// ContextReader stops between two reads when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
