package directory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/fleetmend/fleetmend/internal/kerberos"
)

// The security layers of RFC 4752 3.1.
const (
	layerNone byte = 1
	layerSign byte = 2
	layerSeal byte = 4
)

// maxSASL is the largest message we take: what AD itself announces.
const maxSASL = 0xa00000

// wrapper protects messages and opens those of the other side: a [kerberos.Context].
type wrapper interface {
	Wrap(message []byte, seal bool) ([]byte, error)
	Open(token []byte, sealed bool) ([]byte, error)
}

// layer is a connection on which a SASL security layer is switched on after the bind (RFC 4422 3.7): each message is
// four bytes of length and a wrap token.
type layer struct {
	net.Conn
	on      atomic.Bool
	seal    bool
	tokens  wrapper
	maxSend int // of one wrapped message
	writing sync.Mutex
	plain   bytes.Reader
	raw     []byte // read before the layer was on
}

func (l *layer) Read(p []byte) (int, error) {
	if l.plain.Len() > 0 {
		return l.plain.Read(p)
	}
	if !l.on.Load() {
		n, err := l.Conn.Read(p)
		// The reader waits here while the bind ends, so what it wakes with may already be protected.
		if n == 0 || !l.on.Load() {
			return n, err
		}
		l.raw = append(l.raw, p[:n]...)
	}
	for l.plain.Len() == 0 {
		var size [4]byte
		if err := l.fill(size[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxSASL {
			return 0, fmt.Errorf("%w (%d bytes announced)", kerberos.ErrToken, n)
		}
		token := make([]byte, n)
		if err := l.fill(token); err != nil {
			return 0, err
		}
		text, err := l.tokens.Open(token, l.seal)
		if err != nil {
			return 0, err
		}
		l.plain.Reset(text)
	}
	return l.plain.Read(p)
}

func (l *layer) fill(b []byte) error {
	n := copy(b, l.raw)
	l.raw = l.raw[n:]
	_, err := io.ReadFull(l.Conn, b[n:])
	return err
}

func (l *layer) Write(p []byte) (int, error) {
	if !l.on.Load() {
		return l.Conn.Write(p)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+l.maxSend)]
		token, err := l.tokens.Wrap(part, l.seal)
		if err != nil {
			return done, err
		}
		if _, err := l.Conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}
