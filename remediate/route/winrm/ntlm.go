package winrm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/prose"
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

// The target information of a challenge (MS-NLMP section 2.2.2.1).
const (
	infoEnd        = 0
	infoDomain     = 2
	infoDNSDomain  = 4
	infoFlags      = 6
	infoTimestamp  = 7
	infoBindings   = 10
	challengeFixed = 48
)

// checkChallenge makes sure of what the library takes for granted: every strong flag, and a target information that can
// be read without running over its end (MS-NLMP sections 2.2.1.2 and 2.2.2.1).
func checkChallenge(m []byte) error {
	if len(m) < challengeFixed || string(m[:8]) != "NTLMSSP\x00" || binary.LittleEndian.Uint32(m[8:]) != 2 {
		return errChallenge
	}
	flags := binary.LittleEndian.Uint32(m[20:])
	if flags&flagsWanted != flagsWanted || flags&flagAnonymous != 0 {
		return fmt.Errorf("%w: flags %08x", errWeak, flags)
	}
	return targetInfo(m, func(id uint16, value []byte) error {
		if id == infoFlags && len(value) != 4 || id == infoTimestamp && len(value) != 8 {
			return errChallenge
		}
		return nil
	})
}

// targetInfo gives each pair of the target information, which has to end with its end.
func targetInfo(m []byte, each func(id uint16, value []byte) error) error {
	if len(m) < challengeFixed {
		return errChallenge
	}
	length, offset := int(binary.LittleEndian.Uint16(m[40:])), int64(binary.LittleEndian.Uint32(m[44:]))
	if offset > int64(len(m)) || int64(length) > int64(len(m))-offset {
		return errChallenge
	}
	info := m[offset : offset+int64(length)]
	for len(info) >= 4 {
		id, n := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		switch {
		case n > len(info)-4:
			return errChallenge
		case id == infoEnd:
			return nil
		}
		if err := each(id, info[4:4+n]); err != nil {
			return err
		}
		info = info[4+n:]
	}
	return errChallenge
}

// domainNames are what a machine says of its domain; of a machine in none, its own name.
type domainNames struct{ netbios, dns string }

func (d domainNames) name() string {
	if d.netbios != "" {
		return d.netbios
	}
	return d.dns
}

func (d domainNames) is(name string) bool {
	return name != "" && (strings.EqualFold(name, d.netbios) || strings.EqualFold(name, d.dns))
}

// domainOf reads the names from a challenge that was checked.
func domainOf(challenge []byte) (names domainNames) {
	const longest = 255
	_ = targetInfo(challenge, func(id uint16, value []byte) error { //nolint:errcheck // it was checked
		units := make([]uint16, min(len(value)/2, longest))
		for i := range units {
			units[i] = binary.LittleEndian.Uint16(value[2*i:])
		}
		switch text := prose.Short(strings.ToUpper(string(utf16.Decode(units))), longest); id {
		case infoDomain:
			names.netbios = text
		case infoDNSDomain:
			names.dns = text
		}
		return nil
	})
	return names
}
