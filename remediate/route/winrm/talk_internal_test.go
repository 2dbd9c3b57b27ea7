package winrm

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func shellMade(id string) saying {
	return saying{200, "", answered(actionCreate+"Response", "<r:ShellId>"+id+"</r:ShellId>"), 0}
}

func commandBegun(id string) saying {
	return saying{200, "", answered(actionCommand+"Response", "<r:CommandId>"+id+"</r:CommandId>"), 0}
}

func inputTaken() saying { return saying{200, "", answered(actionSend+"Response", ""), 0} }

func sessionOn(conn net.Conn) *session {
	l := newLink(conn, time.Hour)
	l.url = "http://ws1/wsman"
	r := &Route{large: make(chan struct{}, largeOutputs), operationTimeout: "PT20S", config: Config{CleanupTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)}}
	return &session{route: r, target: route.Target{Name: "WS1"}, link: l, out: output{limit: 1 << 20}}
}

// What may answer a request, and what it means where something else does.
func TestHowAShellBegins(t *testing.T) {
	other := func(a saying) saying { a.body = strings.ReplaceAll(a.body, "@ID@", "uuid:0"); return a }
	as := func(status int, a saying) saying { a.status = status; return a }
	faulty := saying{500, "", answered("fault", `<s:Fault/><f:WSManFault Code="5"/>`), 0}
	given := func(b []byte) ([]byte, error) { return append(b, "in"...), nil }
	for name, c := range map[string]struct {
		answers []saying
		write   input
		class   route.Class
		op      string
		want    string
	}{
		"as it should":                    {[]saying{shellMade("S"), commandBegun("C"), inputTaken()}, given, "", "", ""},
		"no shell":                        {[]saying{shellMade("")}, given, route.Refused, opCreate, "the answer names no shell"},
		"no command":                      {[]saying{shellMade("S"), commandBegun("")}, given, route.Unknown, opCommand, "the answer names no command"},
		"no input":                        {[]saying{shellMade("S"), commandBegun("C")}, func(b []byte) ([]byte, error) { return b, errors.New("too long") }, route.Refused, opCommand, "too long"},
		"another answer":                  {[]saying{commandBegun("C")}, given, route.Refused, opCreate, "an unexpected answer"},
		"another answer to a command":     {[]saying{shellMade("S"), shellMade("S")}, given, route.Unknown, opCommand, "an unexpected answer"},
		"another status":                  {[]saying{as(500, shellMade("S"))}, given, route.Refused, opCreate, "an unexpected answer"},
		"to another request":              {[]saying{other(shellMade("S"))}, given, route.Refused, opCreate, `the answer belongs to another request ("uuid:0")`},
		"to no request":                   {[]saying{{200, "", strings.ReplaceAll(shellMade("S").body, "@ID@", ""), 0}}, given, route.Refused, opCreate, `the answer belongs to another request ("")`},
		"a fault":                         {[]saying{faulty}, given, route.Denied, opCreate, "access denied (fault 5)"},
		"a fault that relates to none":    {[]saying{{500, "", strings.ReplaceAll(faulty.body, "@ID@", ""), 0}}, given, route.Denied, opCreate, "access denied (fault 5)"},
		"a fault that relates to another": {[]saying{other(faulty)}, given, route.Refused, opCreate, `belongs to another request`},
		"input that is not taken":         {[]saying{shellMade("S"), commandBegun("C"), as(500, inputTaken())}, given, route.Unknown, opSend, "an unexpected answer"},
		"cut":                             {[]saying{{200, "", "<s:Envelope", 0}}, given, route.Refused, opCreate, errNotSOAP.Error()},
		"nothing":                         {nil, given, route.Unreachable, opCreate, "reset"},
		"nothing to a command":            {[]saying{shellMade("S")}, given, route.Unknown, opCommand, "reset"},
	} {
		conn := &scripted{answers: c.answers}
		s := sessionOn(conn)
		err := s.start(t.Context(), "x", c.write)
		e, _ := errors.AsType[*route.Error](err)
		if (err == nil) != (c.class == "") || err != nil && (e == nil || e.Class != c.class || e.Op != c.op || e.Target != "WS1" || !strings.Contains(e.Err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want == errNotSOAP.Error() && len(hint.Of(err)) != 1 {
			t.Errorf("%s: %q", name, hint.Of(err))
		}
		if err == nil && (s.values.shellID != "S" || s.values.commandID != "C" || s.values.stdin != nil) {
			t.Errorf("%+v", s.values)
		}
	}
}

// Input goes in pieces of which each fits into an envelope, and only the last says that it is the last.
func TestInputInPieces(t *testing.T) {
	pieces := regexp.MustCompile(`<rsp:Stream Name="stdin" CommandId="C"( End="true")?>([^<]*)<`)
	for size, want := range map[int][]int{0: nil, 1: {1}, 102400: {102400}, 102401: {102400, 1}, 204800: {102400, 102400}} {
		conn := &scripted{answers: []saying{shellMade("S"), commandBegun("C"), inputTaken(), inputTaken()}}
		if err := sessionOn(conn).start(t.Context(), "x", func(b []byte) ([]byte, error) { return append(b, make([]byte, size)...), nil }); err != nil {
			t.Errorf("%d: %v", size, err)
		}
		var got []int
		for i, request := range conn.asked[2:] {
			m := pieces.FindStringSubmatch(request)
			raw, err := base64.StdEncoding.DecodeString(m[2])
			if got = append(got, len(raw)); err != nil || (m[1] != "") != (i == len(want)-1) || len(request) > envelopeSize {
				t.Errorf("%d: piece %d: %v, end %q, %d bytes", size, i, err, m[1], len(request))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d: pieces of %d", size, got)
		}
	}
}

// How the reading of a command ends without its end.
func TestHowOutputEnds(t *testing.T) {
	nothing := saying{500, "", answered("fault", `<s:Fault/><f:WSManFault Code="2150858793"/>`), 0}
	why := errors.New("second Ctrl-C")
	synctest.Test(t, func(t *testing.T) {
		s := sessionOn(&scripted{answers: []saying{{200, "", brought(3, `<r:CommandState State="`+stateDone+`"/>`), 0}}})
		e, _ := errors.AsType[*route.Error](s.receive(t.Context()))
		if e == nil || e.Class != route.Unknown || e.Err.Error() != "the command ended without an exit code" || s.out.Done {
			t.Errorf("%v %+v", e, s.out.Output)
		}
		for name, first := range map[string]saying{"a pause": nothing, "a wait for a place": {200, "", brought(300<<10, ""), 0}} {
			s := sessionOn(&scripted{answers: []saying{nothing, first, nothing, nothing, nothing, nothing, nothing, nothing}})
			for range largeOutputs {
				s.route.large <- struct{}{}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
			begun := time.Now()
			e, _ := errors.AsType[*route.Error](s.receive(ctx))
			if e == nil || e.Class != route.Unknown || e.Op != opReceive || !errors.Is(e, why) || time.Since(begun) != 50*time.Millisecond {
				t.Errorf("%s: %v after %v", name, e, time.Since(begun))
			}
		}
		s = sessionOn(&scripted{answers: []saying{{200, "", brought(11, ""), 0}}})
		s.out.limit = 10
		if e, _ := errors.AsType[*route.Error](s.receive(t.Context())); e == nil || !errors.Is(e, errTooMuch) || e.Class != route.Overflow || len(s.out.Stdout) != 10 || len(hint.Of(e)) != 1 {
			t.Errorf("%v", e)
		}
	})
}

// A shell is deleted over its connection, over a second one where the first is of no use, and not where the machine went away; that takes
// as long as it may and no longer.
func TestHowAShellIsDeleted(t *testing.T) {
	deleted := saying{200, "", answered(actionDelete+"Response", ""), 0}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		shell   string
		pending bool
		answers []saying
		second  []saying
		dial    error
		first   int
		then    int
		logged  string
	}{
		"no shell":              {t.Context(), "", false, nil, nil, nil, 0, 0, ""},
		"as it should":          {t.Context(), "S", false, []saying{deleted}, nil, nil, 1, 0, ""},
		"the machine went away": {t.Context(), "S", true, nil, nil, nil, 0, 0, ""},
		"after the end":         {over, "S", false, []saying{deleted}, nil, nil, 1, 0, ""},
		"amid a request":        {over, "S", true, nil, []saying{deleted}, nil, 0, 1, ""},
		"no second connection":  {over, "S", true, nil, nil, errors.New("no route to host"), 0, 0, "no route to host"},
		"it refuses":            {t.Context(), "S", false, []saying{{500, "", "", 0}}, nil, nil, 1, 0, "HTTP status 500"},
		"late":                  {t.Context(), "S", false, []saying{{200, "", answered(actionDelete+"Response", ""), 4 * time.Second}}, nil, nil, 1, 0, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			first, second := &scripted{answers: c.answers}, &scripted{answers: c.second}
			s := sessionOn(first)
			s.route.config.Auth, s.route.config.Scheme = AuthCertificate, "http"
			s.route.config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			s.route.config.Dial = func(context.Context, string, string) (net.Conn, error) { return second, c.dial }
			s.values.shellID, s.link.pending = c.shell, c.pending
			s.out.Stdout = []byte("kept")
			s.delete(c.ctx)
			s.link.stop()
			if len(first.asked) != c.first || len(second.asked) != c.then || string(s.out.Stdout) != "kept" || s.out.limit != 1<<20 {
				t.Errorf("%s: asked %d and %d times, %+v", name, len(first.asked), len(second.asked), s.out)
			}
			if (first.closed == 1) != (c.ctx.Err() != nil && c.pending) {
				t.Errorf("%s: the first connection was closed %d times", name, first.closed)
			}
			if !strings.Contains(log.String(), c.logged) || c.logged == "" && log.Len() > 0 || c.logged != "" && !strings.Contains(log.String(), "machine=WS1") {
				t.Errorf("%s: %s", name, &log)
			}
		})
	}
	// A machine that never answers is let go after the clean-up time.
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() { _, _ = far.Read(make([]byte, 64<<10)) }()
		s := sessionOn(near)
		s.values.shellID = "S"
		begun := time.Now()
		s.delete(t.Context())
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
		s.link.close()
	})
}

