package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/internal/network"
)

// Conn is a bound connection to one domain controller. One search runs at a time; Close may be called by anyone.
type Conn struct {
	DC     DC
	Root   RootDSE
	Skew   time.Duration // the DC's clock minus ours, to the second
	Method Method

	config Config
	ldap   *ldap.Conn // binds
	wire   *frames    // searches
	socket net.Conn
}

// Dial finds the domain controllers, tries one after the other, and binds to the first that works. If none does, the
// [Error] is of the kind [Unreachable] and names them all with their reasons; a rejected credential ends it at the first.
func Dial(ctx context.Context, c Config) (*Conn, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	dcs, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	dcs = dcs[:min(len(dcs), maxDCs)]
	var account *kerberos.Account // one for all of them: what one KDC said of it counts for all
	if c.Method.kerberos() && !c.Credential.LoggedOn {
		if account, err = c.account(dcs); err != nil {
			return nil, err
		}
	}
	var attempts []Attempt
	for _, dc := range dcs {
		conn, err := c.dial(ctx, dc, account)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect to %s: %w", dc, ctx.Err())
		}
		if KindOf(err).final() {
			return nil, err
		}
		c.Logger.Info("domain controller left out", "dc", dc.String(), "reason", err)
		attempts = append(attempts, Attempt{dc, err})
	}
	if len(attempts) == 1 && KindOf(attempts[0].Err) != Other {
		return nil, attempts[0].Err
	}
	reasons, errs := make([]string, len(attempts)), make([]error, len(attempts))
	for i, a := range attempts {
		reasons[i], errs[i] = fmt.Sprintf("%s: %v", a.DC, plainReason(a.Err)), a.Err
	}
	return nil, &Error{Kind: Unreachable, Attempts: attempts, Err: hint.Wrap(&joined{
		fmt.Sprintf("no domain controller of %s could be used: %s", c.Domain, strings.Join(reasons, "; ")), errs},
		"check the network and the ports 389, 636 and 88; name a working one with --dc")}
}

// joined says one sentence and is all of its errors.
type joined struct {
	text string
	errs []error
}

func (j *joined) Error() string   { return j.text }
func (j *joined) Unwrap() []error { return j.errs }

func plainReason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		if e.Kind != Other {
			return e.Err.Error()
		}
		err = e.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return network.Plain("", err).Error()
}

func (c *Config) dial(ctx context.Context, dc DC, account *kerberos.Account) (conn *Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	port := "389"
	if c.Method.tlsFirst() {
		port = "636"
	}
	socket, err := c.DialTCP(ctx, "tcp", dc.target(port))
	if err != nil {
		return nil, explain(err, dc.String())
	}
	// Whatever waits on the socket ends with the context.
	release := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer func() {
		release()
		if err != nil {
			_ = socket.Close()
			if ctx.Err() != nil {
				err = ctx.Err()
			}
		}
	}()
	tlsConfig := &tls.Config{RootCAs: c.RootCAs, ServerName: dc.Host, MinVersion: tls.VersionTLS12}
	var cert *x509.Certificate
	wire := &layer{Conn: socket}
	if c.Method == SimpleStartTLS {
		if err := startTLS(socket); err != nil {
			return nil, explain(fmt.Errorf("start TLS: %w", err), dc.String())
		}
	}
	if c.Method.inTLS() {
		t := tls.Client(socket, tlsConfig)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, explain(fmt.Errorf("start TLS: %w", err), dc.String())
		}
		wire.Conn, cert = t, t.ConnectionState().PeerCertificates[0]
	}
	searches := newFrames(wire)
	l := ldap.NewConn(searches, c.Method.inTLS())
	l.Start()
	conn = &Conn{DC: dc, Method: c.Method, config: *c, ldap: l, wire: searches, socket: socket}
	defer func() {
		if err != nil {
			_ = l.Close()
		}
	}()
	if err := conn.readRoot(ctx); err != nil {
		return nil, explain(err, dc.String())
	}
	if err := conn.rightDomain(); err != nil {
		return nil, err
	}
	if err := conn.bind(ctx, account, wire, cert); err != nil {
		return nil, explain(err, dc.String())
	}
	return conn, nil
}

func (c *Conn) bind(ctx context.Context, account *kerberos.Account, wire *layer, cert *x509.Certificate) error {
	conf := &c.config
	if !conf.Method.kerberos() {
		if _, ok := wire.Conn.(*tls.Conn); !ok {
			return &Error{Kind: Plaintext, DC: c.DC.String(), Err: ErrPlaintext}
		}
		return c.counted(func() error {
			if err := c.ldap.Bind(conf.Credential.User, conf.Credential.Password.Reveal()); err != nil {
				return fmt.Errorf("bind as %s: %w", conf.Credential.User, err)
			}
			return nil
		})
	}
	if conf.Credential.LoggedOn {
		g, err := loggedOn(cert)
		if err != nil {
			return err
		}
		if err := c.ldap.GSSAPIBind(g, "ldap/"+c.spnHost(), ""); err != nil {
			return fmt.Errorf("bind as the logged-on user: %w", err)
		}
		return nil
	}
	return c.bindKerberos(ctx, account, wire, cert)
}

// spnHost is the name in the Kerberos principal. An address has none; the root of the directory says the name, and the
// mutual authentication proves it.
func (c *Conn) spnHost() string {
	if net.ParseIP(c.DC.Host) != nil && c.Root.DNSHostName != "" {
		return c.Root.DNSHostName
	}
	return c.DC.Host
}

// Close ends the connection and its goroutines.
func (c *Conn) Close() error {
	err := c.ldap.Close()
	_ = c.socket.Close()
	return err
}

// startTLS asks for TLS on a plain connection (RFC 4511 4.14). Nothing else is sent before the handshake.
func startTLS(socket net.Conn) error {
	request := ber.NewSequence("LDAPMessage")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, "messageID"))
	extended := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "extendedReq")
	extended.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, "1.3.6.1.4.1.1466.20037", "requestName"))
	request.AppendChild(extended)
	if _, err := socket.Write(request.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(io.LimitReader(socket, 64<<10)) // reads one message and not a byte more
	if err != nil {
		return err
	}
	return ldap.GetLDAPError(answer)
}
