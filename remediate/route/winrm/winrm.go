// Package winrm is the route to a running Windows over WinRM (WS-Management with Microsoft's shell, MS-WSMV).
//
// Callers need two calls: [New] with the credentials, and [Route.Do] per machine. A machine costs one connection, one
// authentication handshake, one goroutine (the caller's) and at most seven HTTP requests; nothing is left open.
// [Identify] asks who is there without credentials.
//
// The package never sends anything in the clear: NTLM over HTTP is sealed, Basic and client certificates go over HTTPS
// only, certificates are always verified, there is no fallback from one way to another, no redirection is followed and
// no proxy is taken from the environment. A ledger is asked before a password is sent ([route.Ledger]), so that no account is locked.
package winrm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// Name is the route's word in plans and reports.
const Name = "winrm"

// The ways to authenticate.
const (
	AuthNTLM        = "ntlm"        // NTLMv2; sealed over http, bound to the certificate over https
	AuthKerberos    = "kerberos"    // sealed over http, bound to the certificate over https
	AuthBasic       = "basic"       // https only
	AuthCertificate = "certificate" // https only; the machine maps the certificate to a local account
)

// Config says how machines are reached. Only Credential (or Certificate) has no default.
type Config struct {
	Scheme string // http (default) or https
	Port   int    // used when Target.Address has none; default 5985 or 5986
	Path   string // default /wsman
	Auth   string // default ntlm

	// Credential returns the account for a machine. It is called once a connection stands, from the goroutine of Do, and
	// must be safe for concurrent use. A *route.Error is passed on, a *route.StoreError is Stopped; any other error is Refused.
	Credential  func(ctx context.Context, t route.Target) (Credential, error)
	Certificate *tls.Certificate  // for AuthCertificate
	Account     *kerberos.Account // for AuthKerberos; share one where several routes use the same account

	RootCAs    *x509.CertPool            // the CAs to trust; nil: those of the system
	ServerName func(route.Target) string // the name the certificate must have; default: any name of the target

	ConnectTimeout time.Duration // name, TCP and TLS; default 10 s
	ReceiveTimeout time.Duration // for each HTTP answer; default 30 s. The machine is asked to answer 10 s earlier
	CleanupTimeout time.Duration // how long a cancelled Do may take to delete its shell; default 5 s
	MaxOutput      int64         // bytes of stdout and stderr together; default 4 MiB

	Ledger route.Ledger // of sign-ins; share one where several routes use the same accounts; default: one of its own
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger // debug messages only; default: none
}

// Route implements route.Route. It is safe for concurrent use.
type Route struct {
	config           Config
	operationTimeout string        // ISO 8601, as in the SOAP header
	large            chan struct{} // places for large outputs
	kept             sync.Map      // by target ID whether the machine has kept the agent, as its last answer said
}

var (
	_ route.Route  = (*Route)(nil)
	_ route.Prover = (*Route)(nil)
)

// New checks the configuration. It opens no connection.
func New(config Config) (*Route, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	config.applyDefaults()
	// The machine must answer before we stop listening, and never takes more than 60 s.
	hold := max(min(config.ReceiveTimeout-10*time.Second, 50*time.Second), config.ReceiveTimeout/2)
	hold = max(hold.Truncate(time.Second), time.Second)
	return &Route{config: config, large: make(chan struct{}, largeOutputs), operationTimeout: fmt.Sprintf("PT%dS", min(int(hold.Seconds()), 50))}, nil
}

