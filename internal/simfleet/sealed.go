package simfleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/internal/simfleet/ntlm"
)

// The encrypted form of a message (MS-WSMV section 2.2.9.1): two MIME parts, the second of them binary.
const (
	sealedProtocol = "application/HTTP-SPNEGO-session-encrypted"
	sealedBoundary = "--Encrypted Boundary"
	sealedType     = `multipart/encrypted;protocol="` + sealedProtocol + `";boundary="Encrypted Boundary"`
	soapType       = "application/soap+xml;charset=UTF-8"
)

var errSealedForm = errors.New("encrypted message is not in the form of MS-WSMV section 2.2.9.1")

func isSealed(contentType string) bool {
	return strings.HasPrefix(strings.ToLower(contentType), "multipart/encrypted") && strings.Contains(contentType, sealedProtocol)
}

// seal packs an envelope for the client of a session.
func seal(session *ntlm.Session, envelope []byte) []byte {
	signature, data := session.Seal(envelope)
	var b bytes.Buffer
	b.Grow(len(data) + 400)
	fmt.Fprintf(&b, "%s\r\n\tContent-Type: %s\r\n\tOriginalContent: type=%s;Length=%d\r\n%s\r\n\tContent-Type: application/octet-stream\r\n",
		sealedBoundary, sealedProtocol, soapType, len(envelope), sealedBoundary)
	_ = binary.Write(&b, binary.LittleEndian, uint32(len(signature))) // a bytes.Buffer never fails
	b.Write(signature)
	b.Write(data)
	b.WriteString(sealedBoundary + "--\r\n")
	return b.Bytes()
}

// unseal takes an encrypted message apart and opens it.
func unseal(session *ntlm.Session, body []byte) ([]byte, error) {
	signature, data, err := takeApart(body)
	if err != nil {
		return nil, err
	}
	return session.Open(signature, data)
}

// takeApart finds signature and data in an encrypted message. Nothing in it is trusted: every length is checked.
func takeApart(body []byte) (signature, data []byte, err error) {
	rest, ok := bytes.CutPrefix(body, []byte(sealedBoundary+"\r\n"))
	if !ok {
		return nil, nil, errSealedForm
	}
	head, rest, ok := bytes.Cut(rest, []byte(sealedBoundary+"\r\n"))
	if !ok || len(head) > 1024 {
		return nil, nil, errSealedForm
	}
	length := -1
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); strings.EqualFold(name, "OriginalContent") {
			_, number, _ := strings.Cut(value, "Length=")
			if n, err := strconv.Atoi(strings.TrimSpace(number)); err == nil {
				length = n
			}
		}
	}
	kind, rest, ok := bytes.Cut(rest, []byte("\r\n"))
	if !ok || !strings.EqualFold(strings.TrimSpace(string(kind)), "Content-Type: application/octet-stream") {
		return nil, nil, errSealedForm
	}
	rest, ok = bytes.CutSuffix(bytes.TrimSuffix(rest, []byte("\r\n")), []byte(sealedBoundary+"--"))
	if !ok || len(rest) < 20 || binary.LittleEndian.Uint32(rest) != 16 || len(rest) != 20+length {
		return nil, nil, errSealedForm
	}
	return rest[4:20], rest[20:], nil
}
