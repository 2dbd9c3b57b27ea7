package windows

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// typeNames are the types of registry values by Windows' numbers (winnt.h, REG_NONE and so on). A number without a name
// here is called "type-N".
var typeNames = map[uint32]string{
	0: "none", 1: "string", 2: "expand-string", 3: "binary", 4: "dword", 5: "dword-big-endian", 6: "link",
	7: "multi-string", 8: "resource-list", 11: "qword",
}

// Odd is the data of a value whose bytes its type does not account for: a text without its end, a dword of eight bytes,
// a list with something behind it. It is read as Windows' own programs read it and written back byte for byte.
type Odd struct {
	As  any    // string, []string or uint64; nil where it is read as nothing
	Raw []byte // what lies in the registry
}

// DecodeValue makes a value of what a registry holds. It takes everything: types without a form of their own are bytes,
// and what would not come back as it was is [Odd].
func DecodeValue(kind uint32, raw []byte) Value {
	v := Value{Type: typeName(kind)}
	switch v.Type {
	case "string", "expand-string":
		text, _, _ := strings.Cut(wideText(raw), "\x00")
		v.Data = text
	case "multi-string":
		v.Data = wideList(raw)
	case "dword":
		if len(raw) == 4 {
			v.Data = uint64(binary.LittleEndian.Uint32(raw))
		}
	case "qword":
		if len(raw) == 8 {
			v.Data = binary.LittleEndian.Uint64(raw)
		}
	default:
		v.Data = append([]byte{}, raw...)
		return v
	}
	if _, again, err := v.Encode(); err != nil || !bytes.Equal(again, raw) {
		v.Data = Odd{v.Data, bytes.Clone(raw)}
	}
	return v
}

// Encode is the reverse of [DecodeValue]: the type's number and the bytes that a registry holds of the value.
func (v Value) Encode() (kind uint32, raw []byte, err error) {
	kind, known := typeNumber(v.Type)
	if !known {
		return 0, nil, fmt.Errorf("unknown type of registry value %q", v.Type)
	}
	switch data := v.Data.(type) {
	case Odd:
		return kind, data.Raw, nil
	case string:
		if v.Type == "string" || v.Type == "expand-string" {
			return kind, wideBytes(data), nil
		}
	case []string:
		if v.Type == "multi-string" {
			for _, text := range data {
				raw = append(raw, wideBytes(text)...)
			}
			return kind, append(raw, 0, 0), nil
		}
	case uint64:
		switch {
		case v.Type == "qword":
			return kind, binary.LittleEndian.AppendUint64(nil, data), nil
		case v.Type == "dword" && data>>32 == 0:
			return kind, binary.LittleEndian.AppendUint32(nil, uint32(data)), nil
		}
	case []byte:
		if !slices.Contains([]string{"string", "expand-string", "multi-string", "dword", "qword"}, v.Type) {
			return kind, data, nil
		}
	}
	return 0, nil, fmt.Errorf("a registry value of type %s cannot hold %T", v.Type, v.Data)
}

func typeName(kind uint32) string {
	if name, ok := typeNames[kind]; ok {
		return name
	}
	return fmt.Sprintf("type-%d", kind)
}

func typeNumber(name string) (kind uint32, ok bool) {
	for kind, known := range typeNames {
		if known == name {
			return kind, true
		}
	}
	digits, ok := strings.CutPrefix(name, "type-")
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil
}

// wideText is UTF-16LE as text; half a character at the end is left out.
func wideText(raw []byte) string {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}

// wideList gives the texts between NULs, empty ones too; the NUL that ends the list is none.
func wideList(raw []byte) []string {
	texts := []string{}
	for rest := wideText(raw); rest != "" && rest != "\x00"; {
		var text string
		text, rest, _ = strings.Cut(rest, "\x00")
		texts = append(texts, text)
	}
	return texts
}

func wideBytes(text string) (raw []byte) {
	for _, c := range utf16.Encode([]rune(text + "\x00")) {
		raw = binary.LittleEndian.AppendUint16(raw, c)
	}
	return raw
}