func (c *Config) check() error {
	switch c.Scheme {
	case "", "http", "https":
	default:
		return hint.Wrap(fmt.Errorf("winrm: unknown scheme %q", c.Scheme), "use http or https")
	}
	switch c.Auth {
	case "", AuthNTLM, AuthBasic:
		if c.Credential == nil {
			return errors.New("winrm: no credentials are configured")
		}
	case AuthKerberos:
		if c.Account == nil {
			return errors.New("winrm: no Kerberos account is configured")
		}
	case AuthCertificate:
		if c.Certificate == nil || len(c.Certificate.Certificate) == 0 {
			return errors.New("winrm: authentication by certificate needs a client certificate")
		}
	default:
		return hint.Wrapf(fmt.Errorf("winrm: unknown authentication %q", c.Auth), "use %s, %s, %s or %s", AuthKerberos, AuthNTLM, AuthBasic, AuthCertificate)
	}
	if c.Scheme != "https" && (c.Auth == AuthBasic || c.Auth == AuthCertificate) {
		return hint.Wrap(fmt.Errorf("winrm: %s authentication over plain http is refused: it would show the secret or the commands to the network", c.Auth),
			"use scheme https, or ntlm, which seals its messages over http")
	}
	if c.Path != "" && (c.Path[0] != '/' || strings.ContainsAny(c.Path, " \r\n\t")) {
		return fmt.Errorf("winrm: path %q must start with / and hold no blanks", c.Path)
	}
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("winrm: port %d does not exist", c.Port)
	}
	return nil
}

func (c *Config) applyDefaults() {
	if c.Scheme == "" {
		c.Scheme = "http"
	}
	if c.Port == 0 {
		c.Port = 5985
		if c.Scheme == "https" {
			c.Port = 5986
		}
	}
	if c.Path == "" {
		c.Path = "/wsman"
	}
	if c.Auth == "" {
		c.Auth = AuthNTLM
	}
	setDefault(&c.ConnectTimeout, 10*time.Second)
	setDefault(&c.ReceiveTimeout, 30*time.Second)
	setDefault(&c.CleanupTimeout, 5*time.Second)
	if c.MaxOutput <= 0 {
		c.MaxOutput = 4 << 20
	}
	if c.Ledger == nil {
		c.Ledger = signin.New(&signin.Memory{}, signin.Rule{Limit: signin.Limit})
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Name returns "winrm".
func (r *Route) Name() string { return Name }

// Prove implements [route.Prover]: by Kerberos the domain tells; of a password only a machine can; with a certificate there is nothing
// to lock.
func (r *Route) Prove(ctx context.Context, _ route.Account) error {
	switch r.config.Auth {
	case AuthCertificate:
		return nil
	case AuthKerberos:
		err := r.config.Account.Prove(ctx)
		if kerberos.ReasonOf(err).Final() {
			return r.barred(err)
		}
		return err
	}
	return route.ErrNoProof
}

// connect opens a connection and authenticates.
func (r *Route) connect(ctx context.Context, t route.Target) (*link, error) {
	l, err := r.config.open(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := r.authenticate(ctx, t, l); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// Run executes a command line (through cmd.exe) with stdin, then end of input. It is what Do is made of. The classes of
// its errors assume that the command does nothing before it has read all of stdin, as the agent does. With an error
// the Output holds what had come until then.
func (r *Route) Run(ctx context.Context, t route.Target, commandLine string, stdin []byte) (Output, error) {
	return r.run(ctx, t, commandLine, func(b []byte) ([]byte, error) { return append(b, stdin...), nil })
}

// input writes a command's standard input behind what it is given.
type input func(b []byte) ([]byte, error)

// run is Run with a stdin that is made when it is sent: a thousand machines that are connected to or waited for hold none.
func (r *Route) run(ctx context.Context, t route.Target, commandLine string, stdin input) (Output, error) {
	l, err := r.connect(ctx, t)
	if err != nil {
		return Output{}, err
	}
	s := &session{route: r, target: t, link: l, out: output{limit: r.config.MaxOutput}}
	defer s.shrink()
	defer func() { s.link.close() }()
	defer s.delete(ctx)
	err = s.start(ctx, commandLine, stdin)
	if failure, ok := errors.AsType[*route.Error](err); ok && failure.Code == codeProfileUnloading && l.usable() {
		s.delete(ctx) // nothing ran in this shell; a new one usually works
		err = s.start(ctx, commandLine, stdin)
	}
	if err == nil {
		err = s.receive(ctx)
	}
	return s.out.Output, err
}
