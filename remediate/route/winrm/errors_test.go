package winrm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/routetest"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// check demands an *route.Error of this class and operation.
func check(t *testing.T, what string, err error, class route.Class, op string) *route.Error {
	t.Helper()
	e, ok := errors.AsType[*route.Error](err)
	if !ok {
		t.Errorf("%s: %v is no *route.Error", what, err)
		return &route.Error{}
	}
	if e.Class != class || e.Op != op {
		t.Errorf("%s: class %q at %q, want %q at %q: %v", what, e.Class, e.Op, class, op, err)
	}
	return e
}

func fixed1(r agent.Request) agent.Result { return agent.Result{Run: r.Run, Outcome: agent.Fixed} }

func TestFaults(t *testing.T) {
	const busy, denied, refused, unknown, unreachable = route.Busy, route.Denied, route.Refused, route.Unknown, route.Unreachable
	type row struct {
		code                           uint32
		create, command, send, receive route.Class
	}
	rows := []row{
		{2150858843, unreachable, unreachable, unknown, unknown}, // shell not found
		{2150859173, busy, busy, busy, unknown},                  // quotas
		{2150859174, busy, busy, busy, unknown},
		{2150859175, busy, busy, busy, unknown},
		{2150859176, busy, busy, busy, unknown},
		{2150859179, busy, busy, busy, unknown},
		{2150859236, busy, busy, busy, unknown},
		{2150859238, busy, busy, busy, unknown},
		{2150859239, busy, busy, busy, unknown},
		{2150859240, busy, busy, busy, unknown},
		{2150859241, busy, busy, busy, unknown},
		{2150858815, busy, busy, busy, unknown},
		{995, unreachable, unknown, unknown, unknown},  // aborted
		{1223, unreachable, unknown, unknown, unknown}, // cancelled
		{5, denied, denied, denied, unknown},
		{2147942405, denied, denied, denied, unknown},
		{2147942606, refused, refused, refused, unknown},             // command line too long
		{2147943418, busy, busy, busy, unknown},                      // profile unloading, after one more try
		{2150858817, refused, refused, refused, unknown},             // not supported
		{2150859230, unreachable, unknown, unknown, unknown},         // stream disconnected
		{2150859204, unreachable, unknown, unknown, unknown},         // shell disconnected
		{2150858770, unreachable, unreachable, unreachable, unknown}, // 0x80338012
		{2150858793, unreachable, unknown, unknown, ""},              // operation timeout; Receive polls
		{4242, refused, unknown, unknown, unknown},                   // one that nobody knows
		{0, refused, unknown, unknown, unknown},                      // a fault without a number
	}
	h := newHost(t)
	h.agent = fixed1
	h.startTLS()
	r := basicRoute(t, h, nil)
	target := route.Target{Name: "WS1", Address: h.address()}
	for _, row := range rows {
		for op, want := range map[string]route.Class{"create": row.create, "command": row.command, "send": row.send, "receive": row.receive} {
			if want == "" {
				continue
			}
			h.on = map[string]func(*call){op: func(c *call) { c.fault(row.code, "Zugriff verweigert <ö>") }}
			_, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix))
			e := check(t, fmt.Sprint(row.code), err, want, op)
			if e.Code != row.code || e.Status != 500 || !strings.Contains(err.Error(), "Zugriff verweigert <ö>") {
				t.Errorf("%d at %s: code %d, status %d, %v", row.code, op, e.Code, e.Status, err)
			}
			if op != "create" && h.shell {
				t.Errorf("%d at %s: the shell was left behind", row.code, op)
			}
			h.shell = false
			if want == denied && !strings.Contains(strings.Join(hint.Of(err), " "), "LocalAccountTokenFilterPolicy") {
				t.Errorf("%d: hints %q", row.code, hint.Of(err))
			}
		}
	}
	h.allClosed()
}

