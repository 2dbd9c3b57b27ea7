package winrm

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
)

var update = flag.Bool("update", false, "write testdata anew")

// What an account that cannot be had means; nothing is sent without one.
func TestAnAccountThatCannotBeHad(t *testing.T) {
	denied := &route.Error{Class: route.Denied, Op: "vault", Target: "WS1", Err: errors.New("sealed")}
	for name, c := range map[string]struct {
		credential Credential
		err        error
		class      route.Class
		want       string
	}{
		"an error of a route": {Credential{}, fmt.Errorf("x: %w", denied), route.Denied, "sealed"},
		"another error":       {Credential{}, errors.New("vault is closed"), route.Refused, "get the credential: vault is closed"},
		"no user":             {Credential{Password: secret.New("p")}, nil, route.Refused, "there is no user or no password for this machine"},
		"no password":         {Credential{User: "u"}, nil, route.Refused, "there is no user or no password for this machine"},
	} {
		r, err := New(Config{Credential: func(context.Context, route.Target) (Credential, error) { return c.credential, c.err }})
		if err != nil {
			t.Fatal(err)
		}
		l := linkOn(failing{}, nil)
		err = r.authenticate(t.Context(), route.Target{Name: "WS1"}, l)
		if e, ok := errors.AsType[*route.Error](err); !ok || e.Class != c.class || !strings.Contains(e.Err.Error(), c.want) || l.requests != 0 {
			t.Errorf("%s: %v, %d requests", name, err, l.requests)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if e, ok := errors.AsType[*route.Error](r.authenticate(over, route.Target{Name: "WS1"}, l)); !ok || e.Class != c.class && e.Class != route.Stopped || c.class == route.Refused && e.Class != route.Stopped {
			t.Errorf("%s, cancelled: %v", name, e)
		}
	}
	for _, c := range []Credential{{User: "u"}, {Password: secret.New("p")}} {
		if n, err := newNTLM(c); err == nil {
			t.Errorf("%+v", n)
		}
	}
	a := &answer{status: http.StatusOK}
	if e, _ := errors.AsType[*route.Error]((&Route{}).noChallenge(route.Target{Name: "WS1"}, a)); e == nil || e.Class != route.Refused || !strings.Contains(e.Error(), "asks for no credentials") || e.Status != 200 {
		t.Errorf("%v", e)
	}
}

// The words for each status are what somebody acts on at night.
func TestWhatAStatusSays(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		offered []string
		class   route.Class
		want    string
		hint    string
	}{
		{401, "", nil, route.Auth, "the machine rejected the credentials", "so that no account is locked"},
		{401, "", []string{"Basic", "Kerberos"}, route.Auth, "the machine rejected the credentials", "so that no account is locked; the machine offers Basic, Kerberos"},
		{403, "", nil, route.Denied, "the machine forbids access (HTTP 403)", "a domain account in Administrators is not"},
		{503, "", nil, route.Busy, "the machine's WinRM service is not running or starting (HTTP 503)", "check the service WinRM on the machine"},
		{404, "", nil, route.Refused, "no WinRM under this path (HTTP 404)", "under /wsman"},
		{413, "", nil, route.Busy, "the machine takes the request for too large (HTTP 413)", "is no proxy between?"},
		{400, "", nil, route.Busy, "the machine takes the request for malformed (HTTP 400)", "is no proxy between?"},
		{400, "plain HTTP request was sent to an HTTPS server", nil, route.Refused, "the port speaks TLS, not plain HTTP", "or the port of the HTTP listener (5985)"},
		{300, "", nil, route.Refused, "the machine answered with HTTP status 300", "redirections are never followed"},
		{399, "", nil, route.Refused, "the machine answered with HTTP status 399", "redirections are never followed"},
		{500, "", nil, route.Refused, "the machine answered with HTTP status 500", ""}, {299, "", nil, route.Refused, "the machine answered with HTTP status 299", ""},
	} {
		e := statusError("WS1", opCreate, &answer{status: c.status, body: []byte(c.body), challenges: c.offered})
		if said := strings.Join(hint.Of(e), ""); e.Class != c.class || e.Err.Error() != c.want || !strings.HasSuffix(said, c.hint) || c.hint == "" && said != "" || e.Status != c.status || e.Op != opCreate {
			t.Errorf("%d: %s %v %q", c.status, e.Class, e, said)
		}
	}
	for status, want := range map[int]route.Class{399: route.Unknown, 400: route.Busy, 499: route.Refused, 500: route.Unknown, 502: route.Unknown, 503: route.Busy} {
		if e := statusError("WS1", opCommand, &answer{status: status}); e.Class != want {
			t.Errorf("%d to a command: %s", status, e.Class)
		}
	}
	for want, f := range map[string]*fault{
		"the machine reports a fault": {}, "the machine reports a fault (fault 4242): Nein.": {4242, "Nein."}, "access denied (fault 5): Zugriff verweigert": {5, "Zugriff verweigert"},
		"too many shells of this user (fault 2150859173)": {2150859173, ""},
	} {
		e := faultError("WS1", opCreate, 500, f)
		if e.Err.Error() != want || e.Code != f.code || e.Status != 500 {
			t.Errorf("%v %d, want %q", e, e.Code, want)
		}
	}
	// All that is said of a fault: read what changes in the file.
	var all strings.Builder
	for _, code := range slices.Sorted(maps.Keys(faults)) {
		e := faultError("WS1", opCreate, 500, &fault{code: code})
		fmt.Fprintf(&all, "%s\t%v\t%s\n", e.Class, e.Err, strings.Join(hint.Of(e), ""))
	}
	path := filepath.Join("testdata", "faults.golden")
	if *update {
		if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != all.String() {
		t.Errorf("%v: the words differ from %s; go test -update writes it anew:\n%s", err, path, all.String())
	}
}

// What is read of a reply, and where it is refused.
func TestWhatAReplyHolds(t *testing.T) {
	const head = `<s:Envelope xmlns:s="` + nsSOAP + `" xmlns:a="` + nsWSA + `" xmlns:w="` + nsWSMan + `" xmlns:f="` + nsFault + `" xmlns:i="` + nsIdent + `" xmlns:r="` + shellURI + `" xmlns:o="urn:other">`
	read := func(body string) (*reply, *output, error) {
		out := &output{limit: 10}
		r, err := parseReply([]byte(head+body+"</s:Envelope>"), out)
		return r, out, err
	}
	r, _, err := read(`<a:Action> x </a:Action><o:Action>y</o:Action><w:Selector Name="Other">no</w:Selector><w:Selector Name="ShellId"> one </w:Selector><w:Selector Name="ShellId">two</w:Selector><w:Other Name="ShellId">three</w:Other>`)
	if err != nil || r.action != "x" || r.shellID != "one" {
		t.Errorf("%+v %v", r, err)
	}
	r, _, err = read(`<r:ShellId>S</r:ShellId><r:CommandId>C</r:CommandId><r:CommandState State="` + stateDone + `"/><r:CommandState State="x"/><r:ExitCode>-1</r:ExitCode>`)
	if err != nil || r.shellID != "S" || r.commandID != "C" || !r.done || !r.hasExit || r.exitCode != 4294967295 {
		t.Errorf("%+v %v", r, err)
	}
	if r, _, err = read(`<r:ExitCode>5000000000x</r:ExitCode>`); !errors.Is(err, errNotSOAP) {
		t.Errorf("%+v %v", r, err)
	}
	r, _, err = read(`<f:WSManFault Code="5"><f:Message> a
		b </f:Message></f:WSManFault><f:WSManFault Code="6"/><s:Text>c</s:Text>`)
	if err != nil || r.fault == nil || *r.fault != (fault{5, "a b"}) {
		t.Errorf("%+v %v", r.fault, err)
	}
	if r, _, err = read(`<f:Other Code="5"/><o:WSManFault Code="5"/><o:Fault><o:Text>x</o:Text></o:Fault>`); err != nil || r.fault != nil {
		t.Errorf("no faults of WS-Man: %+v %v", r.fault, err)
	}
	r, _, err = read(`<s:Text>before</s:Text><s:Fault><s:Other>x</s:Other><s:Text> </s:Text><s:Text>Nein</s:Text></s:Fault><f:WSManFault Code="4294967296"/>`)
	if err != nil || r.fault == nil || *r.fault != (fault{0, "Nein"}) {
		t.Errorf("%+v %v", r.fault, err)
	}
	long := strings.Repeat("x", 250)
	r, _, err = read(`<i:ProductVersion>` + long + `</i:ProductVersion><i:ProductVendor>` + long + `</i:ProductVendor><i:ProtocolVersion>` + long + `</i:ProtocolVersion>`)
	if want := long[:200] + "..."; err != nil || r.identity != (identified{want, want, want}) {
		t.Errorf("%+v %v", r.identity, err)
	}
	r, out, err := read(`<r:Stream Name="stdout"> aGk= </r:Stream><r:Stream Name="stderr">aGU=</r:Stream><r:Stream Name="other">aGU=</r:Stream><r:Stream Name="stdout" End="true"></r:Stream>`)
	if err != nil || string(out.Stdout) != "hi" || string(out.Stderr) != "he" || r.streams != 3 {
		t.Errorf("%+v %+v %v", r, out, err)
	}
	if r, err := parseReply([]byte(head+`<r:Stream Name="stdout">!</r:Stream></s:Envelope>`), nil); err != nil || r.streams != 0 {
		t.Errorf("nobody wants the output: %+v %v", r, err)
	}
	if _, _, err := read(`<r:Stream Name="stdout">!</r:Stream>`); !errors.Is(err, errNotSOAP) {
		t.Error(err)
	}
	for _, size := range []int{10, 11} {
		out := &output{limit: 10, Output: Output{Stderr: []byte("1234")}}
		err := out.write("stdout", bytes.Repeat([]byte("x"), size-4))
		if errors.Is(err, errTooMuch) != (size > 10) || len(out.Stdout) != 6 {
			t.Errorf("%d bytes of 10: %d kept, %v", size, len(out.Stdout), err)
		}
		if err := out.write("stderr", []byte("x")); !errors.Is(err, errTooMuch) || len(out.Stderr) != 4 {
			t.Errorf("full: %q %v", out.Stderr, err)
		}
	}
	for _, body := range []string{"<o:x/>", head, head + "</s:Envelope>" + head + "</s:Envelope>", head + strings.Repeat("<o:x>", 64) + strings.Repeat("</o:x>", 64) + "</s:Envelope>", ""} {
		if r, err := parseReply([]byte(body), nil); !errors.Is(err, errNotSOAP) {
			t.Errorf("%.40q: %+v %v", body, r, err)
		}
	}
	if _, err := parseReply([]byte(head+strings.Repeat("<o:x>", 63)+strings.Repeat("</o:x>", 63)+"</s:Envelope>"), nil); err != nil {
		t.Errorf("as deep as it may be: %v", err)
	}
}

// The words for a command that ended without a result, and for each what to do.
func TestTheWordsOfNoResult(t *testing.T) {
	for name, c := range map[string]struct {
		out  Output
		err  error
		want string
		hint string
	}{
		"no envelope":   {Output{ExitCode: 90}, agent.ErrNoResult, "the request reached PowerShell incomplete (exit code 90), so nothing was done", "keeps input from PowerShell"},
		"cut":           {Output{ExitCode: 91}, agent.ErrNoResult, "the request reached PowerShell incomplete (exit code 91), so nothing was done", "keeps input from PowerShell"},
		"too old":       {Output{ExitCode: 93, Stdout: []byte("x\r\nfleetmend: PowerShell 4.0 is too old\r\n")}, agent.ErrNoResult, "the machine has PowerShell 4.0, so nothing was done", "Windows Management Framework 5.1"},
		"too old, mute": {Output{ExitCode: 93}, agent.ErrNoResult, "the machine has an older PowerShell, so nothing was done", "Windows Management Framework 5.1"},
		"9009":          {Output{ExitCode: 9009}, agent.ErrNoResult, "PowerShell was not found on the machine (exit code 9009), so nothing was done", "on the machine's path"},
		"policy":        {Output{ExitCode: 1, Stderr: []byte("blocked  by\r\npolicy")}, agent.ErrNoResult, "PowerShell did not start on the machine, so nothing was done; the machine says: blocked by policy", "AppLocker"},
		"foreign":       {Output{ExitCode: 90, Stdout: []byte("x")}, agent.ErrForeign, agent.ErrForeign.Error() + " (exit code 90)", "the run asks again by run ID"},
		"long":          {Output{ExitCode: 7, Stderr: []byte(strings.Repeat("y", 400))}, agent.ErrNoResult, agent.ErrNoResult.Error() + " (exit code 7); the machine says: " + strings.Repeat("y", 300) + "...", "the run asks again by run ID"},
	} {
		e := noResult("WS1", c.out, c.err)
		if e.Err.Error() != c.want || !strings.Contains(strings.Join(hint.Of(e), ""), c.hint) || e.Op != opReceive || e.Target != "WS1" {
			t.Errorf("%s: %v %q, want %q", name, e.Err, hint.Of(e), c.want)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if sleep(over, time.Hour) || !sleep(t.Context(), time.Nanosecond) {
		t.Error("a pause that was ended is one that went by, or the reverse")
	}
}

// What the system says of a connection that broke is told without its addresses and calls.
func TestABrokenConnectionInWords(t *testing.T) {
	l := &link{}
	err := l.cause(t.Context(), &net.OpError{Op: "read", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5985}, Err: os.NewSyscallError("read", syscall.ECONNRESET)})
	if err.Error() != "the connection broke ("+syscall.ECONNRESET.Error()+")" || !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}
