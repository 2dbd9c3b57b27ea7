package ntlm

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The reasons for which a logon is refused; match with errors.Is.
var (
	ErrLogon   = errors.New("unknown user or wrong password")
	ErrBinding = errors.New("channel binding does not match")
	ErrMIC     = errors.New("message integrity code does not match")
	ErrOrder   = errors.New("message out of order")
)

// Names are what a challenge says of the machine.
type Names struct {
	Computer    string // NetBIOS name
	Domain      string // NetBIOS name of the domain
	DNSComputer string
	DNSDomain   string
}

// Hardening is the service's CbtHardeningLevel.
type Hardening string

// The levels. With None tokens are not looked at; with Relaxed a token that was sent must be right; with Strict a
// right one is required. Over plain HTTP there is no channel to bind to and nothing is checked.
const (
	None    Hardening = "None"
	Relaxed Hardening = "Relaxed"
	Strict  Hardening = "Strict"
)

// Binding is what the server knows of the channel.
type Binding struct {
	Level Hardening
	Token []byte // of [EndPointToken]; nil over plain HTTP
}

// EndPointToken returns the value of the channel bindings AV pair: MD5 over a gss_channel_bindings_struct (RFC 2744
// section 3.11) that holds "tls-server-end-point:" and the certificate's hash (RFC 5929 section 4).
func EndPointToken(certificateHash []byte) []byte {
	data := append([]byte("tls-server-end-point:"), certificateHash...)
	bindings := make([]byte, 16, 20+len(data)) // no addresses on either side
	bindings = binary.LittleEndian.AppendUint32(bindings, uint32(len(data)))
	sum := md5.Sum(append(bindings, data...))
	return sum[:]
}

// Acceptor is one handshake. It is not safe for concurrent use; a connection owns it.
type Acceptor struct {
	names     Names
	rand      io.Reader
	now       func() time.Time
	negotiate []byte
	challenge []byte
	nonce     [8]byte
	flags     uint32
}

// NewAcceptor starts a handshake. The challenge's randomness comes from random, its time from now.
func NewAcceptor(names Names, random io.Reader, now func() time.Time) *Acceptor {
	return &Acceptor{names: names, rand: random, now: now}
}

// Challenge answers a NEGOTIATE message with a CHALLENGE message (MS-NLMP section 2.2.1.2). A new NEGOTIATE restarts
// the handshake.
func (a *Acceptor) Challenge(message []byte) ([]byte, error) {
	if Type(message) != 1 || len(message) < 16 {
		return nil, fmt.Errorf("%w: not a NEGOTIATE message", ErrMessage)
	}
	asked := binary.LittleEndian.Uint32(message[12:])
	const needed = flagUnicode | flagExtendedSession
	if asked&needed != needed {
		return nil, fmt.Errorf("%w: the client offers no Unicode or no extended session security", ErrMessage)
	}
	if _, err := io.ReadFull(a.rand, a.nonce[:]); err != nil {
		return nil, fmt.Errorf("draw challenge: %w", err)
	}
	const granted = flagUnicode | flagSign | flagSeal | flagAlwaysSign | flagExtendedSession | flagVersion | flag128 |
		flagKeyExchange | flag56
	a.flags = asked&granted | flagRequestTarget | flagNTLM | flagTargetDomain | flagTargetInfo | flagVersion
	a.negotiate = bytes.Clone(message)
	a.challenge = a.pack(utf16le(a.names.Domain), a.targetInfo())
	return a.challenge, nil
}

func (a *Acceptor) targetInfo() []byte {
	var info []byte
	info = appendPair(info, avNbDomain, utf16le(a.names.Domain))
	info = appendPair(info, avNbComputer, utf16le(a.names.Computer))
	info = appendPair(info, avDNSDomain, utf16le(a.names.DNSDomain))
	info = appendPair(info, avDNSComputer, utf16le(a.names.DNSComputer))
	info = appendPair(info, avDNSTree, utf16le(a.names.DNSDomain))
	info = appendPair(info, avTimestamp, binary.LittleEndian.AppendUint64(nil, fileTime(a.now())))
	return appendPair(info, avEOL, nil)
}

func (a *Acceptor) pack(target, info []byte) []byte {
	const header = 56
	out := make([]byte, header, header+len(target)+len(info))
	copy(out, signature)
	binary.LittleEndian.PutUint32(out[8:], 2)
	putField(out[12:], len(target), header)
	binary.LittleEndian.PutUint32(out[20:], a.flags)
	copy(out[24:], a.nonce[:])
	putField(out[40:], len(info), header+len(target))
	copy(out[48:], []byte{10, 0, 0x63, 0x45, 0, 0, 0, 15}) // 10.0.17763, NTLMSSP revision 15
	return append(append(out, target...), info...)
}

