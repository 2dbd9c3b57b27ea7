package winrm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
	"github.com/fleetmend/fleetmend/remediate/route/routetest"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// The same suite over sealed NTLM: the scripted host behind the simulated fleet's acceptor.
func TestSuiteSealed(t *testing.T) { routetest.Suite(t, &harness{sealed: true}) }

const sealedBoundary = "--Encrypted Boundary"

// front is the NTLM of one connection.
type front struct {
	acceptor *ntlm.Acceptor
	session  *ntlm.Session
}

type frontKey struct{}

// startSealed serves h over plain HTTP with NTLM and sealing in front.
func (h *host) startSealed() *host {
	h.server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, frontKey{}, &front{acceptor: ntlm.NewAcceptor(ntlm.Names{Computer: "WS1", Domain: "CORP"}, rand.Reader, time.Now)})
	}
	h.server.Config.Handler = http.HandlerFunc(h.serveSealed)
	h.server.Start()
	h.t.Cleanup(h.server.Close)
	return h
}

func (h *host) serveSealed(w http.ResponseWriter, r *http.Request) {
	f := r.Context().Value(frontKey{}).(*front)
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Negotiate "); ok {
		f.logon(w, token)
		return
	}
	if f.session == nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/encrypted") {
		h.serve(w, r) // Identify, or a request that is refused
		return
	}
	body, err := f.open(r.Body)
	if err != nil {
		h.t.Error(err)
		return
	}
	inner := r.Clone(r.Context())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	inner.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	answer := &sealing{ResponseWriter: w, status: 200}
	h.serve(answer, inner)
	answer.flush(f)
}

func (f *front) logon(w http.ResponseWriter, token string) {
	raw, _ := base64.StdEncoding.DecodeString(token)
	if ntlm.Type(raw) == 1 {
		challenge, err := f.acceptor.Challenge(raw)
		if err == nil {
			w.Header().Set("WWW-Authenticate", "Negotiate "+base64.StdEncoding.EncodeToString(challenge))
		}
		w.WriteHeader(401)
		return
	}
	session, _, _, err := f.acceptor.Authenticate(raw, func(string, string) ([16]byte, bool) { return ntlm.Hash(password), true }, ntlm.Binding{})
	if err != nil {
		w.WriteHeader(401)
		return
	}
	f.session = session
	w.WriteHeader(200)
}

func (f *front) open(body io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	_, rest, _ := bytes.Cut(raw, []byte("\tContent-Type: application/octet-stream\r\n"))
	rest, ok := bytes.CutSuffix(rest, []byte(sealedBoundary+"--\r\n"))
	if !ok || len(rest) < 20 {
		return nil, fmt.Errorf("not sealed: %.100q", raw)
	}
	return f.session.Open(rest[4:20], rest[20:])
}

// sealing holds an answer until it can be sealed. A hijacked connection goes its own way.
type sealing struct {
	http.ResponseWriter
	status   int
	body     bytes.Buffer
	hijacked bool
}

func (s *sealing) WriteHeader(status int)      { s.status = status }
func (s *sealing) Write(p []byte) (int, error) { return s.body.Write(p) }
func (s *sealing) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *sealing) flush(f *front) {
	if s.hijacked {
		return
	}
	s.Header().Del("Content-Length")
	if s.body.Len() > 0 {
		signature, sealed := f.session.Seal(s.body.Bytes())
		s.Header().Set("Content-Type", `multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"`)
		length := s.body.Len()
		s.body.Reset()
		fmt.Fprintf(&s.body, "%s\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n"+
			"%s\r\n\tContent-Type: application/octet-stream\r\n", sealedBoundary, length, sealedBoundary)
		_ = binary.Write(&s.body, binary.LittleEndian, uint32(len(signature))) // a Buffer never fails
		s.body.Write(signature)
		s.body.Write(sealed)
		s.body.WriteString(sealedBoundary + "--\r\n")
	}
	s.ResponseWriter.WriteHeader(s.status)
	_, _ = s.ResponseWriter.Write(s.body.Bytes())
}

// sealedRoute is a route that logs on with NTLM over plain HTTP.
func sealedRoute(t testing.TB) *winrm.Route {
	return mustRoute(t, winrm.Config{Credential: fixed(user, password), CleanupTimeout: patience, MaxOutput: 1 << 20})
}
