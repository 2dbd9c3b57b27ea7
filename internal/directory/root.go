package directory

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// RootDSE is what a domain controller says of itself before any bind (MS-ADTS 3.1.1.3.2).
type RootDSE struct {
	DefaultNamingContext string
	RootDomain           string // naming context of the forest's root
	Configuration        string // naming context
	NamingContexts       []string
	DNSHostName          string
	ServiceName          string // DN of the NTDS Settings object
	Site                 string // of the domain controller
	HighestUSN           int64
	CurrentTime          time.Time
	SASL                 []string // mechanisms
	GlobalCatalog        bool
}

var rootAttributes = []string{"defaultNamingContext", "rootDomainNamingContext", "configurationNamingContext", "namingContexts", "dnsHostName",
	"dsServiceName", "highestCommittedUSN", "currentTime", "supportedSASLMechanisms", "isGlobalCatalogReady"}

func (c *Conn) readRoot(ctx context.Context) error {
	start := c.config.now()
	var e *Entry
	_, err := c.Search(ctx, Query{Base: "", Scope: Base, Attributes: rootAttributes}, func(found *Entry) error { e = found; return nil })
	if err != nil {
		return fmt.Errorf("read the root of the directory: %w", err)
	}
	if e == nil {
		return fmt.Errorf("read the root of the directory: the server is no domain controller, it shows no root")
	}
	r := RootDSE{DefaultNamingContext: e.Text("defaultNamingContext"), RootDomain: e.Text("rootDomainNamingContext"),
		Configuration: e.Text("configurationNamingContext"), NamingContexts: e.Texts("namingContexts"),
		DNSHostName: strings.ToLower(e.Text("dnsHostName")), ServiceName: e.Text("dsServiceName"),
		SASL: e.Texts("supportedSASLMechanisms"), GlobalCatalog: strings.EqualFold(e.Text("isGlobalCatalogReady"), "TRUE")}
	r.HighestUSN, _ = strconv.ParseInt(e.Text("highestCommittedUSN"), 10, 64)
	if t, err := GeneralizedTime(e.Text("currentTime")); err == nil {
		end := c.config.now()
		r.CurrentTime = t
		// The answer was made somewhere between question and arrival, and is cut to the second.
		if skew := t.Sub(start.Add(end.Sub(start) / 2)); skew.Abs() > 2*time.Second {
			c.Skew = skew.Round(time.Second)
		}
	}
	if _, rest, ok := strings.Cut(r.ServiceName, ",CN=Servers,CN="); ok {
		r.Site, _, _ = strings.Cut(rest, ",")
	}
	c.Root = r
	return nil
}

// rightDomain refuses a server of another domain than the settings say, before a password is sent: its machines would be
// filed under the wrong one. MS-ADTS 3.1.1.1.5: the naming context of a domain is made of the labels of its DNS name.
func (c *Conn) rightDomain() error {
	served := strings.TrimPrefix(strings.NewReplacer(",DC=", ".", ", DC=", ".").Replace(","+strings.ToUpper(c.Root.DefaultNamingContext)), ".")
	if served == "" || strings.EqualFold(served, strings.TrimSuffix(c.config.Domain, ".")) {
		return nil
	}
	served = strings.ToLower(served)
	return &Error{Kind: WrongRealm, DC: c.DC.String(), Suggest: c.Root.NamingContexts, Err: hint.Wrap(
		fmt.Errorf("serves the domain %s, not %s", served, c.config.Domain),
		fmt.Sprintf("set directory.domain to %s, or name a domain controller of %s", served, c.config.Domain))}
}

// Refresh reads the root again, for a current [RootDSE.HighestUSN].
func (c *Conn) Refresh(ctx context.Context) error { return c.readRoot(ctx) }

// InvocationID names the copy of the directory behind this connection; USNs are comparable only within one.
func (c *Conn) InvocationID(ctx context.Context) (string, error) {
	e, err := c.Get(ctx, c.Root.ServiceName, "invocationId")
	if err != nil {
		return "", err
	}
	if e == nil || e.Bytes("invocationId") == nil {
		return "", fmt.Errorf("%s does not show its invocation ID", c.DC)
	}
	return GUID(e.Bytes("invocationId"))
}

// Partition is one domain of the forest.
type Partition struct {
	NetBIOS string
	DNS     string
	DN      string
}

// Domains lists the domains of the forest from CN=Partitions.
func (c *Conn) Domains(ctx context.Context) ([]Partition, error) {
	var out []Partition
	_, err := c.Search(ctx, Query{Base: "CN=Partitions," + c.Root.Configuration, Scope: OneLevel,
		Filter:     "(&(objectCategory=crossRef)(systemFlags:1.2.840.113556.1.4.803:=2))", // FLAG_CR_NTDS_DOMAIN
		Attributes: []string{"nCName", "nETBIOSName", "dnsRoot"}}, func(e *Entry) error {
		out = append(out, Partition{e.Text("nETBIOSName"), strings.ToLower(e.Text("dnsRoot")), e.Text("nCName")})
		return nil
	})
	return out, err
}

// Config gives the settings of this connection for another one, to the domain of name. Who signs in stays an account of the first.
func (c *Conn) Config(domain string) Config {
	next := c.config
	if !strings.EqualFold(domain, next.Domain) {
		next.Domain, next.DCs, next.Site = strings.ToLower(domain), nil, ""
	}
	return next
}

// Ports says which of the ports of a domain controller answer: 88, 389, 636 and 3268.
func Ports(ctx context.Context, c Config, dc DC) map[int]error {
	if c.DialTCP == nil {
		c.DialTCP = (&net.Dialer{}).DialContext
	}
	if host, _, err := net.SplitHostPort(dc.Address); err == nil {
		dc.Address = host
	}
	out := map[int]error{}
	for _, port := range []int{88, 389, 636, 3268} {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		conn, err := c.DialTCP(ctx, "tcp", dc.target(strconv.Itoa(port)))
		cancel()
		if err == nil {
			err = conn.Close()
		}
		out[port] = err
	}
	return out
}
