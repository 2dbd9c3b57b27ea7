// Package ntlm is the server's side of NTLMv2 (MS-NLMP): challenge, verification, signing and sealing.
//
// [NewAcceptor] starts one handshake; [Acceptor.Challenge] answers a type 1 message and [Acceptor.Authenticate] judges
// the type 3 message and gives the [Session] that opens and seals what follows on this connection. It is written from
// the specification and shares no code with any client library, so that it cross-checks ours. It never accepts NTLMv1
// or LM responses, anonymous logons, or sessions without extended session security.
package ntlm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The negotiate flags of MS-NLMP section 2.2.2.5 that matter here.
const (
	flagUnicode         = 1 << 0
	flagRequestTarget   = 1 << 2
	flagSign            = 1 << 4
	flagSeal            = 1 << 5
	flagNTLM            = 1 << 9
	flagAlwaysSign      = 1 << 15
	flagTargetDomain    = 1 << 16
	flagExtendedSession = 1 << 19
	flagTargetInfo      = 1 << 23
	flagVersion         = 1 << 25
	flag128             = 1 << 29
	flagKeyExchange     = 1 << 30
	flag56              = 1 << 31
)

// AV pair identifiers of MS-NLMP section 2.2.2.1.
const (
	avEOL             = 0
	avNbComputer      = 1
	avNbDomain        = 2
	avDNSComputer     = 3
	avDNSDomain       = 4
	avDNSTree         = 5
	avFlags           = 6
	avTimestamp       = 7
	avChannelBindings = 10
)

var signature = []byte("NTLMSSP\x00")

// ErrMessage is wrapped by every complaint about the form of a message.
var ErrMessage = errors.New("malformed NTLM message")

// IsMessage reports whether token is a bare NTLM message (not one wrapped in SPNEGO).
func IsMessage(token []byte) bool { return bytes.HasPrefix(token, signature) }

// Type returns the message type (1, 2 or 3), or 0 when token is no NTLM message.
func Type(token []byte) int {
	if !IsMessage(token) || len(token) < 12 {
		return 0
	}
	t := binary.LittleEndian.Uint32(token[8:])
	if t < 1 || t > 3 {
		return 0
	}
	return int(t)
}

// field reads a security buffer (length, allocated, offset) at the given place of a message.
func field(message []byte, at int) ([]byte, error) {
	if len(message) < at+8 {
		return nil, fmt.Errorf("%w: %d bytes, a field at %d", ErrMessage, len(message), at)
	}
	length := int(binary.LittleEndian.Uint16(message[at:]))
	offset := uint64(binary.LittleEndian.Uint32(message[at+4:]))
	if length == 0 {
		return nil, nil
	}
	if offset+uint64(length) > uint64(len(message)) {
		return nil, fmt.Errorf("%w: a field of %d bytes at offset %d ends outside of %d bytes", ErrMessage, length, offset, len(message))
	}
	return message[offset : offset+uint64(length)], nil
}

// authenticate is a type 3 message taken apart (MS-NLMP section 2.2.1.3).
type authenticate struct {
	flags        uint32
	user, domain string
	workstation  string
	ntResponse   []byte
	sessionKey   []byte
	mic          []byte // nil where the header has no room for one
}

func parseAuthenticate(message []byte) (authenticate, error) {
	var a authenticate
	if Type(message) != 3 {
		return a, fmt.Errorf("%w: not an AUTHENTICATE message", ErrMessage)
	}
	if len(message) < 64 {
		return a, fmt.Errorf("%w: AUTHENTICATE of %d bytes", ErrMessage, len(message))
	}
	var raw [6][]byte
	lowest := len(message)
	for i := range raw {
		part, err := field(message, 12+8*i)
		if err != nil {
			return a, err
		}
		raw[i] = part
		if len(part) > 0 {
			lowest = min(lowest, int(binary.LittleEndian.Uint32(message[16+8*i:])))
		}
	}
	a.flags = binary.LittleEndian.Uint32(message[60:])
	if a.flags&flagUnicode == 0 {
		return a, fmt.Errorf("%w: strings are not in Unicode", ErrMessage)
	}
	a.ntResponse, a.sessionKey = raw[1], raw[5]
	a.domain, a.user, a.workstation = fromUTF16le(raw[2]), fromUTF16le(raw[3]), fromUTF16le(raw[4])
	if lowest >= 88 && len(message) >= 88 {
		a.mic = message[72:88]
	}
	return a, nil
}

// pairs walks the AV pairs of a target info; a later pair of the same kind wins, as in no message of Windows.
func pairs(info []byte) (map[uint16][]byte, error) {
	out := map[uint16][]byte{}
	for {
		if len(info) < 4 {
			return nil, fmt.Errorf("%w: AV pairs without an end", ErrMessage)
		}
		id, length := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		if id == avEOL {
			return out, nil
		}
		if len(info) < 4+length {
			return nil, fmt.Errorf("%w: AV pair %d of %d bytes is cut off", ErrMessage, id, length)
		}
		out[id] = info[4 : 4+length]
		info = info[4+length:]
	}
}

func appendPair(out []byte, id uint16, value []byte) []byte {
	out = binary.LittleEndian.AppendUint16(out, id)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(value)))
	return append(out, value...)
}
