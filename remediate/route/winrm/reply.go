package winrm

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// reply is what we need of a WS-Man answer, whichever request it answers.
type reply struct {
	action    string
	relatesTo string
	shellID   string
	commandID string
	done      bool
	exitCode  int
	hasExit   bool
	fault     *fault
	identity  identified
	streams   int // how many Stream elements carried data
}

// identified is the body of an IdentifyResponse.
type identified struct{ product, vendor, protocol string }

// fault is a SOAP fault. Only the number decides; the text is for people and comes in the machine's language.
type fault struct {
	code uint32 // WSManFault@Code, 0 when the machine gave none
	text string
}

// errNotSOAP is what garbage in place of an answer is.
var errNotSOAP = errors.New("the answer is not a SOAP message")

// The namespaces of the elements that are read.
const (
	nsSOAP  = "http://www.w3.org/2003/05/soap-envelope"
	nsWSA   = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
	nsFault = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
	nsWSMan = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
	nsIdent = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"
)

// maxDepth and maxFaultText bound what a hostile answer can make us hold.
const (
	maxDepth     = 64
	maxFaultText = 1000
)

// parseReply reads one SOAP message. What the command wrote goes to out, which may be nil when no streams are expected;
// an error from out ends the reading. A message that is cut short is an error even when all fields were found.
func parseReply(body []byte, out *output) (*reply, error) {
	if r, ok, err := scanReply(body, out); ok {
		return r, err
	}
	return decodeReply(body, out)
}

// scanReply is parseReply for the messages of [simple]; ok is false for any other, of which nothing went to out: streams are read last.
func scanReply(body []byte, out *output) (r *reply, ok bool, err error) {
	type stream struct {
		attrs []xml.Attr
		text  []byte
	}
	r = &reply{}
	first, odd := true, false
	var streams []stream
	ok = simple(body, func(t xml.StartElement) {
		odd = odd || first && t.Name != (xml.Name{Space: nsSOAP, Local: "Envelope"})
		first = false
		r.start(t)
	}, func(path []xml.Name, attrs []xml.Attr, text []byte) {
		if path[len(path)-1] == (xml.Name{Space: shellURI, Local: "Stream"}) {
			streams = append(streams, stream{attrs, text})
			return
		}
		odd = odd || r.end(path, attrs, text, nil) != nil
	})
	if !ok || odd { // what is wrong with it the decoder says
		return nil, false, nil
	}
	for _, s := range streams {
		if err := r.endShell("Stream", s.attrs, s.text, out); err != nil {
			return nil, true, err
		}
	}
	return r, true, nil
}

func decodeReply(body []byte, out *output) (*reply, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	r := &reply{}
	var (
		path   []xml.Name
		attrs  []xml.Attr // of the innermost element
		text   []byte     // of the innermost element
		closed bool
	)
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errNotSOAP, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(path) == 0 && (closed || t.Name != (xml.Name{Space: nsSOAP, Local: "Envelope"})) {
				return nil, fmt.Errorf("%w: it starts with %q", errNotSOAP, clip(t.Name.Local, 40))
			}
			if len(path) == maxDepth {
				return nil, fmt.Errorf("%w: nested too deeply", errNotSOAP)
			}
			path = append(path, t.Name)
			attrs, text = t.Attr, text[:0]
			r.start(t)
		case xml.CharData:
			text = append(text, t...)
		case xml.EndElement:
			if err := r.end(path, attrs, text, out); err != nil {
				return nil, err
			}
			path, attrs, text = path[:len(path)-1], nil, text[:0]
			closed = len(path) == 0
		case xml.Directive:
			return nil, fmt.Errorf("%w: it holds a document type", errNotSOAP)
		}
	}
	if !closed {
		return nil, errNotSOAP
	}
	return r, nil
}

// start handles what stands in attributes.
func (r *reply) start(t xml.StartElement) {
	switch {
	case t.Name.Space == nsFault && t.Name.Local == "WSManFault":
		if r.fault == nil {
			r.fault = &fault{}
		}
		if code, err := strconv.ParseUint(attr(t.Attr, "Code"), 10, 32); err == nil && r.fault.code == 0 {
			r.fault.code = uint32(code)
		}
	case t.Name.Space == nsSOAP && t.Name.Local == "Fault":
		if r.fault == nil {
			r.fault = &fault{}
		}
	case t.Name.Space == shellURI && t.Name.Local == "CommandState":
		r.done = r.done || attr(t.Attr, "State") == stateDone
	}
}

// end handles what stands in the text of the element that ends, path[len(path)-1].
func (r *reply) end(path []xml.Name, attrs []xml.Attr, text []byte, out *output) error {
	name := path[len(path)-1]
	switch name.Space {
	case nsWSA:
		switch name.Local {
		case "Action":
			r.action = trimmed(text)
		case "RelatesTo":
			r.relatesTo = trimmed(text)
		}
	case shellURI:
		return r.endShell(name.Local, attrs, text, out)
	case nsWSMan:
		if name.Local == "Selector" && attr(attrs, "Name") == "ShellId" && r.shellID == "" {
			r.shellID = trimmed(text)
		}
	case nsSOAP, nsFault:
		if r.fault != nil && (name.Local == "Text" || name.Local == "Message" || name.Local == "ProviderFault") {
			if s := strings.Join(strings.Fields(string(text)), " "); s != "" && r.fault.text == "" {
				r.fault.text = clip(s, maxFaultText)
			}
		}
	case nsIdent:
		switch name.Local {
		case "ProductVersion":
			r.identity.product = clip(trimmed(text), 200)
		case "ProductVendor":
			r.identity.vendor = clip(trimmed(text), 200)
		case "ProtocolVersion":
			r.identity.protocol = clip(trimmed(text), 200)
		}
	}
	return nil
}

func (r *reply) endShell(local string, attrs []xml.Attr, text []byte, out *output) error {
	switch local {
	case "ShellId":
		r.shellID = trimmed(text)
	case "CommandId":
		r.commandID = trimmed(text)
	case "ExitCode":
		code, err := strconv.ParseInt(trimmed(text), 10, 64)
		if err != nil {
			return fmt.Errorf("%w: exit code %q", errNotSOAP, clip(trimmed(text), 40))
		}
		r.exitCode, r.hasExit = int(uint32(code)), true
	case "Stream":
		if out == nil || len(text) == 0 {
			return nil
		}
		text = bytes.TrimSpace(text)
		n, err := base64.StdEncoding.Decode(text, text)
		if err != nil {
			return fmt.Errorf("%w: a stream is not base64: %v", errNotSOAP, err)
		}
		r.streams++
		return out.write(attr(attrs, "Name"), text[:n])
	}
	return nil
}

func attr(attrs []xml.Attr, local string) string {
	for _, a := range attrs {
		if a.Name.Local == local && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

func trimmed(text []byte) string { return string(bytes.TrimSpace(text)) }

// clip shortens s to at most n bytes without cutting a character, for messages.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "..."
}
