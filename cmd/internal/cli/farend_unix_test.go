//go:build unix

package cli

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/text/encoding/charmap"

	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// farEnd stands before a machine and changes its answers.
type farEnd struct {
	machine string // host:port
	client  *http.Client

	mu     sync.Mutex
	asked  map[string]int
	before func(op string, n int) (status int, kind, body string) // in place of the machine; 0: the machine answers
	after  func(op string, body []byte) []byte
}

var actionIn = regexp.MustCompile(`Action[^>]*>[^<]*/([A-Za-z]+)<`)

func (f *farEnd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	op := "Identify"
	if m := actionIn.FindSubmatch(request); m != nil {
		op = string(m[1])
	}
	f.mu.Lock()
	f.asked[op]++
	n := f.asked[op]
	f.mu.Unlock()
	if f.before != nil {
		if status, kind, body := f.before(op, n); status != 0 {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return
		}
	}
	forward, err := http.NewRequestWithContext(r.Context(), r.Method, "https://"+f.machine+r.URL.Path, bytes.NewReader(request))
	if err != nil {
		return
	}
	forward.Header = r.Header.Clone()
	answer, err := f.client.Do(forward)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return
	}
	if f.after != nil && answer.StatusCode == http.StatusOK {
		body = f.after(op, body)
	}
	for name, values := range answer.Header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body)
}

func wsmanFault(code int, text string) string {
	return fmt.Sprintf(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"><s:Header><a:Action>http://schemas.dmtf.org/wbem/wsman/1/wsman/fault</a:Action></s:Header><s:Body><s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:InternalError</s:Value></s:Subcode></s:Code><s:Reason><s:Text>%[2]s</s:Text></s:Reason><s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%[1]d" Machine="x"><f:Message>%[2]s</f:Message></f:WSManFault></s:Detail></s:Fault></s:Body></s:Envelope>`, code, text)
}

var stdoutIn = regexp.MustCompile(`(<rsp:Stream Name="stdout"[^>]*>)([^<]*)(</rsp:Stream>)`)

// stdout changes what comes on standard output.
func stdout(body []byte, change func([]byte) []byte) []byte {
	return stdoutIn.ReplaceAllFunc(body, func(stream []byte) []byte {
		m := stdoutIn.FindSubmatch(stream)
		text, err := base64.StdEncoding.DecodeString(string(m[2]))
		if err != nil || len(text) == 0 {
			return stream
		}
		return []byte(string(m[1]) + base64.StdEncoding.EncodeToString(change(text)) + string(m[3]))
	})
}

// stderr puts something on standard error of the last answer.
func stderr(body []byte, text string) []byte {
	id := regexp.MustCompile(`CommandId="([^"]+)"`).FindSubmatch(body)
	if id == nil || !bytes.Contains(body, []byte("ExitCode")) {
		return body
	}
	stream := fmt.Sprintf(`<rsp:Stream Name="stderr" CommandId="%s">%s</rsp:Stream><rsp:CommandState`, id[1], base64.StdEncoding.EncodeToString([]byte(text)))
	return bytes.Replace(body, []byte("<rsp:CommandState"), []byte(stream), 1)
}

