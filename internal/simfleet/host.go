package simfleet

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/machine"
	"github.com/fleetmend/fleetmend/internal/simfleet/wsman"
)

// host is one machine on the network: its port, its WinRM service, and the Windows behind it.
type host struct {
	fleet *Fleet
	info  Info
	seed  uint64
	drawn float64 // of the boot time between its bounds

	identity identity // in the directory
	account  *account // of the machine's domain

	mu       sync.Mutex
	started  time.Time
	port     int
	listener net.Listener // nil while the machine is off
	links    map[*link]struct{}
	windows  *machine.Machine // made when it is first needed
	service  *wsman.Service
	fault    Faults
	escrowed []RecoveryKey // in AD and in the tenant, since the start
	inTenant []RecoveryKey
	boots    int
	timer    *time.Timer // of a pending restart or crash
	closed   bool

	requests, logons, failedLogons, drops atomic.Int64
	busyOnce, cutOnce                     atomic.Bool
}

func (h *host) count(n *atomic.Int64) { n.Add(1) }

// inside returns the Windows of the machine and its service, made at first use: most of a big fleet is never touched.
func (h *host) inside() (*machine.Machine, *wsman.Service) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.windows == nil {
		spec := h.specLocked()
		h.windows = machine.New(spec)
		o := &h.fleet.options
		h.service = wsman.New(wsman.Config{
			Machine: h.info.Name, OSVersion: "10.0." + itoa(h.info.Build), MaxShellsPerUser: o.Quotas.MaxShellsPerUser,
			MaxOperations: o.Quotas.MaxOperations, MaxEnvelope: o.Quotas.MaxEnvelope, MaxTimeout: o.Quotas.MaxTimeout,
			IdleTimeout: o.Quotas.IdleTimeout, Chunk: o.Chunk, Before: h.before,
		}, h.windows)
		if h.closed {
			h.service.Close()
		}
	}
	return h.windows, h.service
}

// touched returns the Windows only if it was ever needed.
func (h *host) touched() *machine.Machine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.windows
}

// before is what a machine of a special kind does before an operation of the service.
func (h *host) before(_ context.Context, operation, _ string) *wsman.Fault {
	if operation == "create" {
		if h.info.Kind == Denied {
			return wsman.NewFault(wsman.CodeAccessDenied)
		}
		if h.info.Kind == Busy && h.busyOnce.CompareAndSwap(false, true) {
			return wsman.NewFault(wsman.CodeQuotaMaxShells)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.fault.Refuse {
		r := &h.fault.Refuse[i]
		if r.Operation == operation && r.Times != 0 {
			r.Times--
			return wsman.NewFault(r.Code)
		}
	}
	return nil
}

// latency is how long the machine takes over a request.
func (h *host) latency() time.Duration {
	d := h.fleet.options.Latency
	if h.info.Kind == Slow {
		d = max(20*d, 100*time.Millisecond)
	}
	return d
}

// up makes the machine listen. The port is drawn once and kept for good.
func (h *host) up() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.listener != nil {
		return nil
	}
	listener, err := h.fleet.ports.listen(&h.port)
	if err != nil {
		return err
	}
	h.listener = listener
	h.fleet.running.Go(func() { h.accept(listener) })
	return nil
}

// down resets every connection, ends every shell, and makes the port refuse, as a machine does that loses power.
func (h *host) down() {
	h.mu.Lock()
	listener, links, service := h.listener, h.links, h.service
	h.listener, h.links = nil, nil
	h.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
	for l := range links {
		l.abort()
	}
	if service != nil {
		service.Reset()
	}
}

// close ends the machine for good.
func (h *host) close() {
	h.mu.Lock()
	h.closed = true
	if h.timer != nil {
		h.timer.Stop()
	}
	service := h.service
	h.mu.Unlock()
	h.down()
	if service != nil {
		service.Close()
	}
}

func (h *host) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			if h.retryAccept(listener) {
				continue
			}
			return
		}
		l := newLink(conn, h)
		if !h.remember(l, listener) {
			l.abort()
			continue
		}
		if h.info.Kind == BlackHole {
			h.fleet.running.Go(func() { l.swallow() })
			continue
		}
		if !h.fleet.funnel.hand(l) {
			l.abort()
		}
	}
}

// retryAccept waits a moment after a passing error (too many open files) and reports whether to go on.
func (h *host) retryAccept(listener net.Listener) bool {
	h.mu.Lock()
	alive := h.listener == listener
	h.mu.Unlock()
	if !alive {
		return false
	}
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-h.fleet.done:
		return false
	}
}

func (h *host) remember(l *link, listener net.Listener) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listener != listener {
		return false
	}
	if h.links == nil {
		h.links = map[*link]struct{}{}
	}
	h.links[l] = struct{}{}
	l.cutIn = h.planCut()
	h.fleet.opened.Add(1)
	return true
}

// planCut decides whether this connection is to be cut after some bytes of the client; the lock is held.
func (h *host) planCut() int64 {
	if h.info.Kind == DropBefore && h.cutOnce.CompareAndSwap(false, true) {
		return 40 + int64(h.seed%400)
	}
	for i := range h.fault.Drops {
		d := &h.fault.Drops[i]
		if d.Operation == "" && d.Times != 0 {
			d.Times--
			return max(d.Byte, 1)
		}
	}
	return 0
}

func (h *host) forget(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, l)
}

func (h *host) dropped() { h.drops.Add(1) }

// cutReply returns after how many bytes the reply to this operation is cut; negative for never.
func (h *host) cutReply(operation string) int64 {
	if operation == "" {
		return -1
	}
	if w := h.touched(); h.info.Kind == DropAfter && operation == "receive" && w != nil && w.Changes() > 0 && h.cutOnce.CompareAndSwap(false, true) {
		return int64(h.seed % 600)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.fault.Drops {
		d := &h.fault.Drops[i]
		if d.Operation == operation && d.Times != 0 {
			d.Times--
			return d.Byte
		}
	}
	return -1
}

func (h *host) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.links)
}

// swallow reads whatever comes and never answers, until the client gives up.
func (l *link) swallow() {
	_, _ = io.Copy(io.Discard, l.Conn)
	_ = l.Close()
}

func (h *host) tlsConfig() *tls.Config {
	f := h.fleet
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return f.authority.leaf(h.info.FQDN), nil
		},
		SessionTicketsDisabled: true,
	}
}
