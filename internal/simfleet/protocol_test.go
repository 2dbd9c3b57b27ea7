package simfleet_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
)

func first(f *simfleet.Fleet) string { return f.Machines()[0].Name }

func TestShellOverBasic(t *testing.T) {
	f := start(t, open(1, simfleet.Mix{}))
	for _, scheme := range []string{"http", "https"} {
		c := basic(t, f, first(f), scheme)
		if out, errs, exit := c.run("hostname"); out != first(f)+"\r\n" || errs != "" || exit != "0" {
			t.Errorf("%s: %q %q %s", scheme, out, errs, exit)
		}
		if _, errs, exit := c.run("nonsense /x"); exit != "1" || !strings.Contains(errs, "'nonsense' is not recognized") {
			t.Errorf("%s: unknown command: %q %s", scheme, errs, exit)
		}
	}
	if s, _ := f.Machine(first(f)); s.Shells != 0 || s.Logons != 2 || s.FailedLogons != 0 {
		t.Errorf("state afterwards: %+v", s)
	}
}

// TestFaults asks for every fault that a client must tell apart.
func TestFaults(t *testing.T) {
	o := open(1, simfleet.Mix{})
	o.Quotas = simfleet.Quotas{MaxShellsPerUser: 2, MaxOperations: 3, MaxEnvelope: 20_000}
	f := start(t, o)
	c := basic(t, f, first(f), "http")
	shell := c.create()
	want := func(name, code string, status int, reply string) {
		t.Helper()
		if status != 500 || faultOf(reply) != code {
			t.Errorf("%s: %d, fault %q, want %s\n%s", name, status, faultOf(reply), code, reply)
		}
	}
	status, reply := c.remove("00000000-0000-0000-0000-000000000000")
	want("unknown shell", "2150858843", status, reply)
	status, reply = c.receive(shell, "00000000-0000-0000-0000-000000000000")
	want("unknown command", "2150858843", status, reply)
	status, reply = c.call("http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate", shell, "", "")
	want("unknown action", "2150858753", status, reply)
	status, reply = c.send([]byte("<html>"))
	want("no SOAP", "2150858819", status, reply)
	status, reply = c.send([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><x/>`))
	want("document type", "2150858819", status, reply)
	status, reply = c.call(shellURI+"Command", shell, "", `<rsp:CommandLine><rsp:Command>echo `+strings.Repeat("x", 9000)+`</rsp:Command></rsp:CommandLine>`)
	want("long line", "2147942606", status, reply)
	status, reply = c.send(make([]byte, 21_000))
	want("big envelope", "2150858790", status, reply)

	command := c.command(shell, "ping -n 30 127.0.0.1", true)
	c.timeout = "PT0.05S"
	if status, reply := c.receive(shell, command); status != 200 || !strings.Contains(reply, "CommandState/Running") {
		t.Errorf("first output: %d %s", status, reply)
	}
	status, reply = c.receive(shell, command)
	want("operation timeout", "2150858793", status, reply)
	c.timeout = "PT20S"

	second := c.create()
	status, reply = c.call(transfer+"Create", "", "", `<rsp:Shell/>`)
	want("third shell", "2150859173", status, reply)
	c.command(second, "more", false)
	c.command(second, "more", false)
	status, reply = c.call(shellURI+"Command", second, "", `<rsp:CommandLine><rsp:Command>more</rsp:Command></rsp:CommandLine>`)
	want("fourth operation", "2150859174", status, reply)

	other := basic(t, f, first(f), "http")
	done := make(chan string, 1)
	go func() {
		_, reply := other.receive(shell, command)
		for strings.Contains(reply, "CommandState/Running") { // output that came meanwhile
			_, reply = other.receive(shell, command)
		}
		done <- reply
	}()
	if status, reply := c.remove(shell); status != 200 {
		t.Errorf("delete: %d %s", status, reply)
	}
	if code := faultOf(<-done); code != "995" && code != "2150858843" {
		t.Errorf("receive of a deleted shell: fault %q", code)
	}
	if status, reply := c.remove(second); status != 200 {
		t.Errorf("delete with running commands: %d %s", status, reply)
	}
}

func TestInputOutputAndSignals(t *testing.T) {
	o := open(1, simfleet.Mix{})
	o.Chunk = 1000
	f := start(t, o)
	c := basic(t, f, first(f), "http")
	shell := c.create()
	more := c.command(shell, "more", false)
	text := strings.Repeat("0123456789", 250)
	for _, part := range []string{text[:1700], text[1700:]} {
		if status, reply := c.input(shell, more, []byte(part), false); status != 200 {
			t.Fatalf("send: %d %s", status, reply)
		}
	}
	if status, reply := c.input(shell, more, nil, true); status != 200 {
		t.Fatalf("send end: %d %s", status, reply)
	}
	out, _, exit, receives := c.output(shell, more)
	if out != text || exit != "0" || receives != 3 {
		t.Errorf("%d bytes back, exit %s, %d receives", len(out), exit, receives)
	}
	if _, reply := c.input(shell, more, []byte("late"), false); faultOf(reply) != "232" {
		t.Errorf("input after the end: %s", reply)
	}
	// Ctrl+C ends what waits, on a console and on a pipe.
	console, pipe := c.command(shell, "more", true), c.command(shell, "more", false)
	for _, id := range []string{console, pipe} {
		if status, reply := c.signal(shell, id, "ctrl_c"); status != 200 {
			t.Fatalf("ctrl_c: %d %s", status, reply)
		}
	}
	for _, id := range []string{console, pipe} {
		if _, _, exit, _ := c.output(shell, id); exit != "3221225786" {
			t.Errorf("after Ctrl+C: exit %s", exit)
		}
	}
	if status, reply := c.signal(shell, pipe, "terminate"); status != 200 {
		t.Errorf("terminate: %d %s", status, reply)
	}
	if _, reply := c.receive(shell, pipe); faultOf(reply) != "2150858843" {
		t.Errorf("receive after terminate: %s", reply)
	}
}

func TestIdleShellExpires(t *testing.T) {
	o := open(1, simfleet.Mix{})
	o.Quotas.IdleTimeout = 30 * time.Millisecond
	f := start(t, o)
	c := basic(t, f, first(f), "http")
	shell := c.create()
	until(t, "the shell is gone", func() bool { return look(t, f, first(f)).Shells == 0 })
	if status, reply := c.remove(shell); status != 500 || faultOf(reply) != "2150858843" {
		t.Errorf("delete of an expired shell: %d %s", status, reply)
	}
}

func TestLogons(t *testing.T) {
	closed := simfleet.Options{Machines: 1, Seed: 1, Mix: &simfleet.Mix{}, Password: secret.New("right"), Lockout: 3}
	f := start(t, closed)
	name := first(f)
	user, domain, _ := f.Account()

	c := dial(t, f, name, "http")
	if status, _ := c.post(soap, nil, ""); status != 401 || c.last.Header.Get("WWW-Authenticate") != "Negotiate" {
		t.Errorf("offer over http: %d %v", status, c.last.Header)
	}
	if status := c.logon(user, domain, "right", nil); status != 200 {
		t.Fatalf("logon: %d", status)
	}
	if out, _, _ := c.run("whoami"); out != "fleet\\admin\r\n" {
		t.Errorf("whoami: %q", out)
	}
	// The session belongs to the connection: in the clear it is refused on the same one, and unknown on another.
	session := c.session
	c.session = nil
	if status, _ := c.send([]byte("<clear/>")); status != 401 {
		t.Errorf("unencrypted over http: %d", status)
	}
	other := dial(t, f, name, "http")
	other.session = session
	if status, _ := other.call(transfer+"Create", "", "", "<rsp:Shell/>"); status != 401 {
		t.Errorf("session of another connection: %d", status)
	}
	if status, _ := c.post(soap, nil, "Basic "+"RkxFRVRcYWRtaW46cmlnaHQ="); status != 401 {
		t.Errorf("Basic where it is off: %d", status)
	}
	// Three wrong passwords lock the account, for the right one too, on every machine.
	for i := range 3 {
		if status := dial(t, f, name, "http").logon(user, domain, "wrong", nil); status != 401 {
			t.Errorf("wrong password %d: %d", i, status)
		}
	}
	if s := f.Stats(); !s.AccountLocked || s.FailedLogons != 3 || s.Logons != 1 {
		t.Errorf("stats %+v", s)
	}
	if status := dial(t, f, name, "http").logon(user, domain, "right", nil); status != 401 {
		t.Errorf("locked account: %d", status)
	}
}

func TestChannelBinding(t *testing.T) {
	for _, test := range []struct {
		level             ntlm.Hardening
		none, right, fake int
	}{{ntlm.None, 200, 200, 200}, {ntlm.Relaxed, 200, 200, 401}, {ntlm.Strict, 401, 200, 401}} {
		f := start(t, simfleet.Options{Machines: 1, Seed: 1, Mix: &simfleet.Mix{}, CBT: test.level, Password: secret.New("right")})
		user, domain, _ := f.Account()
		c := dial(t, f, first(f), "https")
		right := c.channel()
		fake := *right
		fake.ApplicationData = append([]byte(nil), right.ApplicationData...)
		fake.ApplicationData[30] ^= 1
		if got := c.logon(user, domain, "right", right); got != test.right {
			t.Errorf("%s, right: %d, want %d", test.level, got, test.right)
		}
		c.session = nil // inside TLS nothing needs to be sealed
		if out, _, _ := c.run("hostname"); out != first(f)+"\r\n" {
			t.Errorf("%s: %q", test.level, out)
		}
		if got := dial(t, f, first(f), "https").logon(user, domain, "right", nil); got != test.none {
			t.Errorf("%s, none: %d, want %d", test.level, got, test.none)
		}
		if got := dial(t, f, first(f), "https").logon(user, domain, "right", &fake); got != test.fake {
			t.Errorf("%s, fake: %d, want %d", test.level, got, test.fake)
		}
	}
}

func TestIdentifyNeedsNoAccount(t *testing.T) {
	f := start(t, simfleet.Options{Machines: 1, Mix: &simfleet.Mix{}})
	c := dial(t, f, first(f), "http")
	c.authorize = func(r *http.Request) { r.Header.Set("WSMANIDENTIFY", "unauthenticated") }
	envelope := `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><i:Identify xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"/></s:Body></s:Envelope>`
	if status, reply := c.send([]byte(envelope)); status != 200 || !strings.Contains(reply, "Stack: 3.0") || !strings.Contains(reply, "OS: 0.0.0") {
		t.Errorf("identify: %d %s", status, reply)
	}
	if status, _ := c.call(transfer+"Create", "", "", "<rsp:Shell/>"); status != 401 {
		t.Errorf("create without account: %d", status)
	}
}