func inCodePage850(t *testing.T, text string) string {
	t.Helper()
	out, err := charmap.CodePage850.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOddFarEnds: quotas and 503 are tried again after a pause, and words around the result keep it from nobody. The whole
// program asks a simulated machine through somebody who changes its answers.
func TestOddFarEnds(t *testing.T) {
	const progress = "#< CLIXML\r\n" + `<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj S="progress" RefId="0"><TN RefId="0"><T>System.Management.Automation.PSCustomObject</T></TN><MS><I64 N="SourceId">1</I64><PR N="Record"><AV>Preparing modules for first use.</AV><AI>0</AI><Nil /><PI>-1</PI><PC>-1</PC><T>Completed</T><SR>-1</SR><SD> </SD></PR></MS></Obj></Objs>`
	banner := inCodePage850(t, "Die Aufzeichnung wurde gestartet. Die Ausgabedatei ist C:\\Transkripte\\PowerShell_transcript.txt\r\nWillkommen, Größe\r\n")
	blocked := inCodePage850(t, "Dieses Programm wurde durch eine Gruppenrichtlinie geblockt.\r\n")
	refuse := func(wanted string, times, status int, kind, body string) func(string, int) (int, string, string) {
		return func(op string, n int) (int, string, string) {
			if op == wanted && (n <= times || times < 0) {
				return status, kind, body
			}
			return 0, "", ""
		}
	}
	const soap = "application/soap+xml;charset=UTF-8"
	for name, c := range map[string]struct {
		far   *farEnd
		want  string // outcome
		says  string
		asked string // at least so often
		times int
		long  bool
	}{
		"shells over quota":     {far: &farEnd{before: refuse("Create", 3, 500, soap, wsmanFault(2150859173, "Die maximale Anzahl von Shells wurde überschritten."))}, want: "affected", asked: "Create", times: 4, long: true},
		"operations over quota": {far: &farEnd{before: refuse("Command", 1, 500, soap, wsmanFault(2150859174, "maximum number of 1500 concurrent operations"))}, want: "affected", asked: "Command", times: 2},
		"503":                   {far: &farEnd{before: refuse("Create", 2, 503, "text/html", "<HTML><HEAD><TITLE>Service Unavailable</TITLE></HEAD></HTML>")}, want: "affected", asked: "Create", times: 3},
		"quota for ever":        {far: &farEnd{before: refuse("Command", -1, 500, soap, wsmanFault(2150859176, "quota"))}, want: "unreachable", says: "quota", asked: "Command", times: 2, long: true},
		"banner before": {far: &farEnd{after: func(op string, body []byte) []byte {
			return stdout(body, func(b []byte) []byte { return append([]byte(banner), b...) })
		}}, want: "affected"},
		"banner behind": {far: &farEnd{after: func(op string, body []byte) []byte {
			return stdout(body, func(b []byte) []byte { return append(b, "\r\n**********************\r\nTranscript end\r\n"...) })
		}}, want: "affected", long: true},
		"progress": {far: &farEnd{after: func(op string, body []byte) []byte { return stderr(body, progress) }}, want: "affected"},
		"blocked by a policy": {far: &farEnd{after: func(op string, body []byte) []byte {
			return bytes.ReplaceAll(stderr(stdout(body, func([]byte) []byte { return nil }), blocked), []byte("<rsp:ExitCode>0<"), []byte("<rsp:ExitCode>1<"))
		}}, want: "unreachable", says: "Gruppenrichtlinie geblockt", long: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.long && os.Getenv("FLEETMEND_LONG") == "" {
				t.Skip("asks a far end until its time is over: set FLEETMEND_LONG=1")
			}
			_, fleet := plantedFleet(t, simfleet.Options{Machines: 1, Seed: 9, AllowBasic: true, Mix: &simfleet.Mix{Affected: 1}})
			far := c.far
			far.asked, far.machine = map[string]int{}, fleet.Machines()[0].Address
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // G402: the simulated machine of this test
			far.client = &http.Client{Transport: transport}
			server := httptest.NewTLSServer(far)
			t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			user, domain, _ := fleet.Account()
			for file, text := range map[string]string{
				"far.pem":      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
				"far.yaml":     fmt.Sprintf("state: far\nwinrm:\n  scheme: https\n  port: %s\n  auth: basic\n  user: %s\n  password-file: password\n  ca: far.pem\n", port, strings.TrimPrefix(domain+`\`+user, `\`)),
				"machines.csv": "name,address\n" + fleet.Machines()[0].Name + ",127.0.0.1\n",
			} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var printed bytes.Buffer
			fleetmend := func(args ...string) {
				code := execute(t.Context(), terminal.Streams{In: strings.NewReader(""), Out: &printed, Err: &printed, Width: 200}, append([]string{"--config", "far.yaml"}, args...))
				fmt.Fprintln(&printed, "exit", code)
			}
			fleetmend("inventory", "import", "machines.csv")
			fleetmend("run", "crowdstrike-channel-file-291", "--dry-run", "--yes")
			fleetmend("runs", "show", "last", "-o", "csv")
			if out := printed.String(); !strings.Contains(out, ","+c.want+",") || !strings.Contains(out, c.says) {
				t.Errorf("wanted %s %q, and asked %v:\n%s", c.want, c.says, far.asked, out)
			}
			far.mu.Lock()
			defer far.mu.Unlock()
			if far.asked[c.asked] < c.times {
				t.Errorf("asked %v, wanted %d of %s", far.asked, c.times, c.asked)
			}
		})
	}
}
