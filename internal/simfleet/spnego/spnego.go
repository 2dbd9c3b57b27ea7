// Package spnego reads and writes the tokens of SPNEGO (RFC 4178) as far as an acceptor of NTLM needs them.
//
// [Parse] takes a client's token apart, [Reply.Marshal] writes the server's. The package negotiates nothing itself and
// knows no mechanism but the object identifier of NTLM.
package spnego

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrToken is wrapped by every complaint about the form of a token.
var ErrToken = errors.New("malformed SPNEGO token")

var (
	oidSPNEGO = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	// OIDNTLM is the mechanism NTLMSSP.
	OIDNTLM = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}
)

// The negotiation states of RFC 4178 section 4.2.2.
const (
	AcceptCompleted  = 0
	AcceptIncomplete = 1
	Reject           = 2
	RequestMIC       = 3
)

// Token is a client's token: a NegTokenInit where Init is true, else a NegTokenResp.
type Token struct {
	Init          bool
	Mechanisms    []asn1.ObjectIdentifier // of an Init, in order of preference
	MechanismsDER []byte                  // the list as it was sent: what a mechListMIC covers
	Inner         []byte                  // the mechanism's own message
	MIC           []byte
}

func tag(n int) der.Tag { return der.Tag(n).ContextSpecific().Constructed() }

// Parse reads a NegTokenInit in its GSS-API frame (RFC 2743 section 3.1) or a NegTokenResp.
func Parse(token []byte) (Token, error) {
	in := cryptobyte.String(token)
	var body cryptobyte.String
	if in.PeekASN1Tag(der.Tag(0).Constructed() | 0x40) {
		var frame cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !in.ReadASN1(&frame, der.Tag(0).Constructed()|0x40) || !frame.ReadASN1ObjectIdentifier(&oid) {
			return Token{}, fmt.Errorf("%w: GSS-API frame", ErrToken)
		}
		if !oid.Equal(oidSPNEGO) || !frame.ReadASN1(&body, tag(0)) {
			return Token{}, fmt.Errorf("%w: mechanism %s is not SPNEGO", ErrToken, oid)
		}
		return parseInit(body)
	}
	if !in.ReadASN1(&body, tag(1)) {
		return Token{}, fmt.Errorf("%w: neither NegTokenInit nor NegTokenResp", ErrToken)
	}
	return parseResponse(body)
}

func parseInit(body cryptobyte.String) (Token, error) {
	t := Token{Init: true}
	var sequence, list cryptobyte.String
	if !body.ReadASN1(&sequence, der.SEQUENCE) || !sequence.ReadASN1(&list, tag(0)) {
		return t, fmt.Errorf("%w: NegTokenInit without mechTypes", ErrToken)
	}
	t.MechanismsDER = append([]byte(nil), list...)
	var oids cryptobyte.String
	if !list.ReadASN1(&oids, der.SEQUENCE) {
		return t, fmt.Errorf("%w: mechTypes", ErrToken)
	}
	for !oids.Empty() {
		var oid asn1.ObjectIdentifier
		if !oids.ReadASN1ObjectIdentifier(&oid) {
			return t, fmt.Errorf("%w: mechTypes", ErrToken)
		}
		t.Mechanisms = append(t.Mechanisms, oid)
	}
	if !sequence.SkipOptionalASN1(tag(1)) {
		return t, fmt.Errorf("%w: reqFlags", ErrToken)
	}
	return t, t.octets(sequence)
}

func parseResponse(body cryptobyte.String) (Token, error) {
	var t Token
	var sequence cryptobyte.String
	if !body.ReadASN1(&sequence, der.SEQUENCE) || !sequence.SkipOptionalASN1(tag(0)) || !sequence.SkipOptionalASN1(tag(1)) {
		return t, fmt.Errorf("%w: NegTokenResp", ErrToken)
	}
	return t, t.octets(sequence)
}

// octets reads the two optional octet strings that both kinds of token end with: [2] the inner message, [3] the MIC.
func (t *Token) octets(sequence cryptobyte.String) error {
	for i, into := range []*[]byte{&t.Inner, &t.MIC} {
		if !sequence.ReadOptionalASN1OctetString(into, nil, tag(2+i)) {
			return fmt.Errorf("%w: octet string [%d]", ErrToken, 2+i)
		}
	}
	return nil
}

// Reply is a server's NegTokenResp.
type Reply struct {
	State     int
	Mechanism asn1.ObjectIdentifier // nil: left out
	Inner     []byte
	MIC       []byte
}

// Marshal writes the reply.
func (r Reply) Marshal() []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag(1), func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tag(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(r.State)) })
			if r.Mechanism != nil {
				b.AddASN1(tag(1), func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(r.Mechanism) })
			}
			if r.Inner != nil {
				b.AddASN1(tag(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.Inner) })
			}
			if r.MIC != nil {
				b.AddASN1(tag(3), func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.MIC) })
			}
		})
	})
	return b.BytesOrPanic()
}
