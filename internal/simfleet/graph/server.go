package graph

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
)

// Permissions of Graph that the tenant knows.
const (
	ReadDevices        = "Device.Read.All"
	ReadManaged        = "DeviceManagementManagedDevices.Read.All"
	ReadKeyList        = "BitlockerKey.ReadBasic.All"
	ReadKeys           = "BitlockerKey.Read.All" // also lists
	WriteManaged       = "DeviceManagementManagedDevices.ReadWrite.All"
	PrivilegedManaged  = "DeviceManagementManagedDevices.PrivilegedOperations.All"
	defaultPageSize    = 100
	tokenLife          = time.Hour
	maxRequest         = 1 << 20
	deviceCodeInterval = 1 // seconds, the shortest that clients obey
)

// Config is a tenant. Its devices and keys belong to the server after New.
type Config struct {
	TenantID    string           // GUID
	Certificate *tls.Certificate // of the server
	Apps        []App
	Users       []User
	Devices     []Device
	Keys        []Key
	PageSize    int                          // 100
	Listen      func() (net.Listener, error) // on loopback; a free port of 127.0.0.1
	Rotated     func(deviceID string)        // what a device does when it is told to rotate its keys; nothing
}

// App is a registered application. With a secret or certificate it signs in by itself with its permissions.
type App struct {
	ID          string
	Secret      secret.String
	Certificate *x509.Certificate
	Permissions []string // of the application, consented by an administrator
}

// User signs in by device code and may do what the permissions say.
type User struct {
	Name        string
	Permissions []string
}

// Device is a computer that the tenant knows. IntuneID is empty for one that Intune does not manage.
type Device struct {
	ID       string // device ID, GUID in lower case
	ObjectID string
	Name     string
	IntuneID string
	Serial   string
	OS       string
	Version  string
	Joined   string // trustType: AzureAd, ServerAd or Workplace
	LastSeen time.Time
}

// Key is an escrowed recovery key.
type Key struct {
	ID       string // GUID in lower case
	DeviceID string
	Volume   string // operatingSystemVolume, fixedDataVolume, removableDataVolume, or the numbers 1 to 3 as some tenants send
	Created  time.Time
	Password secret.String
}

// KeyRead is one entry of the audit (category KeyManagement).
type KeyRead struct {
	Time  time.Time `json:"time"`
	Actor string    `json:"actor"` // "app:ID" or "user:NAME"
	KeyID string    `json:"key_id"`
	OK    bool      `json:"ok"`
}

// Throttle answers 429 to requests whose path contains Path, Times times. RetryAfter below zero sends no header.
type Throttle struct {
	Path       string
	Times      int
	RetryAfter int // seconds
}

// Server serves a tenant. It is safe for concurrent use.
type Server struct {
	config   Config
	listener net.Listener
	server   *http.Server
	running  sync.WaitGroup
	stop     func() bool

	mu        sync.Mutex
	tokens    map[string]*grant
	codes     map[string]*deviceCode
	throttles []Throttle
	audit     []KeyRead
	rotated   map[string]int
	requests  int
	throttled int
}

// grant is what an access token stands for.
type grant struct {
	actor       string
	permissions []string
	expires     time.Time
}

func (g *grant) may(any ...string) bool {
	return slices.ContainsFunc(any, func(p string) bool { return slices.Contains(g.permissions, p) })
}

// New makes a tenant. Nothing listens before Start.
func New(config Config) (*Server, error) {
	if config.TenantID == "" || config.Certificate == nil {
		return nil, errors.New("make simulated tenant: it needs an ID and a certificate")
	}
	if config.PageSize <= 0 {
		config.PageSize = defaultPageSize
	}
	if config.Listen == nil {
		config.Listen = func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	}
	return &Server{config: config, tokens: map[string]*grant{}, codes: map[string]*deviceCode{}, rotated: map[string]int{}}, nil
}

// Start listens on loopback and serves until Close, or until ctx is done.
func (s *Server) Start(ctx context.Context) error {
	listener, err := s.config.Listen()
	if err != nil {
		return fmt.Errorf("start simulated tenant: %w", err)
	}
	s.listener = listener
	s.server = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*s.config.Certificate}, MinVersion: tls.VersionTLS12},
	}
	s.running.Go(func() { _ = s.server.ServeTLS(listener, "", "") }) // ends with ErrServerClosed
	s.stop = context.AfterFunc(ctx, func() { _ = s.server.Close() })
	return nil
}

