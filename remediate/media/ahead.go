package media

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"sync"
)

// ahead reads a large content in a goroutine of its own, up to a few pieces ahead, and hashes it there, while the one who
// reads from it writes the pieces before. Close waits for the goroutine.
type ahead struct {
	source io.ReadCloser
	full   chan piece
	free   chan []byte
	stop   chan struct{}
	once   sync.Once
	now    piece
	rest   []byte
}

type piece struct {
	buf []byte
	n   int
	err error // after the n bytes
}

const (
	aheadPieces = 4
	aheadSize   = 1 << 20
)

func newAhead(source io.ReadCloser, done func(digest string)) *ahead {
	a := &ahead{source: source, full: make(chan piece, aheadPieces), free: make(chan []byte, aheadPieces), stop: make(chan struct{})}
	for range aheadPieces {
		a.free <- make([]byte, aheadSize)
	}
	go a.read(done)
	return a
}

func (a *ahead) read(done func(string)) {
	defer close(a.full)
	sum := sha256.New()
	for {
		var buf []byte
		select {
		case <-a.stop:
			return
		case buf = <-a.free:
		}
		n, err := fill(a.source, buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			done(hex.EncodeToString(sum.Sum(nil)))
		}
		select {
		case <-a.stop:
			return
		case a.full <- piece{buf, n, err}:
		}
		if err != nil {
			return
		}
	}
}

// fill is io.ReadFull that tells the end of the source from an error of it.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	return n, err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.free <- a.now.buf
		}
		var ok bool
		if a.now, ok = <-a.full; !ok {
			return 0, os.ErrClosed
		}
		a.rest = a.now.buf[:a.now.n]
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (a *ahead) Close() error {
	var err error
	a.once.Do(func() {
		close(a.stop)
		err = a.source.Close() // ends a Read that is under way, where the source is a pipe
		for range a.full {     // until the goroutine is gone
			continue
		}
	})
	return err
}

// sparse writes to a new file and leaves out long runs of zeros: a file that is made longer reads as zeros there.
type sparse struct {
	f  *os.File
	at int64 // how long the file is to be by now
}

var zeros [256 << 10]byte

// Write implements io.Writer.
func (s *sparse) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		k := min(len(p), len(zeros))
		if k < len(zeros) || p[0] != 0 || !bytes.Equal(p[:k], zeros[:k]) {
			k = len(p)
			if i := zeroRun(p); i > 0 {
				k = i
			}
			n, err := s.f.WriteAt(p[:k], s.at)
			s.at += int64(n)
			total += n
			if err != nil {
				return total, err
			}
		} else {
			s.at += int64(k)
			total += k
		}
		p = p[k:]
	}
	return total, nil
}

// zeroRun is where, in steps of its length, the next long run of zeros begins; 0 if there is none.
func zeroRun(p []byte) int {
	for i := len(zeros); i+len(zeros) <= len(p); i += len(zeros) {
		if p[i] == 0 && bytes.Equal(p[i:i+len(zeros)], zeros[:]) {
			return i
		}
	}
	return 0
}

// finish gives the file its length.
func (s *sparse) finish() error { return s.f.Truncate(s.at) }
