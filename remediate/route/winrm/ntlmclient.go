package winrm

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // NTLM prescribes it
)

// ntlmClient is one NTLMv2 logon (MS-NLMP section 3.1.5) and the sealing that follows it.
type ntlmClient struct {
	credential Credential
	first      []byte // the negotiate message
	out, in    sealing
}

var _ sealer = (*ntlmClient)(nil)

// signatureSize is that of NTLM (MS-NLMP section 2.2.2.9.1).
const signatureSize = 16

// ntlmVersion is what Windows 10 sends (MS-NLMP section 2.2.2.10); some servers expect a version to be there.
const ntlmVersion = "\x0a\x00\x61\x4a\x00\x00\x00\x0f"

// Flags that a client sets beside those that a challenge has to have (MS-NLMP section 2.2.2.5).
const (
	flagOEM            = 1 << 1
	flagDomainSupplied = 1 << 12
	flagAlwaysSign     = 1 << 15
	flagVersion        = 1 << 25
	flag56             = 1 << 31

	flagsOffered = flagsWanted | flagAlwaysSign | flagVersion | flag56
)

func newNTLM(c Credential) (*ntlmClient, error) {
	if c.User == "" || c.Password.IsZero() {
		return nil, errors.New("a user and a password are needed") // else it would be an anonymous logon
	}
	c.Domain = strings.TrimSpace(c.Domain)
	return &ntlmClient{credential: c}, nil
}

// negotiate is the first message (MS-NLMP section 2.2.1.1).
func (n *ntlmClient) negotiate() []byte {
	const fixed = 40
	flags := uint32(flagsOffered)
	if n.credential.Domain != "" {
		flags |= flagDomainSupplied
	}
	b := append(make([]byte, 0, fixed+len(n.credential.Domain)), "NTLMSSP\x00\x01\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = appendField(b, len(n.credential.Domain), fixed)
	b = appendField(b, 0, fixed+len(n.credential.Domain))
	n.first = append(append(b, ntlmVersion...), n.credential.Domain...)
	return n.first
}

// appendField says where a part of a message stands.
func appendField(b []byte, length, offset int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	return binary.LittleEndian.AppendUint32(b, uint32(offset)) //nolint:gosec // a message is small
}

// longestPart bounds what stands in a message whose lengths have 16 bits.
const longestPart = 1<<15 - 1

// authenticate answers the challenge. binding is the hash of the machine's certificate (see endPointHash), nil over
// plain HTTP.
func (n *ntlmClient) authenticate(challenge, binding []byte) ([]byte, error) {
	if err := checkChallenge(challenge); err != nil {
		return nil, err
	}
	if len(challenge)+len(n.credential.User)+len(n.credential.Domain) > longestPart {
		return nil, errChallenge
	}
	var secrets [24]byte
	_, _ = rand.Read(secrets[:]) //nolint:errcheck // never fails (crypto/rand)
	return n.answer(challenge, binding, time.Now(), secrets[:8], secrets[8:])
}

// answer is the third message (MS-NLMP sections 2.2.1.3 and 3.1.5.1.2), with a client challenge of 8 and a session key of 16 random bytes.
func (n *ntlmClient) answer(challenge, binding []byte, now time.Time, nonce, key []byte) ([]byte, error) {
	server := challenge[24:32]
	info, stamp, code := answerInfo(challenge, binding)
	account := hmac.New(md5.New, passwordHash(n.credential.Password.Reveal()))
	account.Write(utf16le(strings.ToUpper(n.credential.User) + n.credential.Domain))
	owf := hmac.New(md5.New, account.Sum(nil))

	// MS-NLMP section 3.3.2.
	lm := make([]byte, 24) // zeros beside a time
	if stamp == nil {
		copy(sum(owf, lm[:0], server, nonce)[16:24], nonce)
		const until1970 = 116_444_736_000_000_000 // in units of 100 ns since 1601

		stamp = binary.LittleEndian.AppendUint64(nil, uint64(now.UnixNano()/100+until1970)) //nolint:gosec // long after 1601
	}
	nt := make([]byte, 16, 16+28+len(info)+4)
	nt = append(nt, 1, 1, 0, 0, 0, 0, 0, 0)
	nt = append(append(nt, stamp...), nonce...)
	nt = append(append(append(nt, 0, 0, 0, 0), info...), 0, 0, 0, 0)
	sum(owf, nt[:0], server, nt[16:])
	exchange := sum(owf, nil, nt[:16])
	sent := make([]byte, len(key))
	if err := xor(exchange, sent, key); err != nil {
		return nil, err
	}
	if err := n.keys(key); err != nil {
		return nil, err
	}
	message := n.third(binary.LittleEndian.Uint32(challenge[20:]), lm, nt, sent, code)
	if code { // then the three messages are bound together
		mic := hmac.New(md5.New, key)
		sum(mic, message[micAt:micAt], n.first, challenge, message)
	}
	return message, nil
}

const micAt = 72

// third puts the third message together, with room for its code where that is due.
func (n *ntlmClient) third(flags uint32, lm, nt, key []byte, code bool) []byte {
	flags = flags&^flagOEM | flagVersion
	at := micAt
	if code {
		at += md5.Size
	}
	domain, user := utf16le(n.credential.Domain), utf16le(n.credential.User)
	lmAt := at + len(domain) + len(user)
	ntAt := lmAt + len(lm)
	keyAt := ntAt + len(nt)
	b := append(make([]byte, 0, keyAt+len(key)), "NTLMSSP\x00\x03\x00\x00\x00"...)
	b = appendField(appendField(b, len(lm), lmAt), len(nt), ntAt)
	b = appendField(appendField(b, len(domain), at), len(user), at+len(domain))
	b = appendField(appendField(b, 0, lmAt), len(key), keyAt) // no workstation
	b = append(binary.LittleEndian.AppendUint32(b, flags), ntlmVersion...)
	b = append(b, make([]byte, at-micAt)...)
	return append(append(append(append(append(b, domain...), user...), lm...), nt...), key...)
}

// answerInfo is the target information that goes back, the machine's time in it (nil for none), and whether it says that the message has a
// code. A pair that stands there twice counts as the last one.
func answerInfo(challenge, binding []byte) (info, stamp []byte, code bool) {
	type pair struct {
		id    uint16
		value []byte
	}
	var pairs []pair
	set := func(id uint16, value []byte) {
		for i := range pairs {
			if pairs[i].id == id {
				pairs[i].value = value
				return
			}
		}
		pairs = append(pairs, pair{id, value})
	}
	flags := uint32(0)
	_ = targetInfo(challenge, func(id uint16, value []byte) error { //nolint:errcheck // it was checked
		switch id {
		case infoTimestamp:
			stamp = value
		case infoFlags:
			flags = binary.LittleEndian.Uint32(value)
		}
		set(id, value)
		return nil
	})
	const codeProvided = 2
	if stamp != nil {
		flags |= codeProvided
		set(infoFlags, binary.LittleEndian.AppendUint32(nil, flags))
	}
	if binding != nil {
		set(infoBindings, bindingHash(binding))
	}
	for _, p := range pairs {
		info = binary.LittleEndian.AppendUint16(info, p.id)
		info = binary.LittleEndian.AppendUint16(info, uint16(len(p.value)))
		info = append(info, p.value...)
	}
	return append(info, infoEnd, 0, 0, 0), stamp, flags&codeProvided != 0
}

// bindingHash is the hash of a gss_channel_bindings_struct without addresses (RFC 2744 section 3.11, RFC 5929 section 4).
func bindingHash(endPoint []byte) []byte {
	data := append([]byte("tls-server-end-point:"), endPoint...)
	b := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(data))) //nolint:gosec // a hash
	hashed := md5.Sum(append(b, data...))
	return hashed[:]
}

