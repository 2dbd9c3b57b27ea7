package kerberos

import (
	"fmt"

	"github.com/jcmturner/gofork/encoding/asn1"
)

// spnegoMech is the mechanism that negotiates others (RFC 4178); the second number is the one that Windows once gave Kerberos.
var (
	spnegoMech = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	oldMech    = asn1.ObjectIdentifier{1, 2, 840, 48018, 1, 2, 2}
)

// negTokenInit and negTokenResp are those of RFC 4178 section 4.2, as far as one mechanism needs them.
type negTokenInit struct {
	Mechanisms []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
	Token      []byte                  `asn1:"explicit,tag:2"`
}

type negTokenResp struct {
	State     asn1.Enumerated       `asn1:"explicit,optional,tag:0"`
	Mechanism asn1.ObjectIdentifier `asn1:"explicit,optional,tag:1"`
	Token     []byte                `asn1:"explicit,optional,tag:2"`
	MIC       []byte                `asn1:"explicit,optional,tag:3"`
}

// Negotiation puts the first message of a context into SPNEGO, which offers Kerberos and nothing else: then the list of what was
// offered needs no code of its own (RFC 4178 section 5).
func Negotiation(first []byte) ([]byte, error) {
	init, err := asn1.Marshal(negTokenInit{[]asn1.ObjectIdentifier{krbMech}, first})
	if err != nil {
		return nil, fmt.Errorf("write the negotiation: %w", err)
	}
	mech, err := asn1.Marshal(spnegoMech)
	if err != nil {
		return nil, fmt.Errorf("write the negotiation: %w", err)
	}
	choice, err := asn1.Marshal(inContext(0, init))
	if err != nil {
		return nil, fmt.Errorf("write the negotiation: %w", err)
	}
	return application(0, append(mech, choice...))
}

// Negotiated takes the answer of a service out of SPNEGO. ok is false for one that has none, or chose another mechanism.
func Negotiated(b []byte) (answer []byte, ok bool) {
	var err error
	defer survive(&err)
	var choice asn1.RawValue
	var resp negTokenResp
	if rest, err := asn1.Unmarshal(b, &choice); err != nil || len(rest) > 0 || choice.Class != asn1.ClassContextSpecific || choice.Tag != 1 {
		return nil, false
	}
	if rest, err := asn1.Unmarshal(choice.Bytes, &resp); err != nil || len(rest) > 0 {
		return nil, false
	}
	if len(resp.Mechanism) > 0 && !resp.Mechanism.Equal(krbMech) && !resp.Mechanism.Equal(oldMech) {
		return nil, false
	}
	return resp.Token, len(resp.Token) > 0
}
