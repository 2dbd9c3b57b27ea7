package fve

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Roles and types of datums, the entries of the metadata.
const (
	roleProtector   = 0x0002
	roleDescription = 0x0007

	typeKey        = 0x0001
	typeText       = 0x0002
	typeStretchKey = 0x0003
	typeSealedKey  = 0x0005 // AES-CCM
	typeProtector  = 0x0008
)

const datumHeaderSize = 8

// datum is one entry: a header of 8 bytes (size with the header, role, type, flags) and a body.
type datum struct {
	role, kind, flags uint16
	body              []byte
}

// parseDatums reads datums until the end or a size of 0, which is padding.
func parseDatums(b []byte) ([]datum, error) {
	var out []datum
	for len(b) >= 2 {
		size := int(binary.LittleEndian.Uint16(b))
		if size == 0 {
			break
		}
		if size < datumHeaderSize || size > len(b) {
			return nil, errors.New("an entry gives a wrong length")
		}
		out = append(out, datum{
			role: binary.LittleEndian.Uint16(b[2:]), kind: binary.LittleEndian.Uint16(b[4:]), flags: binary.LittleEndian.Uint16(b[6:]),
			body: b[datumHeaderSize:size],
		})
		b = b[size:]
	}
	return out, nil
}

// find gives the first datum of a type.
func find(datums []datum, kind uint16) ([]byte, bool) {
	for _, d := range datums {
		if d.kind == kind {
			return d.body, true
		}
	}
	return nil, false
}

// text decodes UTF-16 until its end or a NUL. Control characters become blanks: it goes to terminals.
func text(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return strings.TrimSpace(prose.OneLine(string(utf16.Decode(units))))
}

// fileTime reads a FILETIME (MS-DTYP 2.3.3): 100 ns since 1601, in UTC. What no clock shows is the zero time.
func fileTime(v uint64) time.Time {
	const toUnix = 11644473600
	seconds := v / 1e7
	if seconds < toUnix || seconds > toUnix+253402300799 { // the end of 9999
		return time.Time{}
	}
	return time.Unix(int64(seconds)-toUnix, int64(v%1e7)*100).UTC()
}
