package ntlm

import (
	"crypto/hmac"
	"errors"
)

// ErrSeal is what a message gets that does not open or verify.
var ErrSeal = errors.New("sealed message does not open")

// Session signs and seals for the server's side of an authenticated connection. Messages must be opened in the order in
// which they were sealed. It is not safe for concurrent use; a connection owns it.
type Session struct {
	User, Domain string
	CanSeal      bool // the client negotiated confidentiality
	in, out      *direction
}

func newSession(flags uint32, exported []byte, user, domain string) *Session {
	return &Session{
		User: user, Domain: domain, CanSeal: flags&flagSeal != 0,
		in:  newDirection(flags, exported, clientSigning, clientSealing),
		out: newDirection(flags, exported, serverSigning, serverSealing),
	}
}

// Seal enciphers a message for the client and returns it with its 16-byte signature.
func (s *Session) Seal(plain []byte) (signature, sealed []byte) {
	sealed = make([]byte, len(plain))
	s.out.cipher.XORKeyStream(sealed, plain)
	return s.out.mac(plain), sealed
}

// Open deciphers a message of the client in place and checks its signature.
func (s *Session) Open(signature, sealed []byte) ([]byte, error) {
	s.in.cipher.XORKeyStream(sealed, sealed)
	if !hmac.Equal(signature, s.in.mac(sealed)) {
		return nil, ErrSeal
	}
	return sealed, nil
}

// Sign returns a signature for the client over a message in the clear.
func (s *Session) Sign(message []byte) []byte { return s.out.mac(message) }

// Verify checks the client's signature over a message in the clear.
func (s *Session) Verify(message, signature []byte) error {
	if !hmac.Equal(signature, s.in.mac(message)) {
		return ErrSeal
	}
	return nil
}

// ResetIn and ResetOut restart the key stream of one direction, as SPNEGO does after a mechListMIC of that direction.
func (s *Session) ResetIn() { s.in.reset() }

// ResetOut is described at [Session.ResetIn].
func (s *Session) ResetOut() { s.out.reset() }
