package simfleet

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"

	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
)

// link is one TCP connection to a machine. What it speaks is decided by the first byte: 0x16 begins TLS, anything else
// is plain HTTP. It holds what was authenticated on it, because NTLM's identity belongs to the connection.
type link struct {
	net.Conn // the TCP connection
	host     *host
	once     sync.Once
	first    error
	inner    net.Conn // what HTTP reads and writes: Conn with the first byte put back, or TLS over it
	secure   *tls.Conn

	received atomic.Int64
	cutIn    int64        // cut after so many bytes of the client; 0 never
	cutOut   atomic.Int64 // cut after so many more bytes to the client; negative never

	logon logon // of the handler; HTTP/1.1 has one request at a time
}

// logon is the state of authentication of a connection.
type logon struct {
	acceptor   *ntlm.Acceptor
	mechanisms []byte // of an SPNEGO negotiation in progress
	spnego     bool
	session    *ntlm.Session
	user       string // "" while nobody is logged on
}

func newLink(conn net.Conn, h *host) *link {
	l := &link{Conn: conn, host: h}
	l.cutOut.Store(-1)
	return l
}

// counted is the connection below TLS: it counts and cuts what the client sends.
type counted struct {
	*link
	head []byte
}

func (c *counted) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.readRaw(p)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.host.fleet.written.Add(int64(n))
	return n, err
}

func (l *link) readRaw(p []byte) (int, error) {
	if l.cutIn > 0 {
		left := l.cutIn - l.received.Load()
		if left <= 0 {
			l.host.dropped()
			l.abort()
			return 0, net.ErrClosed
		}
		if int64(len(p)) > left {
			p = p[:left]
		}
	}
	n, err := l.Conn.Read(p)
	l.received.Add(int64(n))
	l.host.fleet.received.Add(int64(n))
	return n, err
}

// sniff looks at the first byte. It runs in the connection's own goroutine, on the first read.
func (l *link) sniff() {
	var b [1]byte
	if _, l.first = l.readRaw(b[:]); l.first != nil {
		return
	}
	below := &counted{l, bytes.Clone(b[:])}
	l.inner = below
	if b[0] == 0x16 {
		l.secure = tls.Server(below, l.host.tlsConfig())
		l.inner = l.secure
	}
}

func (l *link) Read(p []byte) (int, error) {
	l.once.Do(l.sniff)
	if l.first != nil {
		return 0, l.first
	}
	return l.inner.Read(p)
}

// Write sends a reply, or as much of it as a planned fault lets through.
func (l *link) Write(p []byte) (int, error) {
	if l.inner == nil {
		return 0, net.ErrClosed
	}
	left := l.cutOut.Load()
	if left < 0 {
		return l.inner.Write(p)
	}
	if int64(len(p)) <= left {
		l.cutOut.Add(-int64(len(p)))
		return l.inner.Write(p)
	}
	n, _ := l.inner.Write(p[:left])
	l.abort()
	return n, net.ErrClosed
}

// Close ends the connection in an orderly way and takes it off the machine's list.
func (l *link) Close() error {
	l.host.forget(l)
	return l.Conn.Close()
}

// abort resets the connection, as a machine does that loses its power or its patience.
func (l *link) abort() {
	if tcp, ok := l.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.Close()
}
