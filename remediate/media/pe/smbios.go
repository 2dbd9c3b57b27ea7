package pe

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/media/aboard"
)

// parseSMBIOS finds out which machine this is (DMTF DSP0134, structure type 1). Raw is as GetSystemFirmwareTable gives it:
// eight bytes of versions and length, then the table. What cannot be read stays empty.
func parseSMBIOS(raw []byte) (m aboard.Machine) {
	if len(raw) < 8 {
		return m
	}
	table := raw[8:]
	if n := int(binary.LittleEndian.Uint32(raw[4:])); n < len(table) && n >= 0 {
		table = table[:n]
	}
	for len(table) >= 4 && int(table[1]) >= 4 && int(table[1]) <= len(table) {
		head := table[:table[1]]
		rest := table[table[1]:]
		end := bytes.Index(rest, []byte{0, 0})
		if end < 0 {
			return m
		}
		if head[0] == 1 {
			texts := strings.Split(string(rest[:end]), "\x00")
			text := func(at int) string {
				if at >= len(head) || head[at] == 0 || int(head[at]) > len(texts) {
					return ""
				}
				return strings.TrimSpace(texts[head[at]-1])
			}
			m.Manufacturer, m.Model, m.Serial = text(4), text(5), text(7)
			if len(head) >= 24 {
				m.UUID = uuid(head[8:24])
			}
			return m
		}
		table = rest[end+2:]
	}
	return m
}

// uuid is the text of a UUID whose first three fields are little-endian; empty for all zeros or all ones, which mean that
// the maker set none.
func uuid(b []byte) string {
	if bytes.Count(b, []byte{0}) == 16 || bytes.Count(b, []byte{0xff}) == 16 {
		return ""
	}
	h := hex.EncodeToString([]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]})
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
