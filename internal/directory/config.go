package directory

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// Method is how to talk to a domain controller: the protection of the connection and the kind of bind.
type Method string

// The methods.
const (
	SimpleLDAPS    Method = "ldaps"          // simple bind inside TLS, port 636
	SimpleStartTLS Method = "starttls"       // simple bind after StartTLS, port 389
	KerberosSign   Method = "kerberos-sign"  // SASL GSSAPI with integrity, port 389
	KerberosSeal   Method = "kerberos-seal"  // SASL GSSAPI with confidentiality, port 389
	KerberosLDAPS  Method = "kerberos-ldaps" // SASL GSSAPI inside TLS with channel binding, port 636
)

// Methods are the valid values of [Config.Method].
func Methods() []Method {
	return []Method{KerberosSeal, KerberosLDAPS, SimpleLDAPS, SimpleStartTLS, KerberosSign}
}

func (m Method) kerberos() bool { return strings.HasPrefix(string(m), "kerberos") }
func (m Method) inTLS() bool    { return m.tlsFirst() || m == SimpleStartTLS }
func (m Method) tlsFirst() bool { return m == SimpleLDAPS || m == KerberosLDAPS }

// ErrPlaintext is returned for a simple bind without TLS. Nothing was sent.
var ErrPlaintext = errors.New("a simple bind without TLS would send the password readable to everyone on the way")

// DC is a domain controller. Host is its DNS name, which its certificate and its Kerberos principal must carry. Address
// is where to connect, host or host:port; empty means Host.
type DC struct {
	Host    string
	Address string
}

// ParseDC reads "dc1.corp.example", or "dc1.corp.example=10.0.0.5" for the day on which DNS is down as well.
func ParseDC(s string) (DC, error) {
	host, address, _ := strings.Cut(strings.TrimSpace(s), "=")
	if host == "" || strings.ContainsAny(s, " \t/\\") {
		return DC{}, hint.Wrap(fmt.Errorf("%q is no domain controller", clip(s)), "write dc1.corp.example or dc1.corp.example=10.0.0.5")
	}
	if h, _, err := net.SplitHostPort(host); err == nil && address == "" {
		host, address = h, host
	}
	return DC{Host: strings.ToLower(strings.TrimSuffix(host, ".")), Address: address}, nil
}

func (d DC) String() string {
	if d.Address == "" || d.Address == d.Host {
		return d.Host
	}
	return d.Host + " (" + d.Address + ")"
}

func (d DC) target(port string) string {
	a := d.Address
	if a == "" {
		a = d.Host
	}
	if _, _, err := net.SplitHostPort(a); err == nil {
		return a
	}
	return net.JoinHostPort(strings.Trim(a, "[]"), port)
}

// Credential says who binds. For a simple bind: User (user@domain or DOMAIN\user) and Password. For Kerberos one of
// Password, Keytab (path) and CCache (path), User as user or user@REALM; with CCache User may be empty. LoggedOn uses
// the Windows session of the caller and needs nothing else.
type Credential struct {
	User     string
	Password secret.String
	Keytab   string
	CCache   string
	LoggedOn bool
}

// Resolver finds domain controllers; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Config says how to reach a domain. Domain and Credential are needed, everything else has a default.
type Config struct {
	Domain     string // DNS name, "corp.example"; its upper case is the Kerberos realm
	Site       string // AD site for the discovery; empty: none
	DCs        []DC   // tried in this order, without discovery
	Method     Method // empty: KerberosSeal
	Credential Credential
	RootCAs    *x509.CertPool // nil: those of the system
	Realm      string         // empty: upper case of Domain
	KDCs       []string       // host or host:port; empty: the domain controllers, port 88
	Guard      Guard          // counts what is sent in vain; nil: nobody does
	// Timeout bounds the connection to one domain controller, its bind, and each silence within a search; 0: 15 s.
	Timeout  time.Duration
	Resolver Resolver                                                             // nil: net.DefaultResolver
	DialTCP  func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Logger   *slog.Logger                                                         // nil: silent
	now      func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	c.Domain = strings.ToLower(strings.Trim(strings.TrimSpace(c.Domain), "."))
	if c.Method == "" {
		c.Method = KerberosSeal
	}
	if c.Method == "simple" || c.Method == "ldap" {
		return c, &Error{Kind: Plaintext, Err: hint.Wrap(ErrPlaintext, "use the method ldaps, starttls or kerberos-seal; nothing was sent")}
	}
	if !slices.Contains(Methods(), c.Method) {
		return c, hint.Wrapf(fmt.Errorf("unknown bind method %q", clip(string(c.Method))), "methods: %v", Methods())
	}
	if c.Domain == "" {
		return c, hint.Wrap(errors.New("no domain given"), "name the AD domain, as corp.example")
	}
	if c.Realm == "" {
		c.Realm = strings.ToUpper(c.Domain)
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.DialTCP == nil {
		c.DialTCP = (&net.Dialer{}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, c.checkCredential()
}

// refused is the answer to a user name that no domain controller could take: it would call it a wrong password, and count it.
func refused(name, what, user, domain string) error {
	return hint.Wrapf(fmt.Errorf("%q is %s; nothing was sent", clip(name), what), `write %s@%s or %s\%s`, clip(user), domain, strings.ToUpper(firstLabel(domain)), clip(user))
}

func firstLabel(domain string) string {
	label, _, _ := strings.Cut(domain, ".")
	return label
}

// isDN reports whether a user is a distinguished name, which a simple bind may carry as well.
func isDN(user string) bool {
	first, _, ok := strings.Cut(user, ",")
	return ok && strings.Contains(first, "=")
}

func (c *Config) checkCredential() error {
	k := &c.Credential
	switch {
	case k.LoggedOn && c.Method != KerberosLDAPS:
		return hint.Wrap(fmt.Errorf("the logged-on user cannot bind with %s", c.Method), "use the method kerberos-ldaps")
	case k.LoggedOn:
		return nil
	case strings.Contains(k.User, "/") && k.Keytab == "" && !strings.Contains(k.User, `\`) && !isDN(k.User): // in a keytab it may be a service
		_, user, _ := strings.Cut(k.User, "/")
		return refused(k.User, "no form of a user that a directory knows", user, c.Domain)
	case !c.Method.kerberos() && k.User != "" && !strings.ContainsAny(k.User, `@\`) && !isDN(k.User):
		return refused(k.User, "a user without its domain, which a directory takes for nobody", k.User, c.Domain)
	case !c.Method.kerberos() && (k.User == "" || k.Password.IsZero()):
		// An empty password would be an anonymous bind that succeeds (RFC 4513 5.1.2).
		return hint.Wrap(errors.New("a simple bind needs a user and a password"), "give user@"+c.Domain+" and a password")
	case c.Method.kerberos() && k.CCache == "" && (k.User == "" || k.Password.IsZero() && k.Keytab == ""):
		return hint.Wrap(errors.New("a Kerberos bind needs a user with a password or a keytab, or a ticket cache"), "give one of them, or run kinit")
	}
	return nil
}
