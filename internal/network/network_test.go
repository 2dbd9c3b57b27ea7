package network_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/network"
)

// serve answers each connection on loopback with do, until the test ends.
func serve(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			do(c)
			_ = c.Close() //nolint:errcheck // the other side may be gone
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// nameServer answers every question with a code (RFC 1035 4.1.1), or with nothing where that is negative.
func nameServer(t *testing.T, code int) *net.Resolver {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		packet := make([]byte, 1500)
		for {
			n, from, err := l.ReadFrom(packet)
			if err != nil {
				return
			}
			if code < 0 {
				continue
			}
			binary.BigEndian.PutUint16(packet[2:], 0x8180|uint16(code)) //nolint:gosec // a code of four bits
			end := 12                                                   // of the question, beyond which there may be additional records
			for packet[end] != 0 {
				end += int(packet[end]) + 1
			}
			clear(packet[6:12])
			_, _ = l.WriteTo(packet[:min(n, end+5)], from) //nolint:errcheck // asked again
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
}

// certificate is one that signed itself, for the name x.test.
func certificate(t *testing.T, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nobody's CA"}, DNSNames: []string{"x.test"}, NotBefore: until.Add(-time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestWordsOfRealErrors has real sockets fail in every way that loopback has, and says of none what the system says.
func TestWordsOfRealErrors(t *testing.T) {
	dial := func(address string, resolver *net.Resolver, wait time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		c, err := (&net.Dialer{Resolver: resolver}).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = c.Close() //nolint:errcheck // it is an error that is wanted
		}
		return err
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	read := func(address string, wait time.Duration) error {
		c, err := net.Dial("tcp", address)
		if err != nil { // reset before it came back
			return err
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(wait)) //nolint:errcheck // it is a TCP connection
		_, err = c.Read(make([]byte, 1))
		return err
	}
	overTLS := func(address string, config *tls.Config) error {
		c, err := tls.Dial("tcp", address, config)
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // a refusal of TLS 1.3 comes after the handshake
			_ = c.Close()                    //nolint:errcheck // it is an error that is wanted
		}
		return err
	}
	secured := func(until time.Time, ask tls.ClientAuthType) (string, *x509.CertPool) {
		c, pool := certificate(t, until)
		return serve(t, func(conn net.Conn) {
			_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}, ClientAuth: ask}).Handshake()
		}), pool //nolint:errcheck // of the other side
	}
	hung, gone := make(chan struct{}), serve(t, func(net.Conn) {})
	silent := serve(t, func(net.Conn) { <-hung })
	reset := serve(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }) //nolint:errcheck // it is a TCP connection
	clear := serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") //nolint:errcheck // of the other side
		_, _ = io.Copy(io.Discard, c)                                //nolint:errcheck // until the other side has read all
	})
	t.Cleanup(func() { close(hung) })
	good, trusted := secured(time.Now().Add(time.Hour), tls.NoClientCert)
	old, outdated := secured(time.Now().Add(-time.Minute), tls.NoClientCert)
	strict, mutual := secured(time.Now().Add(time.Hour), tls.RequireAnyClientCert)
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"refused":          {dial(nobody, nil, time.Minute), nobody + " refuses the connection"},
		"refused, by HTTP": {asked("http://" + nobody + "/x"), nobody + " refuses the connection"},
		"no such name":     {dial("nosuch.test:1", nameServer(t, 3), time.Minute), `the name "nosuch.test" cannot be resolved: no name server knows it`},
		"a server fails":   {dial("fails.test:1", nameServer(t, 2), time.Minute), `the name "fails.test" cannot be resolved: the name server`},
		"a silent server":  {dial("silent.test:1", nameServer(t, -1), 50*time.Millisecond), `the name "silent.test" cannot be resolved: the name server`},
		"no answer":        {read(silent, 20*time.Millisecond), silent + " did not answer in time"},
		"closed":           {read(gone, time.Minute), "the other side closed the connection"},
		"reset":            {read(reset, time.Minute), reset + " broke the connection"},
		"no TLS":           {overTLS(clear, &tls.Config{ServerName: "x.test"}), "the other side does not speak TLS"},
		"untrusted":        {overTLS(good, &tls.Config{ServerName: "x.test", RootCAs: x509.NewCertPool()}), `the certificate of the other side was issued by "CN=nobody's CA", which this computer does not trust`},
		"another name":     {overTLS(good, &tls.Config{ServerName: "y.test", RootCAs: trusted}), "the certificate of the other side is for another name, not for y.test"},
		"expired":          {overTLS(old, &tls.Config{ServerName: "x.test", RootCAs: outdated}), "the certificate of the other side has expired or is not valid yet"},
		"wants one of us":  {overTLS(strict, &tls.Config{ServerName: "x.test", RootCAs: mutual}), "the other side refuses our TLS (certificate required)"},
	} {
		if test.err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		got := network.Plain("", test.err)
		if text := got.Error(); !strings.HasPrefix(text, test.want) || strings.Contains(text, "dial tcp") || strings.Contains(text, "lookup ") || strings.Count(text, ".test") > 1 || strings.Contains(text, "syscall") {
			t.Errorf("%s: %q, want %q (from %q)", name, text, test.want, test.err)
		}
		if !errors.Is(got, test.err) || network.Plain("x", got).Error() != got.Error() {
			t.Errorf("%s: another error, or said twice: %v", name, got)
		}
	}
}

func asked(address string) error {
	client := http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: time.Minute}
	resp, err := client.Get(address) //nolint:noctx // the client has a timeout
	if err == nil {
		_ = resp.Body.Close() //nolint:errcheck // it is an error that is wanted
	}
	return err
}

// What loopback does not have, and what Windows says by numbers of its own; who was talked to is said where err does not know.
func TestWordsOfOtherErrors(t *testing.T) {
	of := func(n syscall.Errno) error {
		return &url.Error{Op: "Get", URL: "https://x", Err: &net.OpError{Op: "dial", Net: "tcp", Err: n}}
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{of(syscall.EHOSTUNREACH), "no route leads to ws1:5985"}, {of(10065), "no route leads to ws1:5985"}, {of(10051), "no route leads to ws1:5985"},
		{of(10061), "ws1:5985 refuses the connection"}, {of(10060), "ws1:5985 did not answer in time"}, {of(10054), "ws1:5985 broke the connection"},
		{context.DeadlineExceeded, "ws1:5985 did not answer in time"}, {io.ErrUnexpectedEOF, "ws1:5985 closed the connection"},
		{of(syscall.EMFILE), "the connection to ws1:5985 failed (" + syscall.EMFILE.Error() + ")"},
		{errors.New("disk full"), "disk full"}, {context.Canceled, "context canceled"},
	} {
		if got := network.Plain("ws1:5985", test.err); got.Error() != test.want {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
	if network.Plain("x", nil) != nil {
		t.Error("nil is an error")
	}
}
