package fat

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"time"
)

// MaxDir is the size of the largest directory that FAT allows.
const maxDir = 65536 * slot

const maxDepth = 128

var (
	_ fs.ReadDirFS = (*FS)(nil)
	_ fs.StatFS    = (*FS)(nil)
)

// Name is a directory entry.
type name struct {
	name  string
	attr  byte
	first uint32
	size  int64
	mod   time.Time
	twice bool // a directory that is also somewhere else
}

func (n name) Name() string               { return n.name }
func (n name) Size() int64                { return n.size }
func (n name) ModTime() time.Time         { return n.mod }
func (n name) IsDir() bool                { return n.attr&attrDir != 0 }
func (n name) Type() fs.FileMode          { return n.Mode().Type() }
func (n name) Info() (fs.FileInfo, error) { return n, nil }
func (n name) Sys() any                   { return nil }
func (n name) Mode() fs.FileMode {
	if n.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// Find follows a path from the root.
func (v *FS) find(op, p string) (name, error) {
	bad := func(err error) (name, error) { return name{}, &fs.PathError{Op: op, Path: p, Err: err} }
	if !fs.ValidPath(p) || strings.Contains(p, `\`) {
		return bad(fs.ErrInvalid)
	}
	at := name{name: ".", attr: attrDir, first: v.first}
	if p == "." {
		return at, nil
	}
	parts := strings.Split(p, "/")
	if len(parts) > maxDepth {
		return bad(damaged("directories nested deeper than %d", maxDepth))
	}
	for i, part := range parts {
		if !at.IsDir() {
			return bad(fs.ErrNotExist)
		}
		list, err := v.list(at, i == 0)
		if err != nil {
			return bad(err)
		}
		j := slices.IndexFunc(list, func(n name) bool { return n.name == part })
		if j < 0 {
			j = slices.IndexFunc(list, func(n name) bool { return strings.EqualFold(n.name, part) })
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

// MaxKnown bounds the names that are remembered.
const maxKnown = 100_000

// List reads a directory, once.
func (v *FS) list(d name, root bool) ([]name, error) {
	v.mu.Lock()
	list, ok := v.known[d.first]
	v.mu.Unlock()
	if ok {
		return list, nil
	}
	list, err := v.read(d, root)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || v.names+len(list) > maxKnown {
		v.known, v.names = map[uint32][]name{}, 0
	}
	v.mark(d, list)
	v.known[d.first] = list
	v.names += len(list)
	return list, nil
}

// Mark finds the directories of a list that another list, or another name of it, leads to as well. They are not followed:
// what is no tree may have no end.
func (v *FS) mark(d name, list []name) {
	if v.in == nil {
		v.in = map[uint32]uint32{v.first: v.first}
	}
	here := map[uint32]bool{d.first: true}
	for i, n := range list {
		if !n.IsDir() || n.first < 2 { // none begins there: it cannot be read anyhow
			continue
		}
		in, ok := v.in[n.first]
		list[i].twice = here[n.first] || ok && in != d.first
		here[n.first] = true
		if !ok {
			v.in[n.first] = d.first
		}
	}
}

func (v *FS) read(d name, root bool) ([]name, error) {
	var raw []byte
	if root && v.g.kind != FAT32 {
		raw = make([]byte, v.slots*slot)
		if _, err := v.r.ReadAt(raw, v.data-v.g.root*sector); err != nil {
			return nil, err
		}
	} else {
		chain, err := v.chain(d.first, maxDir)
		if err != nil {
			return nil, err
		}
		for _, e := range chain {
			b := make([]byte, min(e.n, maxDir))
			if _, err := v.r.ReadAt(b, e.off); err != nil {
				return nil, err
			}
			raw = append(raw, b...)
		}
	}
	return parse(raw), nil
}

func parse(raw []byte) (list []name) {
	var long []byte // slots of the long name, as they stand
	for ; len(raw) >= slot && raw[0] != 0; raw = raw[slot:] {
		e := raw[:slot]
		switch {
		case e[0] == 0xe5:
			long = nil
			continue
		case e[11]&0x3f == attrLong:
			if e[0]&lastLong != 0 {
				long = nil
			}
			long = append(long, e...)
			continue
		case e[11]&attrVolume != 0 || e[0] == '.':
			long = nil
			continue
		}
		n := name{name: longName(long, [11]byte(e)), attr: e[11], size: int64(le.Uint32(e[28:]))}
		n.first = uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:]))
		if n.name == "" {
			n.name = shortName(e)
		}
		date, clock := le.Uint16(e[24:]), le.Uint16(e[22:])
		n.mod = time.Date(1980+int(date>>9), time.Month(date>>5&15), int(date&31), int(clock>>11), int(clock>>5&63), int(clock&31)*2, 0, time.UTC)
		if n.IsDir() {
			n.size = 0
		}
		long = nil
		if !strings.ContainsAny(n.name, "/\\\x00") && n.name != "." && n.name != ".." {
			list = append(list, n)
		}
	}
	return list
}

// LongName joins the slots if they are complete and belong to the 8.3 name.
func longName(slots []byte, short [11]byte) string {
	n := len(slots) / slot
	if n == 0 || n > 20 || slots[0] != byte(n)|lastLong {
		return ""
	}
	var u []uint16
	for i := n - 1; i >= 0; i-- {
		e := slots[i*slot:][:slot]
		if int(e[0]&^lastLong) != n-i || e[13] != checksum(short) {
			return ""
		}
		for j := range longChars {
			c := le.Uint16(e[longOffset(j):])
			if c == 0 {
				return utf16String(u)
			}
			u = append(u, c)
		}
	}
	return utf16String(u)
}

func shortName(e []byte) string {
	part := func(b []byte, lower bool) string {
		r := make([]rune, 0, 8)
		for _, c := range b {
			r = append(r, rune(c))
		}
		s := strings.TrimRight(string(r), " ")
		if lower {
			return strings.ToLower(s)
		}
		return s
	}
	base, ext := part(e[:8], e[12]&8 != 0), part(e[8:11], e[12]&16 != 0)
	if ext != "" {
		return base + "." + ext
	}
	return base
}

// Stat implements [fs.StatFS].
func (v *FS) Stat(p string) (fs.FileInfo, error) {
	n, err := v.find("stat", p)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadDir implements [fs.ReadDirFS].
func (v *FS) ReadDir(p string) ([]fs.DirEntry, error) {
	n, err := v.find("readdir", p)
	if err != nil {
		return nil, err
	}
	if !n.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: p, Err: errors.New("not a directory")}
	}
	list, err := v.list(n, p == ".")
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: p, Err: err}
	}
	out := make([]fs.DirEntry, len(list))
	for i, n := range list {
		out[i] = n
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// Open implements [fs.FS].
func (v *FS) Open(p string) (fs.File, error) {
	n, err := v.find("open", p)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		list, err := v.ReadDir(p)
		return &dir{n, list}, err
	}
	f := &File{r: v.r, n: n}
	if n.size > 0 {
		if f.chain, err = v.chain(n.first, n.size); err != nil {
			return nil, &fs.PathError{Op: "open", Path: p, Err: err}
		}
	}
	f.SectionReader = io.NewSectionReader(readerAt{f}, 0, n.size)
	return f, nil
}

// File is an open file of an [FS].
type File struct {
	*io.SectionReader
	r     io.ReaderAt
	n     name
	chain []extent
}

// Stat implements [fs.File].
func (f *File) Stat() (fs.FileInfo, error) { return f.n, nil }

// Close implements [fs.File]; there is nothing to release.
func (f *File) Close() error { return nil }

// ReaderAt maps the bytes of a file to its clusters.
type readerAt struct{ f *File }

func (a readerAt) ReadAt(p []byte, off int64) (int, error) {
	done, chain := 0, a.f.chain
	from := sort.Search(len(chain), func(i int) bool { return chain[i].at+chain[i].n > off })
	for _, e := range chain[from:] {
		if done == len(p) {
			break
		}
		skip := off + int64(done) - e.at
		k := int(min(int64(len(p)-done), e.n-skip))
		n, err := a.f.r.ReadAt(p[done:done+k], e.off+skip)
		if done += n; n < k {
			return done, err
		}
	}
	if done < len(p) {
		return done, damaged("the chain of %q is shorter than its size", a.f.n.name)
	}
	return done, nil
}

type dir struct {
	n    name
	left []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.n, nil }
func (d *dir) Close() error               { return nil }
func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.n.name, Err: fs.ErrInvalid}
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
