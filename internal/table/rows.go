package table

import (
	"fmt"
	"strings"
)

// maxField bounds a cell, so that one stray quotation mark cannot swallow a file.
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
			if n > maxField {
				return nil, 0, fmt.Errorf("a cell has more than %d KB", maxField>>10)
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
	for i := 1; i < len(s) && i <= maxField+1; {
		n := strings.IndexByte(s[i:], '"')
		if n < 0 || i+n > maxField+1 {
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
