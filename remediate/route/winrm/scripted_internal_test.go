package winrm

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// scripted is a connection to a machine that says its answers one after the other, each so long after it was asked.
type scripted struct {
	failing
	answers []saying
	asked   []string        // the requests
	waited  []time.Duration // from the answer before to each of them
	last    time.Time
	rest    string
	closed  int
}

// saying is one answer: an HTTP status with its header and body, in which @ID@ stands for the request's.
type saying struct {
	status int
	header string
	body   string
	after  time.Duration
}

func (s *scripted) Write(b []byte) (int, error) {
	s.asked = append(s.asked, string(b))
	s.waited = append(s.waited, time.Since(s.last))
	return len(b), nil
}

func (s *scripted) Read(b []byte) (int, error) {
	if s.rest == "" {
		if len(s.answers) == 0 {
			return 0, errors.New("reset")
		}
		a := s.answers[0]
		s.answers = s.answers[1:]
		time.Sleep(a.after)
		s.last = time.Now()
		body := strings.ReplaceAll(a.body, "@ID@", messageIDPattern.FindString(s.asked[len(s.asked)-1]))
		s.rest = fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s", a.status, contentSOAP, a.header, len(body), body)
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *scripted) Close() error { s.closed++; return nil }

func answered(action, body string) string {
	return `<s:Envelope xmlns:s="` + nsSOAP + `" xmlns:a="` + nsWSA + `" xmlns:r="` + shellURI + `" xmlns:f="` + nsFault + `"><s:Header><a:Action>` + action +
		`</a:Action><a:RelatesTo>@ID@</a:RelatesTo></s:Header><s:Body>` + body + `</s:Body></s:Envelope>`
}

func brought(bytes int, more string) string {
	if bytes > 0 {
		more = `<r:Stream Name="stdout">` + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", bytes))) + `</r:Stream>` + more
	}
	return answered(actionReceive+"Response", more)
}

// How soon a machine is asked for more: at once where it brings much or took its time, else after a pause that doubles.
func TestHowOftenAMachineIsAsked(t *testing.T) {
	const ms = time.Millisecond
	done := saying{200, "", brought(0, `<r:CommandState State="`+stateDone+`"/><r:ExitCode>0</r:ExitCode>`), 0}
	nothing := saying{500, "", answered("fault", `<s:Fault/><f:WSManFault Code="2150858793"/>`), 0}
	bytes := func(n int) saying { return saying{200, "", brought(n, ""), 0} }
	after := func(d time.Duration, a saying) saying { a.after = d; return a }
	for name, c := range map[string]struct {
		answers []saying
		pauses  []time.Duration
	}{
		"nothing, at once": {[]saying{nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing},
			[]time.Duration{10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, time.Second, time.Second}},
		"an answer without output": {[]saying{bytes(0), bytes(0), bytes(0)}, []time.Duration{10 * ms, 20 * ms, 40 * ms}},
		"a trickle": {[]saying{bytes(1), bytes(4095), bytes(1), bytes(1), bytes(1), bytes(1), bytes(1)},
			[]time.Duration{10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 250 * ms, 250 * ms}},
		"much":                     {[]saying{nothing, nothing, bytes(4096), nothing}, []time.Duration{10 * ms, 20 * ms, 0, 10 * ms}},
		"much that took long":      {[]saying{nothing, after(time.Second, bytes(4096)), nothing}, []time.Duration{10 * ms, 0, 10 * ms}},
		"nothing, held":            {[]saying{nothing, after(time.Second, nothing), nothing, after(999*ms, nothing)}, []time.Duration{10 * ms, 0, 10 * ms, 20 * ms}},
		"little, held":             {[]saying{nothing, after(250*ms, bytes(1)), nothing, after(249*ms, bytes(1))}, []time.Duration{10 * ms, 0, 10 * ms, 20 * ms}},
		"no output, half a second": {[]saying{after(500*ms, bytes(0)), after(500*ms, nothing)}, []time.Duration{10 * ms, 20 * ms}},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := &scripted{answers: append(slices.Clone(c.answers), done)}
			l := newLink(conn, time.Hour)
			s := &session{route: &Route{large: make(chan struct{}, largeOutputs)}, target: route.Target{Name: "WS1"}, link: l, out: output{limit: 1 << 20}}
			if err := s.receive(t.Context()); err != nil || !s.out.Done || !slices.Equal(conn.waited[1:], c.pauses) {
				t.Errorf("%s: %v, asked after %v, not %v", name, err, conn.waited[1:], c.pauses)
			}
		})
	}
}

