package doctor

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/network"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
)

// directory checks the domain from the outside in: names, ports, connection, clock, sign-in, rights.
func (e *examination) directory(ctx context.Context) {
	if e.desk.Settings.Directory.Domain == "" && len(e.request.DCs) == 0 {
		e.warn("directory", "write a section directory with domain, user and password-file to read machines, recovery keys and LAPS passwords from Active Directory", "no directory is configured")
		return
	}
	settings, err := e.desk.Connect.Directory(ctx, e.request.DCs)
	if err != nil {
		e.fail("directory", err)
		return
	}
	found, err := directory.Discover(ctx, settings)
	if err != nil {
		e.fail("dns", err)
		return
	}
	names := make([]string, len(found))
	for i, dc := range found {
		names[i] = dc.String()
	}
	if len(settings.DCs) > 0 {
		e.ok("dns", "not needed: the settings name %s", commas(names))
	} else {
		e.ok("dns", "%s names %s: %s", settings.Domain, prose.Counted(len(found), "domain controller", "domain controllers"), commas(names))
	}
	e.ports(ctx, settings, found)
	conn, err := directory.Dial(ctx, settings)
	if err != nil {
		e.dialFailure(err)
		return
	}
	defer func() { _ = conn.Close() }()
	e.ok("sign-in", "%s takes %s as %s", conn.DC, conn.Method, signedInAs(settings))
	e.clock(conn.Skew)
	e.offers(conn)
	e.rights(ctx, conn)
	e.lockout(ctx, conn)
}

// lockout says after how many wrong passwords the domain locks the account that signs in at machines, and how many a run bears.
func (e *examination) lockout(ctx context.Context, conn *directory.Conn) {
	said, err := ad.Lockouts(ctx, conn, e.desk.Connect.Accounts())
	if err != nil {
		e.fail("lockout", err)
		return
	}
	said.ReadAt = e.desk.Now()
	user := e.desk.Settings.WinRM.User
	if user == "" {
		user = e.desk.Settings.Directory.User
	}
	locks := fmt.Sprintf("%s locks an account after %d wrong passwords within %d min", said.NetBIOS, said.Domain.Threshold, int(said.Domain.Window.Minutes()))
	if said.Domain.Threshold == 0 {
		locks = said.NetBIOS + " locks no account"
	}
	bears := desk.BearsOf([]inventory.Lockouts{said}, user, said.ReadAt)
	detail := fmt.Sprintf("%s; a run sends the password of %s at most %s without an answer: %s", locks, user, prose.Counted(bears.Rule.Limit, "time", "times"), bears.Why)
	if bears.Known {
		e.ok("lockout", "%s", detail)
		return
	}
	do := "with --sign-ins N, at most half of the threshold that holds for that account, a run asks more machines at a time"
	if said.Hidden {
		do = "let the account that reads the directory see CN=Password Settings Container,CN=System and what is in it, or give --sign-ins N: at most half of the threshold of that account"
	}
	e.warn("lockout", do, "%s", detail)
}

func commas(words []string) string { return strings.Join(words, ", ") }

func signedInAs(c directory.Config) string {
	switch {
	case c.Credential.LoggedOn:
		return "the logged-on user"
	case c.Credential.User == "":
		return "the owner of the ticket cache"
	}
	return c.Credential.User
}

// ports tries the port that the bind needs on every domain controller, at the address the settings give.
func (e *examination) ports(ctx context.Context, c directory.Config, dcs []directory.DC) {
	needed := "389"
	if c.Method == directory.SimpleLDAPS || c.Method == directory.KerberosLDAPS {
		needed = "636"
	}
	for i, dc := range dcs {
		if i == 4 {
			e.ok("ports", "and %d more domain controllers, not tried", len(dcs)-i)
			return
		}
		address := dc.Address
		if address == "" {
			address = dc.Host
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), needed)
		}
		if err := reach(ctx, address); err != nil {
			e.warn("ports", "open the port from here to the domain controller, or take that one out of the settings", "%v", network.Plain(address, err))
			continue
		}
		e.ok("ports", "%s answers", address)
	}
}

func reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// dialFailure puts a failed connection under the heading it belongs to.
func (e *examination) dialFailure(err error) {
	check := map[directory.Kind]string{
		directory.ClockSkew: "clock", directory.UntrustedCA: "certificate", directory.Unreachable: "ports", directory.NoDC: "dns",
	}[directory.KindOf(err)]
	if check == "" {
		check = "sign-in"
	}
	e.fail(check, err)
}

// clock compares the clocks; Kerberos gives up at five minutes.
func (e *examination) clock(skew time.Duration) {
	const do = "set the clock of this computer from the domain (Windows: w32tm /resync; elsewhere: NTP from a domain controller)"
	direction := "behind"
	if skew < 0 {
		direction = "ahead of"
	}
	switch {
	case skew.Abs() > 5*time.Minute:
		e.Findings = append(e.Findings, Finding{"clock", Fail, fmt.Sprintf("this computer is %s %s the domain controller: Kerberos refuses more than 5 min", span(skew), direction), do})
	case skew.Abs() > time.Minute:
		e.warn("clock", do, "this computer is %s %s the domain controller; Kerberos refuses more than 5 min", span(skew), direction)
	case skew == 0:
		e.ok("clock", "agrees with the domain controller")
	default:
		e.ok("clock", "%s %s the domain controller", span(skew), direction)
	}
}

// offers says which ways of signing in the domain controller announces.
func (e *examination) offers(conn *directory.Conn) {
	mechanisms := slices.Clone(conn.Root.SASL)
	slices.Sort(mechanisms)
	kerberos := slices.Contains(mechanisms, "GSSAPI") || slices.Contains(mechanisms, "GSS-SPNEGO")
	switch {
	case kerberos:
		e.ok("bind methods", "password over TLS, Kerberos (announced: %s)", commas(mechanisms))
	case len(mechanisms) == 0:
		e.ok("bind methods", "password over TLS; the domain controller announces no other")
	default:
		e.ok("bind methods", "password over TLS; no Kerberos (announced: %s)", commas(mechanisms))
	}
}

// rights says what the account may do. No secret is read for it.
func (e *examination) rights(ctx context.Context, conn *directory.Conn) {
	may, err := ad.Rights(ctx, conn)
	if err != nil {
		e.fail("rights", err)
		return
	}
	e.right("list machines", may.ListMachines, Fail)
	e.right("list keys", may.ListKeys, Warn)
	e.right("read keys", may.ReadKeys, Warn)
	e.right("LAPS", may.ReadLAPS, Warn)
}

func (e *examination) right(check string, r ad.Right, missing Status) {
	f := Finding{check, OK, "the account " + r.Means, ""}
	if r.Answer != ad.Yes {
		f.Status, f.Do = missing, r.Do
	}
	e.Findings = append(e.Findings, f)
}
