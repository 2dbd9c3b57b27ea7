package winrm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bodgit/ntlmssp"
)

// The flags of an NTLM challenge that the library does not insist on (MS-NLMP section 2.2.2.5). Without them it would
// sign with a weak key or, when a machine or someone in between drops the seal flag, send the message in the clear.
const (
	flagUnicode     = 1 << 0
	flagSign        = 1 << 4
	flagSeal        = 1 << 5
	flagAnonymous   = 1 << 11
	flagExtended    = 1 << 19
	flagTargetInfo  = 1 << 23
	flag128         = 1 << 29
	flagKeyExchange = 1 << 30

	flagsWanted = flagUnicode | flagSign | flagSeal | flagExtended | flagTargetInfo | flag128 | flagKeyExchange
)

var (
	errChallenge = errors.New("the NTLM challenge is malformed")
	errWeak      = errors.New("the machine offers only weak NTLM (no NTLMv2 sealing with 128 bit keys)")
	errSeal      = errors.New("the seal of the answer is broken")
)

// ntlmVersion is what Windows 10 sends; some servers expect a version to be there.
var ntlmVersion = &ntlmssp.Version{ProductMajorVersion: 10, ProductBuild: 19041, NTLMRevisionCurrent: ntlmssp.NTLMSSPRevisionW2K3}

// ntlmClient is one NTLMv2 logon (MS-NLMP section 3.1.5) and the sealing that follows it.
type ntlmClient struct {
	client  *ntlmssp.Client
	session *ntlmssp.SecuritySession
}

func newNTLM(c Credential) (*ntlmClient, error) {
	if c.User == "" || c.Password.IsZero() {
		return nil, errors.New("a user and a password are needed") // the library would log on anonymously
	}
	client, err := ntlmssp.NewClient(
		ntlmssp.SetCompatibilityLevel(5),
		ntlmssp.SetUserInfo(c.User, c.Password.Reveal()),
		ntlmssp.SetDomain(c.Domain),
		ntlmssp.SetVersion(ntlmVersion))
	if err != nil {
		return nil, fmt.Errorf("start NTLM: %w", err)
	}
	return &ntlmClient{client: client}, nil
}

func (n *ntlmClient) negotiate() ([]byte, error) { return n.client.Authenticate(nil, nil) }

// authenticate answers the challenge. binding is the hash of the machine's certificate (see endPointHash), nil over
// plain HTTP.
func (n *ntlmClient) authenticate(challenge, binding []byte) ([]byte, error) {
	if err := checkChallenge(challenge); err != nil {
		return nil, err
	}
	var bindings *ntlmssp.ChannelBindings
	if binding != nil {
		bindings = &ntlmssp.ChannelBindings{ApplicationData: append([]byte(ntlmssp.TLSServerEndPoint+":"), binding...)}
	}
	message, err := n.client.Authenticate(challenge, bindings)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errChallenge, err)
	}
	n.session = n.client.SecuritySession()
	return message, nil
}

// checkChallenge makes sure of what the library takes for granted: every strong flag, and a target information that can
// be read without running over its end (MS-NLMP sections 2.2.1.2 and 2.2.2.1).
func checkChallenge(m []byte) error {
	if len(m) < 48 || string(m[:8]) != "NTLMSSP\x00" || binary.LittleEndian.Uint32(m[8:]) != 2 {
		return errChallenge
	}
	flags := binary.LittleEndian.Uint32(m[20:])
	if flags&flagsWanted != flagsWanted || flags&flagAnonymous != 0 {
		return fmt.Errorf("%w: flags %08x", errWeak, flags)
	}
	length, offset := int(binary.LittleEndian.Uint16(m[40:])), int64(binary.LittleEndian.Uint32(m[44:]))
	if offset > int64(len(m)) || int64(length) > int64(len(m))-offset {
		return errChallenge
	}
	info := m[offset : offset+int64(length)]
	for len(info) >= 4 {
		id, n := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		if n > len(info)-4 {
			return errChallenge
		}
		switch {
		case id == 0:
			return nil
		case id == 6 && n != 4, id == 7 && n != 8: // MsvAvFlags, MsvAvTimestamp
			return errChallenge
		}
		info = info[4+n:]
	}
	return errChallenge
}

// seal returns the sealed message with its signature.
func (n *ntlmClient) seal(message []byte) (signature, sealed []byte, err error) {
	sealed, signature, err = n.session.Wrap(message)
	if err == nil && len(signature) != signatureSize {
		err = errSeal
	}
	return signature, sealed, err
}

// unseal checks and opens one sealed message.
func (n *ntlmClient) unseal(part sealedPart) ([]byte, error) {
	if len(part.signature) != signatureSize || binary.LittleEndian.Uint32(part.signature) != 1 {
		return nil, errSeal
	}
	message, err := n.session.Unwrap(part.data, part.signature)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errSeal, err)
	}
	return message, nil
}