// What a machine may send without a place among the six, and that only one which has a place gives it back.
func TestAPlaceForMuch(t *testing.T) {
	r := &Route{large: make(chan struct{}, 1)}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	r.large <- struct{}{}
	s := &session{route: r, out: output{Output: Output{Stdout: make([]byte, 200<<10), Stderr: make([]byte, 56<<10)}}}
	if !s.mayGrow(over) || s.large {
		t.Error("a machine with 256 KiB waited")
	}
	s.out.Stderr = append(s.out.Stderr, 'x')
	if s.mayGrow(over) || s.large {
		t.Error("one with a byte more did not")
	}
	if s.shrink(); len(r.large) != 1 {
		t.Error("a place was given back by one that had none")
	}
	<-r.large
	for range 2 {
		if !s.mayGrow(t.Context()) || !s.large || len(r.large) != 1 {
			t.Errorf("no place: %d taken", len(r.large))
		}
	}
	for range 2 {
		if s.shrink(); s.large || len(r.large) != 0 {
			t.Errorf("%d taken", len(r.large))
		}
	}
}

// told is a trial that notes what it is told.
type told struct {
	what  []string
	wait  time.Duration
	no    error
	taken bool // nobody waits for the proof
}

func (o *told) Wait() time.Duration           { return o.wait }
func (o *told) Taken() bool                   { return o.taken }
func (o *told) Accepted()                     { o.what = append(o.what, "accepted") }
func (o *told) Refused(context.Context) error { o.what = append(o.what, "refused"); return o.no }
func (o *told) Unanswered()                   { o.what = append(o.what, "unanswered") }
func (o *told) Unjudged()                     { o.what = append(o.what, "unjudged") }

// The ledger is told once what became of a secret, and of none that was not sent.
func TestTheLedgerIsToldOnce(t *testing.T) {
	no := &route.BarredError{Why: "barred"}
	for name, c := range map[string]struct {
		scheme string
		first  int
		second int
		want   string
	}{
		"accepted twice":           {"https", 200, 200, "accepted"},
		"accepted, then refused":   {"https", 200, 401, "accepted"},
		"refused":                  {"https", 401, 401, "refused"},
		"not looked at":            {"https", 503, 200, "unjudged"},
		"sealed, and nothing read": {"http", 200, 200, "unanswered"},
	} {
		l, trial := linkOn(failing{}, nil), &told{no: no}
		l.conn = &scripted{}
		l.trial = trial
		r := &Route{config: Config{Auth: AuthNTLM, Scheme: c.scheme}}
		first := r.judge(t.Context(), route.Target{Name: "WS1"}, l, opAuthenticate, &answer{status: c.first, body: []byte("x")})
		if (first == nil) != (c.first != 401) {
			t.Errorf("%s: %v", name, first)
		}
		if first == nil {
			l.signedIn = true
			if err := r.judge(t.Context(), route.Target{Name: "WS1"}, l, opCreate, &answer{status: c.second, body: []byte("x")}); (err == nil) != (c.second != 401) {
				t.Errorf("%s: %v", name, err)
			}
		}
		l.close()
		if got := strings.Join(trial.what, " "); got != c.want {
			t.Errorf("%s: told %q, not %q", name, got, c.want)
		}
	}
	l := linkOn(failing{}, nil)
	l.conn = &scripted{}
	l.close() // nothing was sent
}

// What a sign-in that was not made means for its machine.
func TestWhatABarMeans(t *testing.T) {
	over, cancel := context.WithCancelCause(t.Context())
	why := errors.New("second Ctrl-C")
	cancel(why)
	no, broken := &route.BarredError{Why: "WS0 rejected k"}, errors.New("disk full")
	later := &route.NotYetError{Why: "WS0 has to be asked first"}
	for name, c := range map[string]struct {
		ctx   context.Context
		err   error
		class route.Class
		want  error
		hints bool
	}{
		"barred":              {t.Context(), fmt.Errorf("x: %w", no), route.Stopped, no, true},
		"barred, cancelled":   {over, no, route.Stopped, no, true},
		"later":               {t.Context(), later, route.Unreachable, later, false},
		"later, cancelled":    {over, later, route.Unreachable, later, false},
		"cancelled":           {over, context.Canceled, route.Stopped, why, false},
		"a ledger that fails": {t.Context(), broken, route.Stopped, broken, false},
	} {
		e, _ := errors.AsType[*route.Error](barred(c.ctx, route.Target{Name: "WS1"}, c.err))
		if e == nil || e.Class != c.class || e.Op != opAuthenticate || e.Target != "WS1" || !errors.Is(e, c.want) || (len(hint.Of(e)) > 0) != c.hints {
			t.Errorf("%s: %v %q", name, e, hint.Of(e))
		}
	}
}

// What a machine takes instead, in words.
func TestWhatAMachineOffersInstead(t *testing.T) {
	for _, c := range []struct {
		scheme  string
		offered []string
		want    string
	}{
		{"NTLM", []string{"Negotiate", "Kerberos"}, "the machine offers Negotiate, Kerberos, but does not go on with NTLM: a policy there may restrict it to Kerberos"},
		{"NTLM", []string{"ntlm"}, "the machine offers ntlm, but does not go on with NTLM: a policy there may restrict it to Kerberos"},
		{"NTLM", []string{"Kerberos", "Basic realm=x"}, "the machine does not take NTLM; it offers Kerberos, Basic"},
		{"Basic", []string{"Negotiate"}, "the machine does not take Basic; it offers Negotiate"},
		{"Basic", nil, "the machine does not take Basic; it offers nothing"},
	} {
		e, _ := errors.AsType[*route.Error](notOffered(route.Target{Name: "WS1"}, opCreate, &answer{status: 401, challenges: c.offered}, c.scheme))
		said := strings.Join(hint.Of(e), "")
		if e == nil || e.Err.Error() != c.want || e.Class != route.Refused || e.Status != 401 || e.Op != opCreate ||
			said != "choose another authentication for this machine, or allow "+c.scheme+" in its WinRM service settings and NTLM policy" {
			t.Errorf("%s of %q: %v %q", c.scheme, c.offered, e, said)
		}
	}
}

