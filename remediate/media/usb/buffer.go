package usb

import (
	"fmt"
	"io"
	"unsafe"
)

const (
	chunk = 4 << 20
	align = 4096
)

// aligned returns n bytes that begin at a multiple of 4096, as unbuffered reading and writing demand.
func aligned(n int) []byte {
	b := make([]byte, n+align)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (align - 1)) //nolint:gosec // only the address is looked at
	return b[skip : skip+n : skip+n]
}

func roundUp(n int64) int64 { return (n + sector - 1) / sector * sector }

// unaligned reads any range of a device of which only aligned ranges can be read.
type unaligned struct {
	dev  io.ReaderAt
	size int64
}

func (u unaligned) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at >= u.size {
			return done, io.EOF
		}
		from := at / sector * sector
		want := roundUp(min(at+int64(len(p)-done), u.size)) - from
		b := aligned(int(min(want, chunk)))
		if n, err := u.dev.ReadAt(b, from); n < len(b) {
			return done, orShort(err)
		}
		done += copy(p[done:], b[at-from:])
	}
	return done, nil
}

// orShort gives a short transfer without an error a name.
func orShort(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