func putField(at []byte, length, offset int) {
	binary.LittleEndian.PutUint16(at, uint16(length))
	binary.LittleEndian.PutUint16(at[2:], uint16(length))
	binary.LittleEndian.PutUint32(at[4:], uint32(offset))
}

// fileTime counts 100 ns since 1601-01-01 UTC.
func fileTime(t time.Time) uint64 {
	return uint64(t.UnixNano()/100) + 116444736000000000
}

// Authenticate judges an AUTHENTICATE message. lookup gives the NT hash of an account, ok is false where there is none.
// The user and domain are returned even when the logon is refused, so that it can be counted.
func (a *Acceptor) Authenticate(message []byte, lookup func(user, domain string) (hash [16]byte, ok bool),
	binding Binding,
) (session *Session, user, domain string, err error) {
	if a.challenge == nil {
		return nil, "", "", fmt.Errorf("%w: AUTHENTICATE without a challenge", ErrOrder)
	}
	auth, err := parseAuthenticate(message)
	if err != nil {
		return nil, "", "", err
	}
	challenge := a.challenge
	a.challenge = nil // one attempt per challenge
	session, err = a.judge(auth, message, challenge, lookup, binding)
	return session, auth.user, auth.domain, err
}

func (a *Acceptor) judge(auth authenticate, message, challenge []byte, lookup func(user, domain string) ([16]byte, bool),
	binding Binding,
) (*Session, error) {
	flags := auth.flags & a.flags
	if flags&flagExtendedSession == 0 || auth.user == "" || len(auth.ntResponse) < 16+28+4 {
		return nil, fmt.Errorf("%w: no NTLMv2 response", ErrLogon)
	}
	hash, ok := lookup(auth.user, auth.domain)
	if !ok {
		return nil, ErrLogon
	}
	proof, blob := auth.ntResponse[:16], auth.ntResponse[16:]
	key := responseKey(hash, auth.user, auth.domain)
	if !hmac.Equal(proof, hmacMD5(key, a.nonce[:], blob)) {
		return nil, ErrLogon
	}
	if blob[0] != 1 || blob[1] != 1 {
		return nil, fmt.Errorf("%w: NTLMv2 response version %d.%d", ErrMessage, blob[0], blob[1])
	}
	info, err := pairs(blob[28:])
	if err != nil {
		return nil, err
	}
	exported, err := sessionKey(flags, hmacMD5(key, proof), auth.sessionKey)
	if err != nil {
		return nil, err
	}
	if err := a.checkMIC(auth, message, challenge, info, exported); err != nil {
		return nil, err
	}
	if err := checkBinding(binding, info[avChannelBindings]); err != nil {
		return nil, err
	}
	return newSession(flags, exported, auth.user, auth.domain), nil
}

func sessionKey(flags uint32, base, encrypted []byte) ([]byte, error) {
	if flags&flagKeyExchange == 0 || flags&(flagSign|flagSeal) == 0 {
		return base, nil
	}
	if len(encrypted) != 16 {
		return nil, fmt.Errorf("%w: session key of %d bytes", ErrMessage, len(encrypted))
	}
	return rc4Once(base, encrypted), nil
}

// checkMIC verifies the code over all three messages where the client says that it sent one (MS-NLMP section 3.2.5.1.2).
func (a *Acceptor) checkMIC(auth authenticate, message, challenge []byte, info map[uint16][]byte, exported []byte) error {
	said := info[avFlags]
	if len(said) != 4 || binary.LittleEndian.Uint32(said)&2 == 0 {
		return nil
	}
	if auth.mic == nil {
		return fmt.Errorf("%w: it is announced and absent", ErrMIC)
	}
	zeroed := bytes.Clone(message)
	clear(zeroed[72:88])
	if !hmac.Equal(auth.mic, hmacMD5(exported, a.negotiate, challenge, zeroed)) {
		return ErrMIC
	}
	return nil
}

func checkBinding(binding Binding, sent []byte) error {
	if binding.Token == nil || binding.Level == None {
		return nil
	}
	absent := len(sent) == 0 || bytes.Equal(sent, make([]byte, 16))
	switch {
	case absent && binding.Level == Strict:
		return fmt.Errorf("%w: none was sent and the service is Strict", ErrBinding)
	case absent:
		return nil
	case !hmac.Equal(sent, binding.Token):
		return ErrBinding
	}
	return nil
}
