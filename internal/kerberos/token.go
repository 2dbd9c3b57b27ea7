package kerberos

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/types"
)

// tokens makes and reads the wrap tokens of RFC 4121 section 4.2.6.2 for the initiator. One goroutine may wrap while another
// opens.
type tokens struct {
	key         types.EncryptionKey
	acceptorKey bool   // the key is the acceptor's subkey
	send, want  uint64 // next sequence numbers
}

// ErrToken is returned for a message of the other side that is damaged, forged or out of order. Nothing of it may be used, and nothing
// that follows.
var ErrToken = errors.New("a protected message is damaged, forged or out of order")

// Overhead is more than a token adds to a message: header twice, confounder, checksum.
const Overhead = 128

const (
	headerSize   = 16
	flagAcceptor = 1
	flagSealed   = 2
	flagSubkey   = 4
)

func header(flags byte, ec uint16, seq uint64) []byte {
	h := make([]byte, headerSize, headerSize+Overhead)
	h[0], h[1], h[2], h[3] = 5, 4, flags, 0xff
	binary.BigEndian.PutUint16(h[4:], ec)
	binary.BigEndian.PutUint64(h[8:], seq)
	return h
}

// wrap protects a message: sealed, or only signed. Nothing is rotated.
func (t *tokens) wrap(p []byte, seal bool) ([]byte, error) {
	et, err := crypto.GetEtype(t.key.KeyType)
	if err != nil {
		return nil, fmt.Errorf("wrap: %w", err)
	}
	var flags byte
	if t.acceptorKey {
		flags |= flagSubkey
	}
	seq := t.send
	t.send++
	if seal {
		h := header(flags|flagSealed, 0, seq)
		_, ct, err := et.EncryptMessage(t.key.KeyValue, append(bytes.Clone(p), h...), useInitiatorSeal)
		if err != nil {
			return nil, fmt.Errorf("wrap: %w", err)
		}
		return append(h, ct...), nil
	}
	sum, err := et.GetChecksumHash(t.key.KeyValue, append(bytes.Clone(p), header(flags, 0, seq)...), useInitiatorSeal)
	if err != nil {
		return nil, fmt.Errorf("wrap: %w", err)
	}
	return append(append(header(flags, uint16(len(sum)), seq), p...), sum...), nil //nolint:gosec // 12 to 24 bytes
}

// open checks a token of the acceptor and gives what is in it. A token that is not sealed is refused where seal is asked for.
func (t *tokens) open(b []byte, seal bool) (out []byte, err error) {
	defer survive(&err)
	if len(b) < headerSize || b[0] != 5 || b[1] != 4 || b[3] != 0xff || b[2]&flagAcceptor == 0 || b[2]&flagSubkey != 0 != t.acceptorKey {
		return nil, ErrToken
	}
	if seq := binary.BigEndian.Uint64(b[8:]); seq != t.want {
		return nil, fmt.Errorf("%w (message %d, expected %d)", ErrToken, seq, t.want)
	}
	et, err := crypto.GetEtype(t.key.KeyType)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	ec, rrc := int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
	d := bytes.Clone(b[headerSize:])
	if len(d) > 0 { // rotated right by rrc
		r := rrc % len(d)
		d = append(d[r:], d[:r]...)
	}
	h := bytes.Clone(b[:headerSize])
	h[6], h[7] = 0, 0
	switch {
	case b[2]&flagSealed != 0:
		if len(d) < et.GetConfounderByteSize()+et.GetHMACBitLength()/8+headerSize {
			return nil, ErrToken
		}
		pt, err := et.DecryptMessage(t.key.KeyValue, d, useAcceptorSeal)
		if err != nil || len(pt) < headerSize+ec || !bytes.Equal(pt[len(pt)-headerSize:], h) {
			return nil, ErrToken
		}
		out = pt[:len(pt)-headerSize-ec]
	case seal || len(d) < ec:
		return nil, ErrToken
	default:
		h[4], h[5] = 0, 0
		p, sum := d[:len(d)-ec], d[len(d)-ec:]
		want, err := et.GetChecksumHash(t.key.KeyValue, append(bytes.Clone(p), h...), useAcceptorSeal)
		if err != nil || !hmac.Equal(want, sum) {
			return nil, ErrToken
		}
		out = p
	}
	t.want++
	return out, nil
}
