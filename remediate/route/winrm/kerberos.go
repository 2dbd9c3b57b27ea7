package winrm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// ticketed seals with the key of a Kerberos context.
type ticketed struct{ context *kerberos.Context }

var _ sealer = ticketed{}

func (t ticketed) seal(message []byte) (signature, sealed []byte, err error) {
	return t.context.Seal(message)
}

func (t ticketed) unseal(part sealedPart) ([]byte, error) {
	clear, err := t.context.Unseal(part.signature, part.data)
	if err != nil {
		return nil, errSeal
	}
	return clear, nil
}

// services are the names that a machine may have in its domain: HTTP is an alias of HOST, which every computer has; WSMAN is the way out
// where an account of another service owns HTTP. Addresses have none.
func (c *Config) services(t route.Target) []string {
	for _, host := range append([]string{t.FQDN, t.Name}, t.Aliases...) {
		if host != "" && net.ParseIP(host) == nil {
			host = strings.ToLower(host)
			return []string{"HTTP/" + host, "WSMAN/" + host}
		}
	}
	return nil
}

// ticket signs in by Kerberos. The domain judges the account before the machine sees anything; what a machine says after that is its own
// trouble. Over HTTP everything after it is sealed; over HTTPS it is bound to the machine's certificate and TLS does the rest.
func (r *Route) ticket(ctx context.Context, t route.Target, l *link) error {
	fail := func(class route.Class, err error) error {
		if ctx.Err() != nil {
			class, err = route.Stopped, context.Cause(ctx)
		}
		return &route.Error{Class: class, Op: opAuthenticate, Target: t.Name, Err: err}
	}
	account := r.config.Account
	if err := account.Prove(ctx); err != nil {
		switch kerberos.ReasonOf(err) {
		case kerberos.Barred:
			return barred(ctx, t, err)
		case kerberos.Silent:
			return fail(route.Unreachable, err)
		case kerberos.ClockSkew, kerberos.Other:
			return fail(route.Refused, err)
		}
		return fail(route.Auth, &rejection{err, r.barred(err)})
	}
	names := r.config.services(t)
	if len(names) == 0 {
		return fail(route.Denied, hint.Wrap(errors.New("the machine is known by an address alone, and Kerberos goes by names"), "bring its name into the inventory (column fqdn or name)"))
	}
	options := kerberos.Options{Protection: kerberos.Sealed}
	if l.peer != nil {
		options = kerberos.Options{Bindings: kerberos.Bindings(l.peer.PeerCertificates[0])}
	}
	var told error
	for range 3 { // with the ticket at hand, with a fresh one, and by the other name
		conversation, err := account.Context(ctx, names, options)
		if err != nil {
			switch reason := kerberos.ReasonOf(err); {
			case reason == kerberos.UnknownService && told != nil:
				return told
			case reason == kerberos.UnknownService, reason == kerberos.NoAES, reason == kerberos.Policy:
				return fail(route.Denied, err)
			}
			return fail(route.Unreachable, err)
		}
		err = r.present(ctx, t, l, conversation)
		if kerberos.ReasonOf(err) != kerberos.BrokenTrust || !l.usable() {
			return err
		}
		account.Forget(conversation.Service())
		if told != nil { // the fresh one was not read either
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == conversation.Service() })
		}
		told = err
	}
	return told
}

// barred is what the domain's judgement of the account means for everybody.
func (r *Route) barred(err error) *route.BarredError {
	return &route.BarredError{Account: route.Account{Name: r.config.Account.Name()}, All: true, Why: err.Error()}
}

// largeHeader is about what http.sys takes of a header by default, less what stands beside the sign-in.
const largeHeader = 12 << 10

// present shows the machine the ticket, and lets it prove who it is.
func (r *Route) present(ctx context.Context, t route.Target, l *link, conversation *kerberos.Context) error {
	token, err := kerberos.Negotiation(conversation.First())
	if err != nil {
		return &route.Error{Class: route.Refused, Op: opAuthenticate, Target: t.Name, Err: err}
	}
	header := negotiateHeader(token)
	a, err := l.post(ctx, contentSOAP, header, nil)
	if err != nil {
		return ioFailure(ctx, t.Name, opAuthenticate, err)
	}
	defer a.release()
	fail := func(class route.Class, err error) error {
		return &route.Error{Class: class, Op: opAuthenticate, Target: t.Name, Status: a.status, Err: err}
	}
	answer, negotiated := kerberos.Negotiated(negotiateToken(a.challenges))
	switch {
	case a.status == http.StatusBadRequest && len(header) > largeHeader:
		return fail(route.Refused, hint.Wrap(fmt.Errorf("the sign-in of %s is %d KB (many groups)", r.config.Account.Name(), len(header)>>10),
			"raise MaxFieldLength and MaxRequestBytes of HTTP on the machines, or use an account in fewer groups"))
	case a.status == http.StatusOK && negotiated:
		if err := conversation.Finish(answer); err != nil {
			return fail(route.Untrusted, err)
		}
		l.signedIn = true
		if r.config.seals() {
			l.sealer = ticketed{conversation}
		}
		return nil
	case a.status == http.StatusOK:
		return fail(route.Untrusted, fmt.Errorf("%s could not prove to be %s", t.Name, conversation.Service()))
	case a.status == http.StatusUnauthorized && negotiated:
		return fail(route.Denied, conversation.Finish(answer))
	case a.status == http.StatusUnauthorized && !hasFold(schemes(a.challenges), "Negotiate") && !hasFold(schemes(a.challenges), "Kerberos"):
		return fail(route.Denied, notOffered(t, opAuthenticate, a, "Kerberos"))
	case a.status == http.StatusUnauthorized:
		return fail(route.Denied, hint.Wrap(fmt.Errorf("%s does not let %s in, whose ticket it got", t.Name, r.config.Account.Name()),
			"the account may not sign in there over the network, or is no administrator of the machine"))
	}
	return statusError(t.Name, opAuthenticate, a)
}
