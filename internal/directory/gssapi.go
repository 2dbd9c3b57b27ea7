package directory

import (
	"encoding/binary"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos"
)

// initiator is our side of a GSSAPI bind (RFC 4752) as go-ldap drives it.
type initiator struct {
	context *kerberos.Context
	layer   byte
	maxSend int
}

func (g *initiator) DeleteSecContext() error { return nil }

func (g *initiator) InitSecContext(spn string, in []byte) ([]byte, bool, error) {
	return g.InitSecContextWithOptions(spn, in, nil)
}

func (g *initiator) InitSecContextWithOptions(_ string, in []byte, _ []int) (out []byte, more bool, err error) {
	if in == nil {
		return g.context.First(), true, nil
	}
	return []byte{}, false, g.context.Finish(in)
}

// NegotiateSaslAuth answers the offer of security layers.
func (g *initiator) NegotiateSaslAuth(in []byte, authz string) (out []byte, err error) {
	offer, err := g.context.Open(in, false)
	if err != nil {
		return nil, err
	}
	if len(offer) != 4 {
		return nil, kerberos.ErrToken
	}
	if offer[0]&g.layer == 0 {
		return nil, &Error{Kind: StrongAuth, Err: hint.Wrapf(fmt.Errorf("the domain controller offers no such protection (layers %d)", offer[0]),
			"try the method kerberos-seal, kerberos-ldaps or ldaps")}
	}
	g.maxSend = int(binary.BigEndian.Uint32(offer)&0xffffff) - kerberos.Overhead
	answer := []byte{g.layer, 0, 0, 0}
	if g.layer != layerNone {
		if g.maxSend < 512 {
			return nil, fmt.Errorf("%w (it takes %d bytes at most)", kerberos.ErrToken, g.maxSend)
		}
		binary.BigEndian.PutUint32(answer, uint32(g.layer)<<24|maxSASL)
	}
	return g.context.Wrap(append(answer, authz...), false)
}
