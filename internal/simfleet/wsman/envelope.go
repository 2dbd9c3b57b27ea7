package wsman

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Action and resource URIs of MS-WSMV.
const (
	nsSOAP     = "http://www.w3.org/2003/05/soap-envelope"
	nsTransfer = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
	nsShell    = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
	nsIdentify = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"

	actionCreate  = nsTransfer + "/Create"
	actionDelete  = nsTransfer + "/Delete"
	actionCommand = nsShell + "/Command"
	actionSend    = nsShell + "/Send"
	actionReceive = nsShell + "/Receive"
	actionSignal  = nsShell + "/Signal"
	actionFault   = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"

	resourceCmd = nsShell + "/cmd"
	stateURI    = nsShell + "/CommandState/"
	signalURI   = nsShell + "/signal/"
	anonymous   = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
)

// envelope is a request as far as the shell protocol needs it. Every element is matched with its namespace.
type envelope struct {
	XMLName xml.Name `xml:"http://www.w3.org/2003/05/soap-envelope Envelope"`
	Header  header   `xml:"http://www.w3.org/2003/05/soap-envelope Header"`
	Body    struct {
		Identify *struct{}    `xml:"http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd Identify"`
		Shell    *shellBody   `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Shell"`
		Command  *commandBody `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell CommandLine"`
		Send     *sendBody    `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Send"`
		Receive  *receiveBody `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Receive"`
		Signal   *signalBody  `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Signal"`
	} `xml:"http://www.w3.org/2003/05/soap-envelope Body"`
}

type header struct {
	Action    string  `xml:"http://schemas.xmlsoap.org/ws/2004/08/addressing Action"`
	MessageID string  `xml:"http://schemas.xmlsoap.org/ws/2004/08/addressing MessageID"`
	Resource  string  `xml:"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd ResourceURI"`
	Timeout   string  `xml:"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd OperationTimeout"`
	MaxSize   string  `xml:"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd MaxEnvelopeSize"`
	Selectors []named `xml:"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd SelectorSet>Selector"`
	Options   []named `xml:"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd OptionSet>Option"`
}

type named struct {
	Name string `xml:"Name,attr"`
	Text string `xml:",chardata"`
}

type shellBody struct {
	ID        string  `xml:"ShellId,attr"`
	Idle      string  `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell IdleTimeOut"`
	Input     string  `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell InputStreams"`
	Output    string  `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell OutputStreams"`
	Directory string  `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell WorkingDirectory"`
	Variables []named `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Environment>Variable"`
}

type commandBody struct {
	ID        string   `xml:"CommandId,attr"`
	Command   string   `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Command"`
	Arguments []string `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Arguments"`
}

type sendBody struct {
	Streams []streamBody `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Stream"`
}

type streamBody struct {
	Name    string `xml:"Name,attr"`
	Command string `xml:"CommandId,attr"`
	End     string `xml:"End,attr"`
	Text    string `xml:",chardata"`
	long    []byte // in place of Text, of a long one
}

type receiveBody struct {
	Desired struct {
		Command string `xml:"CommandId,attr"`
		Names   string `xml:",chardata"`
	} `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell DesiredStream"`
}

type signalBody struct {
	Command string `xml:"CommandId,attr"`
	Code    string `xml:"http://schemas.microsoft.com/wbem/wsman/1/windows/shell Code"`
}

// parse reads exactly one envelope. Document type declarations are refused, and nothing may follow the envelope.
func parse(raw []byte) (*envelope, error) {
	if bytes.Contains(raw, []byte("<!DOCTYPE")) || bytes.Contains(raw, []byte("<!ENTITY")) {
		return nil, fmt.Errorf("document type declaration in an envelope")
	}
	short, long := cutLong(raw)
	decoder := xml.NewDecoder(bytes.NewReader(short))
	decoder.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, fmt.Errorf("not UTF-8") }
	var e envelope
	if err := decoder.Decode(&e); err != nil {
		return nil, fmt.Errorf("read envelope: %w", err)
	}
	if err := ended(decoder); err != nil {
		return nil, err
	}
	if long != nil && e.Body.Send != nil {
		for i := range e.Body.Send.Streams {
			if s := &e.Body.Send.Streams[i]; s.Text == stand {
				s.long = long
			}
		}
	}
	return &e, nil
}

