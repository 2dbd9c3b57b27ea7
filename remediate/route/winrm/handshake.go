package winrm

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// handshake runs NTLM over two empty requests. Over HTTP everything after it is sealed; over HTTPS it is bound to the
// machine's certificate and TLS does the rest.
//
// The ledger is asked between the two: the first message holds nothing secret, its answer names the domain, and a machine that
// accepts connections but never answers must not keep all others waiting for its verdict.
func (r *Route) handshake(ctx context.Context, t route.Target, l *link, credential Credential, begin func(domainNames) (route.Trial, error)) error {
	fail := func(class route.Class, status int, err error) error {
		return &route.Error{Class: class, Op: opAuthenticate, Target: t.Name, Status: status, Err: err}
	}
	client, err := newNTLM(credential)
	if err != nil {
		return fail(route.Refused, 0, err)
	}
	a, err := l.post(ctx, contentSOAP, negotiateHeader(client.negotiate()), nil)
	if err != nil {
		return ioFailure(ctx, t.Name, opAuthenticate, err)
	}
	defer a.release()
	challenge := negotiateToken(a.challenges)
	if a.status != http.StatusUnauthorized || challenge == nil {
		return r.noChallenge(t, a)
	}
	var binding []byte
	if l.peer != nil {
		binding = endPointHash(l.peer.PeerCertificates[0])
	}
	message, err := client.authenticate(challenge, binding)
	if err != nil {
		return fail(route.Untrusted, a.status, hint.Wrap(err, "nothing is sent to a machine that cannot seal; check its NTLM policy or use https"))
	}
	if l.trial, err = begin(domainOf(challenge)); err != nil {
		return barred(ctx, t, err)
	}
	l.most = l.trial.Wait()
	defer func() { l.most = 0 }()
	verdict, err := l.post(ctx, contentSOAP, negotiateHeader(message), nil)
	if err != nil {
		return ioFailure(ctx, t.Name, opAuthenticate, err)
	}
	defer verdict.release()
	if err := r.judge(ctx, t, l, opAuthenticate, verdict); err != nil {
		return err
	}
	if verdict.status != http.StatusOK {
		return statusError(t.Name, opAuthenticate, verdict)
	}
	l.signedIn = true
	if !r.config.seals() {
		return nil
	}
	l.sealer = client
	if l.trial.Taken() { // the first answer proves it
		return nil
	}
	return r.prove(ctx, t, l)
}

// seals reports whether messages are sealed with the key of a sign-in.
func (c *Config) seals() bool {
	return (c.Auth == AuthNTLM || c.Auth == AuthKerberos) && c.Scheme == "http"
}

// prove asks for the machine's name card, sealed. Success alone is worth nothing, anybody can answer so; who seals an answer has the key,
// which is made of the password and which a domain controller hands to machines of the domain, after it took the sign-in. The shell that
// follows proves it as well, but a process has to start for that, and whoever waits for the verdict would wait for it. Where nobody does
// (route.Trial.Taken) the shell is the proof.
func (r *Route) prove(ctx context.Context, t route.Target, l *link) error {
	s := &session{route: r, target: t, link: l}
	a, err := s.send(ctx, opAuthenticate, identifyTemplate())
	if err != nil {
		return err
	}
	defer a.release()
	if a.status == http.StatusUnauthorized {
		return forgotten(t, opAuthenticate, a)
	}
	_, err = s.message(opAuthenticate, a)
	return err
}

func (r *Route) noChallenge(t route.Target, a *answer) error {
	if a.status != http.StatusUnauthorized {
		if a.status == http.StatusOK {
			return &route.Error{Class: route.Refused, Op: opAuthenticate, Target: t.Name, Status: a.status,
				Err: errors.New("the machine asks for no credentials; that is not WinRM")}
		}
		return statusError(t.Name, opAuthenticate, a)
	}
	return notOffered(t, opAuthenticate, a, "NTLM")
}

// notOffered is a 401 of a machine that did not look at what it was sent, because it does not take that way of signing in.
func notOffered(t route.Target, op string, a *answer, scheme string) error {
	text, offered := "the machine does not take "+scheme+"; it offers nothing", schemes(a.challenges)
	switch {
	case scheme == "NTLM" && (hasFold(offered, "Negotiate") || hasFold(offered, "NTLM")):
		text = "the machine offers " + strings.Join(offered, ", ") + ", but does not go on with NTLM: a policy there may restrict it to Kerberos"
	case len(offered) > 0:
		text = "the machine does not take " + scheme + "; it offers " + strings.Join(offered, ", ")
	}
	return &route.Error{Class: route.Refused, Op: op, Target: t.Name, Status: a.status,
		Err: hint.Wrap(errors.New(text), "choose another authentication for this machine, or allow "+scheme+" in its WinRM service settings and NTLM policy")}
}

func negotiateHeader(message []byte) string {
	return "Negotiate " + base64.StdEncoding.EncodeToString(message)
}