func TestStatuses(t *testing.T) {
	for _, row := range []struct {
		status                int
		create, command, send route.Class
	}{
		{401, route.Auth, route.Auth, route.Unknown},
		{403, route.Denied, route.Denied, route.Unknown},
		{400, route.Busy, route.Busy, route.Unknown},
		{413, route.Busy, route.Busy, route.Unknown},
		{404, route.Refused, route.Refused, route.Unknown},
		{302, route.Refused, route.Unknown, route.Unknown},
		{500, route.Refused, route.Unknown, route.Unknown},
		{503, route.Busy, route.Busy, route.Unknown},
	} {
		for op, want := range map[string]route.Class{"create": row.create, "command": row.command, "send": row.send} {
			h := newHost(t)
			h.agent = fixed1
			h.on[op] = func(c *call) { c.status(row.status) }
			h.startTLS()
			r := basicRoute(t, h, nil)
			target := route.Target{Name: "WS1", Address: h.address()}
			_, err := r.Do(t.Context(), target, routetest.Request("run", agent.Fix))
			if e := check(t, fmt.Sprint(row.status), err, want, op); e.Status != row.status {
				t.Errorf("status %d, want %d", e.Status, row.status)
			}
			_, err = r.Do(t.Context(), target, routetest.Request("run", agent.Fix))
			if barred := (*route.BarredError)(nil); errors.As(err, &barred) != (row.status == 401) {
				t.Errorf("%d at %s: the ledger says %v", row.status, op, err)
			}
		}
	}
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	envelope := func(action, id string) string {
		return `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header><a:Action>` +
			action + `</a:Action><a:RelatesTo>` + id + `</a:RelatesTo></s:Header><s:Body/></s:Envelope>`
	}
	const created = "http://schemas.xmlsoap.org/ws/2004/09/transfer/CreateResponse"
	for name, answer := range map[string]func(*call){
		"another request": func(c *call) { c.write(200, envelope(created, "uuid:1")) },
		"no relation": func(c *call) {
			c.write(200, strings.ReplaceAll(envelope(created, ""), "<a:RelatesTo></a:RelatesTo>", ""))
		},
		"no relation, and right otherwise": func(c *call) {
			c.write(200, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header><a:Action>`+created+
				`</a:Action></s:Header><s:Body><rsp:Shell xmlns:rsp="`+shellNS+`"><rsp:ShellId>SHELL-1</rsp:ShellId></rsp:Shell></s:Body></s:Envelope>`)
		},
		"another action": func(c *call) { c.write(200, envelope("urn:x", c.id)) },
		"no shell":       func(c *call) { c.write(200, envelope(created, c.id)) },
		"cut":            func(c *call) { c.write(200, envelope(created, c.id)[:250]) },
		"twice":          func(c *call) { c.write(200, strings.Repeat(envelope(created, c.id), 2)) },
		"html":           func(c *call) { c.write(200, "<html><body>Login</body></html>") },
		"empty":          func(c *call) { c.write(200, "") },
		"doctype":        func(c *call) { c.write(200, `<!DOCTYPE x [<!ENTITY e "x">]>`+envelope(created, c.id)) },
		"deep": func(c *call) {
			c.write(200, strings.Repeat("<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">", 1000))
		},
		"no http":        func(c *call) { c.drop("hello\r\n\r\n") },
		"plain text":     func(c *call) { _, _ = c.w.Write([]byte("hello")) },
		"too large":      func(c *call) { c.drop("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n") },
		"endless header": func(c *call) { c.drop("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 5<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.on["create"] = answer
			h.startTLS()
			_, err := basicRoute(t, h, nil).Run(t.Context(), route.Target{Name: "WS1", Address: h.address()}, "x", nil)
			check(t, name, err, route.Refused, "create")
		})
	}
	t.Run("cut by the network", func(t *testing.T) {
		h := newHost(t)
		h.on["create"] = func(c *call) {
			c.drop("HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: 1000\r\n\r\n<s:Env")
		}
		h.startTLS()
		_, err := basicRoute(t, h, nil).Run(t.Context(), route.Target{Name: "WS1", Address: h.address()}, "x", nil)
		check(t, "cut", err, route.Unreachable, "create")
	})
}

// TestNoProxyIsAsked: what is dialled is the machine, although the shell of the operator names proxies for the web. The names here are none
// of a loopback address, for which Go asks no proxy anyway.
func TestNoProxyIsAsked(t *testing.T) {
	if os.Getenv("HTTPS_PROXY") == "" {
		t.Fatal("no proxy is set: the test shows nothing")
	}
	for scheme, want := range map[string]string{"http": "ws1.corp.example:5985", "https": "ws1.corp.example:5986"} {
		var dialled []string
		enough := errors.New("enough")
		r := mustRoute(t, winrm.Config{Scheme: scheme, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return nil, enough
		}, Credential: func(context.Context, route.Target) (winrm.Credential, error) { return winrm.Credential{User: "u"}, nil }})
		target := route.Target{Name: "WS1", Address: "ws1.corp.example"}
		if err := r.Alive(t.Context(), target); !errors.Is(err, enough) {
			t.Errorf("%s: %v", scheme, err)
		}
		if _, err := r.Run(t.Context(), target, "x", nil); !errors.Is(err, enough) {
			t.Errorf("%s: %v", scheme, err)
		}
		if len(dialled) != 2 || dialled[0] != want || dialled[1] != want {
			t.Errorf("%s: dialled %q, want %s each time", scheme, dialled, want)
		}
	}
}

// A certificate is judged by every name that the inventory has of the machine, however it is dialled, and the refusal names them.
func TestTrustByAnyName(t *testing.T) {
	h := newHost(t).startTLS() // its certificate is for example.com and loopback addresses
	_, port, _ := net.SplitHostPort(h.address())
	r := basicRoute(t, h, func(c *winrm.Config) { c.RootCAs = h.roots() })
	address := "localhost:" + port
	for name, known := range map[string]route.Target{
		"FQDN": {Name: "WS1", FQDN: "example.com"}, "name": {Name: "EXAMPLE.COM"}, "alias": {Name: "WS1", FQDN: "ws1.corp.example", Aliases: []string{"example.com"}},
	} {
		known.Address = address
		if err := r.Alive(t.Context(), known); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := r.Alive(t.Context(), route.Target{Name: "WS1", FQDN: "ws1.corp.example", Address: address, Aliases: []string{"old1"}})
	check(t, "no name fits", err, route.Untrusted, "connect")
	if !strings.Contains(err.Error(), "it is for example.com, *.example.com, 127.0.0.1, ::1, not for localhost or ws1.corp.example or WS1 or old1") {
		t.Error(err)
	}
	config := winrm.IdentifyConfig{Scheme: "https", RootCAs: h.roots()}
	if _, err := winrm.Identify(t.Context(), config, address); err == nil {
		t.Error("a probe takes a certificate for another name")
	}
	config.Names = []string{"", "example.com"}
	if _, err := winrm.Identify(t.Context(), config, address); err != nil {
		t.Errorf("a probe by a name of the inventory: %v", err)
	}
}

func TestTrust(t *testing.T) {
	h := newHost(t).startTLS()
	port := h.address()[strings.LastIndex(h.address(), ":"):]
	for name, row := range map[string]struct {
		address string
		roots   *x509.CertPool
		server  string
		class   route.Class
		words   string
	}{
		"unknown CA":    {h.address(), x509.NewCertPool(), "", route.Untrusted, "Acme Co"},
		"another name":  {h.address(), h.roots(), "ws9.corp.example", route.Untrusted, "not for ws9.corp.example"},
		"address":       {h.address(), h.roots(), "", "", ""},
		"name is right": {h.address(), h.roots(), "example.com", "", ""},
		"IPv6 missing":  {"[::1]" + port, h.roots(), "", route.Unreachable, "refuse"},
	} {
		r := basicRoute(t, h, func(c *winrm.Config) {
			c.RootCAs = row.roots
			if row.server != "" {
				c.ServerName = func(route.Target) string { return row.server }
			}
		})
		err := r.Alive(t.Context(), route.Target{Name: "WS1", Address: row.address})
		if row.class == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		check(t, name, err, row.class, "connect")
		if row.class == route.Untrusted && (!strings.Contains(err.Error(), row.words) || len(hint.Of(err)) == 0) {
			t.Errorf("%s: %v %q", name, err, hint.Of(err))
		}
	}
	if h.auths[""] != len(h.seen()) {
		t.Errorf("credentials were sent to strangers: %d of %d requests without", h.auths[""], len(h.seen()))
	}
}

func TestWrongPortAndDeadMachines(t *testing.T) {
	secured := newHost(t).startTLS()
	plain := newHost(t)
	plain.server.Start()
	t.Cleanup(plain.server.Close)
	mute := rawServer(t, routetest.Hang, func() {})
	account := fixed(user, password)
	for name, row := range map[string]struct {
		config  winrm.Config
		address string
		class   route.Class
		op      string
		words   string
	}{
		"http to https": {winrm.Config{}, secured.address(), route.Refused, "authenticate", "https"},
		"https to http": {winrm.Config{Scheme: "https"}, plain.address(), route.Refused, "connect", "http"},
		"refused":       {winrm.Config{}, deadAddress(t), route.Unreachable, "connect", "Enable-PSRemoting"},
		"mute TLS":      {winrm.Config{Scheme: "https", ConnectTimeout: 50 * time.Millisecond}, mute, route.Unreachable, "connect", ""},
		"mute":          {winrm.Config{ReceiveTimeout: 50 * time.Millisecond}, mute, route.Unreachable, "authenticate", ""},
		"no such name": {winrm.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "ws1", IsNotFound: true}}
		}}, "ws1", route.Unreachable, "connect", "inventory"},
		"never connects": {winrm.Config{ConnectTimeout: 20 * time.Millisecond, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
		}}, "ws1", route.Unreachable, "connect", "boot loop"},
	} {
		row.config.Credential = account
		r, err := winrm.New(row.config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Run(t.Context(), route.Target{Name: "WS1", Address: row.address}, "x", nil)
		check(t, name, err, row.class, row.op)
		if !strings.Contains(strings.Join(hint.Of(err), " "), row.words) {
			t.Errorf("%s: hints %q do not say %q", name, hint.Of(err), row.words)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	account := fixed(user, password)
	for name, config := range map[string]winrm.Config{
		"basic over http":        {Auth: winrm.AuthBasic, Credential: account},
		"certificate over http":  {Auth: winrm.AuthCertificate, Certificate: &tls.Certificate{Certificate: [][]byte{{1}}}},
		"no certificate":         {Scheme: "https", Auth: winrm.AuthCertificate},
		"no credential":          {},
		"unknown scheme":         {Scheme: "ftp", Credential: account},
		"unknown authentication": {Auth: "kerberos5", Credential: account},
		"path":                   {Path: "wsman\r\nX: y", Credential: account},
		"port":                   {Port: 70000, Credential: account},
	} {
		if _, err := winrm.New(config); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(name, "over http") && len(hint.Of(err)) == 0 {
			t.Errorf("%s: no hint", name)
		}
	}
	for path, good := range map[string]bool{"": true, "/wsman": true, "/~a/wsman?b=1": true, "wsman": false, "/a b": false, "/a\tb": false, "/a\rb": false, "/a\nb": false} {
		if _, err := winrm.New(winrm.Config{Path: path, Credential: account}); (err == nil) != good {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

func TestSchemesWithoutNTLM(t *testing.T) {
	h := newHost(t)
	h.on[""] = func(c *call) { c.unauthorized("Kerberos", `Basic realm="WSMAN"`) }
	h.server.Start()
	t.Cleanup(h.server.Close)
	r, err := winrm.New(winrm.Config{Credential: fixed(user, password)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Run(t.Context(), route.Target{Name: "WS1", Address: h.address()}, "x", nil)
	check(t, "no NTLM", err, route.Refused, "authenticate")
	if !strings.Contains(err.Error(), "Kerberos, Basic") || !slices.Equal(h.seen(), []string{""}) {
		t.Errorf("%v; requests %q", err, h.seen())
	}
	if strings.Contains(fmt.Sprint(h.auths), "Basic") {
		t.Error("it fell back to Basic")
	}
}

func TestIdentify(t *testing.T) {
	h := newHost(t)
	h.on[""] = func(c *call) { c.unauthorized("Negotiate, Kerberos", `Basic realm="a, b"`) }
	h.startTLS()
	config := winrm.IdentifyConfig{Scheme: "https", RootCAs: h.roots()}
	got, err := winrm.Identify(t.Context(), config, h.address())
	if err != nil || got.Vendor != "Microsoft Corporation" || !strings.HasPrefix(got.Product, "OS: ") || got.Latency <= 0 ||
		got.ProtocolVersion != "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" || !slices.Equal(got.Auth, []string{"Negotiate", "Kerberos", "Basic"}) {
		t.Errorf("%+v, %v", got, err)
	}
	h.on["identify"] = func(c *call) { c.unauthorized("Negotiate") }
	if got, err = winrm.Identify(t.Context(), config, h.address()); err != nil || !slices.Equal(got.Auth, []string{"Negotiate"}) || got.Product != "" {
		t.Errorf("%+v, %v", got, err)
	}
	h.on["identify"] = func(c *call) { c.status(http.StatusServiceUnavailable) }
	_, err = winrm.Identify(t.Context(), config, h.address())
	check(t, "starting", err, route.Busy, "identify")
	h.on["identify"] = func(c *call) { c.write(200, "<html/>") }
	_, err = winrm.Identify(t.Context(), config, h.address())
	check(t, "web server", err, route.Refused, "identify")
	if h.auths[""] != len(h.seen()) {
		t.Error("Identify sent credentials")
	}
}
