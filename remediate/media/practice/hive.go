package practice

import (
	"encoding/binary"
	"maps"
	"slices"
	"unicode/utf16"
)

// key is a registry key to be written into a hive.
type key struct {
	values map[string]any // string or uint32
	keys   map[string]key
}

// makeHive writes a small hive with lf lists, one-byte names, one bin.
func makeHive(root key) []byte {
	le := binary.LittleEndian
	bin := make([]byte, 32)
	add := func(content []byte) uint32 {
		at := len(bin)
		size := (len(content) + 4 + 7) &^ 7
		cell := make([]byte, size)
		le.PutUint32(cell, uint32(-int32(size)))
		copy(cell[4:], content)
		bin = append(bin, cell...)
		return uint32(at)
	}
	wide := func(s string) (b []byte) {
		for _, u := range utf16.Encode([]rune(s + "\x00")) {
			b = le.AppendUint16(b, u)
		}
		return b
	}
	none := uint32(0xffffffff)
	security := add(append([]byte("sk\x00\x00"), make([]byte, 36)...))
	var write func(name string, k key, flags uint16) uint32
	write = func(name string, k key, flags uint16) uint32 {
		nk := make([]byte, 76+len(name))
		copy(nk, "nk")
		le.PutUint16(nk[2:], flags|0x20)
		le.PutUint32(nk[16:], none)
		le.PutUint32(nk[28:], none)
		le.PutUint32(nk[32:], none)
		le.PutUint32(nk[40:], none)
		le.PutUint32(nk[44:], security)
		le.PutUint32(nk[48:], none)
		le.PutUint16(nk[72:], uint16(len(name)))
		copy(nk[76:], name)
		var kids []uint32
		if len(k.keys) > 0 {
			list := append([]byte("lf"), 0, 0)
			le.PutUint16(list[2:], uint16(len(k.keys)))
			for _, n := range slices.Sorted(maps.Keys(k.keys)) {
				at := write(n, k.keys[n], 0)
				kids = append(kids, at)
				list = le.AppendUint32(list, at)
				list = append(list, (n + "\x00\x00\x00\x00")[:4]...)
			}
			le.PutUint32(nk[20:], uint32(len(k.keys)))
			le.PutUint32(nk[28:], add(list))
		}
		if len(k.values) > 0 {
			var list []byte
			for _, n := range slices.Sorted(maps.Keys(k.values)) {
				vk := make([]byte, 20+len(n))
				copy(vk, "vk")
				le.PutUint16(vk[2:], uint16(len(n)))
				le.PutUint16(vk[16:], 1)
				copy(vk[20:], n)
				switch v := k.values[n].(type) {
				case uint32:
					le.PutUint32(vk[4:], 4|0x80000000)
					le.PutUint32(vk[8:], v)
					le.PutUint32(vk[12:], 4)
				case string:
					b := wide(v)
					le.PutUint32(vk[4:], uint32(len(b)))
					le.PutUint32(vk[8:], add(b))
					le.PutUint32(vk[12:], 1)
				}
				list = le.AppendUint32(list, add(vk))
			}
			le.PutUint32(nk[36:], uint32(len(k.values)))
			le.PutUint32(nk[40:], add(list))
		}
		at := add(nk)
		for _, kid := range kids {
			le.PutUint32(bin[kid+4+16:], at) // the parent
		}
		return at
	}
	root32 := write("ROOT", root, 0x0c)
	size := (len(bin) + 4095) &^ 4095
	if free := size - len(bin); free > 0 {
		bin = append(bin, make([]byte, free)...)
		le.PutUint32(bin[size-free:], uint32(free))
	}
	copy(bin, "hbin")
	le.PutUint32(bin[8:], uint32(size))
	head := make([]byte, 4096)
	copy(head, "regf")
	le.PutUint32(head[4:], 1)
	le.PutUint32(head[8:], 1)
	le.PutUint32(head[20:], 1)
	le.PutUint32(head[24:], 5)
	le.PutUint32(head[32:], 1)
	le.PutUint32(head[36:], root32)
	le.PutUint32(head[40:], uint32(size))
	le.PutUint32(head[44:], 1)
	var sum uint32
	for i := 0; i < 508; i += 4 {
		sum ^= le.Uint32(head[i:])
	}
	le.PutUint32(head[508:], sum)
	return append(head, bin...)
}

// SystemHive is the registry file SYSTEM of a computer of that name, whose current control set is not the first.
func SystemHive(name string) []byte {
	return makeHive(key{keys: map[string]key{
		"Select": {values: map[string]any{"Current": uint32(2), "Default": uint32(2)}},
		"ControlSet001": {keys: map[string]key{"Control": {keys: map[string]key{"ComputerName": {keys: map[string]key{
			"ComputerName": {values: map[string]any{"ComputerName": "OLDNAME"}}}}}}}},
		"ControlSet002": {keys: map[string]key{"Control": {keys: map[string]key{"ComputerName": {keys: map[string]key{
			"ComputerName": {values: map[string]any{"ComputerName": name}}}}}}}},
	}})
}
