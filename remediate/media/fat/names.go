package fat

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

const shortChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$%'-_@~`!(){}^#&"

// CheckName refuses what Windows could not open.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("the name %q is relative or empty", name)
	case strings.ContainsAny(name, `<>:"|?*\/`) || strings.IndexFunc(name, func(r rune) bool { return r < 32 }) >= 0:
		return fmt.Errorf(`the name %q contains one of < > : " | ? * or a control character`, name)
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return fmt.Errorf("the name %q ends in a dot or a space", name)
	case len(utf16.Encode([]rune(name))) > 255:
		return fmt.Errorf("the name %q is longer than 255 characters", name)
	}
	return nil
}

// Basis makes the 8.3 form of a name. Exact means that the form is the name but for the case of letters.
func basis(name string) (base, ext string, exact bool) {
	exact = true
	clean := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == ' ' || r == '.' {
				exact = false
				return -1
			}
			if !strings.ContainsRune(shortChars, r) {
				exact = false
				return '_'
			}
			return r
		}, s)
	}
	up := strings.ToUpper(name)
	trimmed := strings.TrimLeft(up, ". ")
	if trimmed != up {
		exact = false
	}
	if i := strings.LastIndexByte(trimmed, '.'); i >= 0 {
		base, ext = clean(trimmed[:i]), clean(trimmed[i+1:])
	} else {
		base = clean(trimmed)
	}
	if len(base) > 8 || len(ext) > 3 || base == "" {
		exact = false
	}
	if base == "" {
		base = "_"
	}
	return base[:min(len(base), 8)], ext[:min(len(ext), 3)], exact
}

func pack(base, ext string) (s [11]byte) {
	copy(s[:], "           ")
	copy(s[:8], base)
	copy(s[8:], ext)
	return s
}

// ShortNames gives every name of a directory its 8.3 name, none twice. Names that are their own short form come
// first, so that a made-up one never takes the name of a real one.
func shortNames(kids []*entry) error {
	taken, next := map[[11]byte]bool{}, map[[11]byte]int{}
	var rest []*entry
	for _, k := range kids {
		base, ext, exact := basis(k.name)
		if s := pack(base, ext); exact && !taken[s] {
			k.short, taken[s] = s, true
			k.long = k.name != strings.ToUpper(k.name)
			continue
		}
		rest = append(rest, k)
	}
	for _, k := range rest {
		base, ext, _ := basis(k.name)
		key := pack(base, ext)
		for {
			next[key]++
			tail := fmt.Sprintf("~%d", next[key])
			if len(tail) > 7 {
				return fmt.Errorf("too many names like %q in one directory", k.name)
			}
			if s := pack(base[:min(len(base), 8-len(tail))]+tail, ext); !taken[s] {
				k.short, k.long, taken[s] = s, true, true
				break
			}
		}
	}
	return nil
}

func checksum(short [11]byte) (sum byte) {
	for _, c := range short {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

const longChars = 13 // UTF-16 units in one long-name slot

func longSlots(name string) int {
	return (len(utf16.Encode([]rune(name))) + longChars - 1) / longChars
}

// LongEntries encodes the slots that stand before the 8.3 entry, last part first.
func longEntries(name string, short [11]byte) []byte {
	u := utf16.Encode([]rune(name))
	n := (len(u) + longChars - 1) / longChars
	out := make([]byte, 0, n*slot)
	for i := n; i >= 1; i-- {
		e := make([]byte, slot)
		e[0], e[11], e[13] = byte(i), attrLong, checksum(short)
		if i == n {
			e[0] |= lastLong
		}
		for j := range longChars {
			c := uint16(0xffff)
			if k := (i-1)*longChars + j; k < len(u) {
				c = u[k]
			} else if k == len(u) {
				c = 0
			}
			le.PutUint16(e[longOffset(j):], c)
		}
		out = append(out, e...)
	}
	return out
}

func longOffset(i int) int {
	switch {
	case i < 5:
		return 1 + 2*i
	case i < 11:
		return 14 + 2*(i-5)
	}
	return 28 + 2*(i-11)
}
