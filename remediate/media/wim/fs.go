package wim

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// FS presents an image as a read-only file system. Names are found without regard to case, as in Windows; alternate
// streams are not shown; symbolic links and junctions appear as irregular files.
func (f *File) FS(image int) (fs.FS, error) {
	m, err := f.tree(image)
	if err != nil {
		return nil, err
	}
	return &imageFS{f, m}, nil
}

type imageFS struct {
	f *File
	m *metadata
}

var (
	_ fs.ReadDirFS = (*imageFS)(nil)
	_ fs.StatFS    = (*imageFS)(nil)
)

func (s *imageFS) find(op, name string) (*node, info, error) {
	if !fs.ValidPath(name) || strings.Contains(name, `\`) {
		return nil, info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		name = ""
	}
	n, p := s.m.lookup(name)
	if n == nil {
		return nil, info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	e, err := s.f.entry(n, p)
	if err != nil {
		return nil, info{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, info{e}, nil
}

func (s *imageFS) Stat(name string) (fs.FileInfo, error) {
	_, i, err := s.find("stat", name)
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (s *imageFS) Open(name string) (fs.File, error) {
	n, i, err := s.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		list, err := s.list(n, i)
		return &openDir{i, list}, err
	}
	r, err := s.f.open(i.e)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openFile{r, i}, nil
}

func (s *imageFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, i, err := s.find("readdir", name)
	if err != nil {
		return nil, err
	}
	return s.list(n, i)
}

func (s *imageFS) list(n *node, at info) ([]fs.DirEntry, error) {
	list := make([]fs.DirEntry, 0, len(n.kids))
	for _, k := range n.kids {
		e, err := s.f.entry(k, path.Join(at.e.Path, k.name))
		if err != nil {
			return nil, err
		}
		list = append(list, fs.FileInfoToDirEntry(info{e}))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

type info struct{ e Entry }

func (i info) Name() string {
	if i.e.Path == "" {
		return "."
	}
	return path.Base(i.e.Path)
}
func (i info) Size() int64        { return i.e.Size }
func (i info) ModTime() time.Time { return i.e.Modified }
func (i info) IsDir() bool        { return i.e.Dir }
func (i info) Sys() any           { return i.e }
func (i info) Mode() fs.FileMode {
	switch {
	case i.e.Dir:
		return fs.ModeDir | 0o555
	case i.e.Attributes&attrReparse != 0:
		return fs.ModeIrregular | 0o444
	}
	return 0o444
}

type openFile struct {
	io.ReadCloser
	i info
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.i, nil }

type openDir struct {
	i    info
	left []fs.DirEntry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return o.i, nil }
func (o *openDir) Close() error               { return nil }
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.i.e.Path, Err: fs.ErrInvalid}
}

func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(o.left)
	} else if len(o.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.left))
	list := o.left[:n:n]
	o.left = o.left[n:]
	return list, nil
}
