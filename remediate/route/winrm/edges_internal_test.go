package winrm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// A sealed body is taken as MS-WSMV says and not otherwise: what is malformed is refused, never read in part.
func TestSealedBodies(t *testing.T) {
	const b = "--Encrypted Boundary"
	part := func(original, kind, signature, data string) string {
		return b + "\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n" + original + "\r\n" + b + "\r\n" + kind + "\r\n" + signature + data
	}
	const five, octets, signed = "\tOriginalContent: type=x;Length=5", "\tContent-Type: Application/Octet-Stream", "\x10\x00\x00\x000123456789abcdef"
	good := part(five, octets, signed, "HELLO")
	for name, c := range map[string]struct {
		kind, body string
		want       string
		err        error
	}{
		"one":                    {sealedType, good + b + "--", "HELLO", nil},
		"two":                    {sealedType, good + part(" originalcontent : length=3 ", octets, signed, "abc") + b + "--\r\n", "HELLO abc", nil},
		"empty":                  {sealedType, part("OriginalContent: Length=0", octets, signed, "") + b + "--", "", nil},
		"its protocol in lower":  {`multipart/encrypted;protocol="application/http-spnego-session-encrypted";boundary="Encrypted Boundary"`, good + b + "--", "HELLO", nil},
		"another protocol":       {`multipart/encrypted;protocol="x";boundary="Encrypted Boundary"`, good + b + "--", "", errPlain},
		"another kind":           {`multipart/mixed;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"`, good + b + "--", "", errPlain},
		"no kind":                {"", good, "", errPlain},
		"no boundary":            {`multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted"`, "--\r\n", "", errMultipart},
		"another boundary":       {sealedType, strings.ReplaceAll(good, "Encrypted B", "b"), "", errMultipart},
		"no end":                 {sealedType, good, "", errMultipart},
		"an end that is no end":  {sealedType, good + b + "-x", "", errMultipart},
		"no length":              {sealedType, part("\tOriginalContent: type=x", octets, signed, "HELLO") + b + "--", "", errMultipart},
		"a negative length":      {sealedType, part("OriginalContent: Length=-1", octets, signed, "") + b + "--", "", errMultipart},
		"a length that is none":  {sealedType, part("OriginalContent: Length=5x", octets, signed, "HELLO") + b + "--", "", errMultipart},
		"a length too long":      {sealedType, part("OriginalContent: Length=6", octets, signed, "HELLO"), "", errMultipart},
		"a length too short":     {sealedType, part("OriginalContent: Length=4", octets, signed, "HELLO") + b + "--", "", errMultipart},
		"another part":           {sealedType, part(five, "Content-Type: text/plain", signed, "HELLO") + b + "--", "", errMultipart},
		"a longer signature":     {sealedType, part(five, octets, "\x11\x00\x00\x000123456789abcdef", "HELLO") + b + "--", "", errMultipart},
		"an endless signature":   {sealedType, part(five, octets, "\x01\x01\x00\x00"+strings.Repeat("x", 257), "HELLO") + b + "--", "", errMultipart},
		"no bytes of it":         {sealedType, part(five, octets, "\x48\x00\x00\x00", "HELLO") + b + "--", "", errMultipart},
		"no signature":           {sealedType, part(five, octets, "\x10\x00\x00", ""), "", errMultipart},
		"a header without colon": {sealedType, part("OriginalContent", octets, signed, "HELLO") + b + "--", "", errMultipart},
		"seven headers before":   {sealedType, part(strings.Repeat("X: y\r\n", 6)+five, octets, signed, "HELLO") + b + "--", "HELLO", nil},
		"eight headers before":   {sealedType, part(strings.Repeat("X: y\r\n", 7)+five, octets, signed, "HELLO") + b + "--", "", errMultipart},
		"a name of 40":           {sealedType, part(strings.Repeat("x", 40)+": y\r\n"+five, octets, signed, "HELLO") + b + "--", "HELLO", nil},
		"a name of 41":           {sealedType, part(strings.Repeat("x", 41)+": y\r\n"+five, octets, signed, "HELLO") + b + "--", "", errMultipart},
		"a line of 512":          {sealedType, part("X: "+strings.Repeat("y", 507)+"\r\n"+five, octets, signed, "HELLO") + b + "--", "HELLO", nil},
		"a line of 513":          {sealedType, part("X: "+strings.Repeat("y", 508)+"\r\n"+five, octets, signed, "HELLO") + b + "--", "", errMultipart},
	} {
		parts, err := parseSealed(c.kind, []byte(c.body))
		var data []string
		for _, p := range parts {
			if data = append(data, string(p.data)); string(p.signature) != "0123456789abcdef" || cap(p.data) != len(p.data) || cap(p.signature) != signatureSize {
				t.Errorf("%s: %q", name, p)
			}
		}
		if got := strings.Join(data, " "); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || got != c.want {
			t.Errorf("%s: %q %v, want %q %v", name, got, err, c.want, c.err)
		}
	}
}

