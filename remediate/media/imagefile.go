package media

import (
	"bytes"
	"os"
	"unsafe"
)

const (
	imagePiece = 1 << 20
	imageHole  = 256 << 10 // the shortest run of zeros that is left out
)

// imageFile writes an image to a new file, in order. Long runs of zeros become holes: a file that is made longer reads as
// zeros there. Where the system can write past its cache, it does: the disk then works while the next pieces are made
// and hashed, not only when all are there, and an image does not drive out of memory what others need.
type imageFile struct {
	f      *os.File
	buf    []byte // the piece that is being filled; begins at a multiple of a page
	n      int
	at     int64 // where the piece belongs
	direct bool
}

func newImageFile(f *os.File) *imageFile {
	b := make([]byte, imagePiece+4096)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & 4095 //nolint:gosec // only the address is looked at
	return &imageFile{f: f, buf: b[skip:][:imagePiece], direct: pastCache(f, true) == nil}
}

// cached goes through the cache from here on.
func (i *imageFile) cached() {
	if i.direct {
		i.direct = false
		_ = pastCache(i.f, false) // if it fails, so does the next write
	}
}

// Write implements io.Writer.
func (i *imageFile) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n := copy(i.buf[i.n:], p)
		p, i.n, total = p[n:], i.n+n, total+n
		if i.n == len(i.buf) {
			if err := i.flush(); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// flush writes the piece, but for its holes.
func (i *imageFile) flush() error {
	for from := 0; from < i.n; {
		if i.empty(from) {
			from += imageHole
			continue
		}
		to := from
		for to < i.n && !i.empty(to) {
			to += imageHole
		}
		to = min(to, i.n)
		if err := i.put(i.buf[from:to], i.at+int64(from)); err != nil {
			return err
		}
		from = to
	}
	i.at, i.n = i.at+int64(i.n), 0
	return nil
}

var zeros [imageHole]byte

func (i *imageFile) empty(from int) bool {
	b := i.buf[from:min(from+imageHole, i.n)]
	return b[0] == 0 && bytes.Equal(b, zeros[:len(b)])
}

func (i *imageFile) put(b []byte, off int64) error {
	n, err := i.f.WriteAt(b, off)
	if err != nil && i.direct && n == 0 { // not every file system that agreed can do it
		i.cached()
		_, err = i.f.WriteAt(b, off)
	}
	return err
}

// finish writes the rest and gives the file its length.
func (i *imageFile) finish() error {
	if i.n%4096 != 0 {
		i.cached()
	}
	if err := i.flush(); err != nil {
		return err
	}
	return i.f.Truncate(i.at)
}
