package bitlocker

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// KeyID is the GUID of a recovery-password protector, in upper case with hyphens and without braces, as the recovery
// screen and manage-bde show it: "4C4B6D8A-1F2E-4D3C-9B8A-0123456789AB". AD calls it msFVE-RecoveryGuid, Graph the id of
// a recoveryKey. The zero value is no key ID. Two key IDs from [ParseKeyID] or [KeyIDFromGUID] may be compared with ==.
type KeyID string

// guidDigits is the number of hexadecimal digits of a GUID; hyphens stand before the digits at hyphenAt.
const guidDigits = 32

var hyphenAt = [...]int{8, 12, 16, 20}

// ParseKeyID reads a whole key ID: 32 hexadecimal digits in either case, with or without braces, hyphens and blanks.
func ParseKeyID(s string) (KeyID, error) {
	digits, err := hexDigits(s)
	if err != nil {
		return "", fmt.Errorf("key ID %q: %w", shorten(s), err)
	}
	if len(digits) != guidDigits {
		return "", fmt.Errorf("key ID %q: it has %d hexadecimal digits, a whole one has 32", shorten(s), len(digits))
	}
	return KeyID(hyphenate(digits)), nil
}

// KeyIDFromGUID gives the key ID for a GUID in the byte order of Windows, the first three fields little endian
// (MS-DTYP 2.3.4.2), as AD and the FVE metadata store it.
func KeyIDFromGUID(guid [16]byte) KeyID {
	return KeyID(hyphenate(strings.ToUpper(hex.EncodeToString(swapGUID(guid)))))
}

// GUID gives the 16 bytes in the byte order of Windows; see [KeyIDFromGUID]. ok is false for what is no whole key ID.
func (id KeyID) GUID() (guid [16]byte, ok bool) {
	raw, err := hex.DecodeString(strings.ReplaceAll(string(id), "-", ""))
	if err != nil || len(raw) != len(guid) {
		return guid, false
	}
	copy(guid[:], swapGUID([16]byte(raw)))
	return guid, true
}

func swapGUID(g [16]byte) []byte {
	return []byte{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}
}

// Short is what older recovery screens show: the first 8 digits.
func (id KeyID) Short() string { return string(id[:min(len(id), 8)]) }

// Prefix gives the whole key ID as a prefix to search for.
func (id KeyID) Prefix() Prefix { return Prefix(id) }

// Prefix is the beginning of a key ID, at least 8 hexadecimal digits, in the form of [KeyID]: "4C4B6D8A-1F". The zero
// value is no prefix.
type Prefix string

// MinPrefix is the number of hexadecimal digits a recovery screen shows at least. Fewer would find somebody else's key.
const MinPrefix = 8

// ParsePrefix reads 8 to 32 hexadecimal digits as a user types them from a recovery screen.
func ParsePrefix(s string) (Prefix, error) {
	digits, err := hexDigits(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("key ID %q: %w", shorten(s), err)
	case len(digits) < MinPrefix:
		return "", hint.Wrap(fmt.Errorf("key ID %q: it has %d hexadecimal digits, at least 8 are needed", shorten(s), len(digits)),
			"the recovery screen shows 8 digits or more behind \"Key ID\" or \"Recovery key ID\"")
	case len(digits) > guidDigits:
		return "", fmt.Errorf("key ID %q: it has %d hexadecimal digits, a whole one has 32", shorten(s), len(digits))
	}
	return Prefix(hyphenate(digits)), nil
}

// Matches reports whether id begins with the prefix. The zero prefix matches nothing.
func (p Prefix) Matches(id KeyID) bool { return p != "" && strings.HasPrefix(string(id), string(p)) }

// Whole reports whether the prefix is a whole key ID, and gives it.
func (p Prefix) Whole() (KeyID, bool) {
	if len(p) != guidDigits+len(hyphenAt) {
		return "", false
	}
	return KeyID(p), true
}

// hexDigits takes off what people and programs put around and between the digits of a GUID.
func hexDigits(s string) (string, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "{") {
		s = strings.TrimSuffix(s[1:], "}")
	}
	s = strings.TrimRight(s, ".…") // the screen of Windows 11 may cut the ID with dots
	digits := make([]byte, 0, guidDigits)
	place := 0
	for _, r := range s {
		place++
		switch {
		case r >= '0' && r <= '9', r >= 'A' && r <= 'F':
			digits = append(digits, byte(r))
		case r >= 'a' && r <= 'f':
			digits = append(digits, byte(r)-'a'+'A')
		case isDash(r), r == ' ', r == '\u00a0':
		default:
			err := fmt.Errorf("%q at place %d is no hexadecimal digit (0-9, A-F)", r, place)
			switch r {
			case 'O', 'o':
				return "", hint.Wrap(err, "a key ID has no letter O; take it for the digit 0")
			case 'I', 'i', 'l':
				return "", hint.Wrap(err, "a key ID has no letter I or L; take it for the digit 1")
			}
			return "", err
		}
		if len(digits) > 2*guidDigits {
			return "", fmt.Errorf("it has more than 32 hexadecimal digits")
		}
	}
	return string(digits), nil
}

// isDash knows the dashes that word processors and mail programs make of a hyphen.
func isDash(r rune) bool {
	return r == '-' || r >= '\u2010' && r <= '\u2015' || r == '\u2212' || r == '\u00ad'
}

func hyphenate(digits string) string {
	var b strings.Builder
	from := 0
	for _, at := range hyphenAt {
		if len(digits) <= at {
			break
		}
		b.WriteString(digits[from:at])
		b.WriteByte('-')
		from = at
	}
	b.WriteString(digits[from:])
	return b.String()
}

// shorten keeps a whole file pasted by mistake out of a message. What looks like a recovery password is not repeated.
func shorten(s string) string {
	digits := 0
	for _, r := range s {
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	if digits >= 40 {
		return "(a long row of digits)"
	}
	if r := []rune(s); len(r) > 48 {
		return string(r[:45]) + "..."
	}
	return s
}

// unknownID begins what stands for the key ID of a key that came without one.
const unknownID = "UNKNOWN-"

// UnknownID stands for the key ID of a machine's key where the source gives none: "UNKNOWN-LON-WS-00001". It is what a
// person reads; no recovery screen shows it, and no [Prefix] fits it.
func UnknownID(m Machine) KeyID {
	m = m.normal()
	for _, s := range []string{m.Name, m.FQDN, m.Serial, m.DeviceID, m.DN} {
		if s != "" {
			return KeyID(unknownID + strings.ToUpper(s))
		}
	}
	return ""
}

// Known reports whether this is the ID of a protector, rather than one of [UnknownID].
func (id KeyID) Known() bool { return id != "" && !strings.HasPrefix(string(id), unknownID) }
