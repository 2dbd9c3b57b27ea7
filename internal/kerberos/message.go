package kerberos

import (
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Numbers of messages: RFC 4120 section 5.10 as application tags and message types.
const (
	version    = 5
	tagTicket  = 1
	tagASRep   = 11
	tagTGSRep  = 13
	tagAPReq   = 14
	tagAPRep   = 15
	tagAPPart  = 27
	tagError   = 30
	constructs = 0x60 // application class, constructed
)

// Usages of keys: RFC 4120 section 7.5.1, RFC 4121 section 2.
const (
	useTimestamp     = 1
	useASReply       = 3
	useTGSSum        = 6
	useTGSRequest    = 7
	useTGSReply      = 8
	useAPRequest     = 11
	useAPReply       = 12
	useAcceptorSeal  = 22
	useInitiatorSeal = 24
)

// The types of names: RFC 4120 section 6.2, RFC 6806 section 5.
const (
	namePrincipal  = 1
	nameService    = 2
	nameEnterprise = 10
)

// krbMech is the mechanism of Kerberos in GSS-API (RFC 4121 section 4.1).
var krbMech = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}

var errMalformed = errors.New("the Kerberos message is malformed")

// keySizes are the ciphers that are spoken, with the sizes of their keys (RFC 3962 section 6, RFC 8009 section 6).
var keySizes = map[int32]int{
	etypeID.AES256_CTS_HMAC_SHA1_96: 32, etypeID.AES128_CTS_HMAC_SHA1_96: 16,
	etypeID.AES256_CTS_HMAC_SHA384_192: 32, etypeID.AES128_CTS_HMAC_SHA256_128: 16,
}

// spoken are the ciphers in the order in which they are asked for: what every domain has, first.
var spoken = []int32{
	etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96,
	etypeID.AES256_CTS_HMAC_SHA384_192, etypeID.AES128_CTS_HMAC_SHA256_128,
}

// good reports whether a key is of a cipher that is spoken.
func good(k types.EncryptionKey) bool {
	return keySizes[k.KeyType] > 0 && len(k.KeyValue) == keySizes[k.KeyType]
}

// kdcReply is AS-REP and TGS-REP (RFC 4120 section 5.4.2). The ticket stays as it came.
type kdcReply struct {
	Version int                  `asn1:"explicit,tag:0"`
	Type    int                  `asn1:"explicit,tag:1"`
	PAData  types.PADataSequence `asn1:"explicit,optional,tag:2"`
	CRealm  string               `asn1:"generalstring,explicit,tag:3"`
	CName   types.PrincipalName  `asn1:"explicit,tag:4"`
	Ticket  asn1.RawValue        `asn1:"explicit,tag:5"`
	Part    types.EncryptedData  `asn1:"explicit,tag:6"`
}

// apRequest is AP-REQ (RFC 4120 section 5.5.1).
type apRequest struct {
	Version       int                 `asn1:"explicit,tag:0"`
	Type          int                 `asn1:"explicit,tag:1"`
	Options       asn1.BitString      `asn1:"explicit,tag:2"`
	Ticket        asn1.RawValue       `asn1:"explicit,tag:3"`
	Authenticator types.EncryptedData `asn1:"explicit,tag:4"`
}

// marshalAPRequest puts a ticket and a sealed authenticator together.
func marshalAPRequest(ticket []byte, authenticator types.EncryptedData, mutual bool) ([]byte, error) {
	options := types.NewKrbFlags()
	if mutual {
		types.SetFlag(&options, 2)
	}
	b, err := asn1.Marshal(apRequest{version, tagAPReq, options, inContext(3, ticket), authenticator})
	if err != nil {
		return nil, fmt.Errorf("write AP-REQ: %w", err)
	}
	return application(tagAPReq, b)
}

func inContext(tag int, b []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Tag: tag, Bytes: b}
}

func application(tag int, b []byte) ([]byte, error) {
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, IsCompound: true, Tag: tag, Bytes: b})
}

