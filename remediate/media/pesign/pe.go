package pesign

import (
	"cmp"
	"crypto"
	_ "crypto/sha1" // old signatures use it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrNotPE means that the data is no PE file.
var ErrNotPE = errors.New("not a PE file")

// DamagedError tells that a PE file contradicts itself or is cut off.
type DamagedError struct{ Reason string }

func (e *DamagedError) Error() string { return "PE file is damaged: " + e.Reason }

func damaged(format string, args ...any) error { return &DamagedError{fmt.Sprintf(format, args...)} }

// Machine is the processor a PE file is for, as a number of the PE format.
type Machine uint16

// The processors that Windows PE exists for.
const (
	X86   Machine = 0x014c
	ARM   Machine = 0x01c4
	AMD64 Machine = 0x8664
	ARM64 Machine = 0xaa64
)

func (m Machine) String() string {
	switch m {
	case X86:
		return "x86"
	case ARM:
		return "arm"
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return fmt.Sprintf("machine %#04x", uint16(m))
}

// EFIApplication is the subsystem of a boot loader.
const EFIApplication = 10

var le = binary.LittleEndian

const maxCertificates = 16 << 20

// Layout is what the hash of a PE file depends on: byte offsets.
type layout struct {
	r         io.ReaderAt
	size      int64
	machine   Machine
	subsystem uint16
	checksum  int64
	directory int64 // the entry of the certificate table
	headers   int64
	sections  []span
	table     span // certificates; empty if there are none
}

type span struct{ off, n int64 }

func readLayout(r io.ReaderAt, size int64) (*layout, error) {
	var dos [64]byte
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), dos[:]); err != nil || dos[0] != 'M' || dos[1] != 'Z' {
		return nil, notPE(err)
	}
	pe := int64(le.Uint32(dos[60:]))
	head := make([]byte, 24+240)
	if pe >= size {
		return nil, ErrNotPE
	}
	n, err := r.ReadAt(head[:min(int64(len(head)), size-pe)], pe)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read PE header: %w", err)
	}
	if n < 24 || string(head[:4]) != "PE\x00\x00" {
		return nil, ErrNotPE
	}
	l := &layout{r: r, size: size, machine: Machine(le.Uint16(head[4:]))}
	opt, optSize := head[24:n], int64(le.Uint16(head[20:]))
	if len(opt) < 112 || optSize < 112 {
		return nil, damaged("its optional header is cut off")
	}
	dirs := 96
	switch magic := le.Uint16(opt); magic {
	case 0x10b:
	case 0x20b:
		dirs = 112
	default:
		return nil, damaged("optional header of kind %#x", magic)
	}
	l.subsystem, l.headers = le.Uint16(opt[68:]), int64(le.Uint32(opt[60:]))
	l.checksum, l.directory = pe+24+64, pe+24+int64(dirs)+4*8
	if l.headers > size || l.headers < pe+24+optSize {
		return nil, damaged("headers of %d bytes in a file of %d", l.headers, size)
	}
	if le.Uint32(opt[dirs-4:]) > 4 && len(opt) >= dirs+40 && optSize >= int64(dirs)+40 {
		l.table = span{int64(le.Uint32(opt[dirs+32:])), int64(le.Uint32(opt[dirs+36:]))}
	} else {
		l.directory = 0
	}
	if l.table.n > maxCertificates || l.table.n > 0 && (l.table.off < l.headers || l.table.off+l.table.n > size) {
		return nil, damaged("its certificates lie at bytes %d to %d of %d", l.table.off, l.table.off+l.table.n, size)
	}
	return l, l.readSections(pe+24+optSize, int(le.Uint16(head[6:])))
}

func notPE(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrNotPE
	}
	return fmt.Errorf("read PE header: %w", err)
}

func (l *layout) readSections(at int64, n int) error {
	b := make([]byte, n*40)
	if at+int64(len(b)) > l.headers {
		return damaged("its section table is cut off")
	}
	if _, err := l.r.ReadAt(b, at); err != nil && (!errors.Is(err, io.EOF) || n > 0) {
		return fmt.Errorf("read PE sections: %w", err)
	}
	for ; len(b) > 0; b = b[40:] {
		s := span{int64(le.Uint32(b[20:])), int64(le.Uint32(b[16:]))}
		if s.n == 0 {
			continue
		}
		if s.off+s.n > l.size {
			return damaged("a section lies at bytes %d to %d of %d", s.off, s.off+s.n, l.size)
		}
		l.sections = append(l.sections, s)
	}
	slices.SortStableFunc(l.sections, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	var sum int64
	for _, s := range l.sections {
		if sum += s.n; sum > 2*l.size { // sections that overlap over and over would make hashing endless
			return damaged("its sections overlap")
		}
	}
	return nil
}

// Digest computes the Authenticode hash of the file: everything but the checksum, the entry of the certificate table and
// that table itself, in the order of the sections.
func (l *layout) digest(h crypto.Hash) ([]byte, error) {
	sum := h.New()
	at := int64(0)
	parts := []span{{0, l.checksum}}
	at = l.checksum + 4
	if l.directory > 0 {
		parts = append(parts, span{at, l.directory - at})
		at = l.directory + 8
	}
	parts = append(parts, span{at, l.headers - at})
	hashed := l.headers
	for _, s := range l.sections {
		parts = append(parts, s)
		hashed += s.n
	}
	if end := l.size - l.table.n; end > hashed {
		parts = append(parts, span{hashed, end - hashed})
	}
	buf := make([]byte, 256<<10)
	for _, p := range parts {
		if _, err := io.CopyBuffer(onlyWriter{sum}, io.NewSectionReader(l.r, p.off, p.n), buf); err != nil {
			return nil, fmt.Errorf("hash PE file: %w", err)
		}
	}
	return sum.Sum(nil), nil
}

type onlyWriter struct{ io.Writer }
