package simfleet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bodgit/ntlmssp"

	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/internal/simfleet"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// start serves a fleet for the length of a test.
func start(t testing.TB, o simfleet.Options) *simfleet.Fleet {
	t.Helper()
	f, err := simfleet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// open are the options of a fleet that a client without any authentication code can talk to.
func open(n int, mix simfleet.Mix) simfleet.Options {
	return simfleet.Options{Machines: n, Seed: 1, Mix: &mix, AllowBasic: true, AllowUnencrypted: true}
}

// client is a WinRM client as small as can be, on one connection.
type client struct {
	t         testing.TB
	url       string
	http      *http.Client
	authorize func(*http.Request)
	session   *ntlmssp.SecuritySession
	dead      bool // a lost connection is expected: answer status 0
	last      *http.Response
	timeout   string
	page      string // code page of its shells; "" asks for none
}

func dial(t testing.TB, f *simfleet.Fleet, name, scheme string) *client {
	t.Helper()
	state, err := f.Machine(name)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: &tls.Config{RootCAs: f.CA()}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, url: scheme + "://" + state.Address + "/wsman", http: &http.Client{Transport: transport, Timeout: 2 * time.Minute}, timeout: "PT20S"}
}

// basic logs on with Basic.
func basic(t testing.TB, f *simfleet.Fleet, name, scheme string) *client {
	c := dial(t, f, name, scheme)
	user, domain, password := f.Account()
	c.authorize = func(r *http.Request) { r.SetBasicAuth(domain+`\`+user, password.Reveal()) }
	return c
}

func (c *client) post(contentType string, body []byte, header string) (int, []byte) {
	c.t.Helper()
	r, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	switch {
	case header != "":
		r.Header.Set("Authorization", header)
	case c.authorize != nil:
		c.authorize(r)
	}
	c.last, err = c.http.Do(r)
	if err == nil {
		defer func() { _ = c.last.Body.Close() }()
		body, err = io.ReadAll(c.last.Body)
	}
	if err != nil {
		if c.dead {
			return 0, []byte(err.Error())
		}
		c.t.Fatal(err)
	}
	return c.last.StatusCode, body
}

const soap = "application/soap+xml;charset=UTF-8"

// call sends an envelope, sealed where there is a session.
func (c *client) call(action, shell, options, body string) (int, string) {
	c.t.Helper()
	if shell != "" {
		shell = `<w:SelectorSet><w:Selector Name="ShellId">` + shell + `</w:Selector></w:SelectorSet>`
	}
	return c.send([]byte(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header>
<a:Action>` + action + `</a:Action><a:MessageID>uuid:11111111-2222-3333-4444-555555555555</a:MessageID>
<w:ResourceURI>http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd</w:ResourceURI><w:OperationTimeout>` + c.timeout + `</w:OperationTimeout>` +
		shell + options + `</s:Header><s:Body>` + body + `</s:Body></s:Envelope>`))
}

func (c *client) send(envelope []byte) (int, string) {
	c.t.Helper()
	if c.session == nil {
		status, reply := c.post(soap, envelope, "")
		return status, string(reply)
	}
	sealed, signature, err := c.session.Wrap(envelope)
	if err != nil {
		c.t.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: type=%s;Length=%d\r\n"+
		"--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n", soap, len(envelope))
	_ = binary.Write(&b, binary.LittleEndian, uint32(len(signature)))
	b.Write(signature)
	b.Write(sealed)
	b.WriteString("--Encrypted Boundary--\r\n")
	status, reply := c.post(`multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"`, b.Bytes(), "")
	_, binaryPart, ok := bytes.Cut(reply, []byte("application/octet-stream\r\n"))
	if !ok {
		return status, string(reply)
	}
	binaryPart = bytes.TrimSuffix(binaryPart, []byte("--Encrypted Boundary--\r\n"))
	plain, err := c.session.Unwrap(binaryPart[20:], binaryPart[4:20])
	if err != nil {
		c.t.Fatalf("the reply does not open: %v", err)
	}
	return status, string(plain)
}

// logon does NTLM with a client library that has nothing to do with the server's code.
func (c *client) logon(user, domain, password string, bindings *ntlmssp.ChannelBindings) int {
	c.t.Helper()
	n, err := ntlmssp.NewClient(ntlmssp.SetUserInfo(user, password), ntlmssp.SetDomain(domain))
	if err != nil {
		c.t.Fatal(err)
	}
	token, err := n.Authenticate(nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	status, _ := c.post(soap, nil, "Negotiate "+base64.StdEncoding.EncodeToString(token))
	challenge, ok := strings.CutPrefix(c.last.Header.Get("WWW-Authenticate"), "Negotiate ")
	if status != 401 || !ok {
		c.t.Fatalf("no challenge: %d %v", status, c.last.Header)
	}
	raw, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		c.t.Fatal(err)
	}
	if token, err = n.Authenticate(raw, bindings); err != nil {
		c.t.Fatal(err)
	}
	status, _ = c.post(soap, nil, "Negotiate "+base64.StdEncoding.EncodeToString(token))
	if status == 200 {
		c.session = n.SecuritySession()
	}
	return status
}

