package iso

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf16"
)

const (
	maxPrimary = 31  // characters of a level 2 name, without the version
	maxJoliet  = 103 // UTF-16 units; the original 64 is kept by nobody
)

// CheckName refuses what Joliet or Windows could not hold.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("the name %q is relative or empty", name)
	case strings.ContainsAny(name, `<>:"|?*\/;`) || strings.IndexFunc(name, func(r rune) bool { return r < 32 }) >= 0:
		return fmt.Errorf(`the name %q contains one of < > : " | ? * ; or a control character`, name)
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return fmt.Errorf("the name %q ends in a dot or a space", name)
	case len(utf16.Encode([]rune(name))) > maxJoliet:
		return fmt.Errorf("the name %q is longer than the %d characters of an ISO image", name, maxJoliet)
	}
	return nil
}

// PrimaryNames gives the names of one directory for readers without Joliet, the boot manager among them: upper case,
// ASCII, at most 31 characters, each once.
func primaryNames(kids []*node) error {
	taken := map[string]bool{}
	for _, k := range kids {
		base, ext := primary(k.name, k.entry.Dir)
		for i := 0; ; i++ {
			b, tail := base, ""
			if i > 0 {
				tail = fmt.Sprintf("_%d", i)
			}
			b = b[:min(len(b), maxPrimary-len(tail)-len(ext))] + tail + ext
			if !taken[b] {
				taken[b], k.iso = true, b
				break
			}
			if i > 99999 {
				return fmt.Errorf("too many names like %q in one directory", k.name)
			}
		}
		if !k.entry.Dir {
			k.iso += ";1"
		}
	}
	return nil
}

// Primary splits a name into its base and its extension with the dot; a file without one gets the bare dot that the
// standard asks for.
func primary(name string, dir bool) (base, ext string) {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 32
		case r <= ' ' || r > '~' || r == '\'':
			return '_'
		}
		return r
	}, name)
	if dir {
		return s, ""
	}
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "."
	}
	return s[:i], s[i:min(len(s), i+maxPrimary-8)]
}

// Less is the order of ECMA-119 9.3: names, then extensions, each padded with spaces.
func lessPrimary(a, b string) int {
	split := func(s string) (string, string) {
		s, _, _ = strings.Cut(s, ";")
		if i := strings.LastIndexByte(s, '.'); i >= 0 {
			return s[:i], s[i+1:]
		}
		return s, ""
	}
	an, ae := split(a)
	bn, be := split(b)
	if c := comparePadded(an, bn); c != 0 {
		return c
	}
	return comparePadded(ae, be)
}

func comparePadded(a, b string) int {
	n := max(len(a), len(b))
	return strings.Compare(a+strings.Repeat(" ", n-len(a)), b+strings.Repeat(" ", n-len(b)))
}

func lessJoliet(a, b string) int { return bytes.Compare(ucs2(a), ucs2(b)) }

func ucs2(s string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = be.AppendUint16(b, c)
	}
	return b
}

func decodeUCS2(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = be.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
