package kerberos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/fleetmend/fleetmend/internal/secret"
)

// Resolver finds KDCs; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// KDC is a key distribution centre: its name, and where to connect, host or host:port; empty means the name.
type KDC struct{ Name, Address string }

// Config says how to reach a domain. Only Realm has no default.
type Config struct {
	Realm    string        // of the account's domain: "CORP.EXAMPLE"
	KDCs     []KDC         // of Realm, tried in this order; empty: those that DNS names
	Site     string        // AD site whose KDCs are preferred; empty: none
	Parallel int           // exchanges with one KDC at the same time, at first; 0: 8
	Timeout  time.Duration // of one exchange; 0: 15 s

	// Guard is asked right before a message that is made of the password or key leaves for a KDC. What it returns is told once
	// what came of it, nil for accepted; an error keeps the message back. nil: nobody counts, and then the secret leaves once.
	Guard func(kdc string) (settle func(error), err error)

	Resolver Resolver                                                             // nil: net.DefaultResolver
	DialTCP  func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Logger   *slog.Logger                                                         // nil: silent
	now      func() time.Time                                                     // nil: time.Now
}

// Credential says who signs in: User (user, user@domain or DOMAIN\user) with a Password or a Keytab (path), or a CCache
// (path) that kinit wrote, with or without a User.
type Credential struct {
	User     string
	Password secret.String
	Keytab   string
	CCache   string
}

// Account is one account with its tickets. It is safe for concurrent use and starts no goroutine that outlives a call.
type Account struct {
	config     Config
	credential Credential
	name       types.PrincipalName
	keys       []types.EncryptionKey // of the keytab, the newest of each cipher

	turn chan struct{} // what concerns the account itself is done by one at a time

	mu      sync.Mutex
	home    *ticket       // ticket-granting ticket of the own realm
	verdict error         // what a KDC said of the account; nil: nothing, or that it is good
	silent  time.Time     // when a secret was sent that nobody answered to
	ahead   time.Duration // the KDCs' clock minus ours
	stamp   int64         // of the last authenticator, microseconds since 1970
	unaided time.Time     // until when renewing is not tried again
	pools   map[string]*pool
	tickets map[string]*kept
}

// New reads the keytab or ticket cache of a credential and checks its form. It opens no connection.
func New(c Config, credential Credential) (*Account, error) {
	c.Timeout = cmp.Or(c.Timeout, 15*time.Second)
	c.Parallel = cmp.Or(c.Parallel, 8)
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
	if c.Realm == "" {
		return nil, errors.New("kerberos: no realm is configured")
	}
	a := &Account{config: c, credential: credential, turn: make(chan struct{}, 1), pools: map[string]*pool{}, tickets: map[string]*kept{}}
	a.name = principal(credential.User, c.Realm)
	switch {
	case credential.CCache != "":
		return a, a.readCache()
	case credential.User == "" || credential.Password.IsZero() && credential.Keytab == "":
		return nil, errors.New("kerberos: a user with a password or a keytab, or a ticket cache is needed")
	case credential.Keytab != "":
		return a, a.readKeytab()
	}
	return a, nil
}

