package table

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// Table is a table as it was found.
type Table struct {
	Encoding  string // "UTF-8", "UTF-16 LE", "UTF-16 BE", "Windows-1252"
	Delimiter rune
	text      string
	line      int // of the header
}

// ErrEmpty is returned for a table without any text.
var ErrEmpty = errors.New("it is empty")

// Open reads everything, up to 512 MB. The delimiter that cuts the first row into the most known headers wins. Also with
// an error the Table says what was found out so far.
func Open(r io.Reader, known func(header string) bool) (Table, error) {
	text, how, err := ReadText(r)
	if err != nil {
		return Table{}, err
	}
	t := Table{Encoding: how}
	t.text, t.Delimiter, t.line = preamble(text)
	if strings.TrimSpace(t.text) == "" {
		return t, ErrEmpty
	}
	if t.Delimiter == 0 {
		t.Delimiter = guessDelimiter(t.text, known)
	}
	return t, nil
}

// Rows gives the rows that have something in them, the header first. One that is not well formed carries an error, and
// reading goes on in the next line.
func (t Table) Rows() func(yield func(Row) bool) {
	return func(yield func(Row) bool) {
		for r := range Rows(t.text, t.Delimiter, t.line) {
			if r.Err == nil && Blank(r.Cells) {
				continue
			}
			if !yield(r) {
				return
			}
		}
	}
}

// preamble cuts off Excel's sep= line, PowerShell's #TYPE line and blank lines.
func preamble(text string) (rest string, delimiter rune, line int) {
	for line = 1; text != ""; line++ {
		n := LineLength(text)
		first := strings.TrimRight(text[:n], "\r\n")
		switch {
		case delimiter == 0 && len(first) == 5 && strings.EqualFold(first[:4], "sep="):
			delimiter = rune(first[4])
		case strings.HasPrefix(first, "#TYPE "), strings.TrimSpace(first) == "":
		default:
			return text, delimiter, line
		}
		text = text[n:]
	}
	return text, delimiter, line
}

// guessDelimiter takes what gives the most known headers, then the most columns.
func guessDelimiter(text string, known func(header string) bool) rune {
	best, bestScore := ',', -1
	for _, d := range []rune{',', ';', '\t', '|'} {
		cells, _, err := OneRow(text, byte(d))
		if err != nil {
			continue
		}
		score := len(cells)
		for _, c := range cells {
			if known(c) {
				score += 1000
			}
		}
		if score > bestScore {
			best, bestScore = d, score
		}
	}
	return best
}

// Blank reports whether there is nothing in a row.
func Blank(cells []string) bool {
	return !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" })
}

// formula are the characters with which a spreadsheet begins to calculate (OWASP, CSV injection).
const formula = "=+-@\t\r"

// Escape puts an apostrophe before a cell that a spreadsheet would take for a formula.
func Escape(cell string) string {
	if cell != "" && (strings.ContainsRune(formula, rune(cell[0])) || cell[0] == '\'' && len(cell) > 1 && strings.ContainsRune(formula+"'", rune(cell[1]))) {
		return "'" + cell
	}
	return cell
}

// Unescape takes off the apostrophe of [Escape].
func Unescape(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.ContainsRune(formula+"'", rune(cell[1])) {
		return cell[1:]
	}
	return cell
}