// canned is a connection from which so many bytes come, and then its end.
type canned struct {
	failing
	in *strings.Reader
}

func (c canned) Read(b []byte) (int, error) { return c.in.Read(b) }

// What comes in place of an answer: TLS, something else, four provisional answers before the real one, or nothing.
func TestWhatIsAnAnswer(t *testing.T) {
	const again, answer = "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi"
	for raw, want := range map[string]error{
		"\x15\x03\x03": errTLSPort, "\x16\x03\x03": errTLSPort, "\x14\x03\x03\r\n\r\n": errNotHTTP, "\x17HTTP\r\n\r\n": errNotHTTP, "HTTP/1.1 200": errClosed, "": errClosed,
		answer: nil, again + answer: nil, strings.Repeat(again, 4) + answer: nil, strings.Repeat(again, 5) + answer: errNotHTTP, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi": errClosed,
		"HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n": errTooLarge, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi": nil, "HELLO\r\n\r\n": errNotHTTP, "HTTP/1.1 x\r\nH": errNotHTTP, "HTTP/1.1 x\r\n": errClosed,
	} {
		l := newLink(canned{in: strings.NewReader(raw)}, time.Second)
		a, err := l.read()
		if !errors.Is(err, want) || (err == nil) != (want == nil) || err == nil && (a.status != 200 || string(a.body) != "hi") {
			t.Errorf("%.60q: %+v %v, want %v", raw, a, err, want)
		}
		if err == nil {
			if l.closing != strings.Contains(raw, "close") {
				t.Errorf("%.60q: closing %v", raw, l.closing)
			}
			a.release()
		}
	}
	l := newLink(canned{in: strings.NewReader("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")}, time.Second)
	if a, err := l.read(); err != nil || a.status != 204 || a.body != nil || l.closing {
		t.Errorf("%+v %v", a, err)
	}
}

func TestSchemesAndTokens(t *testing.T) {
	challenges := []string{"Negotiate, Kerberos", `Basic realm="a, b", charset="UTF-8"`, "NEGOTIATE", "", strings.Repeat("x", 41)}
	if got := schemes(challenges); !slices.Equal(got, []string{"Negotiate", "Kerberos", "Basic", strings.Repeat("x", 40) + "..."}) {
		t.Errorf("%q", got)
	}
	for challenge, want := range map[string]string{"Negotiate aGk=": "hi", "Negotiate eA==": "x", "Kerberos eA==, negotiate  aGk= ": "hi", "Negotiate": "", "Negotiate %%%": "", "Basic aGk=": "", "Negotiate ": ""} {
		if got := string(negotiateToken([]string{challenge})); got != want {
			t.Errorf("%q: %q, want %q", challenge, got, want)
		}
	}
	for text, want := range map[string]string{"abcd": "abcd", "abcde": "abcd...", "abc\u00e4e": "abc...", "abc\u00e5e": "abc...", "ab\u00e4e": "ab\u00e4...", "\u00e4\u00e4\u00e4": "\u00e4\u00e4..."} {
		if got := clip(text, 4); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := clip("\x80\x80\x80", 1); got != "..." {
		t.Errorf("%q", got)
	}
	if got := (Credential{User: "u", Domain: "D"}).account() + " " + (Credential{User: "u@d"}).account(); got != `D\u u@d` {
		t.Error(got)
	}
	seen := map[string]bool{}
	for range 50 { // version 4 (RFC 9562)
		id := newMessageID()
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		if seen[id] = true; !regexp.MustCompile(`^uuid:[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`).MatchString(id) {
			t.Fatal(id)
		}
	}
}

// certified is a certificate of names, by an issuer or by itself, good for some time.
func certified(t *testing.T, subject string, until time.Time, by *x509.Certificate, key, of *ecdsa.PrivateKey, names ...string) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until, DNSNames: names,
		BasicConstraintsValid: true, IsCA: len(names) == 0, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	if by == nil {
		by, of = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, of)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return c
}