// principal is the name that a KDC of realm is asked for. A suffix that is not the realm's is a user principal name, which
// the KDC looks up (RFC 6806 section 5). A domain before a backslash is taken for that of the realm.
func principal(user, realm string) types.PrincipalName {
	if _, after, ok := strings.Cut(user, `\`); ok {
		user = after
	}
	if i := strings.LastIndexByte(user, '@'); i > 0 {
		if !strings.EqualFold(user[i+1:], realm) {
			return types.PrincipalName{NameType: nameEnterprise, NameString: []string{user}}
		}
		user = user[:i]
	}
	return types.NewPrincipalName(namePrincipal, user)
}

// Name is the account as it is shown to people, user@REALM.
func (a *Account) Name() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.home != nil {
		return a.home.client.PrincipalNameString() + "@" + a.home.crealm
	}
	if a.name.NameType == nameEnterprise {
		return a.name.PrincipalNameString()
	}
	return a.name.PrincipalNameString() + "@" + a.config.Realm
}

// Skew is the KDCs' clock minus ours; zero where none was asked yet. Everything is dated by the KDCs' clock, so that a wrong clock of
// this computer stops nothing.
func (a *Account) Skew() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ahead
}

// Prove lets the domain judge the account. Nothing made of its secret leaves after it was judged, whoever asks and how often; the
// verdict is kept for the life of the Account. Errors are an *[Error], and the end of ctx.
func (a *Account) Prove(ctx context.Context) error {
	_, err := a.granting(ctx)
	return err
}

// silence is how long nothing made of a secret is sent after a KDC did not answer to it.
const silence = time.Minute

// granting gives the ticket-granting ticket of the own realm: the one that is there, renewed from half of its life on by whoever comes
// first, or one that is signed in for.
func (a *Account) granting(ctx context.Context) (*ticket, error) {
	if t := a.fresh(); t != nil {
		return t, nil
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if t := a.fresh(); t != nil { // somebody else was faster
		return t, nil
	}
	a.mu.Lock()
	old, verdict, silent := a.home, a.verdict, a.silent
	a.mu.Unlock()
	if verdict != nil {
		return nil, verdict
	}
	now := a.now()
	if old != nil && now.Before(old.end) {
		if t := a.renewed(ctx, old); t != nil {
			return t, nil
		}
		if now.Before(old.end.Add(-min(5*time.Minute, old.end.Sub(old.begin)/4))) {
			return old, nil
		}
	}
	if a.credential.CCache != "" {
		return nil, failed(NoSecret, "run kinit again", "the ticket in %s has ended", a.credential.CCache)
	}
	if !silent.IsZero() && (a.config.Guard == nil || a.config.now().Sub(silent) < silence) {
		return nil, failed(Silent, "see that the domain controllers answer on TCP port 88, then start again", "no Kerberos server of %s answered when %s signed in", a.config.Realm, a.Name())
	}
	t, err := a.login(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		if ReasonOf(err).Final() {
			a.verdict = err
		}
		return nil, err
	}
	a.home, a.silent = t, time.Time{}
	return t, nil
}

// fresh is the ticket-granting ticket in the first half of its life, or as long as it cannot be renewed.
func (a *Account) fresh() *ticket {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.home == nil || a.verdict != nil {
		return nil
	}
	now, t := a.config.now().Add(a.ahead), a.home
	until := t.begin.Add(t.end.Sub(t.begin) / 2)
	if t.renew.IsZero() || now.Before(a.unaided) {
		until = t.end.Add(-min(5*time.Minute, t.end.Sub(t.begin)/4))
	}
	if now.Before(until) {
		return t
	}
	return nil
}

// renewed is a ticket-granting ticket with a new life, for which no secret leaves; nil where the KDC gives none.
func (a *Account) renewed(ctx context.Context, old *ticket) *ticket {
	if old.renew.IsZero() || !a.now().Before(old.renew) {
		return nil
	}
	t, err := a.ask(ctx, old, request{realm: a.config.Realm, service: old.service, renew: true})
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.config.Logger.Info("Kerberos ticket not renewed", "user", old.client.PrincipalNameString(), "reason", err)
		a.unaided = a.config.now().Add(a.ahead + silence)
		return nil
	}
	a.home = t
	return t
}

// now is the time by the KDCs' clock.
func (a *Account) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.now().Add(a.ahead)
}

// stamped is the time for one authenticator, which no other of the account has: who checks for replays goes by it.
func (a *Account) stamped() (at time.Time, micro int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stamp = max(a.stamp+1, a.config.now().Add(a.ahead).UnixMicro())
	t := time.UnixMicro(a.stamp).UTC()
	return t.Truncate(time.Second), t.Nanosecond() / 1000
}

// farthest is how far off a clock may be for us to go by that of the KDC.
const farthest = 12 * time.Hour

// learn takes over the KDC's clock; its error is for people.
func (a *Account) learn(stime time.Time, micro int, kdc string) error {
	ahead := stime.Add(time.Duration(micro) * time.Microsecond).Sub(a.config.now())
	if ahead.Abs() > farthest {
		return a.skewed(kdc, stime)
	}
	if ahead.Abs() < 2*time.Second { // an answer takes a while
		ahead = 0
	}
	a.mu.Lock()
	before := a.ahead
	a.ahead = ahead
	a.mu.Unlock()
	if (ahead - before).Abs() > time.Minute {
		a.config.Logger.Warn(fmt.Sprintf("this computer's clock is %s %s; the domain's time is used", Apart(-ahead, "ahead of", "behind"), kdc))
	}
	return nil
}
