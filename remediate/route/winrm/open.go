package winrm

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// endpoint says where a machine is to be found.
type endpoint struct {
	hostPort string
	names    []string // what its certificate may be for: one of them, however it is dialled
}

// endpoint takes host, host:port, an IPv6 address with or without brackets, or nothing (then the machine's name).
func (c *Config) endpoint(t route.Target) endpoint {
	host, port := splitAddress(t.Address, c.Port)
	if host == "" {
		host = t.Name
	}
	e := endpoint{hostPort: net.JoinHostPort(host, port)}
	if c.ServerName != nil && c.ServerName(t) != "" {
		e.names = []string{c.ServerName(t)}
		return e
	}
	for _, name := range append([]string{host, t.FQDN, t.Name}, t.Aliases...) {
		if name != "" && !slices.ContainsFunc(e.names, func(n string) bool { return strings.EqualFold(n, name) }) {
			e.names = append(e.names, name)
		}
	}
	return e
}

func splitAddress(address string, port int) (host, portText string) {
	if host, p, err := net.SplitHostPort(address); err == nil {
		return host, p
	}
	return strings.Trim(address, "[]"), strconv.Itoa(port)
}

// open connects to a machine, up to and including TLS. No credential is involved.
func (c *Config) open(ctx context.Context, t route.Target) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, &route.Error{Class: route.Stopped, Op: opConnect, Target: t.Name, Err: context.Cause(ctx)}
	}
	e := c.endpoint(t)
	dialCtx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	conn, err := c.Dial(dialCtx, "tcp", e.hostPort)
	if err != nil {
		return nil, c.dialError(ctx, t, e, err)
	}
	var state *tls.ConnectionState
	if c.Scheme == "https" {
		secured := tls.Client(conn, c.tlsConfig(e.names))
		if err := secured.HandshakeContext(dialCtx); err != nil {
			_ = conn.Close()
			return nil, c.tlsError(ctx, t, err)
		}
		s := secured.ConnectionState()
		conn, state = secured, &s
	}
	l := newLink(conn, c.ReceiveTimeout)
	l.peer, l.host, l.path = state, e.hostPort, c.Path
	l.url = c.Scheme + "://" + e.hostPort + c.Path
	l.watch(ctx)
	return l, nil
}

func (c *Config) dialError(ctx context.Context, t route.Target, e endpoint, err error) error {
	class, advice := route.Unreachable, ""
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		class, err = route.Stopped, context.Cause(ctx)
	case errors.As(err, &dns):
		err = fmt.Errorf("the name %q cannot be resolved: %w", dns.Name, err)
		advice = "check the name, or give the machine's address in the inventory"
	case errors.Is(err, syscall.ECONNREFUSED):
		err = &said{e.hostPort + " refuses the connection", err}
		advice = "the machine is up but WinRM does not listen there: enable it (Enable-PSRemoting, or by group policy) or check the port"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		err = &said{fmt.Sprintf("%s did not answer within %v", e.hostPort, c.ConnectTimeout), err}
		advice = "the machine is off, in a boot loop, or a firewall drops the connection"
	}
	return &route.Error{Class: class, Op: opConnect, Target: t.Name, Err: hint.Wrap(err, advice)}
}

// said is a cause in our own words: what the system says of it would only repeat them.
type said struct {
	text  string
	cause error
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.cause }

func (c *Config) tlsError(ctx context.Context, t route.Target, err error) error {
	e := &route.Error{Class: route.Unreachable, Op: opConnect, Target: t.Name, Err: fmt.Errorf("start TLS: %w", err)}
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var network net.Error
	switch {
	case ctx.Err() != nil:
		e.Class, e.Err = route.Stopped, context.Cause(ctx)
	case errors.Is(err, errUntrusted):
		e.Class, e.Err = route.Untrusted, err
	case errors.As(err, &record):
		e.Class = route.Refused
		e.Err = hint.Wrap(errors.New("the port does not speak TLS"), "use scheme http (port 5985), or the port of the HTTPS listener (5986)")
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"):
		e.Class = route.Refused
		e.Err = hint.Wrap(fmt.Errorf("the machine refuses our TLS: %w", err), "the machine may want a client certificate, or may be too old for TLS 1.2")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		e.Err = fmt.Errorf("no TLS answer within %v: %w", c.ConnectTimeout, err)
	}
	return e
}

// authenticate proves who we are. With NTLM this is the handshake; Basic and client certificate travel with the first
// request, whose answer is the verdict (see link.settle).
func (r *Route) authenticate(ctx context.Context, t route.Target, l *link) error {
	fail := func(class route.Class, err error) error {
		if ctx.Err() != nil {
			class, err = route.Stopped, context.Cause(ctx)
		}
		return &route.Error{Class: class, Op: opAuthenticate, Target: t.Name, Err: err}
	}
	var credential Credential
	var key string
	if r.config.Auth == AuthCertificate {
		sum := sha256.Sum256(r.config.Certificate.Certificate[0])
		key = "certificate:" + string(sum[:])
	} else {
		var err error
		if credential, err = r.config.Credential(ctx, t); err != nil {
			if e, ok := errors.AsType[*route.Error](err); ok {
				return e
			}
			return fail(route.Refused, fmt.Errorf("get the credential: %w", err))
		}
		if credential.User == "" || credential.Password.IsZero() {
			return fail(route.Refused, hint.Wrap(errors.New("there is no user or no password for this machine"), "set the WinRM account and its password"))
		}
		key = credential.BreakerKey()
	}
	if r.config.Auth == AuthNTLM {
		return r.handshake(ctx, t, l, credential, key)
	}
	if err := r.enter(ctx, t, l, key); err != nil {
		return err
	}
	switch r.config.Auth {
	case AuthCertificate:
		l.authorization = mutualProfile
	case AuthBasic:
		l.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(credential.account()+":"+credential.Password.Reveal()))
	}
	return nil
}

