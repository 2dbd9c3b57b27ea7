package directory

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/types"
)

// The security layers of RFC 4752 3.1.
const (
	layerNone byte = 1
	layerSign byte = 2
	layerSeal byte = 4
)

// maxSASL is the largest message we take: what AD itself announces.
const maxSASL = 0xa00000

// wrapOverhead is more than a wrap token adds: header twice, confounder, checksum.
const wrapOverhead = 128

// tokens makes and reads the wrap tokens of RFC 4121 4.2.6.2 for the initiator. One goroutine may wrap while another
// unwraps.
type tokens struct {
	key         types.EncryptionKey
	acceptorKey bool   // the key is the acceptor's subkey
	send, want  uint64 // next sequence numbers
}

var errToken = errors.New("a protected message of the domain controller is damaged, forged or out of order")

func header(flags byte, ec uint16, seq uint64) []byte {
	h := make([]byte, 16)
	h[0], h[1], h[2], h[3] = 5, 4, flags, 0xff
	binary.BigEndian.PutUint16(h[4:], ec)
	binary.BigEndian.PutUint64(h[8:], seq)
	return h
}

func (t *tokens) wrap(p []byte, seal bool) ([]byte, error) {
	et, err := crypto.GetEtype(t.key.KeyType)
	if err != nil {
		return nil, err
	}
	var flags byte
	if t.acceptorKey {
		flags |= 4
	}
	seq := t.send
	t.send++
	if seal {
		h := header(flags|2, 0, seq)
		_, ct, err := et.EncryptMessage(t.key.KeyValue, append(bytes.Clone(p), h...), keyusage.GSSAPI_INITIATOR_SEAL)
		return append(h, ct...), err
	}
	sum, err := et.GetChecksumHash(t.key.KeyValue, append(bytes.Clone(p), header(flags, 0, seq)...), keyusage.GSSAPI_INITIATOR_SEAL)
	if err != nil {
		return nil, err
	}
	return append(append(header(flags, uint16(len(sum)), seq), p...), sum...), nil
}

// unwrap checks a token of the acceptor and gives what is in it. A token that is not sealed is refused where seal is
// asked for.
func (t *tokens) unwrap(b []byte, seal bool) ([]byte, error) {
	if len(b) < 16 || b[0] != 5 || b[1] != 4 || b[3] != 0xff || b[2]&1 == 0 || b[2]&4 != 0 != t.acceptorKey {
		return nil, errToken
	}
	if seq := binary.BigEndian.Uint64(b[8:]); seq != t.want {
		return nil, fmt.Errorf("%w (message %d, expected %d)", errToken, seq, t.want)
	}
	ec, rrc := int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
	d := bytes.Clone(b[16:])
	if len(d) > 0 { // rotated right by rrc
		r := rrc % len(d)
		d = append(d[r:], d[:r]...)
	}
	h := bytes.Clone(b[:16])
	h[6], h[7] = 0, 0
	et, err := crypto.GetEtype(t.key.KeyType)
	if err != nil {
		return nil, err
	}
	var out []byte
	switch {
	case b[2]&2 != 0:
		if len(d) < et.GetConfounderByteSize()+et.GetHMACBitLength()/8+16 {
			return nil, errToken
		}
		pt, err := et.DecryptMessage(t.key.KeyValue, d, keyusage.GSSAPI_ACCEPTOR_SEAL)
		if err != nil || len(pt) < 16+ec || !bytes.Equal(pt[len(pt)-16:], h) {
			return nil, errToken
		}
		out = pt[:len(pt)-16-ec]
	case seal || len(d) < ec:
		return nil, errToken
	default:
		h[4], h[5] = 0, 0
		p, sum := d[:len(d)-ec], d[len(d)-ec:]
		want, err := et.GetChecksumHash(t.key.KeyValue, append(bytes.Clone(p), h...), keyusage.GSSAPI_ACCEPTOR_SEAL)
		if err != nil || !hmac.Equal(want, sum) {
			return nil, errToken
		}
		out = p
	}
	t.want++
	return out, nil
}

// layer is a connection on which a SASL security layer is switched on after the bind (RFC 4422 3.7): each message is
// four bytes of length and a wrap token.
type layer struct {
	net.Conn
	on      atomic.Bool
	seal    bool
	tokens  *tokens
	maxSend int // of one wrapped message
	writing sync.Mutex
	plain   bytes.Reader
	raw     []byte // read before the layer was on
}

func (l *layer) Read(p []byte) (int, error) {
	if l.plain.Len() > 0 {
		return l.plain.Read(p)
	}
	if !l.on.Load() {
		n, err := l.Conn.Read(p)
		// The reader waits here while the bind ends, so what it wakes with may already be protected.
		if n == 0 || !l.on.Load() {
			return n, err
		}
		l.raw = append(l.raw, p[:n]...)
	}
	for l.plain.Len() == 0 {
		var size [4]byte
		if err := l.fill(size[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxSASL {
			return 0, fmt.Errorf("%w (%d bytes announced)", errToken, n)
		}
		token := make([]byte, n)
		if err := l.fill(token); err != nil {
			return 0, err
		}
		text, err := l.tokens.unwrap(token, l.seal)
		if err != nil {
			return 0, err
		}
		l.plain.Reset(text)
	}
	return l.plain.Read(p)
}

func (l *layer) fill(b []byte) error {
	n := copy(b, l.raw)
	l.raw = l.raw[n:]
	_, err := io.ReadFull(l.Conn, b[n:])
	return err
}

func (l *layer) Write(p []byte) (int, error) {
	if !l.on.Load() {
		return l.Conn.Write(p)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+l.maxSend)]
		token, err := l.tokens.wrap(part, l.seal)
		if err != nil {
			return done, err
		}
		if _, err := l.Conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}
