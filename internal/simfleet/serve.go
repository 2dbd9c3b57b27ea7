package simfleet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/wsman"
)

// funnel is the one listener of the HTTP server: every machine hands its connections to it.
type funnel struct {
	links chan *link
	done  chan struct{}
}

func (f *funnel) hand(l *link) bool {
	select {
	case f.links <- l:
		return true
	case <-f.done:
		return false
	}
}

// Accept implements net.Listener.
func (f *funnel) Accept() (net.Conn, error) {
	select {
	case l := <-f.links:
		return l, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; the fleet itself ends the funnel.
func (f *funnel) Close() error { return nil }

// Addr implements net.Listener.
func (f *funnel) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

type linkKey struct{}

func withLink(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, linkKey{}, c)
}

// ServeHTTP answers a request to any machine: the connection says which.
func (f *Fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l, ok := r.Context().Value(linkKey{}).(*link)
	if !ok || !f.enter() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer f.running.Done()
	l.host.serve(l, w, r)
}

func (h *host) serve(l *link, w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	h.fleet.requests.Add(1)
	header := w.Header()
	header.Set("Server", "Microsoft-HTTPAPI/2.0")
	if quota := h.fleet.options.Quotas.MaxConnections; h.open() > quota {
		header.Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	path := strings.ToLower(strings.TrimSuffix(r.URL.Path, "/"))
	if path != "/wsman" && path != "/wsman-anon/identify" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	_, service := h.inside()
	body, err := readBody(r, service.MaxEnvelope()+4096)
	if err != nil {
		// Windows refuses it below SOAP, with a bare 413; its own clients make 0x80338111 of that. The rest is read, so that the
		// answer reaches a client that is still writing.
		_, _ = io.CopyN(io.Discard, r.Body, maxRefused)
		header.Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !h.pause(r.Context()) {
		l.abort()
		return
	}
	if path != "/wsman" || strings.EqualFold(r.Header.Get("WSMANIDENTIFY"), "unauthenticated") {
		if reply, ok := service.Anonymous(body); ok {
			h.write(w, reply.Status, soapType, reply.Body)
			return
		}
	}
	h.authorized(l, w, r, service, body)
}

// authorized goes on where credentials are needed.
func (h *host) authorized(l *link, w http.ResponseWriter, r *http.Request, service *wsman.Service, body []byte) {
	v := h.authenticate(l, r.Header.Get("Authorization"))
	if v.cut {
		h.dropped()
		l.abort()
		return
	}
	if !v.ok {
		if v.challenge != "" {
			w.Header().Set("WWW-Authenticate", v.challenge)
		} else {
			h.offers(l, w.Header())
		}
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if v.final != "" {
		w.Header().Set("WWW-Authenticate", v.final)
	}
	if len(body) == 0 {
		w.WriteHeader(http.StatusOK) // the last leg of a handshake that will seal what follows
		return
	}
	sealed := isSealed(r.Header.Get("Content-Type"))
	switch {
	case sealed && (l.logon.session == nil || !l.logon.session.CanSeal):
		w.WriteHeader(http.StatusBadRequest)
		return
	case sealed:
		plain, err := unseal(l.logon.session, body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body = plain
	case l.secure == nil && !h.fleet.options.AllowUnencrypted:
		h.offers(l, w.Header())
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.answer(l, w, r, service, body, sealed)
}

func (h *host) answer(l *link, w http.ResponseWriter, r *http.Request, service *wsman.Service, body []byte, sealed bool) {
	reply := service.Handle(r.Context(), l.logon.user, body)
	if garbage := h.garbage(); garbage != nil {
		h.write(w, http.StatusOK, soapType, garbage)
		return
	}
	kind, out := soapType, reply.Body
	if sealed {
		kind, out = sealedType, seal(l.logon.session, reply.Body)
	}
	if at := h.cutReply(wsman.Operation(body)); at >= 0 {
		h.dropped()
		l.cutOut.Store(at)
	}
	h.write(w, reply.Status, kind, out)
}

func (h *host) write(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone is no concern of the machine
}

// garbage returns what a machine with that fault says instead of SOAP.
func (h *host) garbage() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fault.Garbage
}

// pause lets the machine take its time; false when the client or the machine is gone meanwhile.
func (h *host) pause(ctx context.Context) bool {
	d := h.latency()
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-h.fleet.done:
	}
	return false
}

// maxRefused bounds what is read of a request that is too large.
const maxRefused = 32 << 20

var errTooLarge = errors.New("request is too large")

func readBody(r *http.Request, limit int) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, errTooLarge
	}
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(body) > limit {
		return nil, errTooLarge
	}
	return body, nil
}
