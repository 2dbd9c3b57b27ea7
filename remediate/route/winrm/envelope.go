package winrm

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"sync"

	mzwinrm "github.com/masterzen/winrm"
	"github.com/masterzen/winrm/soap"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// The WS-Man actions and resource of a remote shell (MS-WSMV section 3.1.4).
const (
	actionCreate  = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Create"
	actionDelete  = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete"
	shellURI      = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
	actionCommand = shellURI + "/Command"
	actionSend    = shellURI + "/Send"
	actionReceive = shellURI + "/Receive"
	resourceCmd   = shellURI + "/cmd"
	stateDone     = shellURI + "/CommandState/Done"
)

const (
	envelopeSize = 153600       // the largest reply we ask for, in bytes; the default every WinRM version grants
	sendLimit    = 100 << 10    // raw bytes of stdin in one Send: below 153,600 as base64 with its envelope
	idleTimeout  = "PT900.000S" // a shell that we could not delete goes away by itself after this long
	locale       = "en-US"
)

// template is an envelope that was built once and is filled per request: text, hole, text, hole, ..., text.
type template struct {
	text  []string
	holes []string
	size  int // about what is needed without command line and stdin
}

// values fill the holes of a template. Everything but stdin is escaped as XML, stdin is written as base64.
type values struct {
	to, messageID, timeout, shellID, commandID, commandLine string
	stdin                                                   []byte
}

var holePattern = lazyregexp.New(`@(To|MessageID|Timeout|ShellID|CommandID|CommandLine|Stdin)@`)

func newTemplate(message string) *template {
	message = strings.TrimSpace(message)
	t := &template{size: len(message) + 256}
	at := 0
	for _, m := range holePattern.FindAllStringSubmatchIndex(message, -1) {
		t.text = append(t.text, message[at:m[0]])
		t.holes = append(t.holes, message[m[2]:m[3]])
		at = m[1]
	}
	t.text = append(t.text, message[at:])
	return t
}

func (t *template) fill(b []byte, v *values) []byte {
	b = slices.Grow(b, t.size+len(v.commandLine)+base64.StdEncoding.EncodedLen(len(v.stdin)))
	for i, hole := range t.holes {
		b = append(b, t.text[i]...)
		switch hole {
		case "To":
			b = appendEscaped(b, v.to)
		case "MessageID":
			b = appendEscaped(b, v.messageID)
		case "Timeout":
			b = appendEscaped(b, v.timeout)
		case "ShellID":
			b = appendEscaped(b, v.shellID)
		case "CommandID":
			b = appendEscaped(b, v.commandID)
		case "CommandLine":
			b = appendEscaped(b, v.commandLine)
		case "Stdin":
			b = base64.StdEncoding.AppendEncode(b, v.stdin)
		}
	}
	return append(b, t.text[len(t.text)-1]...)
}

func appendEscaped(b []byte, s string) []byte {
	if !strings.ContainsAny(s, "&<>\"'\t\n\r") && isPrintableASCII(s) {
		return append(b, s...)
	}
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(s)) // a Builder never fails
	return append(b, escaped.String()...)
}

func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// envelopes are the requests of one shell's life.
type envelopes struct {
	create, command, send, sendEnd, receive, delete *template
}

// shellEnvelopes builds them on the SOAP builders of masterzen/winrm, which escape nothing: all that varies is a hole.
// Create and Command are composed here because the library's own have no idle timeout, load the user's profile and open
// stdin as a console, where end of input does not exist.
var shellEnvelopes = sync.OnceValue(func() *envelopes {
	const to, shell, command = "@To@", "@ShellID@", "@CommandID@"
	params := mzwinrm.NewParameters("@Timeout@", locale, envelopeSize)
	library := func(m *soap.SoapMessage) *template { return newTemplate(withMessageID(m.String())) }
	// The stdin hole is cut into the library's own Send: it would encode the name of the hole as base64.
	hole := base64.StdEncoding.EncodeToString([]byte("stdin"))
	send := func(end bool) *template {
		m := mzwinrm.NewSendInputRequest(to, shell, command, []byte("stdin"), end, params)
		return newTemplate(withMessageID(strings.Replace(m.String(), ">"+hole+"<", ">@Stdin@<", 1)))
	}
	return &envelopes{
		create:  newTemplate(createMessage(to)),
		command: newTemplate(commandMessage(to, shell)),
		send:    send(false),
		sendEnd: send(true),
		receive: library(mzwinrm.NewGetOutputRequest(to, shell, command, "stdout stderr", params)),
		delete:  library(mzwinrm.NewDeleteShellRequest(to, shell, params)),
	}
})

// messageIDPattern finds the ID that the library drew when the template was built.
var messageIDPattern = lazyregexp.New(`uuid:[0-9a-fA-F-]{36}`)

func withMessageID(message string) string {
	return messageIDPattern.ReplaceAllString(message, "@MessageID@")
}

func header(m *soap.SoapMessage, to, action string) *soap.SoapHeader {
	return m.Header().
		To(to).
		ReplyTo("http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous").
		MaxEnvelopeSize(envelopeSize).
		Id("@MessageID@").
		Locale(locale).
		Timeout("@Timeout@").
		Action(action).
		ResourceURI(resourceCmd)
}

func createMessage(to string) string {
	m := soap.NewMessage()
	header(m, to, actionCreate).
		AddOption(soap.NewHeaderOption("WINRS_NOPROFILE", "TRUE")).
		AddOption(soap.NewHeaderOption("WINRS_CODEPAGE", "65001")).
		Build()
	shell := m.CreateBodyElement("Shell", soap.DOM_NS_WIN_SHELL)
	m.CreateElement(shell, "InputStreams", soap.DOM_NS_WIN_SHELL).SetContent("stdin")
	m.CreateElement(shell, "OutputStreams", soap.DOM_NS_WIN_SHELL).SetContent("stdout stderr")
	m.CreateElement(shell, "IdleTimeOut", soap.DOM_NS_WIN_SHELL).SetContent(idleTimeout)
	return m.String()
}

func commandMessage(to, shell string) string {
	m := soap.NewMessage()
	header(m, to, actionCommand).
		ShellId(shell).
		AddOption(soap.NewHeaderOption("WINRS_CONSOLEMODE_STDIN", "FALSE")).
		AddOption(soap.NewHeaderOption("WINRS_SKIP_CMD_SHELL", "FALSE")).
		Build()
	line := m.CreateBodyElement("CommandLine", soap.DOM_NS_WIN_SHELL)
	m.CreateElement(line, "Command", soap.DOM_NS_WIN_SHELL).SetContent("@CommandLine@")
	return m.String()
}

// newMessageID draws a random UUID (RFC 9562, version 4) in the form that WS-Addressing wants.
func newMessageID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: crypto/rand aborts the process instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("uuid:%X-%X-%X-%X-%X", u[0:4], u[4:6], u[6:8], u[8:10], u[10:])
}
