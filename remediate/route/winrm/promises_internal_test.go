package winrm

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crypto/tls"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// Each of these fails when the line is taken out that keeps the promise it names.

// failing is a connection on which so many bytes go out before it breaks.
type failing struct {
	net.Conn
	out int
}

func (failing) SetDeadline(time.Time) error { return nil }
func (f failing) Write([]byte) (int, error) { return f.out, errors.New("reset") }
func (f failing) Read([]byte) (int, error)  { return 0, errors.New("reset") }
func sentOf(err error) bool                 { e, ok := errors.AsType[*ioError](err); return ok && e.sent }
func linkOn(f failing, peer *tls.ConnectionState) *link {
	l := newLink(f, time.Second)
	l.peer, l.host, l.path = peer, "h", "/wsman"
	return l
}

// A request counts as not sent only where no byte of it can have reached the machine; under TLS nobody can tell.
func TestWhatMayHaveBeenSent(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		link *link
		sent bool
	}{
		"nothing went out":         {linkOn(failing{out: 0}, nil), false},
		"a byte went out":          {linkOn(failing{out: 1}, nil), true},
		"nothing, but through TLS": {linkOn(failing{out: 0}, &tls.ConnectionState{}), true},
	} {
		if err := c.link.write(ctx, contentSOAP, "", []byte("<x/>")); err == nil || sentOf(err) != c.sent {
			t.Errorf("%s: sent %v, %v", name, sentOf(err), err)
		}
		if err := c.link.write(ctx, contentSOAP, "", []byte("<x/>")); !errors.Is(err, errClosed) || sentOf(err) {
			t.Errorf("%s: a second request behind one without an answer: %v", name, err)
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := linkOn(failing{out: 1}, nil).write(over, contentSOAP, "", nil); !errors.Is(err, context.Canceled) || sentOf(err) {
		t.Errorf("cancelled before: %v", err)
	}
}

// What a failure below HTTP means, by what was being done.
func TestFailuresBelowHTTP(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	reset := errors.New("reset")
	for name, c := range map[string]struct {
		ctx   context.Context
		op    string
		err   error
		class route.Class
		hint  string
	}{
		"while a shell is made":          {nil, opCreate, &ioError{true, reset}, route.Unreachable, ""},
		"a command that was not sent":    {nil, opCommand, &ioError{false, reset}, route.Unreachable, ""},
		"a command that was sent":        {nil, opCommand, &ioError{true, reset}, route.Unknown, hintLost},
		"a command, nothing known of it": {nil, opCommand, reset, route.Unknown, hintLost},
		"input":                          {nil, opSend, &ioError{false, reset}, route.Unknown, hintLost},
		"output":                         {nil, opReceive, &ioError{false, reset}, route.Unknown, hintLost},
		"output, cancelled":              {over, opReceive, &ioError{true, reset}, route.Unknown, hintLost},
		"a shell, cancelled":             {over, opCreate, &ioError{true, reset}, route.Stopped, ""},
		"TLS where HTTP was meant":       {nil, opCreate, &ioError{true, errTLSPort}, route.Refused, hintHTTPS},
		"no HTTP":                        {nil, opCreate, &ioError{true, errNotHTTP}, route.Refused, "something other than WinRM listens on this port"},
		"too much":                       {nil, opCreate, &ioError{true, errTooLarge}, route.Refused, "something other than WinRM listens on this port"},
	} {
		if c.ctx == nil {
			c.ctx = context.Background()
		}
		e := ioFailure(c.ctx, "WS1", c.op, c.err)
		if e.Class != c.class || e.Op != c.op || strings.Join(hint.Of(e), " ") != c.hint {
			t.Errorf("%s: %s at %s, hints %q", name, e.Class, e.Op, hint.Of(e))
		}
	}
}

// A machine has taken the account when it answered as WinRM does, and not when something else answered. It has refused it when it
// takes our way of signing in at all.
func TestWhoTookTheAccount(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		auth    string
		offered []string
		want    signin.State
		class   route.Class
	}{
		{200, "", AuthNTLM, nil, signin.Accepted, ""}, {500, "<fault/>", AuthNTLM, nil, signin.Accepted, ""}, {500, "", AuthNTLM, nil, signin.Unjudged, ""},
		{503, "<html/>", AuthNTLM, nil, signin.Unjudged, ""}, {404, "<html/>", AuthNTLM, nil, signin.Unjudged, ""}, {302, "", AuthNTLM, nil, signin.Unjudged, ""},
		{401, "", AuthNTLM, nil, signin.Refused, route.Auth}, {401, "", AuthNTLM, []string{"Negotiate"}, signin.Refused, route.Auth}, {401, "", AuthNTLM, []string{"NTLM"}, signin.Refused, route.Auth},
		{401, "", AuthNTLM, []string{"Kerberos"}, signin.Unjudged, route.Refused},
		{401, "", AuthBasic, []string{"Basic realm=x"}, signin.Refused, route.Auth}, {401, "", AuthBasic, []string{"Negotiate"}, signin.Unjudged, route.Refused},
		{401, "", AuthBasic, nil, signin.Refused, route.Auth}, // nothing says that it was not judged
	} {
		book := &signin.Memory{}
		r := &Route{config: Config{Auth: c.auth, Ledger: signin.New(book, signin.Rule{})}}
		trial, err := r.config.Ledger.Try(t.Context(), route.Account{Name: "k", Home: true}, route.Target{ID: "1", Name: "WS1"}, r.ask(true))
		if err != nil {
			t.Fatal(err)
		}
		l := linkOn(failing{}, nil)
		l.trial = trial
		err = r.judge(t.Context(), route.Target{Name: "WS1"}, l, opAuthenticate, &answer{status: c.status, body: []byte(c.body), challenges: c.offered})
		if got := book.States(); len(got) != 1 || got[0] != c.want || route.ClassOf(err) != c.class {
			t.Errorf("%d %q %s %q: %v, %v", c.status, c.body, c.auth, c.offered, got, err)
		}
	}
}