// A machine that is asked for the ledger gets one request with the secret, or none; its connection is closed whatever comes.
func TestAMachineIsAskedForTheLedger(t *testing.T) {
	gone, no := errors.New("the turn is over"), &route.BarredError{Why: "barred"}
	for name, c := range map[string]struct {
		answers []saying
		dial    error
		vault   error
		begin   error
		class   route.Class
		told    string
		asked   int
	}{
		"takes it":           {[]saying{{200, "", "<x/>", 0}}, nil, nil, nil, "", "accepted", 1},
		"refuses it":         {[]saying{{401, "WWW-Authenticate: Basic realm=x\r\n", "", 0}}, nil, nil, nil, route.Auth, "refused", 1},
		"takes no passwords": {[]saying{{401, "WWW-Authenticate: Negotiate\r\n", "", 0}}, nil, nil, nil, route.Refused, "unjudged", 1},
		"says nothing":       {nil, nil, nil, nil, "-", "unanswered", 1},
		"is not there":       {nil, errors.New("no route to host"), nil, nil, route.Unreachable, "", 0},
		"has no account":     {nil, nil, errors.New("vault is closed"), nil, route.Refused, "", 0},
		"has no turn":        {nil, nil, nil, gone, "-", "", 0},
	} {
		conn, trial, begun := &scripted{answers: c.answers}, &told{no: no}, 0
		config := Config{Auth: AuthBasic, Scheme: "http",
			Credential: func(context.Context, route.Target) (Credential, error) {
				return Credential{User: "u", Password: secret.New("p")}, c.vault
			},
			Dial: func(context.Context, string, string) (net.Conn, error) { return conn, c.dial }}
		config.applyDefaults()
		r := &Route{config: config}
		err := r.ask(false)(t.Context(), route.Target{Name: "WS1"}, func(string) (route.Trial, error) {
			if begun++; c.begin != nil {
				return nil, c.begin
			}
			return trial, nil
		})
		e, _ := errors.AsType[*route.Error](err)
		switch {
		case c.class == "" && err != nil, c.class == "-" && err == nil, len(c.class) > 1 && (e == nil || e.Class != c.class):
			t.Errorf("%s: %v", name, err)
		case c.begin != nil && !errors.Is(err, c.begin):
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(trial.what, " "); got != c.told || len(conn.asked) != c.asked || c.dial == nil && conn.closed != 1 {
			t.Errorf("%s: told %q, asked %d times, closed %d times", name, got, len(conn.asked), conn.closed)
		}
		for _, request := range conn.asked {
			if !strings.Contains(request, "\r\nAuthorization: Basic dTpw\r\n") || !strings.HasSuffix(request, identifyRequest) {
				t.Errorf("%s: asked %q", name, request)
			}
		}
		if want := c.dial == nil && c.vault == nil; (begun == 1) != want || begun > 1 {
			t.Errorf("%s: begun %d times", name, begun)
		}
	}
	begin := func(string) (route.Trial, error) {
		t.Error("a machine was asked with its own password for another")
		return nil, nil
	}
	if err := (&Route{}).ask(true)(t.Context(), route.Target{}, begin); !errors.Is(err, route.ErrNoProof) {
		t.Error(err)
	}
}

// The names that the scanner takes: letters, digits and signs behind a letter, one colon between two halves.
func TestNamesOfElements(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a", "z": "z", "A": "A", "Z": "Z", "_": "_", "a0": "a0", "a9": "a9", "a-": "a-", "a.b": "a.b", "s:Text": "s:Text", "s:T9-.": "s:T9-.", "a>": "a", "a b": "a", "a/": "a",
		"a`": "a", "a{": "a", "a@": "a", "a[": "a", "a/0": "a", "a;": "a",
		"": "-", "0": "-", "9a": "-", "-a": "-", ".a": "-", ":a": "-", "a:": "-", "s:9": "-", "s:-": "-", "s:.": "-", "a:b:c": "-", "a::b": "-", "`": "-", "{": "-", "@": "-", "[": "-", "\u00e4": "-",
	} {
		s := &scanner{rest: []byte(text)}
		name, ok := s.name()
		if ok != (want != "-") || ok && string(name) != want {
			t.Errorf("%q: %q %v", text, name, ok)
		}
		if string(name)+string(s.rest) != text {
			t.Errorf("%q: %q and %q", text, name, s.rest)
		}
	}
}
