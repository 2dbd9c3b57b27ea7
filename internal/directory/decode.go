package directory

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// filetimeEpoch is 1970-01-01 in FILETIME units (100 ns since 1601-01-01 UTC, MS-DTYP 2.3.3).
const filetimeEpoch = 116444736000000000

// Filetime reads a FILETIME in decimal, as lastLogonTimestamp and pwdLastSet have it. Empty, 0 and 0x7FFFFFFFFFFFFFFF
// mean never and give the zero time.
func Filetime(s string) (time.Time, error) {
	if s = strings.TrimSpace(s); s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("%q is no FILETIME", clip(s))
	}
	return filetime(n), nil
}

func filetime(n int64) time.Time {
	if n == 0 || n == math.MaxInt64 {
		return time.Time{}
	}
	n -= filetimeEpoch
	sec, rest := n/1e7, n%1e7
	return time.Unix(sec, rest*100).UTC()
}

// FormatFiletime is the reverse of [Filetime]; the zero time gives "0".
func FormatFiletime(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix()*1e7+int64(t.Nanosecond())/100+filetimeEpoch, 10)
}

// GeneralizedTime reads "20240718120000.0Z" (RFC 4517 3.3.13 as AD writes it).
func GeneralizedTime(s string) (time.Time, error) {
	digits, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(s), "Z"), ".")
	t, err := time.Parse("20060102150405", digits)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time of the directory", clip(s))
	}
	return t, nil
}

// maxSubAuthorities is the limit of MS-DTYP 2.4.2.
const maxSubAuthorities = 15

// SID reads a binary security identifier (MS-DTYP 2.4.2.2) as S-1-5-21-...
func SID(b []byte) (string, error) {
	if len(b) < 8 || b[0] != 1 || b[1] > maxSubAuthorities || len(b) != 8+4*int(b[1]) {
		return "", fmt.Errorf("%d bytes are no SID", len(b))
	}
	var authority uint64
	for _, x := range b[2:8] {
		authority = authority<<8 | uint64(x)
	}
	var text [8 + 20 + 11*maxSubAuthorities]byte
	out := strconv.AppendUint(append(text[:0], "S-1-"...), authority, 10)
	for i := 8; i < len(b); i += 4 {
		out = strconv.AppendUint(append(out, '-'), uint64(binary.LittleEndian.Uint32(b[i:])), 10)
	}
	return string(out), nil
}

// GUID reads the 16 bytes of objectGUID and its like: the first three fields are little endian (MS-DTYP 2.3.4.2). The
// text is lower case with hyphens.
func GUID(b []byte) (string, error) {
	if len(b) != 16 {
		return "", fmt.Errorf("%d bytes are no GUID", len(b))
	}
	var text [36]byte
	out := text[:0]
	for i, at := range [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out = append(out, '-')
		}
		out = append(out, hexDigits[b[at]>>4], hexDigits[b[at]&0xf])
	}
	return string(out), nil
}

const hexDigits = "0123456789abcdef"

// GUIDBytes is the reverse of [GUID].
func GUIDBytes(id string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(b) != 16 {
		return nil, fmt.Errorf("%q is no GUID", clip(id))
	}
	for _, swap := range [][2]int{{0, 3}, {1, 2}, {4, 5}, {6, 7}} {
		b[swap[0]], b[swap[1]] = b[swap[1]], b[swap[0]]
	}
	return b, nil
}

// FilterBytes escapes every byte of a binary value for a search filter, as in (objectGUID=\01\02...).
func FilterBytes(b []byte) string {
	var out strings.Builder
	for _, x := range b {
		fmt.Fprintf(&out, `\%02x`, x)
	}
	return out.String()
}

// clip keeps a value from the directory short and printable inside an error.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "..."
	}
	return s
}

// FilterText escapes a text for a search filter (RFC 4515 3).
func FilterText(s string) string { return ldap.EscapeFilter(s) }