// Why a machine's certificate is not trusted, and what to do about each reason.
func TestWhyACertificateIsNotTrusted(t *testing.T) {
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	root, middle, own := newKey(), newKey(), newKey()
	soon, past := time.Now().Add(24*time.Hour), time.Now().Add(-time.Hour)
	ca := certified(t, "Corp CA", soon, nil, root, nil)
	between := certified(t, "Corp Issuing", soon, ca, middle, root)
	leaf := certified(t, "WS1", soon, between, own, middle, "ws1", "ws1.corp.example")
	pool := func(all ...*x509.Certificate) *x509.CertPool {
		p := x509.NewCertPool()
		for _, c := range all {
			p.AddCert(c)
		}
		return p
	}
	alone := certified(t, "WS2", soon, nil, own, nil, "ws2")
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		names []string
		roots *x509.CertPool
		want  string
		hint  string
	}{
		"good":                       {[]*x509.Certificate{leaf, between}, []string{"ws1"}, pool(ca), "", ""},
		"by its second name":         {[]*x509.Certificate{leaf, between}, []string{"10.1.2.3", "ws1.corp.example"}, pool(ca), "", ""},
		"another name":               {[]*x509.Certificate{leaf, between}, []string{"ws9", "10.1.2.3"}, pool(ca), "it is for ws1, ws1.corp.example, not for ws9 or 10.1.2.3", "bring the name that it has into the inventory"},
		"the one between is missing": {[]*x509.Certificate{leaf}, []string{"ws1"}, pool(ca), `its issuer "CN=Corp Issuing" is not among the trusted CAs`, "certificate of that CA"},
		"the CA is not trusted":      {[]*x509.Certificate{leaf, between}, []string{"ws1"}, pool(), `its issuer "CN=Corp CA" is not among the trusted CAs`, "certificate of that CA"},
		"a CA of itself, shown":      {[]*x509.Certificate{leaf, between, ca}, []string{"ws1"}, pool(), `its issuer "CN=Corp CA" is not among the trusted CAs`, "certificate of that CA"},
		"by itself":                  {[]*x509.Certificate{alone}, []string{"ws2"}, pool(ca), "it signed itself (CN=WS2)", "add this certificate"},
		"by itself, trusted":         {[]*x509.Certificate{alone}, []string{"ws2"}, pool(alone), "", ""},
		"over":                       {[]*x509.Certificate{certified(t, "WS3", past, ca, own, root, "ws3")}, []string{"ws3"}, pool(ca), "expired", "the clock of this computer"},
		"none":                       {nil, []string{"ws1"}, pool(ca), "it showed none", ""},
	} {
		err := verify(c.chain, c.names, c.roots)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, errUntrusted) || !strings.Contains(fmt.Sprint(err), c.want) || !strings.Contains(strings.Join(hint.Of(err), ""), c.hint) || c.hint == "" && len(hint.Of(err)) > 0 {
			t.Errorf("%s: %v %q, want %q %q", name, err, hint.Of(err), c.want, c.hint)
		}
	}
	if got := sniName([]string{"10.1.2.3"}); got != "10.1.2.3" {
		t.Error(got)
	}
	nameless := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 1, 2, 3)}}
	if got := name(nameless) + " " + certificateNames(&x509.Certificate{Subject: pkix.Name{CommonName: "X"}}); got != `10.1.2.3 no name (subject "CN=X")` {
		t.Error(got)
	}
	c := &Config{Auth: AuthCertificate, Certificate: &tls.Certificate{Certificate: [][]byte{{1}}}}
	if got := c.tlsConfig([]string{"10.1.2.3", "ws1"}); got.MinVersion != tls.VersionTLS12 || got.MaxVersion != tls.VersionTLS12 || got.Renegotiation != tls.RenegotiateOnceAsClient || len(got.Certificates) != 1 ||
		got.ServerName != "ws1" || !got.InsecureSkipVerify || got.VerifyConnection(tls.ConnectionState{}) == nil {
		t.Errorf("%+v", got)
	}
	if got := (&Config{}).tlsConfig([]string{"ws1"}); got.MaxVersion != 0 || got.Renegotiation != tls.RenegotiateNever || len(got.Certificates) != 0 {
		t.Errorf("%+v", got)
	}
}

