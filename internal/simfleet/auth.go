package simfleet

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
	"github.com/fleetmend/fleetmend/internal/simfleet/spnego"
)

// verdict is what authentication says of one request.
type verdict struct {
	ok        bool
	challenge string // the WWW-Authenticate value of a 401 in the middle of a handshake
	final     string // the WWW-Authenticate value that goes with the reply
	cut       bool   // the line is cut in place of an answer
}

const mutualTLS = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"

// authenticate looks at a request's Authorization header and at what the connection already is.
func (h *host) authenticate(l *link, header string) verdict {
	scheme, value, _ := strings.Cut(header, " ")
	switch {
	case header == "":
		return verdict{ok: l.logon.user != ""}
	case strings.EqualFold(scheme, "Basic"):
		return h.basic(l, value)
	case strings.EqualFold(scheme, "Negotiate"):
		return h.negotiate(l, value)
	case header == mutualTLS && l.secure != nil:
		return h.certificate(l)
	}
	return verdict{}
}

// basicAllowed: as on Windows, Basic over plain HTTP needs AllowUnencrypted as well.
func (h *host) basicAllowed(l *link) bool {
	o := &h.fleet.options
	return o.AllowBasic && (l.secure != nil || o.AllowUnencrypted)
}

func (h *host) basic(l *link, value string) verdict {
	if !h.basicAllowed(l) {
		return verdict{}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return verdict{}
	}
	domain := ""
	if d, name, ok := strings.Cut(user, `\`); ok {
		user, domain = name, d
	}
	a := h.meant(user, domain)
	good := a != nil && a.right(password)
	// Basic logs on with every request; one connection counts once, as it does in an administrator's eyes.
	if !good || l.logon.user == "" {
		if v, ends := h.judged(a, good); ends {
			l.logon = logon{}
			return v
		}
	}
	l.logon.user = a.full()
	return verdict{ok: true}
}

func (h *host) certificate(l *link) verdict {
	state := l.secure.ConnectionState()
	good := len(state.PeerCertificates) > 0 && h.fleet.authority.isClient(state.PeerCertificates[0])
	if l.logon.user == "" && good {
		h.count(&h.logons)
		h.account.record(true)
	} else if !good {
		h.count(&h.failedLogons)
	}
	if good {
		l.logon.user = h.account.full()
	}
	return verdict{ok: good}
}

// negotiate takes one step of NTLM, bare or inside SPNEGO.
func (h *host) negotiate(l *link, value string) verdict {
	token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil || len(token) == 0 {
		return verdict{}
	}
	if ntlm.IsMessage(token) {
		l.logon.spnego = false
		return h.ntlm(l, token, nil)
	}
	wrapped, err := spnego.Parse(token)
	if err != nil {
		return verdict{}
	}
	if wrapped.Init {
		l.logon = logon{spnego: true, mechanisms: wrapped.MechanismsDER}
		return h.negotiateInit(l, wrapped)
	}
	if !l.logon.spnego {
		return verdict{}
	}
	return h.ntlm(l, wrapped.Inner, wrapped.MIC)
}

// negotiateInit answers the first SPNEGO token: NTLM's own first message may come with it or is asked for.
func (h *host) negotiateInit(l *link, token spnego.Token) verdict {
	for i, oid := range token.Mechanisms {
		if !oid.Equal(spnego.OIDNTLM) {
			continue
		}
		if i == 0 && ntlm.IsMessage(token.Inner) {
			return h.ntlm(l, token.Inner, nil)
		}
		return verdict{challenge: encode(spnego.Reply{State: spnego.RequestMIC, Mechanism: spnego.OIDNTLM}.Marshal())}
	}
	return verdict{challenge: encode(spnego.Reply{State: spnego.Reject}.Marshal())}
}

func encode(token []byte) string { return "Negotiate " + base64.StdEncoding.EncodeToString(token) }

func (h *host) ntlm(l *link, message, mic []byte) verdict {
	switch ntlm.Type(message) {
	case 1:
		l.logon.user, l.logon.session = "", nil
		l.logon.acceptor = ntlm.NewAcceptor(h.names(), rand.Reader, time.Now)
		challenge, err := l.logon.acceptor.Challenge(message)
		if err != nil {
			return verdict{}
		}
		if l.logon.spnego {
			challenge = spnego.Reply{State: spnego.AcceptIncomplete, Mechanism: spnego.OIDNTLM, Inner: challenge}.Marshal()
		}
		return verdict{challenge: encode(challenge)}
	case 3:
		return h.ntlmLogon(l, message, mic)
	}
	return verdict{}
}

func (h *host) ntlmLogon(l *link, message, mic []byte) verdict {
	acceptor := l.logon.acceptor
	if acceptor == nil {
		return verdict{}
	}
	session, user, domain, err := acceptor.Authenticate(message, h.lookup, h.binding(l))
	mechanisms, wrapped := l.logon.mechanisms, l.logon.spnego
	l.logon = logon{}
	var final []byte
	if err == nil && wrapped {
		final, err = finish(session, mechanisms, mic)
	}
	account := h.meant(user, domain)
	if err != nil && !errors.Is(err, ntlm.ErrLogon) {
		account = nil // only a wrong password counts against the account; a missing binding or a bad form does not
	}
	if v, ends := h.judged(account, err == nil); ends {
		return v
	}
	l.logon.session = session
	if account != nil {
		l.logon.user = account.full()
	} else {
		l.logon.user = h.info.Name + `\` + localAdministrator
	}
	v := verdict{ok: true}
	if final != nil {
		v.final = encode(final)
	}
	return v
}

// lookup gives NTLM the hash of the fleet's account, or of the local administrator: .\Administrator, NAME\Administrator.
func (h *host) lookup(user, domain string) ([16]byte, bool) {
	local := domain == "" || domain == "." || strings.EqualFold(domain, h.info.Name)
	if local && strings.EqualFold(user, localAdministrator) && !h.identity.local.IsZero() {
		return ntlm.Hash(h.identity.local.Reveal()), true
	}
	if account := h.meant(user, domain); account != nil {
		return account.lookup()
	}
	return [16]byte{}, false
}

// finish ends SPNEGO: the client's mechListMIC is verified and answered with ours, after which both key streams restart.
func finish(session *ntlm.Session, mechanisms, mic []byte) ([]byte, error) {
	done := spnego.Reply{State: spnego.AcceptCompleted}
	if mic != nil {
		if err := session.Verify(mechanisms, mic); err != nil {
			return nil, err
		}
		session.ResetIn()
		done.MIC = session.Sign(mechanisms)
		session.ResetOut()
	}
	return done.Marshal(), nil
}

func (h *host) binding(l *link) ntlm.Binding {
	if l.secure == nil {
		return ntlm.Binding{}
	}
	leaf := h.fleet.authority.leaf(h.info.FQDN)
	sum := sha256.Sum256(leaf.Certificate[0])
	return ntlm.Binding{Level: h.fleet.options.CBT, Token: ntlm.EndPointToken(sum[:])}
}

func (h *host) names() ntlm.Names {
	return ntlm.Names{Computer: h.info.Name, Domain: h.account.domain, DNSComputer: h.info.FQDN, DNSDomain: h.account.dnsDomain}
}

// judged counts a sign-in on this machine and at the account, nil for a local one, and says how it ends where it does not
// go on: refused, or the line cut. A machine that has lost its domain's trust asks no controller, so nothing counts there.
func (h *host) judged(a *account, good bool) (v verdict, ends bool) {
	switch {
	case a == nil:
	case h.info.Kind == Rejecting:
		a.turnedAway()
		good = false
	default:
		a.record(good)
		if h.info.Kind == CutLogon {
			a.leftUnanswered(!good)
			v.cut = true
		}
	}
	if good {
		h.count(&h.logons)
	} else {
		h.count(&h.failedLogons)
	}
	return v, !good || v.cut
}

// offers sets what a 401 offers to a client that has not begun.
func (h *host) offers(l *link, header http.Header) {
	header.Add("WWW-Authenticate", "Negotiate")
	if h.basicAllowed(l) {
		header.Add("WWW-Authenticate", `Basic realm="WSMAN"`)
	}
}
