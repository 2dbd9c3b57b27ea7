package ntlm

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4" //nolint:gosec // MS-NLMP section 3.4.3 prescribes RC4
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // MS-NLMP section 3.3.1 prescribes MD4
)

// Hash returns the NT hash of a password: MD4 over its UTF-16LE form (MS-NLMP section 3.3.1).
func Hash(password string) [16]byte {
	h := md4.New()
	_, _ = h.Write(utf16le(password))
	var out [16]byte
	copy(out[:], h.Sum(nil))
	return out
}

// responseKey is NTOWFv2 (MS-NLMP section 3.3.2): the user name in upper case, the domain as the client wrote it.
func responseKey(hash [16]byte, user, domain string) []byte {
	return hmacMD5(hash[:], utf16le(strings.ToUpper(user)+domain))
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return h.Sum(nil)
}

// rc4Once enciphers data with a fresh state.
func rc4Once(key, data []byte) []byte {
	out := make([]byte, len(data))
	newRC4(key).XORKeyStream(out, data)
	return out
}

// newRC4 is for keys of 1 to 256 bytes, which all keys of this package are.
func newRC4(key []byte) *rc4.Cipher {
	c, err := rc4.NewCipher(key)
	if err != nil {
		panic("ntlm: key length: " + err.Error())
	}
	return c
}

// The magic constants of MS-NLMP sections 3.4.5.2 and 3.4.5.3.
const (
	clientSigning = "session key to client-to-server signing key magic constant\x00"
	serverSigning = "session key to server-to-client signing key magic constant\x00"
	clientSealing = "session key to client-to-server sealing key magic constant\x00"
	serverSealing = "session key to server-to-client sealing key magic constant\x00"
)

func signKey(session []byte, magic string) []byte {
	sum := md5.Sum(append(append([]byte(nil), session...), magic...))
	return sum[:]
}

func sealKey(flags uint32, session []byte, magic string) []byte {
	switch {
	case flags&flag128 != 0:
	case flags&flag56 != 0:
		session = session[:7]
	default:
		session = session[:5]
	}
	return signKey(session, magic)
}

// direction is one half of a session: its keys, its RC4 state and its sequence number.
type direction struct {
	sign, seal []byte
	cipher     *rc4.Cipher
	sequence   uint32
	exchanged  bool // key exchange negotiated: the checksum is enciphered too
}

func newDirection(flags uint32, session []byte, signing, sealing string) *direction {
	d := &direction{sign: signKey(session, signing), seal: sealKey(flags, session, sealing), exchanged: flags&flagKeyExchange != 0}
	d.cipher = newRC4(d.seal)
	return d
}

// mac is the signature of MS-NLMP section 3.4.4.2. It uses up one sequence number and, with key exchange, 8 bytes of
// the key stream, so it is called after the message itself was enciphered or deciphered.
func (d *direction) mac(plain []byte) []byte {
	out := make([]byte, 16)
	binary.LittleEndian.PutUint32(out, 1)
	binary.LittleEndian.PutUint32(out[12:], d.sequence)
	copy(out[4:12], hmacMD5(d.sign, out[12:], plain))
	if d.exchanged {
		d.cipher.XORKeyStream(out[4:12], out[4:12])
	}
	d.sequence++
	return out
}

// reset restarts the key stream, as SPNEGO does after its mechListMIC (MS-SPNG section 3.2.5.1). The sequence goes on.
func (d *direction) reset() { d.cipher = newRC4(d.seal) }

func utf16le(s string) []byte {
	units := utf16.Encode([]rune(s))
	out := make([]byte, 2*len(units))
	for i, u := range units {
		binary.LittleEndian.PutUint16(out[2*i:], u)
	}
	return out
}

func fromUTF16le(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
