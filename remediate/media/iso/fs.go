package iso

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"time"
)

var (
	_ fs.ReadDirFS = (*FS)(nil)
	_ fs.StatFS    = (*FS)(nil)
	_ io.ReaderAt  = (*File)(nil)
)

type info struct{ it item }

func (i info) Name() string               { return i.it.name }
func (i info) ModTime() time.Time         { return i.it.mod }
func (i info) IsDir() bool                { return i.it.dir }
func (i info) Type() fs.FileMode          { return i.Mode().Type() }
func (i info) Info() (fs.FileInfo, error) { return i, nil }
func (i info) Sys() any                   { return nil }
func (i info) Size() int64 {
	if i.it.dir {
		return 0
	}
	return i.it.size
}
func (i info) Mode() fs.FileMode {
	if i.it.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// Find follows a path from the root.
func (f *FS) find(op, p string) (item, error) {
	bad := func(err error) (item, error) { return item{}, &fs.PathError{Op: op, Path: p, Err: err} }
	if !fs.ValidPath(p) || strings.Contains(p, `\`) {
		return bad(fs.ErrInvalid)
	}
	at := f.root
	if p == "." {
		return at, nil
	}
	parts := strings.Split(p, "/")
	if len(parts) > maxDepth {
		return bad(damaged("directories nested deeper than %d", maxDepth))
	}
	for _, part := range parts {
		if !at.dir {
			return bad(fs.ErrNotExist)
		}
		list, err := f.list(at)
		if err != nil {
			return bad(err)
		}
		j := slices.IndexFunc(list, func(it item) bool { return it.name == part })
		if j < 0 {
			j = slices.IndexFunc(list, func(it item) bool { return strings.EqualFold(it.name, part) })
		}
		if j < 0 {
			return bad(fs.ErrNotExist)
		}
		if at = list[j]; at.twice {
			return bad(damaged("directory %q is also in another place", part))
		}
	}
	return at, nil
}

// Stat implements [fs.StatFS].
func (f *FS) Stat(p string) (fs.FileInfo, error) {
	it, err := f.find("stat", p)
	if err != nil {
		return nil, err
	}
	return info{it}, nil
}

// ReadDir implements [fs.ReadDirFS].
func (f *FS) ReadDir(p string) ([]fs.DirEntry, error) {
	it, err := f.find("readdir", p)
	if err != nil {
		return nil, err
	}
	if !it.dir {
		return nil, &fs.PathError{Op: "readdir", Path: p, Err: errors.New("not a directory")}
	}
	list, err := f.list(it)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: p, Err: err}
	}
	out := make([]fs.DirEntry, len(list))
	for i, it := range list {
		out[i] = info{it}
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// Open implements [fs.FS]; what it returns for a file is a [*File].
func (f *FS) Open(p string) (fs.File, error) {
	it, err := f.find("open", p)
	if err != nil {
		return nil, err
	}
	if it.dir {
		list, err := f.ReadDir(p)
		return &dir{info{it}, list}, err
	}
	return &File{io.NewSectionReader(reader{f.r, it}, 0, it.size), info{it}}, nil
}

// File is an open file of an [FS]; it can be read at any offset, by several goroutines.
type File struct {
	*io.SectionReader
	i info
}

// Stat implements [fs.File].
func (f *File) Stat() (fs.FileInfo, error) { return f.i, nil }

// Close implements [fs.File]; there is nothing to release.
func (f *File) Close() error { return nil }

// Reader maps the bytes of a file to its extents.
type reader struct {
	r  io.ReaderAt
	it item
}

func (a reader) ReadAt(p []byte, off int64) (int, error) {
	if a.it.inline != nil {
		n := copy(p, a.it.inline[min(off, int64(len(a.it.inline))):])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	done, all := 0, a.it.extents
	from := sort.Search(len(all), func(i int) bool { return all[i].at+all[i].n > off })
	for _, e := range all[from:] {
		if done == len(p) {
			break
		}
		skip := off + int64(done) - e.at
		part := p[done:][:min(int64(len(p)-done), e.n-skip)]
		if e.off < 0 {
			clear(part)
		} else if n, err := a.r.ReadAt(part, e.off+skip); n < len(part) {
			return done + n, err
		}
		done += len(part)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

type dir struct {
	i    info
	left []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.i, nil }
func (d *dir) Close() error               { return nil }
func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.i.it.name, Err: fs.ErrInvalid}
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.left)
	} else if len(d.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.left))
	list := d.left[:n:n]
	d.left = d.left[n:]
	return list, nil
}