// enter waits until the credential may be sent.
func (r *Route) enter(ctx context.Context, t route.Target, l *link, key string) error {
	pass, err := r.config.Breaker.Enter(ctx, key)
	if err == nil {
		l.pass = pass
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else {
		err = hint.Wrap(err, "correct the password and start again; nothing more is sent with it, so that no account is locked")
	}
	return &route.Error{Class: route.Stopped, Op: opAuthenticate, Target: t.Name, Err: err}
}

// handshake runs NTLM over two empty requests. Over HTTP everything after it is sealed; over HTTPS it is bound to the
// machine's certificate and TLS does the rest.
//
// The breaker is asked between the two: the first message holds nothing secret, and a machine that accepts connections
// but never answers must not keep all others waiting for its verdict.
func (r *Route) handshake(ctx context.Context, t route.Target, l *link, credential Credential, key string) error {
	fail := func(class route.Class, status int, err error) error {
		return &route.Error{Class: class, Op: opAuthenticate, Target: t.Name, Status: status, Err: err}
	}
	if _, rejected := r.config.Breaker.Rejected(key); rejected {
		return r.enter(ctx, t, l, key)
	}
	client, err := newNTLM(credential)
	if err != nil {
		return fail(route.Refused, 0, err)
	}
	message, err := client.negotiate()
	if err != nil {
		return fail(route.Refused, 0, err)
	}
	a, err := l.post(ctx, contentSOAP, negotiateHeader(message), nil)
	if err != nil {
		return ioFailure(ctx, t.Name, opAuthenticate, err)
	}
	defer a.release()
	challenge := negotiateToken(a.challenges)
	if a.status != http.StatusUnauthorized || challenge == nil {
		return r.noChallenge(t, a)
	}
	var binding []byte
	if l.peer != nil {
		binding = endPointHash(l.peer.PeerCertificates[0])
	}
	message, err = client.authenticate(challenge, binding)
	if err != nil {
		return fail(route.Untrusted, a.status, hint.Wrap(err, "nothing is sent to a machine that cannot seal; check its NTLM policy or use https"))
	}
	if err := r.enter(ctx, t, l, key); err != nil {
		return err
	}
	verdict, err := l.post(ctx, contentSOAP, negotiateHeader(message), nil)
	if err != nil {
		return ioFailure(ctx, t.Name, opAuthenticate, err)
	}
	defer verdict.release()
	l.settle(t.Name, verdict)
	if verdict.status != http.StatusOK {
		return statusError(t.Name, opAuthenticate, verdict, nil)
	}
	l.ntlm, l.sealed = client, l.peer == nil
	return nil
}

func (r *Route) noChallenge(t route.Target, a *answer) error {
	if a.status != http.StatusUnauthorized {
		if a.status == http.StatusOK {
			return &route.Error{Class: route.Refused, Op: opAuthenticate, Target: t.Name, Status: a.status,
				Err: errors.New("the machine asks for no credentials; that is not WinRM")}
		}
		return statusError(t.Name, opAuthenticate, a, nil)
	}
	return &route.Error{Class: route.Refused, Op: opAuthenticate, Target: t.Name, Status: a.status,
		Err: hint.Wrap(fmt.Errorf("the machine does not take NTLM; it offers %s", offeredText(a.challenges)),
			"choose another authentication for this machine, or allow Negotiate in its WinRM service settings")}
}

func offeredText(challenges []string) string {
	if names := schemes(challenges); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "nothing"
}

func negotiateHeader(message []byte) string {
	return "Negotiate " + base64.StdEncoding.EncodeToString(message)
}

// settle tells the breaker what an answer says about the credential: 401 ends it, a SOAP answer or success proves it, and
// anything else (a service that is starting, a gateway) says nothing.
func (l *link) settle(machine string, a *answer) {
	switch {
	case a.status == http.StatusUnauthorized:
		l.pass.Rejected(machine)
	case l.settled:
	case a.status == http.StatusOK, a.status == http.StatusInternalServerError && len(a.body) > 0:
		l.settled = true
		l.pass.Accepted()
	}
}

// ioFailure classifies a failure below HTTP. From the moment a command may have reached the machine only its record can
// tell what ran.
func ioFailure(ctx context.Context, target, op string, err error) *route.Error {
	e := &route.Error{Class: route.Unreachable, Op: op, Target: target, Err: err}
	sent := true
	if f, ok := errors.AsType[*ioError](err); ok {
		sent, e.Err = f.sent, f.err
	}
	switch {
	case op == opReceive, op == opSend, op == opCommand && sent:
		e.Class = route.Unknown
		e.Err = hint.Wrap(e.Err, hintLost)
	case ctx.Err() != nil:
		e.Class = route.Stopped
	case errors.Is(err, errTLSPort):
		e.Class = route.Refused
		e.Err = hint.Wrap(e.Err, hintHTTPS)
	case errors.Is(err, errNotHTTP), errors.Is(err, errTooLarge):
		e.Class = route.Refused
		e.Err = hint.Wrap(e.Err, "something other than WinRM listens on this port")
	}
	return e
}
