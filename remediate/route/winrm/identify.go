package winrm

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Identity is what a machine tells anyone who asks.
type Identity struct {
	Product         string        // "OS: 10.0.20348 SP: 0.0 Stack: 3.0"; Windows hides the numbers from strangers
	Vendor          string        // "Microsoft Corporation"
	ProtocolVersion string        // a URI
	Auth            []string      // the schemes it offers, as in WWW-Authenticate
	Latency         time.Duration // of the first request on a standing connection
}

// IdentifyConfig says how to ask; zero values mean what they mean in [Config].
type IdentifyConfig struct {
	Scheme         string
	Port           int
	Path           string
	RootCAs        *x509.CertPool
	ServerName     string
	Names          []string // other names that the certificate may have
	ConnectTimeout time.Duration
	ReceiveTimeout time.Duration
	Dial           func(ctx context.Context, network, address string) (net.Conn, error)
}

// identifyRequest is WS-Man Identify (DSP0226 section 11); it has no addressing header.
const identifyRequest = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:wsmid="` + nsIdent +
	`"><s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>`

var identifyTemplate = sync.OnceValue(func() *template { return newTemplate(identifyRequest) })

// Identify asks who listens at address (host or host:port) without any credential. A machine that does not tell strangers
// its product still tells the schemes it offers. Every error is an *route.Error.
func Identify(ctx context.Context, config IdentifyConfig, address string) (Identity, error) {
	c := Config{
		Scheme: config.Scheme, Port: config.Port, Path: config.Path, RootCAs: config.RootCAs, Dial: config.Dial,
		ConnectTimeout: config.ConnectTimeout, ReceiveTimeout: config.ReceiveTimeout,
	}
	if config.ServerName != "" {
		c.ServerName = func(route.Target) string { return config.ServerName }
	}
	c.Credential = func(context.Context, route.Target) (Credential, error) { return Credential{}, errors.New("none") }
	if err := c.check(); err != nil {
		return Identity{}, &route.Error{Class: route.Refused, Op: opIdentify, Target: address, Err: err}
	}
	c.applyDefaults()
	return c.identify(ctx, route.Target{Name: address, Address: address, Aliases: config.Names}, true)
}

// Alive reports nil when the machine's WinRM answers, whatever it thinks of strangers. No credential is sent.
func (r *Route) Alive(ctx context.Context, t route.Target) error {
	_, err := r.config.identify(ctx, t, false)
	return err
}

// identify asks once, and once more for the schemes when the machine answered without naming any.
func (c *Config) identify(ctx context.Context, t route.Target, withSchemes bool) (Identity, error) {
	l, err := c.open(ctx, t)
	if err != nil {
		return Identity{}, err
	}
	defer l.close()
	start := time.Now()
	a, err := l.post(ctx, contentSOAP, "", []byte(identifyRequest), "WSMANIDENTIFY: unauthenticated")
	if err != nil {
		return Identity{}, ioFailure(ctx, t.Name, opIdentify, err)
	}
	latency := time.Since(start)
	identity, err := identityOf(t, a)
	identity.Latency = latency
	if err != nil || !withSchemes || len(identity.Auth) > 0 || !l.usable() {
		return identity, err
	}
	// A request without credentials is answered with the schemes; it does nothing else.
	if a, err = l.post(ctx, contentSOAP, "", nil); err == nil {
		a.release()
		identity.Auth = schemes(a.challenges)
	}
	return identity, nil
}

func identityOf(t route.Target, a *answer) (Identity, error) {
	defer a.release()
	switch a.status {
	case http.StatusUnauthorized:
		return Identity{Auth: schemes(a.challenges)}, nil
	case http.StatusOK:
	default:
		return Identity{}, statusError(t.Name, opIdentify, a)
	}
	r, err := parseReply(a.body, nil)
	if err == nil && r.identity == (identified{}) {
		err = fmt.Errorf("%w of the kind asked for", errNotSOAP)
	}
	if err != nil {
		return Identity{}, &route.Error{Class: route.Refused, Op: opIdentify, Target: t.Name, Status: a.status,
			Err: hint.Wrap(err, "something other than WinRM answers at this address and path")}
	}
	return Identity{Product: r.identity.product, Vendor: r.identity.vendor, ProtocolVersion: r.identity.protocol}, nil
}
