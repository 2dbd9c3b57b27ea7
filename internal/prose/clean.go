package prose

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What a machine, a directory or a table says goes to terminals, files and pipelines through this file alone.

// odd reports whether a character has no place in text that is shown: controls with the escape sequences that they begin, what
// nobody sees, and what turns the direction of a line. Ends of lines and tabs are judged by the callers.
func odd(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0:
		return true
	case r < 0x61c:
		return r == 0xad
	case r == 0x61c, r == 0x180e, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff,
		r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// joins reports whether a character that nobody sees shapes those around it: without it Persian and Hindi are misspelt, and a picture
// falls into its parts. Behind a Latin letter it only hides.
func joins(before, r rune) bool {
	return (r == 0x200c || r == 0x200d) && before >= 0x590 && !odd(before)
}

// dropping judges the characters of a text, one after the other: which ones are not shown.
func dropping() func(rune) bool {
	var before rune
	return func(r rune) bool {
		kept := joins(before, r)
		before = r
		return odd(r) && !kept
	}
}

// OneLine makes text safe for one line of a terminal: no control characters, no escape sequences.
func OneLine(text string) string {
	drop := dropping()
	return strings.Map(func(r rune) rune {
		switch dropped := drop(r); {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case dropped:
			return -1
		}
		return r
	}, text)
}

// longestLine is how many characters of a line are shown: a machine that never ends its line must not fill a screen with it.
const longestLine = 8000

// Clean is [OneLine] for text of several lines, with tabs as they are. A line without end is cut.
func Clean(text string) string {
	n, drop := 0, dropping()
	return strings.Map(func(r rune) rune {
		switch dropped := drop(r); {
		case r == '\n':
			n = 0
			return r
		case r != '\t' && dropped:
			return -1
		}
		if n++; n > longestLine {
			if n == longestLine+1 {
				return '…'
			}
			return -1
		}
		return r
	}, text)
}

// Cleaner writes through [Clean].
func Cleaner(w io.Writer) io.Writer {
	return filter{w, func(b []byte) []byte { return []byte(Clean(string(b))) }}
}

// PageWriter writes a page of HTML without what [OneLine] would drop; its lines are as long as they are.
func PageWriter(w io.Writer) io.Writer {
	return filter{w, func(b []byte) []byte {
		drop := dropping()
		return bytes.Map(func(r rune) rune {
			if dropped := drop(r); dropped && r != '\n' && r != '\t' {
				return -1
			}
			return r
		}, b)
	}}
}

// JSONWriter writes JSON with every character that [OneLine] would drop as \u escapes: to a program it is the same, and a terminal
// shows it instead of obeying it.
func JSONWriter(w io.Writer) io.Writer { return filter{w, escapeJSON} }

type filter struct {
	to     io.Writer
	change func([]byte) []byte
}

// Write implements io.Writer for whole documents or lines.
func (f filter) Write(b []byte) (int, error) {
	if _, err := f.to.Write(f.change(b)); err != nil {
		return 0, err //nolint:wrapcheck // a writer around one
	}
	return len(b), nil
}

func escapeJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, oddInJSON) {
		return b
	}
	var out bytes.Buffer
	out.Grow(len(b) + 64)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case !oddInJSON(r):
			out.Write(b[:size])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		b = b[size:]
	}
	return out.Bytes()
}

// oddInJSON leaves the white space of JSON itself alone; an encoder escapes other controls below a blank.
func oddInJSON(r rune) bool { return r >= 0x7f && odd(r) }
