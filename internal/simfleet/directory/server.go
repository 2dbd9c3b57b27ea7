// Package directory serves a simulated Active Directory domain over LDAP, for the simulated fleet.
//
// [NewTree] holds the objects; [New] makes a server for it and [Server.Start] lets it listen on loopback, once with TLS
// from the first byte and once in clear with StartTLS. It behaves as a domain controller does where clients notice: no
// password in clear, pages of a thousand and no more than that without paging, continuation references, confidential
// attributes that are missing rather than refused, range retrieval, the matching rules for bits and for nested groups,
// AD's own error texts. It shares no code with our client, so that both can be checked by others: ldapsearch reads it.
//
// It never listens on anything but loopback, and it changes nothing on request of a client.
package directory

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Config says what to serve. Tree and Certificate have no default.
type Config struct {
	Tree     *Tree
	NetBIOS  string // of the domain, e.g. FLEET
	HostName string // FQDN of the domain controller
	Site     string // where it stands
	Accounts []Account

	Certificate *tls.Certificate
	// Mapped returns the account a client certificate stands for, or "". Nil: none (no SASL EXTERNAL).
	Mapped func(*x509.Certificate) string

	Skew time.Duration // how far the clock of the domain controller is ahead
	// Listen opens a port; default: any free one of 127.0.0.1.
	Listen func() (net.Listener, error)
}

const (
	maxConnections = 1000
	idleTimeout    = 15 * time.Minute // MaxConnIdleTime
	writeTimeout   = 30 * time.Second
)

// Server is a simulated domain controller. It is safe for concurrent use.
type Server struct {
	config Config
	tls    *tls.Config

	mu        sync.Mutex
	closed    bool
	listeners []net.Listener
	conns     map[net.Conn]struct{}
	done      chan struct{}
	running   sync.WaitGroup
	stats     Stats
}

// Stats count what was asked of the server.
type Stats struct {
	Connections int `json:"connections"`
	Binds       int `json:"binds"`
	FailedBinds int `json:"failed_binds"`
	ClearBinds  int `json:"clear_binds"` // passwords that came without TLS, and were refused
	Searches    int `json:"searches"`
	Entries     int `json:"entries"`
}

// New checks the configuration. Nothing listens before Start.
func New(config Config) (*Server, error) {
	if config.Tree == nil || config.Certificate == nil {
		return nil, errors.New("make simulated directory: no contents or no certificate")
	}
	if config.Listen == nil {
		config.Listen = func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	}
	s := &Server{config: config, conns: map[net.Conn]struct{}{}, done: make(chan struct{})}
	s.tls = &tls.Config{Certificates: []tls.Certificate{*config.Certificate}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true}
	return s, nil
}

// Start listens and serves until Close, or until ctx is done.
func (s *Server) Start(ctx context.Context) error {
	for range 2 {
		listener, err := s.config.Listen()
		if err != nil {
			s.Close()
			return fmt.Errorf("start simulated directory: %w", err)
		}
		s.mu.Lock()
		s.listeners = append(s.listeners, listener)
		s.mu.Unlock()
	}
	for i, listener := range s.listeners {
		s.running.Go(func() { s.accept(listener, i == 0) })
	}
	stop := context.AfterFunc(ctx, s.shut)
	s.running.Go(func() {
		<-s.done
		stop()
	})
	return nil
}

// shut closes every listener and every connection.
func (s *Server) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.done)
	for _, l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
}

// Close ends every connection and waits until nothing of the server runs any more. It may be called again.
func (s *Server) Close() {
	s.shut()
	s.running.Wait()
}

// LDAPS is the address with TLS from the first byte, LDAP the one in clear with StartTLS; host:port, "" before Start.
func (s *Server) LDAPS() string { return s.address(0) }

// LDAP is the address that begins in clear.
func (s *Server) LDAP() string { return s.address(1) }

func (s *Server) address(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.listeners) {
		return ""
	}
	return s.listeners[i].Addr().String()
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Server) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

func (s *Server) accept(listener net.Listener, secure bool) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return // closed; a loopback listener has no other end
		}
		if !s.remember(c) {
			_ = c.Close()
			continue
		}
		s.running.Go(func() {
			defer s.forget(c)
			s.serve(c, secure)
		})
	}
}

func (s *Server) remember(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= maxConnections {
		return false
	}
	s.conns[c] = struct{}{}
	s.stats.Connections++
	return true
}

func (s *Server) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	_ = c.Close()
}

// session is one connection.
type session struct {
	server  *Server
	conn    net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	secure  *tls.Conn // nil in clear
	account *Account  // nil: anonymous
}

func (s *Server) serve(c net.Conn, secure bool) {
	x := &session{server: s, conn: c}
	if secure {
		x.secure = tls.Server(c, s.tls)
		x.conn = x.secure
	}
	x.in, x.out = bufio.NewReaderSize(x.conn, 4<<10), bufio.NewWriterSize(x.conn, 32<<10)
	for {
		_ = c.SetReadDeadline(time.Now().Add(idleTimeout))
		body, err := readMessage(x.in)
		if err != nil {
			if errors.Is(err, errBER) {
				x.disconnect(err)
			}
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		m, err := parseMessage(body)
		if err != nil {
			x.disconnect(err)
			return
		}
		if !x.handle(m) || x.out.Flush() != nil {
			return
		}
	}
}

// send writes one operation of an answer.
func (x *session) send(id int, op, controls []byte) {
	inner := appendInteger(nil, tagInteger, id)
	size := len(inner) + len(op) + len(controls)
	head := append(appendHead(make([]byte, 0, 16), tagSequence, size), inner...)
	_, _ = x.out.Write(head) // errors stay in the writer until Flush
	_, _ = x.out.Write(op)
	_, _ = x.out.Write(controls)
}

func (x *session) reply(id int, tag byte, r result) { x.send(id, wrap(tag, r.encode()), nil) }

// disconnect is the notice that the server gives up the connection (RFC 4511 section 4.4.1).
func (x *session) disconnect(err error) {
	b := result{code: resultProtocolError, text: err.Error()}.encode()
	b = appendOctets(b, tagExtendedRespName, "1.3.6.1.4.1.1466.20036")
	_ = x.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	x.send(0, wrap(opExtendedResponse, b), nil)
	_ = x.out.Flush()
}