func passwordHash(password string) []byte {
	h := md4.New()
	h.Write(utf16le(password))
	return h.Sum(nil)
}

func utf16le(text string) (b []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

// sum appends the code of parts, as if they stood one behind the other.
func sum(mac hash.Hash, to []byte, parts ...[]byte) []byte {
	mac.Reset()
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(to)
}

func xor(key, to, from []byte) error {
	c, err := rc4.NewCipher(key)
	if err != nil {
		return fmt.Errorf("start RC4: %w", err)
	}
	c.XORKeyStream(to, from)
	return nil
}

// sealing is one direction of a sealed conversation (MS-NLMP section 3.4), with extended session security, keys of 128 bits and an exchanged
// key. It works in place, because a machine that is fixed costs 200 KB of messages.
type sealing struct {
	cipher *rc4.Cipher
	mac    hash.Hash
	seq    uint32
}

// keys makes the keys of both directions (MS-NLMP sections 3.4.5.2 and 3.4.5.3).
func (n *ntlmClient) keys(session []byte) (err error) {
	if n.out, err = newSealing(session, "client-to-server"); err == nil {
		n.in, err = newSealing(session, "server-to-client")
	}
	return err
}

func newSealing(session []byte, direction string) (sealing, error) {
	key := func(purpose string) []byte {
		hashed := md5.Sum(append(bytes.Clone(session), "session key to "+direction+" "+purpose+" key magic constant\x00"...))
		return hashed[:]
	}
	c, err := rc4.NewCipher(key("sealing"))
	if err != nil {
		return sealing{}, fmt.Errorf("start RC4: %w", err)
	}
	return sealing{cipher: c, mac: hmac.New(md5.New, key("signing"))}, nil
}

// sign is the signature of a message in the clear; the message itself has to go through the cipher before it.
func (s *sealing) sign(code []byte) (signature [signatureSize]byte) {
	binary.LittleEndian.PutUint32(signature[:], 1)
	s.cipher.XORKeyStream(signature[4:12], code[:8])
	binary.LittleEndian.PutUint32(signature[12:], s.seq)
	s.seq++
	return signature
}

func (s *sealing) code(clear []byte) [md5.Size]byte {
	var seq [4]byte
	var code [md5.Size]byte
	binary.LittleEndian.PutUint32(seq[:], s.seq)
	sum(s.mac, code[:0], seq[:], clear)
	return code
}

// seal implements [sealer].
func (n *ntlmClient) seal(message []byte) (signature, sealed []byte, err error) {
	code := n.out.code(message)
	n.out.cipher.XORKeyStream(message, message)
	signed := n.out.sign(code[:])
	return signed[:], message, nil
}

// unseal implements [sealer].
func (n *ntlmClient) unseal(part sealedPart) ([]byte, error) {
	if len(part.signature) != signatureSize {
		return nil, errSeal
	}
	told := [signatureSize]byte(part.signature)
	n.in.cipher.XORKeyStream(part.data, part.data)
	code := n.in.code(part.data)
	if want := n.in.sign(code[:]); !hmac.Equal(want[:], told[:]) {
		return nil, errSeal
	}
	return part.data, nil
}
