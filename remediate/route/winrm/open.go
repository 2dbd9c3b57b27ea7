package winrm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/network"
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
	switch {
	case ctx.Err() != nil:
		class, err = route.Stopped, context.Cause(ctx)
	case errors.As(err, &dns):
		err = network.Plain(e.hostPort, err)
		advice = "check the name, or give the machine's address in the inventory"
	case network.Refused(err):
		err = network.Plain(e.hostPort, err)
		advice = "the machine is up but WinRM does not listen there: enable it (Enable-PSRemoting, or by group policy) or check the port"
	case network.Late(err):
		err = &said{fmt.Sprintf("%s did not answer within %v", e.hostPort, c.ConnectTimeout), err}
		advice = "the machine is off, in a boot loop, or a firewall drops the connection"
	default:
		err = network.Plain(e.hostPort, err)
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
	e := &route.Error{Class: route.Unreachable, Op: opConnect, Target: t.Name, Err: fmt.Errorf("start TLS: %w", network.Plain("", err))}
	var record tls.RecordHeaderError
	var alert tls.AlertError
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
		e.Err = hint.Wrap(network.Plain("the machine", err), "the machine may want a client certificate, or may be too old for TLS 1.2")
	case network.Late(err):
		e.Err = &said{fmt.Sprintf("no TLS answer within %v", c.ConnectTimeout), err}
	}
	return e
}

// authenticate proves who we are. With NTLM this is the handshake; Basic and client certificate travel with the first
// request, whose answer is the verdict (see session.judge).
func (r *Route) authenticate(ctx context.Context, t route.Target, l *link) error {
	if r.config.Auth == AuthCertificate { // nothing that can be locked
		l.authorization = mutualProfile
		return nil
	}
	if r.config.Auth == AuthKerberos {
		return r.ticket(ctx, t, l)
	}
	credential, err := r.credential(ctx, t)
	if err != nil {
		return err
	}
	if r.config.Auth == AuthNTLM {
		return r.handshake(ctx, t, l, credential, func(in domainNames) (route.Trial, error) {
			return r.config.Ledger.Try(ctx, r.config.signsIn(credential, t, in), t, r.ask(credential.Own))
		})
	}
	if l.trial, err = r.config.Ledger.Try(ctx, r.config.signsIn(credential, t, domainNames{}), t, r.ask(credential.Own)); err != nil {
		return barred(ctx, t, err)
	}
	l.authorization = credential.basic()
	return nil
}

func (r *Route) credential(ctx context.Context, t route.Target) (Credential, error) {
	fail := func(err error) error {
		class := route.Refused
		if ctx.Err() != nil {
			class, err = route.Stopped, context.Cause(ctx)
		}
		if own := (*route.StoreError)(nil); errors.As(err, &own) {
			class = route.Stopped
		}
		return &route.Error{Class: class, Op: opAuthenticate, Target: t.Name, Err: err}
	}
	credential, err := r.config.Credential(ctx, t)
	if e, ok := errors.AsType[*route.Error](err); ok {
		return Credential{}, e
	}
	if err != nil {
		return Credential{}, fail(fmt.Errorf("get the credential: %w", err))
	}
	if credential.User == "" || credential.Password.IsZero() {
		return Credential{}, fail(hint.Wrap(errors.New("there is no user or no password for this machine"), "set the WinRM account and its password"))
	}
	return credential, nil
}

