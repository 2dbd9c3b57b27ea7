package pe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf16"
)

// hive reads single values out of a registry file (regf 1.3 to 1.6). It reads only: a hive that was not closed cleanly is
// read as it is, without its logs, which is good enough for a name and a build number.
//
// Format: as described by the libregf project ("Windows NT Registry File (REGF) format specification").
type hive struct {
	r    io.ReaderAt
	root uint32
}

var errHive = errors.New("the registry file is damaged")

const (
	hiveBase = 4096
	maxCell  = 1 << 20
	maxKids  = 65536
)

func openHive(r io.ReaderAt) (*hive, error) {
	head := make([]byte, 48)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("%w: %v", errHive, err)
	}
	if string(head[:4]) != "regf" {
		return nil, errHive
	}
	return &hive{r, binary.LittleEndian.Uint32(head[36:])}, nil
}

// cell returns the content of a cell, of at least n bytes.
func (h *hive) cell(at uint32, n int) ([]byte, error) {
	var size [4]byte
	if _, err := h.r.ReadAt(size[:], hiveBase+int64(at)); err != nil {
		return nil, fmt.Errorf("%w: %v", errHive, err)
	}
	length := -int64(int32(binary.LittleEndian.Uint32(size[:]))) - 4 // negative: in use
	if length < int64(n) || length > maxCell {
		return nil, errHive
	}
	b := make([]byte, length)
	if _, err := h.r.ReadAt(b, hiveBase+int64(at)+4); err != nil {
		return nil, fmt.Errorf("%w: %v", errHive, err)
	}
	return b, nil
}

func (h *hive) key(at uint32) ([]byte, error) {
	b, err := h.cell(at, 76)
	if err == nil && (string(b[:2]) != "nk" || len(b) < 76+int(binary.LittleEndian.Uint16(b[72:]))) {
		err = errHive
	}
	return b, err
}

// hiveName decodes a name that is stored with one or with two bytes a character.
func hiveName(b []byte, compressed bool) string {
	if compressed {
		runes := make([]rune, len(b))
		for i, c := range b {
			runes[i] = rune(c)
		}
		return string(runes)
	}
	return wideText(b)
}

func wideText(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}

// find looks for a subkey in a list of them; lists of lists have one level.
func (h *hive) find(list uint32, name string, deeper bool) (uint32, error) {
	b, err := h.cell(list, 4)
	if err != nil {
		return 0, err
	}
	kind, count := string(b[:2]), int(binary.LittleEndian.Uint16(b[2:]))
	step := 4
	if kind == "lf" || kind == "lh" {
		step = 8
	}
	if count > maxKids || len(b) < 4+count*step || kind == "ri" && !deeper {
		return 0, errHive
	}
	for i := range count {
		at := binary.LittleEndian.Uint32(b[4+i*step:])
		switch kind {
		case "ri":
			found, err := h.find(at, name, false)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return found, err
			}
		case "lf", "lh", "li":
			k, err := h.key(at)
			if err != nil {
				return 0, err
			}
			if strings.EqualFold(hiveName(k[76:76+int(binary.LittleEndian.Uint16(k[72:]))], k[2]&0x20 != 0), name) {
				return at, nil
			}
		default:
			return 0, errHive
		}
	}
	return 0, fmt.Errorf("key %q: %w", name, fs.ErrNotExist)
}

// text returns a string value, or a DWORD in decimal.
func (h *hive) text(path, name string) (string, error) {
	at := h.root
	for part := range strings.SplitSeq(path, `\`) {
		k, err := h.key(at)
		if err != nil {
			return "", err
		}
		if binary.LittleEndian.Uint32(k[20:]) == 0 {
			return "", fmt.Errorf("key %q: %w", part, fs.ErrNotExist)
		}
		if at, err = h.find(binary.LittleEndian.Uint32(k[28:]), part, true); err != nil {
			return "", err
		}
	}
	k, err := h.key(at)
	if err != nil {
		return "", err
	}
	count := int(binary.LittleEndian.Uint32(k[36:]))
	if count == 0 || count > maxKids {
		return "", fmt.Errorf("value %q: %w", name, fs.ErrNotExist)
	}
	list, err := h.cell(binary.LittleEndian.Uint32(k[40:]), 4*count)
	if err != nil {
		return "", err
	}
	for i := range count {
		v, err := h.cell(binary.LittleEndian.Uint32(list[4*i:]), 20)
		if err != nil {
			return "", err
		}
		n := int(binary.LittleEndian.Uint16(v[2:]))
		if string(v[:2]) != "vk" || len(v) < 20+n {
			return "", errHive
		}
		if strings.EqualFold(hiveName(v[20:20+n], v[16]&1 != 0), name) {
			return h.data(v)
		}
	}
	return "", fmt.Errorf("value %q: %w", name, fs.ErrNotExist)
}

func (h *hive) data(v []byte) (string, error) {
	size, kind := binary.LittleEndian.Uint32(v[4:]), binary.LittleEndian.Uint32(v[12:])
	raw := v[8:12]
	if n := size & 0x7fffffff; size&0x80000000 == 0 {
		b, err := h.cell(binary.LittleEndian.Uint32(v[8:]), int(min(n, maxCell)))
		if err != nil {
			return "", err
		}
		raw = b[:min(int(n), len(b))]
	} else {
		raw = raw[:min(n, 4)]
	}
	switch {
	case kind == 1 || kind == 2:
		return wideText(raw), nil
	case kind == 4 && len(raw) == 4:
		return strconv.FormatUint(uint64(binary.LittleEndian.Uint32(raw)), 10), nil
	}
	return "", fmt.Errorf("a value of type %d is no text", kind)
}
