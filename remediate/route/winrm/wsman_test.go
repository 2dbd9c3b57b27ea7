package winrm_test

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
)

// host is a scripted WS-Man server: one machine, Basic over TLS, as strict about order and content as Windows. Every
// answer can be replaced through on.
type host struct {
	t      testing.TB
	server *httptest.Server
	agent  func(agent.Request) agent.Result
	on     map[string]func(*call) // by operation; replaces the normal answer
	stdout func(stdin []byte) []byte
	exit   int
	keeps  bool // the agent is kept here

	mu       sync.Mutex
	calls    []string
	bodies   []string
	stdin    []byte
	shell    bool
	out      []byte
	auths    map[string]int // Authorization values seen
	open     atomic.Int64
	accepted atomic.Int64
}

// call is one request.
type call struct {
	h    *host
	w    http.ResponseWriter
	r    *http.Request
	op   string
	id   string
	body string
}

const user, password = `CORP\admin`, "Planted-Passw0rd!"

func newHost(t testing.TB) *host {
	h := &host{t: t, on: map[string]func(*call){}, auths: map[string]int{}}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	h.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			h.open.Add(1)
			h.accepted.Add(1)
		case http.StateClosed, http.StateHijacked:
			h.open.Add(-1)
		}
	}
	return h
}

func (h *host) startTLS() *host {
	h.server.StartTLS()
	h.t.Cleanup(h.server.Close)
	return h
}

// patience is how long a test waits for what should be immediate: much, for a loaded computer.
const patience = 2 * time.Minute

// allClosed waits until the server has noticed that every connection is gone.
func (h *host) allClosed() {
	h.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); h.open.Load() > 0; {
		select {
		case <-tick.C:
		case <-limit:
			h.t.Fatalf("%d connections are still open", h.open.Load())
		}
	}
}

func (h *host) address() string { return h.server.Listener.Addr().String() }

func (h *host) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(h.server.Certificate())
	return pool
}

func (h *host) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.calls...)
}

var (
	actionOf  = regexp.MustCompile(`<a:Action[^>]*>([^<]*)<`)
	idOf      = regexp.MustCompile(`<a:MessageID[^>]*>([^<]*)<`)
	streamOf  = regexp.MustCompile(`<rsp:Stream Name="stdin" CommandId="COMMAND-1"( End="true")?>([^<]*)</rsp:Stream>`)
	commandOf = regexp.MustCompile(`(?s)<rsp:Command>(.*)</rsp:Command>`)
)

func (h *host) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := &call{h: h, w: w, r: r, body: string(body)}
	if m := actionOf.FindStringSubmatch(c.body); m != nil {
		c.op = strings.ToLower(m[1][strings.LastIndex(m[1], "/")+1:])
		c.id = idOf.FindStringSubmatch(c.body)[1]
	} else if strings.Contains(c.body, "wsmid:Identify") {
		c.op = "identify"
	}
	h.mu.Lock()
	h.calls = append(h.calls, c.op)
	h.bodies = append(h.bodies, c.body)
	h.auths[r.Header.Get("Authorization")]++
	special := h.on[c.op]
	h.mu.Unlock()
	switch {
	case special != nil:
		special(c)
	case c.op == "identify":
		c.normal()
	case r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)):
		c.unauthorized("Negotiate", `Basic realm="WSMAN"`)
	default:
		c.normal()
	}
}