// What stands on the way to a sign-in, and that nothing secret is sent then.
func TestBeforeASignIn(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(challenge(flagsWanted, 2, 4, "F\x00L\x00", 7, 8, "12345678", 0, 0, ""))
	weak := base64.StdEncoding.EncodeToString(challenge(flagsWanted&^flagSeal, 7, 8, "12345678", 0, 0, ""))
	asks := func(token string) saying { return saying{401, "WWW-Authenticate: Negotiate " + token + "\r\n", "", 0} }
	no := &route.BarredError{Why: "barred"}
	for name, c := range map[string]struct {
		user    string
		answers []saying
		begin   error
		class   route.Class
		want    string
		asked   int
		told    string
	}{
		"no user":            {"", nil, nil, route.Refused, "a user and a password are needed", 0, ""},
		"no answer":          {"u", nil, nil, route.Unreachable, "reset", 1, ""},
		"weak":               {"u", []saying{asks(weak)}, nil, route.Untrusted, "only weak NTLM", 1, ""},
		"no challenge":       {"u", []saying{asks("")}, nil, route.Refused, "does not go on with NTLM", 1, ""},
		"not asked":          {"u", []saying{{503, "WWW-Authenticate: Negotiate " + good + "\r\n", "", 0}}, nil, route.Busy, "HTTP 503", 1, ""},
		"barred":             {"u", []saying{asks(good)}, no, route.Stopped, "barred", 1, ""},
		"no verdict":         {"u", []saying{asks(good)}, nil, route.Unreachable, "reset", 2, ""},
		"refused":            {"u", []saying{asks(good), asks("")}, nil, route.Auth, "rejected the credentials", 2, "refused"},
		"other ways only":    {"u", []saying{asks(good), {401, "WWW-Authenticate: Kerberos\r\n", "", 0}}, nil, route.Refused, "the machine does not take NTLM; it offers Kerberos", 2, "unjudged"},
		"busy":               {"u", []saying{asks(good), {503, "", "", 0}}, nil, route.Busy, "HTTP 503", 2, "unjudged"},
		"a fault":            {"u", []saying{asks(good), {500, "", "<x/>", 0}}, nil, route.Refused, "HTTP status 500", 2, ""},
		"no proof":           {"u", []saying{asks(good), {200, "", "", 0}}, nil, route.Unreachable, "reset", 3, ""},
		"a proof not sealed": {"u", []saying{asks(good), {200, "", "", 0}, {200, "", "<x/>", 0}}, nil, route.Untrusted, errPlain.Error(), 3, ""},
		"a proof refused":    {"u", []saying{asks(good), {200, "", "", 0}, asks("")}, nil, route.Unreachable, "sign in anew", 3, ""},
	} {
		conn, trial := &scripted{answers: c.answers}, &told{no: no, wait: 7 * time.Second}
		l := newLink(conn, time.Hour)
		r := &Route{config: Config{Auth: AuthNTLM, Scheme: "http"}}
		err := r.handshake(t.Context(), route.Target{Name: "WS1"}, l, Credential{User: c.user, Password: secret.New("p")}, func(in domainNames) (route.Trial, error) {
			if in != (domainNames{netbios: "FL"}) || len(conn.asked) != 1 {
				t.Errorf("%s: begun in %v after %d requests", name, in, len(conn.asked))
			}
			if c.begin != nil {
				return nil, c.begin
			}
			return trial, nil
		})
		e, _ := errors.AsType[*route.Error](err)
		if e == nil || e.Class != c.class || e.Op != opAuthenticate || e.Target != "WS1" || !strings.Contains(e.Err.Error(), c.want) || l.settled != (c.told == "refused") {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(trial.what, " "); got != c.told || len(conn.asked) != c.asked || l.most != 0 {
			t.Errorf("%s: told %q, asked %d times, waits %v", name, got, len(conn.asked), l.most)
		}
	}
}

// Where nobody waits for the proof none is asked for: the first answer that is sealed is it.
func TestAConversationIsItsOwnProof(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(challenge(flagsWanted, 2, 4, "F\x00L\x00", 7, 8, "12345678", 0, 0, ""))
	for _, taken := range []bool{true, false} {
		conn, trial := &scripted{answers: []saying{{401, "WWW-Authenticate: Negotiate " + good + "\r\n", "", 0}, {200, "", "", 0}}}, &told{taken: taken}
		l := newLink(conn, time.Hour)
		r := &Route{config: Config{Auth: AuthNTLM, Scheme: "http"}}
		err := r.handshake(t.Context(), route.Target{Name: "WS1"}, l, Credential{User: "u", Password: secret.New("p")}, func(domainNames) (route.Trial, error) { return trial, nil })
		if (err == nil) != taken || len(conn.asked) != map[bool]int{true: 2, false: 3}[taken] || len(trial.what) > 0 || l.settled {
			t.Errorf("%v: %v after %d requests, told %q", taken, err, len(conn.asked), trial.what)
		}
		if l.close(); strings.Join(trial.what, " ") != "unanswered" {
			t.Errorf("%v: told %q", taken, trial.what)
		}
	}
}

// What a refusal means that bars nobody, and one of a certificate.
func TestRefusalsThatBarNobody(t *testing.T) {
	l := linkOn(failing{}, nil)
	l.trial = &told{}
	r := &Route{config: Config{Auth: AuthBasic}}
	e, _ := errors.AsType[*route.Error](r.refused(t.Context(), route.Target{Name: "WS1"}, l, opCreate, &answer{status: 401}))
	if e == nil || e.Class != route.Denied || e.Status != 401 || e.Op != opCreate || !strings.Contains(e.Err.Error(), "rejected the account, which other machines take") || !l.settled || len(hint.Of(e)) != 1 {
		t.Errorf("%v", e)
	}
	l.trial = &told{no: errors.New("disk full")}
	if e, _ = errors.AsType[*route.Error](r.refused(t.Context(), route.Target{Name: "WS1"}, l, opCreate, &answer{status: 401})); e == nil || e.Class != route.Stopped || !strings.Contains(e.Err.Error(), "disk full") {
		t.Errorf("%v", e)
	}
	no := &route.BarredError{Why: "barred"}
	l.trial = &told{no: no}
	err := r.refused(t.Context(), route.Target{Name: "WS1"}, l, opCreate, &answer{status: 401})
	if e, _ = errors.AsType[*route.Error](err); e == nil || e.Class != route.Auth || !errors.Is(err, no) || e.Err.Error() != "the machine rejected the credentials" || len(hint.Of(err)) != 1 {
		t.Errorf("%v", err)
	}
	r.config.Auth = AuthCertificate
	e, _ = errors.AsType[*route.Error](r.judge(t.Context(), route.Target{Name: "WS1"}, linkOn(failing{}, nil), opCreate, &answer{status: 401}))
	if e == nil || e.Class != route.Denied || e.Status != 401 || e.Op != opCreate || !strings.Contains(e.Err.Error(), "does not accept the client certificate") || len(hint.Of(e)) != 1 {
		t.Errorf("%v", e)
	}
	if err := r.Prove(t.Context(), route.Account{}); err != nil || r.Name() != "winrm" {
		t.Error(err, r.Name())
	}
	r.config.Auth = AuthNTLM
	if err := r.Prove(t.Context(), route.Account{}); !errors.Is(err, route.ErrNoProof) {
		t.Error(err)
	}
}

// Who answers a stranger, and how often it is asked.
func TestWhoAnswersAStranger(t *testing.T) {
	const known = `<s:Envelope xmlns:s="` + nsSOAP + `" xmlns:i="` + nsIdent + `"><s:Body><i:ProductVendor>V</i:ProductVendor></s:Body></s:Envelope>`
	schemes := saying{401, "WWW-Authenticate: Negotiate\r\n", "", 0}
	for name, c := range map[string]struct {
		answers []saying
		alive   bool
		class   route.Class
		vendor  string
		auth    []string
		asked   int
	}{
		"a machine":              {[]saying{{200, "", known, 0}, schemes}, false, "", "V", []string{"Negotiate"}, 2},
		"one that is asked less": {[]saying{{200, "", known, 0}, schemes}, true, "", "V", nil, 1},
		"one that hides":         {[]saying{schemes, schemes}, false, "", "", []string{"Negotiate"}, 1},
		"one that closes":        {[]saying{{200, "Connection: close\r\n", known, 0}, schemes}, false, "", "V", nil, 1},
		"one that says no more":  {[]saying{{200, "", known, 0}}, false, "", "V", nil, 2},
		"another service":        {[]saying{{200, "", answered("x", ""), 0}, schemes}, false, route.Refused, "", nil, 1},
		"no service":             {nil, false, route.Unreachable, "", nil, 1},
	} {
		conn := &scripted{answers: c.answers}
		config := Config{Scheme: "http", Dial: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
		config.applyDefaults()
		got, err := config.identify(t.Context(), route.Target{Name: "WS1"}, !c.alive)
		if c.alive { // once more, refused, and once more without an answer
			r := &Route{config: config}
			if refused, silent := r.Alive(t.Context(), route.Target{Name: "WS1"}), r.Alive(t.Context(), route.Target{Name: "WS1"}); refused != nil || silent == nil {
				t.Errorf("%s: %v, %v", name, refused, silent)
			}
			c.asked += 2
		}
		e, _ := errors.AsType[*route.Error](err)
		if (err == nil) != (c.class == "") || err != nil && (e == nil || e.Class != c.class || e.Op != opIdentify) || got.Vendor != c.vendor || !slices.Equal(got.Auth, c.auth) || len(conn.asked) != c.asked {
			t.Errorf("%s: %+v %v, asked %d times", name, got, err, len(conn.asked))
		}
		if !strings.Contains(conn.asked[0], "\r\nWSMANIDENTIFY: unauthenticated\r\n") || conn.closed < 1 {
			t.Errorf("%s: asked %q, closed %d times", name, conn.asked[0], conn.closed)
		}
	}
	for name, config := range map[string]IdentifyConfig{"scheme": {Scheme: "ftp"}, "port": {Port: -1}, "path": {Path: "x"}} {
		_, err := Identify(t.Context(), config, "ws1")
		if e, _ := errors.AsType[*route.Error](err); e == nil || e.Class != route.Refused || e.Op != opIdentify || e.Target != "ws1" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A certificate that is refused for another reason has its own words.
func TestACertificateForNothing(t *testing.T) {
	err := untrusted([]*x509.Certificate{{}}, x509.CertificateInvalidError{Reason: x509.TooManyIntermediates})
	if !errors.Is(err, errUntrusted) || !strings.Contains(err.Error(), "too many intermediates") || !strings.Contains(strings.Join(hint.Of(err), ""), "the CA that issued it") {
		t.Error(err, hint.Of(err))
	}
}
