package kerberos

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Protection is what the messages of a context will need.
type Protection int

// The protections.
const (
	Bare   Protection = iota // none: TLS protects
	Signed                   // readable, and not to be changed
	Sealed                   // neither
)

// Options say what a context is for.
type Options struct {
	Protection Protection
	Bindings   []byte // of the TLS channel, see [Bindings]; nil: none
}

// Context is a conversation with one service, seen from its initiator. First goes to the service, Finish takes its answer; after that
// one goroutine may wrap while another opens.
type Context struct {
	account *Account
	service string // "HTTP/ws-0042.corp.example", as the KDC knows it
	first   []byte
	session types.EncryptionKey
	sub     types.EncryptionKey
	at      time.Time // of our authenticator, to the second, and the microseconds beside it
	micro   int
	tokens  tokens
}

// Flags of a context (RFC 4121 section 4.1.1.1).
const (
	wantMutual    = 2
	wantReplay    = 4
	wantSequence  = 8
	wantSealing   = 16
	wantIntegrity = 32
	sumGSS        = 0x8003
)

// Context gets a ticket for the first of names that the domain knows ("HTTP/ws-0042.corp.example"), and makes what its service is sent
// first. Errors are an *[Error], and the end of ctx.
func (a *Account) Context(ctx context.Context, names []string, o Options) (*Context, error) {
	for _, name := range names {
		t, err := a.forService(ctx, name)
		if ReasonOf(err) == UnknownService {
			continue
		}
		if err != nil {
			return nil, err
		}
		c := &Context{account: a, service: name, session: t.key}
		if err := c.request(t, o); err != nil {
			return nil, err
		}
		return c, nil
	}
	kinds, host := joinNames(names)
	e := failed(UnknownService, "name the machine by its full DNS name, not by an address or alias", "%s knows no %s name for %s: no Kerberos principal", a.config.Realm, kinds, host)
	e.Code = codeUnknownService
	return nil, e
}

// request makes the AP-REQ in its frame, with the checksum of RFC 4121 section 4.1.1.
func (c *Context) request(t *ticket, o Options) error {
	c.at, c.micro = c.account.stamped()
	c.sub = types.EncryptionKey{KeyType: t.key.KeyType, KeyValue: make([]byte, keySizes[t.key.KeyType])}
	_, _ = rand.Read(c.sub.KeyValue) //nolint:errcheck // never fails (crypto/rand)
	seq := nonce() >> 1              // some services read it as signed, and count on from it
	c.tokens.send = uint64(seq)      //nolint:gosec // 30 bits
	flags := uint32(wantMutual)
	if o.Protection != Bare {
		flags |= wantIntegrity | wantSequence | wantReplay
	}
	if o.Protection == Sealed {
		flags |= wantSealing
	}
	sum := make([]byte, 24)
	binary.LittleEndian.PutUint32(sum, 16)
	copy(sum[4:20], o.Bindings)
	binary.LittleEndian.PutUint32(sum[20:], flags)
	auth := types.Authenticator{AVNO: version, CRealm: t.crealm, CName: t.client, CTime: c.at, Cusec: c.micro, SubKey: c.sub,
		SeqNumber: int64(seq), Cksum: types.Checksum{CksumType: sumGSS, Checksum: sum}}
	sealed, err := sealAuthenticator(&auth, t.key, useAPRequest)
	if err != nil {
		return err
	}
	b, err := marshalAPRequest(t.raw, sealed, true)
	if err != nil {
		return err
	}
	c.first, err = frame(1, b)
	return err
}

// frame puts a message of the protocol in the frame of GSS-API (RFC 2743 section 3.1, RFC 4121 section 4.1).
func frame(kind byte, b []byte) ([]byte, error) {
	mech, err := asn1.Marshal(krbMech)
	if err != nil {
		return nil, fmt.Errorf("write the frame: %w", err)
	}
	return application(0, append(append(mech, kind, 0), b...))
}

// unframed takes a message out of its frame.
func unframed(b []byte) (kind byte, message []byte, err error) {
	defer survive(&err)
	var outer asn1.RawValue
	var mech asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(b, &outer); err != nil || len(rest) > 0 || outer.Class != asn1.ClassApplication || outer.Tag != 0 {
		return 0, nil, errMalformed
	}
	rest, err := asn1.Unmarshal(outer.Bytes, &mech)
	if err != nil || !mech.Equal(krbMech) || len(rest) < 2 || rest[1] != 0 {
		return 0, nil, errMalformed
	}
	return rest[0], rest[2:], nil
}

// First is the message that begins the conversation.
func (c *Context) First() []byte { return c.first }

// Service is the name that the ticket is for.
func (c *Context) Service() string { return c.service }

// apReply is AP-REP (RFC 4120 section 5.5.2).
type apReply struct {
	Version int                 `asn1:"explicit,tag:0"`
	Type    int                 `asn1:"explicit,tag:1"`
	Part    types.EncryptedData `asn1:"explicit,tag:2"`
}