// That a machine took the account is proven where messages are sealed with what came of it; else it is the machine's word.
func TestWhatItsAnswerIsWorth(t *testing.T) {
	for _, c := range []struct {
		scheme, auth string
		word         bool
	}{{"http", AuthNTLM, false}, {"https", AuthNTLM, true}, {"https", AuthBasic, true}} {
		config := Config{Scheme: c.scheme, Auth: c.auth}
		if got := config.signsIn(Credential{User: "k"}, route.Target{Name: "WS1"}, domainNames{}); got.Word != c.word || got.Name != "k" {
			t.Errorf("%s over %s: %+v", c.auth, c.scheme, got)
		}
	}
}

// However an account is spelled, it has one counter; and no other account has it.
func TestOneCounterForEachAccount(t *testing.T) {
	config, in := Config{Scheme: "http", Auth: AuthNTLM}, domainNames{"FLEET", "FLEET.TEST"}
	key := func(name string, own bool, in domainNames) string {
		user, domain, err := ParseUser(name)
		if err != nil {
			t.Fatal(err)
		}
		return config.signsIn(Credential{User: user, Domain: domain, Own: own}, route.Target{Name: "WS1"}, in).Key
	}
	for _, name := range []string{`FLEET\admin`, `fleet\ADMIN`, `admin@fleet.test`, `fleet.test\Admin`, `Admin@FLEET.TEST`} {
		for _, in := range []domainNames{in, {"BRANCH", "BRANCH.TEST"}, {}} {
			if got := key(name, false, in); got != `fleet\admin` {
				t.Errorf("%s in %v: %q", name, in, got)
			}
		}
	}
	for name, want := range map[string]string{`FLEET\other`: `fleet\other`, `BRANCH\admin`: `branch\admin`, `admin@branch.test`: `branch\admin`, `.\Admin`: "admin", "Admin": "admin"} {
		if got := key(name, false, in); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{`.\Administrator`, `FLEET\Administrator`} {
		if got := key(name, true, in); got != `ws1\administrator` {
			t.Errorf("of one machine: %s: %q", name, got)
		}
	}
}

// The target information of a challenge lies inside it, whatever its length and place claim (MS-NLMP 2.2.1.2).
func TestAChallengeEndsWithItself(t *testing.T) {
	good := challenge(flagsWanted, 7, 8, "12345678", 0, 0, "")
	for name, at := range map[string][2]int{"begins behind the end": {44, len(good) + 1}, "far behind": {44, 1 << 30}, "ends behind the end": {40, len(good) - 47}} {
		bad := slices.Clone(good)
		if at[0] == 40 {
			binary.LittleEndian.PutUint16(bad[40:], uint16(at[1]))
		} else {
			binary.LittleEndian.PutUint32(bad[44:], uint32(at[1]))
		}
		if err := checkChallenge(bad); !errors.Is(err, errChallenge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for id, right := range map[int]int{6: 4, 7: 8} { // MsvAvFlags and MsvAvTimestamp
		for size := right - 1; size <= right+1; size++ {
			if err := checkChallenge(challenge(flagsWanted, id, size, "123456789"[:size], 0, 0, "")); (err == nil) != (size == right) {
				t.Errorf("%d with %d bytes: %v", id, size, err)
			}
		}
	}
	// The flags by their bits in MS-NLMP 2.2.2.5: Unicode, sign, seal, extended security, target information, 128, key exchange.
	if flagsWanted != 0x60880031 || flagAnonymous != 0x800 {
		t.Errorf("flags %08x %08x", flagsWanted, flagAnonymous)
	}
	// What Windows 10 says of itself (MS-NLMP 2.2.2.10).
	if v := ntlmVersion; v[0] != 10 || v[1] != 0 || binary.LittleEndian.Uint16([]byte(v[2:])) != 19041 || v[7] != 15 || len(v) != 8 {
		t.Errorf("version %x", v)
	}
}

// No text of a user becomes markup.
func TestEscaped(t *testing.T) {
	for text, want := range map[string]string{
		"a b": "a b", "a&b": "a&amp;b", "<x>": "&lt;x&gt;", `"'`: "&#34;&#39;", "a\tb\r\n": "a&#x9;b&#xD;&#xA;", "\u00e4": "\u00e4", "\x01": "\ufffd", "": "",
	} {
		if got := string(appendEscaped([]byte(">"), text)); got != ">"+want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}

// The body of a sealed request, byte for byte as in MS-WSMV 2.2.9.1.1.2.2.
func TestSealedBytes(t *testing.T) {
	got := string(appendSealed(nil, 5, []byte("0123456789abcdef"), []byte("HELLO")))
	want := "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n" +
		"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=5\r\n" +
		"--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n\x10\x00\x00\x000123456789abcdefHELLO--Encrypted Boundary--\r\n"
	if got != want {
		t.Errorf("%q\nnot\n%q", got, want)
	}
}

func TestDefaults(t *testing.T) {
	plain, secure := Config{}, Config{Scheme: "https"}
	plain.applyDefaults()
	secure.applyDefaults()
	if words := []string{AuthNTLM, AuthBasic, AuthCertificate}; !slices.Equal(words, []string{"ntlm", "basic", "certificate"}) {
		t.Errorf("the settings say %q", words)
	}
	if plain.Scheme != "http" || plain.Port != 5985 || secure.Port != 5986 || plain.Path != "/wsman" || plain.Auth != AuthNTLM ||
		plain.ConnectTimeout != 10*time.Second || plain.ReceiveTimeout != 30*time.Second || plain.CleanupTimeout != 5*time.Second || plain.MaxOutput != 4194304 {
		t.Errorf("%+v", plain)
	}
	own := Config{Scheme: "https", Port: 1, Path: "/x", Auth: AuthBasic, ConnectTimeout: 1, ReceiveTimeout: 1, CleanupTimeout: 1, MaxOutput: 1, Ledger: plain.Ledger}
	own.applyDefaults()
	if own.Scheme != "https" || own.Port != 1 || own.Path != "/x" || own.Auth != AuthBasic || own.ConnectTimeout != 1 || own.ReceiveTimeout != 1 || own.CleanupTimeout != 1 || own.MaxOutput != 1 || own.Ledger != plain.Ledger {
		t.Errorf("%+v", own)
	}
}

// lazy is a connection whose past deadline takes its time to be set.
type lazy struct {
	failing
	last time.Time
}

func (l *lazy) SetDeadline(at time.Time) error {
	if at.Before(time.Now()) {
		time.Sleep(time.Second)
	}
	l.last = at
	return nil
}

// What the end of one ctx does to a connection hits nobody who uses it afterwards: else the shell of a cancelled machine stays.
func TestTheEndOfACallHitsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &lazy{failing: failing{out: 1}}
		l := linkOn(failing{}, nil)
		l.conn = conn
		ctx, cancel := context.WithCancel(t.Context())
		l.watch(ctx)
		cancel()
		synctest.Wait() // it has begun to interrupt
		l.watch(context.WithoutCancel(ctx))
		_ = l.write(t.Context(), contentSOAP, "", []byte("<x/>"))
		time.Sleep(time.Minute)
		if !conn.last.After(time.Now().Add(-time.Minute)) {
			t.Errorf("the deadline is %s", conn.last)
		}
		l.stop()
		l.stop()
	})
}

// A 401 on a connection on which the machine had let us in says nothing of the account; what runs there only its record can tell, once a
// command has begun.
func TestSignInForgottenInTheMiddle(t *testing.T) {
	for op, want := range map[string]route.Class{opCreate: route.Unreachable, opCommand: route.Unreachable, opSend: route.Unknown, opReceive: route.Unknown, opDelete: route.Unreachable} {
		book := &signin.Memory{}
		r := &Route{config: Config{Auth: AuthNTLM, Ledger: signin.New(book, signin.Rule{})}}
		trial, err := r.config.Ledger.Try(t.Context(), route.Account{Name: "k", Home: true}, route.Target{ID: "1", Name: "WS1"}, r.ask(true))
		if err != nil {
			t.Fatal(err)
		}
		l := linkOn(failing{}, nil)
		l.trial, l.signedIn = trial, true
		err = r.refused(t.Context(), route.Target{Name: "WS1"}, l, op, &answer{status: 401})
		if got := book.States(); slices.Contains(got, signin.Refused) || route.ClassOf(err) != want {
			t.Errorf("%s: %v, %v", op, got, err)
		}
	}
}

// closing is a connection that counts how often it is closed.
type closing struct {
	failing
	closed *int
}

func (c closing) Close() error {
	*c.closed++
	return nil
}

// A connection on which TLS does not begin is closed: a run knocks at thousands of machines.
func TestNoConnectionStaysOpenWithoutTLS(t *testing.T) {
	closed := 0
	c := Config{Scheme: "https", Dial: func(context.Context, string, string) (net.Conn, error) { return closing{closed: &closed}, nil }}
	c.applyDefaults()
	if _, err := c.open(t.Context(), route.Target{Name: "WS1"}); err == nil || closed != 1 {
		t.Errorf("%v, closed %d times", err, closed)
	}
}

// A domain has two names, and either is its own.
func TestTheNamesOfADomain(t *testing.T) {
	both := domainNames{netbios: "FLEET", dns: "fleet.test"}
	for name, want := range map[string]bool{"fleet": true, "Fleet.Test": true, "other": false, "": false} {
		if both.is(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if both.name() != "FLEET" || (domainNames{dns: "fleet.test"}).name() != "fleet.test" || (domainNames{}).is("") {
		t.Error(both.name(), domainNames{dns: "fleet.test"}.name())
	}
}
