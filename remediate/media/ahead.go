package media

import (
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