func (c *call) normal() {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	switch c.op {
	case "identify":
		c.write(200, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><wsmid:IdentifyResponse `+
			`xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd`+
			`</wsmid:ProtocolVersion><wsmid:ProductVendor>Microsoft Corporation</wsmid:ProductVendor><wsmid:ProductVersion>OS: 0.0.0 SP: 0.0 Stack: 3.0`+
			`</wsmid:ProductVersion></wsmid:IdentifyResponse></s:Body></s:Envelope>`)
	case "create":
		h.shell, h.stdin, h.out = true, nil, nil
		c.answer("http://schemas.xmlsoap.org/ws/2004/09/transfer/CreateResponse",
			`<rsp:Shell xmlns:rsp="`+shellNS+`"><rsp:ShellId>SHELL-1</rsp:ShellId><rsp:State>Connected</rsp:State></rsp:Shell>`)
	case "command":
		c.answer(shellNS+"/CommandResponse", `<rsp:CommandResponse xmlns:rsp="`+shellNS+`"><rsp:CommandId>COMMAND-1</rsp:CommandId></rsp:CommandResponse>`)
	case "send":
		m := streamOf.FindStringSubmatch(c.body)
		part, err := base64.StdEncoding.DecodeString(m[2])
		if err != nil {
			h.t.Error(err)
		}
		h.stdin = append(h.stdin, part...)
		if m[1] != "" {
			h.finish()
		}
		c.answer(shellNS+"/SendResponse", `<rsp:SendResponse xmlns:rsp="`+shellNS+`"/>`)
	case "receive":
		c.receive(h.out, nil, true, h.exit)
	case "delete":
		h.shell = false
		c.answer("http://schemas.xmlsoap.org/ws/2004/09/transfer/DeleteResponse", "")
	default:
		h.t.Errorf("unexpected operation %q: %s", c.op, c.body)
		c.w.WriteHeader(400)
	}
}

// finish runs what the command would have done with its stdin.
func (h *host) finish() {
	if h.stdout != nil {
		h.out = h.stdout(h.stdin)
		return
	}
	script, request, err := agent.DecodeStdin(h.stdin)
	if err != nil {
		h.t.Errorf("stdin: %v", err)
		return
	}
	h.exit = 0
	if script == "" && !h.keeps {
		h.out, h.exit = []byte("a banner\r\n"+agent.Send(agent.Digest())+"\r\n"), 92
		return
	}
	h.out = []byte("a banner\r\n" + strings.Join(agent.Lines(request.Nonce, h.agent(request)), "\r\n") + "\r\n")
}

const shellNS = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"

func (c *call) write(status int, body string) {
	c.w.Header().Set("Content-Type", "application/soap+xml;charset=UTF-8")
	c.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	c.w.WriteHeader(status)
	_, _ = io.WriteString(c.w, body)
}

func (c *call) answer(action, body string) { c.answerAs(200, action, c.id, body) }

func (c *call) answerAs(status int, action, relatesTo, body string) {
	c.write(status, `<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">`+
		`<s:Header><a:Action>`+action+`</a:Action><a:MessageID>uuid:00000000-0000-0000-0000-000000000001</a:MessageID>`+
		`<a:RelatesTo>`+relatesTo+`</a:RelatesTo></s:Header><s:Body>`+body+`</s:Body></s:Envelope>`)
}

func (c *call) receive(stdout, stderr []byte, done bool, exit int) {
	var b strings.Builder
	b.WriteString(`<rsp:ReceiveResponse xmlns:rsp="` + shellNS + `">`)
	// Two stream elements each, as Windows splits at will; the last is empty.
	for name, data := range map[string][]byte{"stdout": stdout, "stderr": stderr} {
		half := len(data) / 2
		for _, part := range [][]byte{data[:half], data[half:]} {
			if len(part) > 0 {
				fmt.Fprintf(&b, `<rsp:Stream Name=%q CommandId="COMMAND-1">%s</rsp:Stream>`, name, base64.StdEncoding.EncodeToString(part))
			}
		}
		fmt.Fprintf(&b, `<rsp:Stream Name=%q CommandId="COMMAND-1" End="true"></rsp:Stream>`, name)
	}
	if done {
		fmt.Fprintf(&b, `<rsp:CommandState CommandId="COMMAND-1" State="%s/CommandState/Done"><rsp:ExitCode>%d</rsp:ExitCode></rsp:CommandState>`, shellNS, exit)
	} else {
		fmt.Fprintf(&b, `<rsp:CommandState CommandId="COMMAND-1" State="%s/CommandState/Running"/>`, shellNS)
	}
	b.WriteString(`</rsp:ReceiveResponse>`)
	c.answer(shellNS+"/ReceiveResponse", b.String())
}

func (c *call) fault(code uint32, text string) {
	detail := ""
	if code != 0 {
		detail = fmt.Sprintf(`<s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%d" Machine="m"><f:Message>%s`+
			`</f:Message></f:WSManFault></s:Detail>`, code, html.EscapeString(text))
	}
	c.answerAs(500, "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", c.id, `<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason>`+
		`<s:Text xml:lang="de-DE">`+html.EscapeString(text)+`</s:Text></s:Reason>`+detail+`</s:Fault>`)
}

func (c *call) status(status int) { c.w.WriteHeader(status) }

func (c *call) unauthorized(challenges ...string) {
	c.w.Header()["Www-Authenticate"] = challenges
	c.w.WriteHeader(401)
}

// drop closes the connection after writing raw to it.
func (c *call) drop(raw string) {
	if s, ok := c.w.(*sealing); ok {
		s.hijacked = true
	}
	conn, buffered, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		c.h.t.Error(err)
		return
	}
	_, _ = buffered.WriteString(raw)
	_ = buffered.Flush()
	_ = conn.Close()
}

// hang holds the request until the client goes away.
func (c *call) hang() { <-c.r.Context().Done() }
