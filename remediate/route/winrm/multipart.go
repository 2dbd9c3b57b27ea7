package winrm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
)

// Sealed SOAP messages travel as multipart/encrypted (MS-WSMV section 2.2.9.1): two parts, the first describes the
// message, the second holds the length of the signature (4 bytes, little endian), the signature, and the sealed bytes.
const (
	sealedProtocol = "application/HTTP-SPNEGO-session-encrypted"
	sealedBoundary = "Encrypted Boundary"
	sealedType     = `multipart/encrypted;protocol="` + sealedProtocol + `";boundary="` + sealedBoundary + `"`
	soapType       = "application/soap+xml;charset=UTF-8"

	longestSignature = 256 // bytes; those in use have 16 to 72
)

var (
	errMultipart = errors.New("the sealed answer is malformed")
	errPlain     = errors.New("the machine answered a sealed request without sealing")
)

// appendSealed writes the body of a sealed request; length is that of the message in the clear.
func appendSealed(b []byte, length int, signature, sealed []byte) []byte {
	b = slices.Grow(b, 512+len(sealed))
	b = append(b, "--"+sealedBoundary+"\r\n\tContent-Type: "+sealedProtocol+
		"\r\n\tOriginalContent: type="+soapType+";Length="...)
	b = strconv.AppendInt(b, int64(length), 10)
	b = append(b, "\r\n--"+sealedBoundary+"\r\n\tContent-Type: application/octet-stream\r\n"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(signature)))
	b = append(b, signature...)
	b = append(b, sealed...)
	return append(b, "--"+sealedBoundary+"--\r\n"...)
}

// sealedPart is one message of a sealed body; both slices point into it.
type sealedPart struct{ signature, data []byte }

// parseSealed takes a sealed body apart. It allows several messages in a row, and it goes by the declared length because
// sealed bytes may hold anything, the boundary too.
func parseSealed(contentType string, body []byte) ([]sealedPart, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/encrypted" || !strings.EqualFold(params["protocol"], sealedProtocol) {
		return nil, errPlain
	}
	boundary := "--" + params["boundary"]
	if params["boundary"] == "" {
		return nil, fmt.Errorf("%w: no boundary", errMultipart)
	}
	var parts []sealedPart
	rest := body
	for {
		part, after, err := nextSealed(boundary, rest)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if bytes.HasPrefix(after, []byte(boundary+"--")) {
			return parts, nil
		}
		rest = after
	}
}

func nextSealed(boundary string, rest []byte) (part sealedPart, after []byte, err error) {
	length := -1
	rest, err = headerLines(boundary, rest, func(name, value string) error {
		if name == "originalcontent" {
			length, err = declaredLength(value)
			return err
		}
		return nil
	}, "originalcontent")
	if err != nil {
		return part, nil, err
	}
	rest, err = headerLines(boundary, rest, func(_, value string) error {
		if !strings.EqualFold(value, "application/octet-stream") {
			return fmt.Errorf("%w: a part of type %q", errMultipart, clip(value, 60))
		}
		return nil
	}, "content-type")
	if err != nil {
		return part, nil, err
	}
	if len(rest) < 4 || binary.LittleEndian.Uint32(rest) > longestSignature {
		return part, nil, fmt.Errorf("%w: no signature", errMultipart)
	}
	size := int(binary.LittleEndian.Uint32(rest))
	rest = rest[4:]
	if length < 0 || length > len(rest)-size {
		return part, nil, fmt.Errorf("%w: cut short", errMultipart)
	}
	end := size + length
	part = sealedPart{signature: rest[:size:size], data: rest[size:end:end]}
	after = rest[end:]
	if !bytes.HasPrefix(after, []byte(boundary)) {
		return part, nil, fmt.Errorf("%w: its length is not the declared one", errMultipart)
	}
	return part, after, nil
}

// headerLines reads the boundary line and the header lines up to and including the one named last.
func headerLines(boundary string, rest []byte, each func(name, value string) error, last string) ([]byte, error) {
	line, rest, ok := cutLine(rest)
	if !ok || line != boundary {
		return nil, fmt.Errorf("%w: a boundary is missing", errMultipart)
	}
	for range 8 {
		if line, rest, ok = cutLine(rest); !ok {
			break
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			break
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == last {
			return rest, each(name, value)
		}
		if len(name) > 40 {
			break
		}
	}
	return nil, fmt.Errorf("%w: a header is missing", errMultipart)
}

// cutLine cuts at the next CRLF, which must come within a header's usual length.
func cutLine(b []byte) (line string, rest []byte, ok bool) {
	at := bytes.Index(b[:min(len(b), 512)], []byte("\r\n"))
	if at < 0 {
		return "", nil, false
	}
	return string(b[:at]), b[at+2:], true
}

func declaredLength(value string) (int, error) {
	for field := range strings.SplitSeq(value, ";") {
		if name, number, ok := strings.Cut(strings.TrimSpace(field), "="); ok && strings.EqualFold(name, "Length") {
			n, err := strconv.Atoi(number)
			if err != nil || n < 0 {
				return 0, fmt.Errorf("%w: length %q", errMultipart, clip(number, 20))
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: no length", errMultipart)
}
