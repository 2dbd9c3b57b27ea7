package directory

import (
	"crypto"
	"crypto/md5" //nolint:gosec // RFC 4121 4.1.1.2 wants MD5 over the bindings
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	krbcrypto "github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// krbMech is the Kerberos mechanism of GSS-API (RFC 4121 4.1).
var krbMech = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}

// initiator is our side of a GSSAPI bind (RFC 4752) as go-ldap drives it.
type initiator struct {
	client   *client.Client
	layer    byte
	bindings []byte // MD5 of the channel bindings; nil: none
	session  types.EncryptionKey
	at       time.Time // of our authenticator, to the second, and the microseconds beside it
	micro    int
	tokens   tokens
	maxSend  int
}

func (g *initiator) DeleteSecContext() error { return nil }

func (g *initiator) InitSecContext(spn string, in []byte) ([]byte, bool, error) {
	return g.InitSecContextWithOptions(spn, in, nil)
}

func (g *initiator) InitSecContextWithOptions(spn string, in []byte, _ []int) (out []byte, more bool, err error) {
	defer guard(&err)
	if in == nil {
		out, err = g.request(spn)
		return out, true, err
	}
	return []byte{}, false, g.reply(in)
}

// guard turns a panic of the Kerberos library over bytes from the network into an error.
func guard(err *error) {
	if p := recover(); p != nil { //nolint:revive // guard itself is what is deferred
		*err = fmt.Errorf("read Kerberos answer: %v", p)
	}
}

// request makes the AP-REQ with the checksum of RFC 4121 4.1.1.
func (g *initiator) request(spn string) ([]byte, error) {
	ticket, key, err := g.client.GetServiceTicket(spn)
	if err != nil {
		return nil, fmt.Errorf("get ticket for %s: %w", spn, err)
	}
	if key.KeyType == etypeID.RC4_HMAC && g.layer != layerNone {
		return nil, hint.Wrap(errors.New("the ticket uses RC4, which cannot protect this connection"),
			"allow AES for the domain controller and the account, or use the method kerberos-ldaps")
	}
	g.session, g.tokens.key = key, key
	auth, err := types.NewAuthenticator(g.client.Credentials.Domain(), g.client.Credentials.CName())
	if err != nil {
		return nil, err
	}
	g.at, g.micro = auth.CTime.Truncate(time.Second), auth.Cusec
	want := uint32(gssapi.ContextFlagMutual)
	if g.layer != layerNone {
		want |= gssapi.ContextFlagInteg | gssapi.ContextFlagSequence | gssapi.ContextFlagReplay
	}
	if g.layer == layerSeal {
		want |= gssapi.ContextFlagConf
	}
	sum := make([]byte, 24)
	binary.LittleEndian.PutUint32(sum, 16)
	copy(sum[4:20], g.bindings)
	binary.LittleEndian.PutUint32(sum[20:], want)
	auth.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: sum}
	g.tokens.send = uint64(auth.SeqNumber)
	req, err := messages.NewAPReq(ticket, key, auth)
	if err != nil {
		return nil, err
	}
	types.SetFlag(&req.APOptions, flags.APOptionMutualRequired)
	b, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	mech, err := asn1.Marshal(krbMech)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, IsCompound: true, Bytes: append(append(mech, 1, 0), b...)})
}

// reply checks the AP-REP, which proves that the domain controller holds its key.
func (g *initiator) reply(in []byte) error {
	var tok spnego.KRB5Token
	if err := tok.Unmarshal(in); err != nil {
		return fmt.Errorf("read Kerberos answer: %w", err)
	}
	if tok.IsKRBError() {
		return tok.KRBError
	}
	if !tok.IsAPRep() {
		return errors.New("read Kerberos answer: it is neither a reply nor an error")
	}
	plain, err := krbcrypto.DecryptEncPart(tok.APRep.EncPart, g.session, keyusage.AP_REP_ENCPART)
	if err != nil {
		return fmt.Errorf("the domain controller could not prove who it is: %w", err)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		return fmt.Errorf("read Kerberos answer: %w", err)
	}
	// RFC 4120 3.2.5: it is the time of our own authenticator that proves that this is the answer to it, and no old one.
	if !part.CTime.Equal(g.at) || part.Cusec != g.micro {
		return errors.New("the domain controller could not prove who it is: its Kerberos answer belongs to another request")
	}
	if len(part.Subkey.KeyValue) > 0 {
		g.tokens.key, g.tokens.acceptorKey = part.Subkey, true
	}
	g.tokens.want = uint64(part.SequenceNumber)
	return nil
}

// NegotiateSaslAuth answers the offer of security layers.
func (g *initiator) NegotiateSaslAuth(in []byte, authz string) (out []byte, err error) {
	defer guard(&err)
	offer, err := g.tokens.unwrap(in, false)
	if err != nil {
		return nil, err
	}
	if len(offer) != 4 {
		return nil, errToken
	}
	if offer[0]&g.layer == 0 {
		return nil, &Error{Kind: StrongAuth, Err: hint.Wrapf(fmt.Errorf("the domain controller offers no such protection (layers %d)", offer[0]),
			"try the method kerberos-seal, kerberos-ldaps or ldaps")}
	}
	g.maxSend = int(binary.BigEndian.Uint32(offer)&0xffffff) - wrapOverhead
	answer := []byte{g.layer, 0, 0, 0}
	if g.layer != layerNone {
		if g.maxSend < 512 {
			return nil, fmt.Errorf("%w (it takes %d bytes at most)", errToken, g.maxSend)
		}
		binary.BigEndian.PutUint32(answer, uint32(g.layer)<<24|maxSASL)
	}
	return g.tokens.wrap(append(answer, authz...), false)
}

// channelBindings gives the MD5 of the bindings tls-server-end-point (RFC 5929 4.1): the certificate's hash under its
// own signature's hash function, or under SHA-256 where that is MD5 or SHA-1.
func channelBindings(cert *x509.Certificate) []byte {
	h := crypto.SHA256
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h = crypto.SHA512
	}
	d := h.New()
	d.Write(cert.Raw)
	data := d.Sum([]byte("tls-server-end-point:"))
	b := make([]byte, 20, 20+len(data)) // no addresses: four zero fields (RFC 2744 3.11), then the length
	binary.LittleEndian.PutUint32(b[16:], uint32(len(data)))
	sum := md5.Sum(append(b, data...)) //nolint:gosec // see above
	return sum[:]
}
