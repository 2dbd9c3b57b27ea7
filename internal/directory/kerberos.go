package directory

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// login gets a ticket-granting ticket. The Kerberos library takes no context: on its end login returns at once, and the
// goroutine behind it ends with the library's own limit of 5 s per exchange.
func (c *Conn) login(ctx context.Context) (out *client.Client, err error) {
	conf, err := c.config.krb5(ctx, c.DC)
	if err != nil {
		return nil, err
	}
	ask := func() error { out, err = c.config.logOn(ctx, c.DC, conf); return err }
	if c.config.Credential.CCache != "" {
		return out, ask()
	}
	err = c.counted(ask)
	return out, err
}

func (c *Config) logOn(ctx context.Context, dc DC, conf *config.Config) (*client.Client, error) {
	type result struct {
		client *client.Client
		err    error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() { done <- r }()
		defer guard(&r.err)
		r.client, r.err = c.ticket(conf)
	}()
	select {
	case r := <-done:
		if _, realm := c.principal(); r.err != nil && realm != c.Realm && strings.Contains(r.err.Error(), "KRB Error: (6)") {
			return nil, &Error{Kind: WrongRealm, DC: dc.String(), Err: hint.Wrapf(fmt.Errorf("the realm %s is not served by this Kerberos server, which is that of %s: %w",
				clip(realm), c.Realm, r.err), "write the user without a realm, or connect to its own domain")}
		}
		if r.err != nil {
			return nil, fmt.Errorf("log on to Kerberos realm %s: %w", c.Realm, r.err)
		}
		return r.client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Config) ticket(conf *config.Config) (*client.Client, error) {
	k, noFAST := &c.Credential, client.DisablePAFXFAST(true)
	user, realm := c.principal()
	switch {
	case k.CCache != "":
		cache, err := loadCCache(k.CCache)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read ticket cache %q: %w", k.CCache, err), "run kinit again")
		}
		return client.NewFromCCache(cache, conf, noFAST)
	case k.Keytab != "":
		b, err := textfile.Bytes(k.Keytab, 16<<20)
		if err != nil {
			return nil, fmt.Errorf("read keytab: %w", err)
		}
		kt := keytab.New()
		if err := kt.Unmarshal(b); err != nil {
			return nil, fmt.Errorf("read keytab %q: %w", k.Keytab, err)
		}
		cl := client.NewWithKeytab(user, realm, kt, conf, noFAST)
		return cl, cl.Login()
	}
	cl := client.NewWithPassword(user, realm, k.Password.Reveal(), conf, noFAST)
	return cl, cl.Login()
}

func loadCCache(path string) (cache *credentials.CCache, err error) {
	defer guard(&err) // the parser of the library indexes without looking
	return credentials.LoadCCache(strings.TrimPrefix(path, "FILE:"))
}

// principal splits user@REALM and DOMAIN\user.
func (c *Config) principal() (user, realm string) {
	user, realm = c.Credential.User, c.Realm
	if _, after, ok := strings.Cut(user, `\`); ok {
		user = after
	}
	if i := strings.LastIndexByte(user, '@'); i > 0 {
		user, realm = user[:i], strings.ToUpper(user[i+1:])
	}
	return user, realm
}

// krb5 reads the given configuration or makes one with a KDC that answers. Only TCP is used: a ticket with many groups
// does not fit into a datagram.
func (c *Config) krb5(ctx context.Context, dc DC) (*config.Config, error) {
	if c.Krb5Conf != "" {
		conf, err := config.Load(c.Krb5Conf)
		if err != nil {
			return nil, fmt.Errorf("read Kerberos configuration %q: %w", c.Krb5Conf, err)
		}
		return conf, nil
	}
	kdcs := []string{}
	for _, k := range c.KDCs {
		kdcs = append(kdcs, DC{Host: k}.target("88"))
	}
	if len(kdcs) == 0 {
		if host, _, err := net.SplitHostPort(dc.Address); err == nil {
			dc.Address = host // its port is that of LDAP
		}
		kdcs = append(kdcs, dc.target("88"))
	}
	var tried []string
	for _, kdc := range kdcs {
		conn, err := c.DialTCP(ctx, "tcp", kdc)
		if err != nil {
			tried = append(tried, err.Error())
			continue
		}
		at := conn.RemoteAddr().String()
		_ = conn.Close()
		_, realm := c.principal()
		text := fmt.Sprintf("[libdefaults]\ndefault_realm = %s\ndns_lookup_kdc = false\ndns_lookup_realm = false\nudp_preference_limit = 1\n"+
			"[realms]\n%[1]s = {\nkdc = %[2]s\n}\n", c.Realm, at)
		if realm != c.Realm { // the KDC itself says whether it serves that realm
			text += fmt.Sprintf("%s = {\nkdc = %s\n}\n", realm, at)
		}
		text += fmt.Sprintf("[domain_realm]\n.%s = %s\n%s = %s\n", c.Domain, c.Realm, c.Domain, c.Realm)
		conf, err := config.NewFromString(text)
		if err != nil {
			return nil, fmt.Errorf("make Kerberos configuration for realm %q: %w", clip(c.Realm), err)
		}
		return conf, nil
	}
	return nil, hint.Wrap(fmt.Errorf("no Kerberos server answers: %s", strings.Join(tried, "; ")), "open TCP port 88 to a domain controller, or use the method ldaps")
}
