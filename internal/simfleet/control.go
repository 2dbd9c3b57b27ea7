package simfleet

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
)

// control is the endpoint on loopback by which an outside test looks into the fleet, and does to its accounts what an
// administrator would do in the middle of a run.
type control struct {
	listener net.Listener
	server   *http.Server
}

func newControl(f *Fleet) (*control, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { show(w, f.Stats()) })
	mux.HandleFunc("GET /machines", func(w http.ResponseWriter, _ *http.Request) {
		states := make([]State, len(f.hosts))
		for i, h := range f.hosts {
			states[i] = h.brief()
		}
		show(w, states)
	})
	mux.HandleFunc("GET /machines/{name}", func(w http.ResponseWriter, r *http.Request) {
		s, err := f.Machine(r.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		show(w, s)
	})
	mux.HandleFunc("GET /graph", func(w http.ResponseWriter, _ *http.Request) {
		show(w, map[string]any{"stats": f.tenant.Stats(), "audit": f.tenant.Audit()})
	})
	mux.HandleFunc("GET /accounts", func(w http.ResponseWriter, _ *http.Request) { show(w, f.Accounts()) })
	mux.HandleFunc("POST /password", f.newPassword)
	mux.HandleFunc("POST /unlock", func(w http.ResponseWriter, r *http.Request) {
		if err := f.Unlock(r.URL.Query().Get("domain")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		show(w, f.Accounts())
	})
	c := &control{listener: listener, server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	f.running.Go(func() { _ = c.server.Serve(listener) }) // ends with ErrServerClosed
	return c, nil
}

// newPassword gives an account the password in the body of the request; without one it gets one that nobody knows.
func (f *Fleet) newPassword(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1024))
	if err != nil {
		http.Error(w, "the body is the new password, at most 1,024 bytes", http.StatusRequestEntityTooLarge)
		return
	}
	password := newPassword()
	if text := strings.TrimRight(string(body), "\r\n"); text != "" {
		password = secret.New(text)
	}
	if err := f.ChangePassword(r.URL.Query().Get("domain"), password); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	show(w, f.Accounts())
}

func (c *control) close() { _ = c.server.Close() }

func show(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// Control returns the URL of the control endpoint: GET /stats, /machines, /machines/NAME, /accounts and
// /graph; POST /password and /unlock, both with ?domain=NAME where it is not the first. Empty before Start.
func (f *Fleet) Control() string {
	if f.control == nil {
		return ""
	}
	return "http://" + f.control.listener.Addr().String()
}

// Ready is what a process that serves the fleet announces, as one JSON line, once it is listening. dir may be empty.
func (f *Fleet) Ready(dir string) map[string]any {
	return map[string]any{
		"event": "ready", "dir": dir, "machines": len(f.hosts), "pid": os.Getpid(), "control": f.Control(),
		"ldaps": f.LDAPS(), "ldap": f.LDAP(), "graph": f.tenant.URL(), "tenant": f.tenant.TenantID(),
		"incident": f.Incident().UTC().Format(time.RFC3339),
	}
}