// Close stops serving and waits for the end of it.
func (s *Server) Close() {
	if s.server != nil {
		s.stop()
		_ = s.server.Close()
	}
	s.running.Wait()
}

// URL is both the authority that signs in and the endpoint of Graph: "https://127.0.0.1:PORT". Empty before Start.
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	return "https://" + s.listener.Addr().String()
}

// TenantID returns the ID of the tenant.
func (s *Server) TenantID() string { return s.config.TenantID }

// Throttle adds refusals on purpose.
func (s *Server) Throttle(t ...Throttle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttles = append(s.throttles, t...)
}

// AddKey escrows a key of a device that the tenant knows.
func (s *Server) AddKey(k Key) error {
	if !slices.ContainsFunc(s.config.Devices, func(d Device) bool { return d.ID == k.DeviceID }) {
		return fmt.Errorf("escrow key %s: the tenant knows no device %s", k.ID, k.DeviceID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Keys = append(s.config.Keys, k)
	return nil
}

// Audit returns who has read which key, oldest first.
func (s *Server) Audit() []KeyRead {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.audit)
}

// Stats counts.
type Stats struct {
	Requests  int `json:"requests"`  // to Graph, those refused included
	Throttled int `json:"throttled"` // with 429
	KeyReads  int `json:"key_reads"` // passwords that were handed out
	Rotations int `json:"rotations"`
}

// Stats returns the counts since Start.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Requests: s.requests, Throttled: s.throttled}
	for _, r := range s.audit {
		if r.OK {
			out.KeyReads++
		}
	}
	for _, n := range s.rotated {
		out.Rotations += n
	}
	return out
}

// Rotations returns how often the keys of a device were asked to be rotated.
func (s *Server) Rotations(deviceID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rotated[strings.ToLower(deviceID)]
}

// Retire takes a key out of the tenant, as when its device is deleted.
func (s *Server) Retire(keyID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Keys = slices.DeleteFunc(s.config.Keys, func(k Key) bool { return strings.EqualFold(k.ID, keyID) })
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.configuration)
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", s.token)
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/devicecode", s.newDeviceCode)
	mux.HandleFunc("GET /devicelogin", s.loginPage)
	mux.HandleFunc("POST /devicelogin", s.login)
	mux.HandleFunc("GET /v1.0/devices", s.graph(s.listDevices, ReadDevices))
	mux.HandleFunc("GET /v1.0/deviceManagement/managedDevices", s.graph(s.listManaged, ReadManaged, WriteManaged))
	mux.HandleFunc("GET /v1.0/informationProtection/bitlocker/recoveryKeys", s.graph(s.listKeys, ReadKeyList, ReadKeys))
	mux.HandleFunc("GET /v1.0/informationProtection/bitlocker/recoveryKeys/{id}", s.graph(s.getKey, ReadKeyList, ReadKeys))
	mux.HandleFunc("POST /beta/deviceManagement/managedDevices/{id}/rotateBitLockerKeys", s.graph(s.rotate, WriteManaged, PrivilegedManaged))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "BadRequest", "Resource not found for the segment '"+r.URL.Path+"'.")
	})
	return mux
}

// graph wraps what every call of Graph has: throttling, the token, the right.
func (s *Server) graph(do func(http.ResponseWriter, *http.Request, *grant), rights ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("request-id", randomGUID())
		if s.refuse(w, r) {
			return
		}
		g := s.authorized(r)
		switch {
		case g == nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="`+s.URL()+`/common/oauth2/authorize"`)
			fail(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Access token is empty, expired or unknown.")
		case r.UserAgent() == "":
			fail(w, http.StatusBadRequest, "BadRequest", "The User-Agent header is required.")
		case !g.may(rights...):
			fail(w, http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
		default:
			do(w, r, g)
		}
	}
}

// refuse throttles where it was told to.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	for i := range s.throttles {
		t := &s.throttles[i]
		if t.Times <= 0 || !strings.Contains(r.URL.Path, t.Path) {
			continue
		}
		t.Times--
		s.throttled++
		if t.RetryAfter >= 0 {
			w.Header().Set("Retry-After", fmt.Sprint(t.RetryAfter))
		}
		fail(w, http.StatusTooManyRequests, "TooManyRequests", "Too many requests.")
		return true
	}
	return false
}

func (s *Server) authorized(r *http.Request) *grant {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.tokens[token]
	if g == nil || time.Now().After(g.expires) {
		return nil
	}
	return g
}