type slow struct{ error }

func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

// What a connection that cannot be made means, and what to do.
func TestWhyThereIsNoConnection(t *testing.T) {
	over, cancel := context.WithCancelCause(t.Context())
	why := errors.New("second Ctrl-C")
	cancel(why)
	c := &Config{ConnectTimeout: 7 * time.Second}
	ws1 := route.Target{Name: "WS1"}
	for name, row := range map[string]struct {
		ctx   context.Context
		err   error
		class route.Class
		want  string
		hint  string
	}{
		"cancelled":  {over, syscall.ECONNREFUSED, route.Stopped, "second Ctrl-C", ""},
		"no name":    {t.Context(), &net.DNSError{Err: "no such host", Name: "ws1"}, route.Unreachable, `the name "ws1" cannot be resolved: the name server failed (no such host)`, "give the machine's address in the inventory"},
		"refused":    {t.Context(), &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, route.Unreachable, "ws1:5985 refuses the connection", "Enable-PSRemoting"},
		"too late":   {t.Context(), context.DeadlineExceeded, route.Unreachable, "ws1:5985 did not answer within 7s", "a boot loop"},
		"timed out":  {t.Context(), &net.OpError{Op: "dial", Err: slow{errors.New("x")}}, route.Unreachable, "ws1:5985 did not answer within 7s", "a boot loop"},
		"unroutable": {t.Context(), syscall.EHOSTUNREACH, route.Unreachable, "no route leads to ws1:5985", ""},
	} {
		err := c.dialError(row.ctx, ws1, endpoint{hostPort: "ws1:5985"}, row.err)
		e, _ := errors.AsType[*route.Error](err)
		if e.Class != row.class || e.Op != opConnect || !strings.HasPrefix(e.Err.Error()+"|", strings.TrimSuffix(row.want+"|", ": |")) || !strings.Contains(strings.Join(hint.Of(err), ""), row.hint) || row.hint == "" && len(hint.Of(err)) > 0 ||
			row.class != route.Stopped && !errors.Is(err, row.err) {
			t.Errorf("%s: %s %v %q", name, e.Class, err, hint.Of(err))
		}
	}
	for name, row := range map[string]struct {
		ctx   context.Context
		err   error
		class route.Class
		want  string
	}{
		"cancelled":  {over, errors.New("x"), route.Stopped, "second Ctrl-C"},
		"untrusted":  {t.Context(), fmt.Errorf("%w: x", errUntrusted), route.Untrusted, "not trusted: x"},
		"no TLS":     {t.Context(), tls.RecordHeaderError{Msg: "x"}, route.Refused, "the port does not speak TLS"},
		"an alert":   {t.Context(), tls.AlertError(40), route.Refused, "the machine refuses our TLS ("},
		"a remote":   {t.Context(), errors.New("remote error: tls: handshake failure"), route.Refused, "the machine refuses our TLS ("},
		"too late":   {t.Context(), context.DeadlineExceeded, route.Unreachable, "no TLS answer within 7s"},
		"timed out":  {t.Context(), slow{errors.New("x")}, route.Unreachable, "no TLS answer within 7s"},
		"a deadline": {t.Context(), os.ErrDeadlineExceeded, route.Unreachable, "no TLS answer within 7s"},
		"cut":        {t.Context(), errors.New("EOF"), route.Unreachable, "start TLS: EOF"},
	} {
		err := c.tlsError(row.ctx, ws1, row.err)
		e, _ := errors.AsType[*route.Error](err)
		if e.Class != row.class || e.Op != opConnect || !strings.Contains(e.Err.Error(), row.want) || (row.class == route.Refused) != (len(hint.Of(err)) > 0) {
			t.Errorf("%s: %s %v %q", name, e.Class, err, hint.Of(err))
		}
	}
}