// channel returns the bindings of the connection's TLS certificate, by RFC 5929 for a SHA-256 certificate.
func (c *client) channel() *ntlmssp.ChannelBindings {
	c.t.Helper()
	c.post(soap, nil, "")
	sum := sha256.Sum256(c.last.TLS.PeerCertificates[0].Raw)
	return &ntlmssp.ChannelBindings{ApplicationData: append([]byte("tls-server-end-point:"), sum[:]...)}
}

const (
	transfer = "http://schemas.xmlsoap.org/ws/2004/09/transfer/"
	shellURI = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/"
)

func between(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}

var code = regexp.MustCompile(`WSManFault [^>]*Code="(\d+)"`)

// faultOf returns the fault's code, or "".
func faultOf(reply string) string {
	if m := code.FindStringSubmatch(reply); m != nil {
		return m[1]
	}
	return ""
}

func (c *client) create() string {
	c.t.Helper()
	options := ""
	if c.page != "" {
		options = `<w:OptionSet><w:Option Name="WINRS_CODEPAGE">` + c.page + `</w:Option></w:OptionSet>`
	}
	status, reply := c.call(transfer+"Create", "", options, `<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>`)
	if status != 200 || !strings.Contains(reply, "<a:RelatesTo>uuid:11111111-2222-3333-4444-555555555555</a:RelatesTo>") {
		c.t.Fatalf("create: %d %s", status, reply)
	}
	return between(reply, "<rsp:ShellId>", "</rsp:ShellId>")
}

func (c *client) command(shell, line string, console bool) string {
	c.t.Helper()
	option := fmt.Sprintf(`<w:OptionSet><w:Option Name="WINRS_CONSOLEMODE_STDIN">%v</w:Option><w:Option Name="WINRS_SKIP_CMD_SHELL">FALSE</w:Option></w:OptionSet>`, console)
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(line)
	status, reply := c.call(shellURI+"Command", shell, option, `<rsp:CommandLine><rsp:Command>`+escaped+`</rsp:Command></rsp:CommandLine>`)
	if status != 200 {
		c.t.Fatalf("command %q: %d %s", line, status, reply)
	}
	return between(reply, "<rsp:CommandId>", "</rsp:CommandId>")
}

func (c *client) input(shell, command string, data []byte, end bool) (int, string) {
	return c.call(shellURI+"Send", shell, "", fmt.Sprintf(`<rsp:Send><rsp:Stream Name="stdin" CommandId="%s" End="%v">%s</rsp:Stream></rsp:Send>`,
		command, end, base64.StdEncoding.EncodeToString(data)))
}

func (c *client) receive(shell, command string) (int, string) {
	c.t.Helper()
	return c.call(shellURI+"Receive", shell, "", `<rsp:Receive><rsp:DesiredStream CommandId="`+command+`">stdout stderr</rsp:DesiredStream></rsp:Receive>`)
}

func (c *client) signal(shell, command, what string) (int, string) {
	return c.call(shellURI+"Signal", shell, "", `<rsp:Signal CommandId="`+command+`"><rsp:Code>`+shellURI+`signal/`+what+`</rsp:Code></rsp:Signal>`)
}

func (c *client) remove(shell string) (int, string) { return c.call(transfer+"Delete", shell, "", "") }

var streams = regexp.MustCompile(`<rsp:Stream Name="(\w+)" CommandId="[^"]+"(?: End="true")?>([^<]*)</rsp:Stream>`)

// output receives until the command is done.
func (c *client) output(shell, command string) (stdout, stderr, exit string, receives int) {
	c.t.Helper()
	for {
		status, reply := c.receive(shell, command)
		if status != 200 {
			c.t.Fatalf("receive: %d %s", status, reply)
		}
		receives++
		for _, m := range streams.FindAllStringSubmatch(reply, -1) {
			raw, err := base64.StdEncoding.DecodeString(m[2])
			if err != nil {
				c.t.Fatal(err)
			}
			if m[1] == "stdout" {
				stdout += string(raw)
			} else {
				stderr += string(raw)
			}
		}
		if strings.Contains(reply, "CommandState/Done") {
			return stdout, stderr, between(reply, "<rsp:ExitCode>", "<"), receives
		}
	}
}

// run does all of it for one command line.
func (c *client) run(line string) (stdout, stderr, exit string) {
	c.t.Helper()
	shell := c.create()
	stdout, stderr, exit, _ = c.output(shell, c.command(shell, line, true))
	if status, reply := c.remove(shell); status != 200 {
		c.t.Fatalf("delete: %d %s", status, reply)
	}
	return stdout, stderr, exit
}

func unbase64(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
