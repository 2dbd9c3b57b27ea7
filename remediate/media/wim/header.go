package wim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var le = binary.LittleEndian

const (
	headerSize    = 208
	resHdrSize    = 24
	blobSize      = 50
	chunkSize     = 32768
	version       = 0x10d00
	versionSolid  = 0xe00
	integrityStep = 10 << 20

	flagCompressed = 0x2
	flagReadOnly   = 0x4
	flagSpanned    = 0x8
	flagWriting    = 0x40
	flagXPRESS     = 0x20000
	flagLZX        = 0x40000
	flagLZMS       = 0x80000

	resMetadata   = 0x2
	resCompressed = 0x4
	resSpanned    = 0x8
	resSolid      = 0x10
)

// Codec is the compression of the resources that carry the compressed flag.
type codec uint8

const (
	codecNone codec = iota
	codecXPRESS
	codecLZX
)

func (c codec) String() string { return [...]string{"none", "XPRESS", "LZX"}[c] }

// Resource is a RESHDR: where a run of bytes lies and how it is stored.
type resource struct {
	stored int64 // bytes in the file
	flags  byte
	off    int64
	size   int64 // bytes after decompression
}

func getResource(b []byte) resource {
	v := le.Uint64(b)
	return resource{int64(v & (1<<56 - 1)), byte(v >> 56), int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))}
}

func (r resource) put(b []byte) {
	le.PutUint64(b, uint64(r.stored)|uint64(r.flags)<<56)
	le.PutUint64(b[8:], uint64(r.off))
	le.PutUint64(b[16:], uint64(r.size))
}

func (r resource) end() int64 { return r.off + r.stored }

// Check refuses a resource that lies outside the file or whose sizes cannot be true, so that no later step
// allocates or reads by a number that the file merely claims.
func (r resource) check(what string, fileSize int64) error {
	if r.off < 0 || r.size < 0 || r.off > 1<<56 {
		return corrupt(what, "impossible offset or size")
	}
	if r.end() > fileSize {
		return truncated(what, r.off, r.end(), fileSize)
	}
	if r.flags&(resSolid|resSpanned) != 0 {
		if r.flags&resSolid != 0 {
			return unsupported(Solid, "it holds solid (ESD) resources")
		}
		return unsupported(Split, "%s continues in another file", what)
	}
	if r.flags&resCompressed == 0 {
		if r.size != r.stored {
			return corrupt(what, "stored size %d differs from size %d", r.stored, r.size)
		}
		return nil
	}
	if r.size > 0 && (r.chunks()-1)*r.entry() >= r.stored {
		return corrupt(what, "%d bytes cannot hold the chunk table for %d", r.stored, r.size)
	}
	return nil
}

func (r resource) chunks() int64 { return (r.size + chunkSize - 1) / chunkSize }

// Entry is the width of a chunk-table entry.
func (r resource) entry() int64 {
	if r.size > 0xffffffff {
		return 8
	}
	return 4
}

type header struct {
	raw       [headerSize]byte
	codec     codec
	images    int
	boot      int
	table     resource
	xml       resource
	integrity resource
}

func readHeader(r io.ReaderAt, size int64) (*header, error) {
	h := &header{}
	n, err := r.ReadAt(h.raw[:], 0)
	if n >= 8 && string(h.raw[:8]) == "WLPWM\x00\x00\x00" {
		return nil, unsupported(Pipable, "it is laid out to be piped, as wimlib-imagex does with --pipable")
	}
	if n >= 8 && string(h.raw[:8]) != "MSWIM\x00\x00\x00" || n < 8 && size < 8 {
		return nil, ErrNotWIM
	}
	if n < headerSize {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, truncated("the header", 0, headerSize, size)
		}
		return nil, fmt.Errorf("read WIM header: %w", err)
	}
	if l := le.Uint32(h.raw[8:]); l != headerSize {
		return nil, corrupt("the header", "length %d instead of %d", l, headerSize)
	}
	flags := le.Uint32(h.raw[16:])
	if err := h.refuse(flags); err != nil {
		return nil, err
	}
	switch {
	case flags&flagCompressed == 0:
		h.codec = codecNone
	case flags&flagLZX != 0:
		h.codec = codecLZX
	case flags&flagXPRESS != 0:
		h.codec = codecXPRESS
	default:
		return nil, unsupported(Codec, "unknown compression (flags %#x)", flags)
	}
	if c := le.Uint32(h.raw[20:]); c != chunkSize && (h.codec != codecNone || c != 0) {
		return nil, unsupported(ChunkSize, "its chunks are %d bytes, not %d", c, chunkSize)
	}
	h.images, h.boot = int(le.Uint32(h.raw[44:])), int(le.Uint32(h.raw[120:]))
	h.table, h.xml, h.integrity = getResource(h.raw[48:]), getResource(h.raw[72:]), getResource(h.raw[124:])
	return h, h.check(size)
}

func (h *header) refuse(flags uint32) error {
	v := le.Uint32(h.raw[12:])
	switch part, total := le.Uint16(h.raw[40:]), le.Uint16(h.raw[42:]); {
	case v == versionSolid || flags&flagLZMS != 0:
		return unsupported(Solid, "it is a solid (ESD) file")
	case v != version:
		return unsupported(Codec, "unknown format version %#x", v)
	case flags&flagSpanned != 0 || total > 1 || part > 1:
		return unsupported(Split, "it is part %d of %d of a split set", part, total)
	case flags&flagWriting != 0:
		return unsupported(WriteInProgress, "a write to it was never finished")
	}
	return nil
}

func (h *header) check(size int64) error {
	if h.boot > h.images {
		return corrupt("the header", "boot index %d of %d images", h.boot, h.images)
	}
	if err := h.table.check("the table of resources", size); err != nil {
		return err
	}
	if err := h.xml.check("the XML description", size); err != nil {
		return err
	}
	return h.integrity.check("the integrity table", size)
}
