// Package table reads the tables that administrators keep: CSV as Excel, PowerShell and portals write it in any locale.
//
// [Open] guesses encoding and delimiter, [Table.Rows] gives the rows, bad ones with their error. [Escape] and [Unescape]
// keep spreadsheets from running cells. The package knows nothing of what columns mean.
package table

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// maxSize bounds a table; 50,000 machines are some 10 MB.
const maxSize = 512 << 20

// ReadText reads everything as UTF-8 and says how it was written: UTF-8 and UTF-16 with or without byte order mark, or
// else Windows-1252.
func ReadText(r io.Reader) (text, how string, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return "", "", err
	}
	if len(data) > maxSize {
		return "", "", fmt.Errorf("larger than %d MB", maxSize>>20)
	}
	var e encoding.Encoding
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		data, how = data[3:], "UTF-8"
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), zeros(data, 1):
		e, how = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "UTF-16 LE"
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}), zeros(data, 0):
		e, how = unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "UTF-16 BE"
	case utf8.Valid(data):
		how = "UTF-8"
	default:
		e, how = charmap.Windows1252, "Windows-1252"
	}
	if e != nil {
		if data, err = e.NewDecoder().Bytes(data); err != nil {
			return "", "", fmt.Errorf("decode %s: %w", how, err)
		}
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return "", "", fmt.Errorf("no text (it contains zero bytes)")
	}
	return strings.ToValidUTF8(string(data), "\ufffd"), how, nil
}

// zeros reports whether most of the bytes at even (0) or odd (1) places are zero, as in UTF-16 without a mark.
func zeros(data []byte, place int) bool {
	n, hits, other := 0, 0, 0
	for i := 0; i+1 < len(data) && i < 200; i += 2 {
		n++
		if data[i+place] == 0 {
			hits++
		}
		if data[i+1-place] == 0 {
			other++
		}
	}
	return n > 0 && hits*10 > n*7 && other == 0
}

// maxField bounds a quoted cell, so that one stray quotation mark cannot swallow a file.
const maxField = 64 << 10

// Row is one row of a table.
type Row struct {
	Line  int // of its first character, from 1
	Cells []string
	Err   error // why it is not well formed; then Cells is nil
}

// Rows cuts a text into rows as RFC 4180 has them. A row that is not well formed carries an error, and reading goes on
// in the next line.
func Rows(text string, delimiter rune, firstLine int) func(yield func(Row) bool) {
	return func(yield func(Row) bool) {
		line := firstLine
		for text != "" {
			cells, size, err := OneRow(text, byte(delimiter))
			if err != nil {
				size = LineLength(text)
			}
			if !yield(Row{line, cells, err}) {
				return
			}
			line += newlines(text[:size])
			text = text[size:]
		}
	}
}

// newlines counts line ends: LF, CRLF, or a lone CR.
func newlines(s string) int {
	return strings.Count(s, "\n") + strings.Count(s, "\r") - strings.Count(s, "\r\n")
}

// LineLength is the length of the first line with its end.
func LineLength(s string) int {
	i := strings.IndexAny(s, "\r\n")
	if i < 0 {
		return len(s)
	}
	if strings.HasPrefix(s[i:], "\r\n") {
		return i + 2
	}
	return i + 1
}

// OneRow reads the first row of s and says how many bytes it took, line end included.
func OneRow(s string, delimiter byte) (cells []string, size int, err error) {
	for i := 0; ; {
		var cell string
		if i < len(s) && s[i] == '"' {
			var n int
			if cell, n, err = quoted(s[i:]); err != nil {
				return nil, 0, err
			}
			i += n
			if i < len(s) && s[i] != delimiter && s[i] != '\r' && s[i] != '\n' {
				return nil, 0, fmt.Errorf("text after a closing quotation mark")
			}
		} else {
			n := strings.IndexAny(s[i:], string(delimiter)+"\r\n")
			if n < 0 {
				n = len(s) - i
			}
			cell = s[i : i+n]
			i += n
		}
		cells = append(cells, cell)
		if i < len(s) && s[i] == delimiter {
			i++
			continue
		}
		return cells, i + min(LineLength(s[i:]), 2), nil
	}
}

// quoted reads a cell in quotation marks and says how long it was.
func quoted(s string) (cell string, size int, err error) {
	var b strings.Builder
	for i := 1; i < len(s) && i < maxField; {
		n := strings.IndexByte(s[i:], '"')
		if n < 0 {
			break
		}
		b.WriteString(s[i : i+n])
		if i += n + 1; i < len(s) && s[i] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		return b.String(), i, nil
	}
	return "", 0, fmt.Errorf("a quotation mark is opened and not closed")
}