// barred is a sign-in that was not made. Nothing was sent.
func barred(ctx context.Context, t route.Target, err error) error {
	class, no, later := route.Stopped, (*route.BarredError)(nil), (*route.NotYetError)(nil)
	switch {
	case errors.As(err, &no):
		err = no.Advise()
	case errors.As(err, &later):
		class = route.Unreachable
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return &route.Error{Class: class, Op: opAuthenticate, Target: t.Name, Err: err}
}

// ask signs in at a machine that took the account before, for the ledger, and does nothing there.
func (r *Route) ask(own bool) route.Ask {
	if own {
		return func(context.Context, route.Target, func(string) (route.Trial, error)) error { return route.ErrNoProof }
	}
	return func(ctx context.Context, t route.Target, begin func(string) (route.Trial, error)) error {
		l, err := r.config.open(ctx, t)
		if err != nil {
			return err
		}
		defer l.close()
		credential, err := r.credential(ctx, t)
		if err != nil {
			return err
		}
		if r.config.Auth == AuthNTLM {
			return r.handshake(ctx, t, l, credential, func(in domainNames) (route.Trial, error) { return begin(in.name()) })
		}
		if l.trial, err = begin(""); err != nil {
			return err
		}
		a, err := l.post(ctx, contentSOAP, credential.basic(), []byte(identifyRequest))
		if err != nil {
			return err
		}
		defer a.release()
		return r.judge(ctx, t, l, opAuthenticate, a)
	}
}

// judge reads what an answer says about the account: 401 refuses it, where the machine takes our way of signing in at all; a SOAP
// answer or success proves it, but where messages are sealed, which anybody can say (see prove); anything else (a service that is
// starting, a gateway) says nothing. It returns an error for 401 alone.
func (r *Route) judge(ctx context.Context, t route.Target, l *link, op string, a *answer) error {
	trial := l.trial
	switch {
	case a.status == http.StatusUnauthorized:
		return r.refused(ctx, t, l, op, a)
	case trial == nil || l.settled:
	case a.status == http.StatusOK, a.status == http.StatusInternalServerError && len(a.body) > 0:
		if r.config.seals() {
			return nil
		}
		l.settled = true
		trial.Accepted()
	default:
		l.unjudged()
	}
	return nil
}

func (r *Route) refused(ctx context.Context, t route.Target, l *link, op string, a *answer) error {
	offered := schemes(a.challenges)
	switch auth := r.config.Auth; {
	case auth == AuthCertificate:
		return &route.Error{Class: route.Denied, Op: op, Target: t.Name, Status: a.status,
			Err: hint.Wrap(errors.New("the machine does not accept the client certificate"),
				"map the certificate to a local account on the machine (winrm create winrm/config/service/certmapping) and allow certificate authentication")}
	case l.trial == nil, l.signedIn: // it had let us in on this connection, or had not looked
		return forgotten(t, op, a)
	case len(offered) > 0 && auth == AuthBasic && !hasFold(offered, "Basic"):
		l.unjudged()
		return notOffered(t, op, a, "Basic")
	case len(offered) > 0 && auth == AuthNTLM && !hasFold(offered, "Negotiate") && !hasFold(offered, "NTLM"):
		l.unjudged()
		return notOffered(t, op, a, "NTLM")
	}
	err := l.trial.Refused(ctx)
	l.settled = true
	no := (*route.BarredError)(nil)
	switch {
	case err == nil:
		return &route.Error{Class: route.Denied, Op: op, Target: t.Name, Status: a.status,
			Err: hint.Wrap(errors.New("the machine rejected the account, "+route.OtherMachinesTake+": it may have lost its trust with the domain, its clock may be wrong, or the account may not sign in there over the network"),
				"on the machine: Test-ComputerSecureChannel -Repair, w32tm /resync, and the right \"Access this computer from the network\"")}
	case errors.As(err, &no):
		e := statusError(t.Name, op, a)
		e.Err = &rejection{e.Err, no}
		return e
	}
	return barred(ctx, t, err)
}

// rejection is a 401 that bars the account.
type rejection struct {
	error
	barred *route.BarredError
}

func (r *rejection) Unwrap() []error { return []error{r.error, r.barred} }

// forgotten is a 401 in the middle of a conversation that was let in: nothing was judged.
func forgotten(t route.Target, op string, a *answer) error {
	e := &route.Error{Class: route.Unreachable, Op: op, Target: t.Name, Status: a.status,
		Err: hint.Wrap(errors.New("the machine wants us to sign in anew in the middle of the conversation (HTTP 401)"), "the run tries again")}
	if op == opSend || op == opReceive {
		e.Class = route.Unknown
	}
	return e
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
