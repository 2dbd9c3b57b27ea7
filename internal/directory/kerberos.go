package directory

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/kerberos"
)

// KDCs are domain controllers as Kerberos servers: at the same address, but on a port of their own.
func KDCs(dcs []DC) (out []kerberos.KDC) {
	for _, dc := range dcs {
		address := dc.Address
		if host, _, err := net.SplitHostPort(address); err == nil {
			address = host // its port is that of LDAP
		}
		out = append(out, kerberos.KDC{Name: dc.Host, Address: address})
	}
	return out
}

// account is that of the credential at the KDCs of its realm: those of the configuration, or the domain controllers.
func (c *Config) account(dcs []DC) (*kerberos.Account, error) {
	k := &c.Credential
	config := kerberos.Config{Realm: c.Realm, Site: c.Site, Timeout: c.Timeout, Resolver: c.Resolver, DialTCP: c.DialTCP, Logger: c.Logger}
	for _, host := range c.KDCs {
		config.KDCs = append(config.KDCs, kerberos.KDC{Name: host})
	}
	if len(c.KDCs) == 0 && strings.EqualFold(c.Realm, c.Domain) {
		config.KDCs = KDCs(dcs)
	}
	if c.Guard != nil {
		config.Guard = func(kdc string) (func(error), error) {
			dc := DC{Host: kdc}
			if i := slices.IndexFunc(dcs, func(d DC) bool { return d.Host == kdc }); i >= 0 {
				dc = dcs[i]
			}
			settle, err := c.Guard(dc)
			if err != nil {
				return nil, err
			}
			return func(err error) { settle(verdict(explain(err, dc.String()))) }, nil
		}
	}
	a, err := kerberos.New(config, kerberos.Credential{User: k.User, Password: k.Password, Keytab: k.Keytab, CCache: k.CCache})
	return a, explain(err, "")
}

// bindKerberos proves the account to the domain and itself to the domain controller, and switches protection on.
func (c *Conn) bindKerberos(ctx context.Context, account *kerberos.Account, wire *layer, cert *x509.Certificate) error {
	g := &initiator{layer: layerNone}
	options := kerberos.Options{}
	switch c.config.Method {
	case KerberosSign:
		g.layer, options.Protection = layerSign, kerberos.Signed
	case KerberosSeal:
		g.layer, options.Protection = layerSeal, kerberos.Sealed
	default:
		options.Bindings = kerberos.Bindings(cert)
	}
	var err error
	spn := "ldap/" + c.spnHost()
	if g.context, err = account.Context(ctx, []string{spn}, options); err != nil {
		return err
	}
	c.Skew = cmp.Or(c.Skew, account.Skew())
	if err := c.ldap.GSSAPIBind(g, spn, ""); err != nil {
		return fmt.Errorf("bind with a ticket for %s: %w", spn, err)
	}
	if g.layer != layerNone {
		wire.tokens, wire.seal, wire.maxSend = g.context, g.layer == layerSeal, g.maxSend
		wire.on.Store(true)
	}
	return nil
}