// ended checks that nothing but white space follows.
func ended(decoder *xml.Decoder) error {
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return nil
		}
		if space, ok := token.(xml.CharData); err != nil || !ok || len(bytes.TrimSpace(space)) > 0 {
			return errors.New("read envelope: something follows it")
		}
	}
}

// stand stands for a text that was cut out; no stream can hold it, because it is no base64.
const stand = "*"

// cutLong takes the first long base64 text between two tags out of an envelope. A decoder of XML looks at every
// character of it, which is most of what a request with an agent in it costs.
func cutLong(raw []byte) (short, long []byte) {
	const enough = 4096
	rest := raw
	for {
		i := bytes.IndexByte(rest, '>')
		if i < 0 || len(rest)-i < enough {
			return raw, nil
		}
		rest = rest[i+1:]
		end := bytes.IndexByte(rest, '<')
		if end < enough || bytes.ContainsFunc(rest[:end], notBase64) {
			continue
		}
		at := len(raw) - len(rest)
		short = make([]byte, 0, len(raw)-end+len(stand))
		short = append(append(append(short, raw[:at]...), stand...), rest[end:]...)
		return short, rest[:end]
	}
}

func notBase64(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '/' && r != '='
}

// data decodes what a stream carries.
func (s *streamBody) data() ([]byte, error) {
	if s.long != nil {
		out := make([]byte, base64.StdEncoding.DecodedLen(len(s.long)))
		n, err := base64.StdEncoding.Decode(out, s.long)
		return out[:n], err
	}
	return base64.StdEncoding.DecodeString(strings.TrimSpace(s.Text))
}

// option returns the value of a named option, without regard to case.
func (h *header) option(name string) string {
	for _, o := range h.Options {
		if strings.EqualFold(o.Name, name) {
			return strings.TrimSpace(o.Text)
		}
	}
	return ""
}

// isTrue reads a Boolean as the clients write it: TRUE, True, true, 1.
func isTrue(s string) bool {
	return strings.EqualFold(strings.TrimSpace(s), "true") || strings.TrimSpace(s) == "1"
}

// duration reads the part of xs:duration that WS-Management uses: PT with hours, minutes and seconds, or days.
func duration(text string) (time.Duration, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "P")
	if !ok || rest == "" {
		return 0, fmt.Errorf("duration %q", text)
	}
	var total time.Duration
	units := map[byte]time.Duration{'D': 24 * time.Hour}
	for rest != "" {
		if rest[0] == 'T' {
			units = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}
			rest = rest[1:]
			continue
		}
		at := strings.IndexAny(rest, "DHMS")
		if at < 1 {
			return 0, fmt.Errorf("duration %q", text)
		}
		number, err := strconv.ParseFloat(rest[:at], 64)
		unit := units[rest[at]]
		if err != nil || unit == 0 || number < 0 || number > 1e6 {
			return 0, fmt.Errorf("duration %q", text)
		}
		total += time.Duration(number * float64(unit))
		rest = rest[at+1:]
	}
	return total, nil
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder never fails
	return b.String()
}

// reply frames a response body as Windows does.
func reply(action, messageID, relatesTo, body string) []byte {
	var b bytes.Buffer
	b.Grow(1024 + len(body))
	b.WriteString(`<s:Envelope xml:lang="en-US" xmlns:s="` + nsSOAP + `" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" ` +
		`xmlns:x="` + nsTransfer + `" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="` + nsShell + `" ` +
		`xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"><s:Header><a:Action>` + action + `</a:Action><a:MessageID>uuid:` +
		messageID + `</a:MessageID><a:To>` + anonymous + `</a:To>`)
	if relatesTo != "" {
		b.WriteString(`<a:RelatesTo>` + escape(relatesTo) + `</a:RelatesTo>`)
	}
	b.WriteString(`</s:Header><s:Body>` + body + `</s:Body></s:Envelope>`)
	return b.Bytes()
}

// Operation names the shell operation that a request asks for (create, command, send, receive, signal, delete), or
// returns "" for anything else. It is a look at the action's URI only.
func Operation(raw []byte) string {
	for action, name := range operations {
		if bytes.Contains(raw, []byte(">"+action+"<")) {
			return name
		}
	}
	return ""
}
