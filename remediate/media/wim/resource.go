package wim

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/Microsoft/go-winio/wim/lzx"
)

// MaxTable bounds what is read into memory at once: the metadata of one image, the table of resources, the XML.
// The largest install.wim known has a tenth of it.
const maxTable = 512 << 20

// MaxRatio bounds how well a table may be compressed: names and hashes never come near it, and a few bytes that claim
// to be a gigabyte are refused.
const maxRatio = 512

// Stream reads one resource from its beginning and checks its SHA-1 when it reaches the end.
type stream struct {
	what  string
	left  int64 // uncompressed bytes not yet produced
	codec codec // codecNone: raw
	table *bufio.Reader
	data  *bufio.Reader
	entry int64
	at    int64 // offset of the next chunk behind the table
	body  int64 // length of all chunks
	out   []byte
	buf   []byte
	in    []byte
	sum   hash.Hash
	want  [sha1.Size]byte
	err   error
}

// OpenResource returns a reader over a checked resource; want is nil where the format has no hash.
func openResource(r io.ReaderAt, res resource, c codec, what string, want *[sha1.Size]byte) (*stream, error) {
	s, table, err := newStream(res, c, what, want)
	if err != nil {
		return nil, err
	}
	s.table = bufio.NewReader(io.NewSectionReader(r, res.off, table))
	s.data = bufio.NewReaderSize(io.NewSectionReader(r, res.off+table, res.stored-table), 64<<10)
	return s, nil
}

// newStream is a stream that lacks its readers, and the length of its table of chunks.
func newStream(res resource, c codec, what string, want *[sha1.Size]byte) (s *stream, table int64, err error) {
	s = &stream{what: what, left: res.size}
	if want != nil {
		s.sum, s.want = sha1.New(), *want
	}
	if res.flags&resCompressed == 0 {
		return s, 0, nil
	}
	if c == codecNone {
		return nil, 0, corrupt(what, "compressed data in a WIM without compression")
	}
	s.codec, s.entry = c, res.entry()
	table = max(res.chunks()-1, 0) * s.entry
	s.body = res.stored - table
	s.buf, s.in = make([]byte, chunkSize), make([]byte, chunkSize)
	return s, table, nil
}

func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.out) == 0 && s.left == 0 {
		s.err = s.finish()
		return 0, s.err
	}
	n, err := s.some(p)
	if err != nil {
		s.err = err
		return n, err
	}
	if s.sum != nil {
		s.sum.Write(p[:n])
	}
	return n, nil
}

func (s *stream) some(p []byte) (int, error) {
	if s.codec == codecNone {
		n, err := s.data.Read(p[:min(int64(len(p)), s.left)])
		s.left -= int64(n)
		if err != nil {
			return n, fmt.Errorf("read %s: %w", s.what, noEOF(err))
		}
		return n, nil
	}
	if len(s.out) == 0 {
		if err := s.chunk(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// Chunk decompresses the next 32 KiB into s.out.
func (s *stream) chunk() error {
	size := min(s.left, chunkSize)
	next := s.body
	if s.left > chunkSize {
		var b [8]byte
		if _, err := io.ReadFull(s.table, b[:s.entry]); err != nil {
			return fmt.Errorf("read chunk table of %s: %w", s.what, noEOF(err))
		}
		next = int64(le.Uint64(b[:]))
	}
	n := next - s.at
	if n <= 0 || n > size || next > s.body {
		return corrupt(s.what, "chunk of %d bytes for %d", n, size)
	}
	in := s.in[:n]
	if _, err := io.ReadFull(s.data, in); err != nil {
		return fmt.Errorf("read %s: %w", s.what, noEOF(err))
	}
	s.at, s.left = next, s.left-size
	if n == size { // stored raw
		s.out = append(s.buf[:0], in...)
		return nil
	}
	s.out = s.buf[:size]
	if err := decompress(s.codec, in, s.out); err != nil {
		return corrupt(s.what, "%v", err)
	}
	return nil
}

func (s *stream) finish() error {
	if s.sum != nil && !bytes.Equal(s.sum.Sum(nil), s.want[:]) {
		return corrupt(s.what, "its content does not have the SHA-1 %x that the file promises", s.want)
	}
	return io.EOF
}

// Decompress fills out from one compressed chunk. The LZX library indexes by what the data says, so a panic of
// it is an answer about the data, not about us.
func decompress(c codec, in, out []byte) (err error) {
	if c == codecXPRESS {
		return decodeXPRESS(in, out)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("LZX data corrupt: %v", p)
		}
	}()
	zr, err := lzx.NewReader(bytes.NewReader(in), len(out))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(zr, out)
	return err
}

// ReadAll reads a whole resource whose size is bounded by maxTable. Memory grows with the data that is really
// there, not with the size claimed.
func readAll(r io.ReaderAt, res resource, c codec, what string, want *[sha1.Size]byte) ([]byte, error) {
	if res.size > maxTable || res.size > maxRatio*max(res.stored, 4096) {
		return nil, corrupt(what, "%d bytes, stored in %d, is more than any real file has", res.size, res.stored)
	}
	s, err := openResource(r, res, c, what, want)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(min(res.size, 16*res.stored)) + bytes.MinRead)
	if _, err := b.ReadFrom(s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