// How long a machine is asked to hold its answer: less than we listen, in whole seconds, and never a minute.
func TestHowLongAnAnswerIsHeld(t *testing.T) {
	for receive, want := range map[time.Duration]string{0: "PT20S", 30 * time.Second: "PT20S", 12 * time.Second: "PT6S", time.Second: "PT1S", 10 * time.Millisecond: "PT1S", 5 * time.Minute: "PT50S", time.Hour: "PT50S",
		61 * time.Second: "PT50S", 25500 * time.Millisecond: "PT15S"} {
		r, err := New(Config{ReceiveTimeout: receive, Credential: func(context.Context, route.Target) (Credential, error) { return Credential{}, nil }})
		if err != nil || r.operationTimeout != want {
			t.Errorf("%s: %v %v, want %s", receive, r, err, want)
		}
	}
	l := newLink(failing{}, 30*time.Second)
	if first := l.patience(); first != 10*time.Second || l.waited != first {
		t.Errorf("the first word is awaited for %s", first)
	}
	l.requests = 1
	if later := l.patience(); later != 30*time.Second {
		t.Errorf("later ones for %s", later)
	}
	l = newLink(failing{}, 3*time.Second)
	if first := l.patience(); first != 3*time.Second {
		t.Errorf("the first word is awaited for %s", first)
	}
}

// The head of a request, byte for byte.
func TestTheHeadOfARequest(t *testing.T) {
	l := linkOn(failing{}, nil)
	const head = "POST /wsman HTTP/1.1\r\nHost: h\r\nUser-Agent: fleetmend\r\nContent-Type: a/b\r\nContent-Length: 12"
	if got := string(l.appendHeader(nil, "a/b", "", 12, nil)); got != head+"\r\n\r\n" {
		t.Errorf("%q", got)
	}
	l.authorization = "Basic x"
	if got := string(l.appendHeader([]byte("_"), "a/b", "", 12, []string{"A: b", "C: d"})); got != "_"+head+"\r\nAuthorization: Basic x\r\nA: b\r\nC: d\r\n\r\n" {
		t.Errorf("%q", got)
	}
	if got := string(l.appendHeader(nil, "a/b", "Negotiate y", 12, nil)); got != head+"\r\nAuthorization: Negotiate y\r\n\r\n" {
		t.Errorf("%q", got)
	}
	l.requests, l.pending = 1, false
	if l.closing = true; l.usable() {
		t.Error("a connection that the machine closes is used again")
	}
}

// What is a connection that broke, and not something else that answers.
func TestWhatIsABrokenConnection(t *testing.T) {
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, slow{errors.New("x")}, &net.OpError{Op: "read", Err: syscall.ECONNRESET}} {
		if !isIO(fmt.Errorf("read: %w", err)) {
			t.Errorf("%v is none", err)
		}
	}
	if isIO(errors.New("malformed HTTP response")) {
		t.Error("what is no HTTP is one")
	}
	l := linkOn(failing{}, nil)
	l.waited = 7 * time.Second
	over, cancel := context.WithCancelCause(t.Context())
	why := errors.New("second Ctrl-C")
	cancel(why)
	if err := l.cause(t.Context(), slow{errors.New("x")}); err.Error() != "no answer within 7s" {
		t.Error(err)
	}
	if err := l.cause(over, io.EOF); !errors.Is(err, why) {
		t.Error(err)
	}
	if err := l.cause(t.Context(), io.EOF); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
