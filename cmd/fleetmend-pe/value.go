package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/remediate/windows"
)

// The types of registry values, by Windows' numbers.
const (
	regString       = 1
	regExpandString = 2
	regBinary       = 3
	regDword        = 4
	regMultiString  = 7
	regQword        = 11
)

// decode makes a value of what the registry holds. A text ends at its first NUL or with its bytes.
func decode(kind uint32, raw []byte) (windows.Value, error) {
	switch kind {
	case regString, regExpandString:
		texts := append(split(raw), "")
		return windows.Value{Type: map[uint32]string{regString: "string", regExpandString: "expand-string"}[kind], Data: texts[0]}, nil
	case regMultiString:
		texts := split(raw)
		if end := slices.Index(texts, ""); end >= 0 {
			texts = texts[:end]
		}
		return windows.Value{Type: "multi-string", Data: texts}, nil
	case regBinary:
		return windows.Value{Type: "binary", Data: raw}, nil
	}
	switch {
	case kind == regDword && len(raw) == 4:
		return windows.Value{Type: "dword", Data: uint64(binary.LittleEndian.Uint32(raw))}, nil
	case kind == regQword && len(raw) == 8:
		return windows.Value{Type: "qword", Data: binary.LittleEndian.Uint64(raw)}, nil
	}
	return windows.Value{}, fmt.Errorf("a value of type %d with %d bytes is not known here", kind, len(raw))
}

// split gives the texts between NULs; what follows the last one counts if it is not empty.
func split(raw []byte) []string {
	texts := []string{}
	var text []uint16
	for i := 0; i+1 < len(raw); i += 2 {
		c := binary.LittleEndian.Uint16(raw[i:])
		if c != 0 {
			text = append(text, c)
			continue
		}
		texts, text = append(texts, string(utf16.Decode(text))), nil
	}
	if len(text) > 0 {
		texts = append(texts, string(utf16.Decode(text)))
	}
	return texts
}

// encode is the reverse of decode.
func encode(v windows.Value) (kind uint32, raw []byte, err error) {
	switch data := v.Data.(type) {
	case string:
		kind = map[string]uint32{"string": regString, "expand-string": regExpandString}[v.Type]
		raw = wide(data)
	case []string:
		kind = map[string]uint32{"multi-string": regMultiString}[v.Type]
		for _, text := range data {
			raw = append(raw, wide(text)...)
		}
		raw = append(raw, 0, 0)
	case []byte:
		kind, raw = map[string]uint32{"binary": regBinary}[v.Type], data
	case uint64:
		kind, raw = map[string]uint32{"qword": regQword}[v.Type], binary.LittleEndian.AppendUint64(nil, data)
		if v.Type == "dword" && data>>32 == 0 {
			kind, raw = regDword, raw[:4]
		}
	}
	if kind == 0 {
		return 0, nil, fmt.Errorf("a value of type %s cannot hold %T", v.Type, v.Data)
	}
	return kind, raw, nil
}

func wide(text string) (raw []byte) {
	for _, c := range utf16.Encode([]rune(text + "\x00")) {
		raw = binary.LittleEndian.AppendUint16(raw, c)
	}
	return raw
}
