package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory/ad"
)

// directory checks the domain from the outside in: names, ports, connection, clock, sign-in, rights.
func (d *doctor) directory(ctx context.Context, dcs []string) {
	settings, _, err := d.app.directorySettings(ctx, dcs)
	if err != nil {
		d.fail("directory", err)
		return
	}
	found, err := directory.Discover(ctx, settings)
	if err != nil {
		d.fail("dns", err)
		return
	}
	names := make([]string, len(found))
	for i, dc := range found {
		names[i] = dc.String()
	}
	if len(settings.DCs) > 0 {
		d.ok("dns", "not needed: the settings name %s", joined(names))
	} else {
		d.ok("dns", "%s names %s: %s", settings.Domain, counted(len(found), "domain controller", "domain controllers"), joined(names))
	}
	d.ports(ctx, settings, found)
	conn, err := directory.Dial(ctx, settings)
	if err != nil {
		d.dialFailure(err)
		return
	}
	defer func() { _ = conn.Close() }()
	d.ok("sign-in", "%s takes %s as %s", conn.DC, conn.Method, signedInAs(settings))
	d.clock(conn.Skew)
	d.offers(conn)
	d.rights(ctx, conn)
}

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
func (d *doctor) ports(ctx context.Context, c directory.Config, dcs []directory.DC) {
	needed := "389"
	if c.Method == directory.SimpleLDAPS || c.Method == directory.KerberosLDAPS {
		needed = "636"
	}
	for i, dc := range dcs {
		if i == 4 {
			d.ok("ports", "and %d more domain controllers, not tried", len(dcs)-i)
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
			d.warn("ports", "open the port from here to the domain controller, or take that one out of the settings", "%s does not answer: %v", address, plainNetwork(err))
			continue
		}
		d.ok("ports", "%s answers", address)
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

func plainNetwork(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// dialFailure puts a failed connection under the heading it belongs to.
func (d *doctor) dialFailure(err error) {
	check := map[directory.Kind]string{
		directory.ClockSkew: "clock", directory.UntrustedCA: "certificate", directory.Unreachable: "ports", directory.NoDC: "dns",
	}[directory.KindOf(err)]
	if check == "" {
		check = "sign-in"
	}
	d.fail(check, err)
}

// clock compares the clocks; Kerberos gives up at five minutes.
func (d *doctor) clock(skew time.Duration) {
	const do = "set the clock of this computer from the domain (Windows: w32tm /resync; elsewhere: NTP from a domain controller)"
	direction := "behind"
	if skew < 0 {
		direction = "ahead of"
	}
	switch {
	case skew.Abs() > 5*time.Minute:
		d.findings = append(d.findings, finding{"clock", checkFail, fmt.Sprintf("this computer is %s %s the domain controller: Kerberos refuses more than 5 min", span(skew.Abs()), direction), do})
	case skew.Abs() > time.Minute:
		d.warn("clock", do, "this computer is %s %s the domain controller; Kerberos refuses more than 5 min", span(skew.Abs()), direction)
	case skew == 0:
		d.ok("clock", "agrees with the domain controller")
	default:
		d.ok("clock", "%s %s the domain controller", span(skew.Abs()), direction)
	}
}

// offers says which ways of signing in the domain controller announces.
func (d *doctor) offers(conn *directory.Conn) {
	mechanisms := slices.Clone(conn.Root.SASL)
	slices.Sort(mechanisms)
	kerberos := slices.Contains(mechanisms, "GSSAPI") || slices.Contains(mechanisms, "GSS-SPNEGO")
	switch {
	case kerberos:
		d.ok("bind methods", "password over TLS, Kerberos (announced: %s)", joined(mechanisms))
	case len(mechanisms) == 0:
		d.ok("bind methods", "password over TLS; the domain controller announces no other")
	default:
		d.ok("bind methods", "password over TLS; no Kerberos (announced: %s)", joined(mechanisms))
	}
}

// rights says what the account may do. No secret is read for it.
func (d *doctor) rights(ctx context.Context, conn *directory.Conn) {
	may, err := ad.Rights(ctx, conn)
	if err != nil {
		d.fail("rights", err)
		return
	}
	d.right("list machines", may.ListMachines, checkFail)
	d.right("list keys", may.ListKeys, checkWarn)
	d.right("read keys", may.ReadKeys, checkWarn)
	d.right("LAPS", may.ReadLAPS, checkWarn)
}

func (d *doctor) right(check string, r ad.Right, missing string) {
	f := finding{check, checkOK, "the account " + r.Means, ""}
	if r.Answer != ad.Yes {
		f.Status, f.Do = missing, r.Do
	}
	d.findings = append(d.findings, f)
}