// Finish checks the service's answer, which proves that it has its key: only then is it who we asked for. Errors are an *[Error].
func (c *Context) Finish(answer []byte) error {
	kind, b, err := unframed(answer)
	switch {
	case err != nil:
		return c.unproven("what it answers is no Kerberos")
	case kind == 3:
		return c.refused(b)
	case kind != 2:
		return c.unproven("what it answers is neither a reply nor an error")
	}
	var r apReply
	if err := parse(b, tagAPRep, &r); err != nil {
		return c.unproven("its Kerberos answer cannot be read")
	}
	plain, err := decrypt(c.session, r.Part, useAPReply)
	if err != nil {
		return c.unproven("its Kerberos answer was not made with its key")
	}
	var part messages.EncAPRepPart
	if err := parse(plain, tagAPPart, &part); err != nil {
		return c.unproven("its Kerberos answer cannot be read")
	}
	// RFC 4120 section 3.2.5: it is the time of our own authenticator that proves that this is the answer to it, and no old one.
	if !part.CTime.Equal(c.at) || part.Cusec != c.micro {
		return c.unproven("its Kerberos answer belongs to another request")
	}
	c.tokens.key, c.tokens.acceptorKey = c.sub, false
	if len(part.Subkey.KeyValue) > 0 {
		if !good(part.Subkey) {
			return c.unproven("it wants a cipher that is not AES")
		}
		c.tokens.key, c.tokens.acceptorKey = part.Subkey, true
	}
	c.tokens.want = uint64(uint32(part.SequenceNumber)) //nolint:gosec // 32 bits, and some write them signed
	return nil
}

func (c *Context) host() string {
	_, host := joinNames([]string{c.service})
	return host
}

func (c *Context) unproven(why string) *Error {
	return failed(Unproven, "another computer may answer at its address; nothing more is sent to it", "%s could not prove who it is: %s", c.host(), why)
}

// refused is the service's own error about what it was sent.
func (c *Context) refused(b []byte) error {
	e, err := parseError(b)
	if err != nil {
		return c.unproven("its Kerberos error cannot be read")
	}
	var out *Error
	switch e.ErrorCode {
	case codeSkew:
		skew := e.STime.Sub(c.account.now())
		out = failed(ClockSkew, "set the clock of that machine (w32tm /resync); Kerberos allows five minutes", "%s's clock is %s the domain's", c.host(), Apart(skew, "ahead of", "behind"))
		out.Skew = skew
	case codeModified:
		out = &Error{Reason: BrokenTrust, Err: hint.Wrap(fmt.Errorf("%s cannot read its own ticket: broken trust", c.host()),
			"on the machine: Test-ComputerSecureChannel -Repair; or an account of another owner has the name "+c.service)}
	default:
		out = failed(Other, "", "%s refuses the ticket: %s", c.host(), said(e))
	}
	out.Code = int(e.ErrorCode)
	return out
}

// errUnfinished says that Finish was not called, or failed.
var errUnfinished = errors.New("kerberos: the other side has not proved who it is")

// Wrap protects a message: sealed, or only signed.
func (c *Context) Wrap(message []byte, seal bool) ([]byte, error) {
	if !good(c.tokens.key) {
		return nil, errUnfinished
	}
	return c.tokens.wrap(message, seal)
}

// Open checks a protected message and gives what is in it. One that is only signed is refused where a sealed one is due. After [ErrToken]
// the conversation is over.
func (c *Context) Open(token []byte, sealed bool) ([]byte, error) {
	if !good(c.tokens.key) {
		return nil, errUnfinished
	}
	return c.tokens.open(token, sealed)
}

// Seal makes a sealed message in two pieces, as SSPI does: one token, rotated so that it can be cut behind header, code and confounder,
// with nothing between the pieces.
func (c *Context) Seal(message []byte) (signature, sealed []byte, err error) {
	token, err := c.Wrap(message, true)
	if err != nil {
		return nil, nil, err
	}
	n := signatureSizes[c.tokens.key.KeyType]
	body := token[headerSize:]
	turn := n - 2*headerSize // the header's copy and the code, behind which the confounder begins
	rotated := make([]byte, 0, len(token))
	rotated = append(append(append(rotated, token[:headerSize]...), body[len(body)-turn:]...), body[:len(body)-turn]...)
	binary.BigEndian.PutUint16(rotated[6:], uint16(turn)) //nolint:gosec // 28 to 40
	return rotated[:n:n], rotated[n:], nil
}

// signatureSizes are those of the first piece: header, its copy, code, confounder.
var signatureSizes = map[int32]int{17: 60, 18: 60, 19: 64, 20: 72}

// Unseal opens a message that came in two pieces, however it is rotated.
func (c *Context) Unseal(signature, sealed []byte) ([]byte, error) {
	if len(signature) != signatureSizes[c.tokens.key.KeyType] {
		return nil, ErrToken
	}
	return c.Open(append(signature, sealed...), true)
}
