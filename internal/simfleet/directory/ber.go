package directory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Tags of BER elements as LDAP uses them (RFC 4511 section 5.1): definite lengths, tag numbers below 31.
const (
	tagBoolean    = 0x01
	tagInteger    = 0x02
	tagOctets     = 0x04
	tagEnumerated = 0x0a
	tagSequence   = 0x30
	tagSet        = 0x31
)

// maxMessage bounds a request. A search by a client of ours takes some hundred bytes; AD's own bound is 10 MB.
const maxMessage = 256 << 10

var errBER = errors.New("malformed BER")

// element is one BER element. Its contents are part of the message it was read from.
type element struct {
	tag  byte
	data []byte
}

// next takes the first element off b.
func next(b []byte) (element, []byte, error) {
	if len(b) < 2 {
		return element{}, nil, errBER
	}
	e := element{tag: b[0]}
	if e.tag&0x1f == 0x1f {
		return element{}, nil, errBER // LDAP has no tag above 30
	}
	n, size, err := length(b[1:])
	if err != nil || n > len(b)-1-size {
		return element{}, nil, errBER
	}
	b = b[1+size:]
	e.data = b[:n]
	return e, b[n:], nil
}

// length reads the length octets at the start of b and says how many there are.
func length(b []byte) (n, size int, err error) {
	if len(b) == 0 {
		return 0, 0, errBER
	}
	if b[0] < 0x80 {
		return int(b[0]), 1, nil
	}
	size = int(b[0] & 0x7f)
	if size == 0 || size > 4 || len(b) < 1+size {
		return 0, 0, errBER
	}
	for _, c := range b[1 : 1+size] {
		n = n<<8 | int(c)
		if n > maxMessage*16 { // far above anything valid, and no overflow on 32 bits
			return 0, 0, errBER
		}
	}
	return n, 1 + size, nil
}

// children splits the contents of a constructed element.
func children(b []byte, limit int) ([]element, error) {
	var out []element
	for len(b) > 0 {
		e, rest, err := next(b)
		if err != nil {
			return nil, err
		}
		if len(out) == limit {
			return nil, fmt.Errorf("%w: more than %d elements", errBER, limit)
		}
		out = append(out, e)
		b = rest
	}
	return out, nil
}

// integer reads INTEGER and ENUMERATED; nothing in LDAP needs more than 32 bits.
func (e element) integer() (int, error) {
	if len(e.data) == 0 || len(e.data) > 4 {
		return 0, errBER
	}
	n := int64(int8(e.data[0]))
	for _, c := range e.data[1:] {
		n = n<<8 | int64(c)
	}
	return int(n), nil
}

func (e element) boolean() bool { return len(e.data) == 1 && e.data[0] != 0 }

// readMessage reads one LDAPMessage, without its outer tag and length.
func readMessage(r *bufio.Reader) ([]byte, error) {
	head := make([]byte, 2, 8)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if head[0] != tagSequence {
		return nil, fmt.Errorf("%w: a message begins with tag %#x", errBER, head[0])
	}
	if more := int(head[1] & 0x7f); head[1] >= 0x80 && more <= 4 {
		head = head[:2+more]
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
	}
	n, _, err := length(head[1:])
	if err != nil {
		return nil, err
	}
	if n > maxMessage {
		return nil, fmt.Errorf("message of %d bytes: more than %d are not taken", n, maxMessage)
	}
	body := make([]byte, n)
	_, err = io.ReadFull(r, body)
	return body, err
}

// appendHead appends tag and length.
func appendHead(dst []byte, tag byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(dst, tag, byte(n))
	case n < 1<<8:
		return append(dst, tag, 0x81, byte(n))
	case n < 1<<16:
		return append(dst, tag, 0x82, byte(n>>8), byte(n))
	}
	return append(dst, tag, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// headSize is how many bytes appendHead appends.
func headSize(n int) int {
	switch {
	case n < 0x80:
		return 2
	case n < 1<<8:
		return 3
	case n < 1<<16:
		return 4
	}
	return 6
}

func appendOctets[T string | []byte](dst []byte, tag byte, text T) []byte {
	return append(appendHead(dst, tag, len(text)), text...)
}

func appendInteger(dst []byte, tag byte, n int) []byte {
	var b [5]byte
	at := len(b)
	for v := n; ; v >>= 8 {
		at--
		b[at] = byte(v)
		if (v>>7 == 0 || v>>7 == -1) || at == 0 {
			break
		}
	}
	return append(appendHead(dst, tag, len(b)-at), b[at:]...)
}

// wrap puts contents into an element.
func wrap(tag byte, contents []byte) []byte {
	return append(appendHead(make([]byte, 0, len(contents)+6), tag, len(contents)), contents...)
}