// parse reads a message of an application tag.
func parse(b []byte, tag int, into any) (err error) {
	defer survive(&err)
	if rest, err := asn1.UnmarshalWithParams(b, into, fmt.Sprintf("application,explicit,tag:%d", tag)); err != nil || len(rest) > 0 {
		return errMalformed
	}
	return nil
}

// survive turns a panic of the library over bytes from the network or a file into an error.
func survive(err *error) {
	if p := recover(); p != nil { //nolint:revive // survive itself is what is deferred
		*err = fmt.Errorf("%w: %v", errMalformed, p)
	}
}

// is reports whether b begins as a message of an application tag.
func is(b []byte, tag byte) bool { return len(b) > 0 && b[0] == constructs|tag }

// parseReply reads an answer of a KDC: one of the tag, or an error.
func parseReply(b []byte, tag int) (*kdcReply, *messages.KRBError, error) {
	if is(b, tagError) {
		e, err := parseError(b)
		return nil, e, err
	}
	var r kdcReply
	if err := parse(b, tag, &r); err != nil {
		return nil, nil, err
	}
	if r.Version != version || r.Type != tag || len(r.CName.NameString) == 0 || !is(r.Ticket.Bytes, tagTicket) {
		return nil, nil, errMalformed
	}
	return &r, nil, nil
}

func parseError(b []byte) (*messages.KRBError, error) {
	var e messages.KRBError
	if err := parse(b, tagError, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// encrypt seals a message of the protocol.
func encrypt(key types.EncryptionKey, plain []byte, usage uint32) (types.EncryptedData, error) {
	sealed, err := crypto.GetEncryptedData(plain, key, usage, 0)
	if err != nil {
		return sealed, fmt.Errorf("encrypt: %w", err)
	}
	return sealed, nil
}

// errKey says that what was sealed was sealed with another key, or altered since.
var errKey = errors.New("it was sealed with another key")

// decrypt opens a message of the protocol.
func decrypt(key types.EncryptionKey, sealed types.EncryptedData, usage uint32) (plain []byte, err error) {
	defer survive(&err)
	if sealed.EType != key.KeyType || !good(key) {
		return nil, errKey
	}
	et, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	if len(sealed.Cipher) < et.GetConfounderByteSize()+et.GetHMACBitLength()/8 {
		return nil, errMalformed
	}
	if plain, err = et.DecryptMessage(key.KeyValue, sealed.Cipher, usage); err != nil {
		return nil, errKey
	}
	return plain, nil
}

// parsePart reads what a KDC sealed for us. Some seal the answer for a ticket under the tag of the other (RFC 4120 section 5.4.2).
func parsePart(b []byte) (part messages.EncKDCRepPart, err error) {
	for _, tag := range []int{25, 26} {
		part = messages.EncKDCRepPart{}
		if err = parse(b, tag, &part); err == nil {
			break
		}
	}
	if err == nil && (!good(part.Key) || len(part.SName.NameString) == 0) {
		err = errMalformed
	}
	return part, err
}

// ticket is what lets the account in at one service, or get further tickets.
type ticket struct {
	raw     []byte // as the KDC gave it
	key     types.EncryptionKey
	client  types.PrincipalName
	crealm  string
	service types.PrincipalName
	realm   string // of the service
	begin   time.Time
	end     time.Time
	renew   time.Time // until when it can be renewed; zero: not at all
}

// newTicket takes an answer whose sealed part was opened.
func newTicket(r *kdcReply, part *messages.EncKDCRepPart) *ticket {
	t := &ticket{raw: r.Ticket.Bytes, key: part.Key, client: r.CName, crealm: r.CRealm, service: part.SName, realm: part.SRealm,
		begin: part.AuthTime, end: part.EndTime}
	if !part.StartTime.IsZero() {
		t.begin = part.StartTime
	}
	if len(part.Flags.Bytes) > 1 && types.IsFlagSet(&part.Flags, 8) {
		t.renew = part.RenewTill
	}
	return t
}

// forRealm is the realm that a ticket-granting ticket is for.
func (t *ticket) forRealm() (string, bool) {
	if n := t.service.NameString; len(n) == 2 && n[0] == "krbtgt" {
		return n[1], true
	}
	return "", false
}
