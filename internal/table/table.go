// Package table reads and writes the tables that administrators keep: CSV as Excel, PowerShell and portals write it in any
// locale, JSON as PowerShell, Graph and other programs give it, and the first sheet of an Excel workbook.
//
// [Open] finds out encoding, delimiter and form, or takes them from its options, and [Table.Rows] gives the rows, bad ones
// with their error. [Value] takes a cell for what it says and names what a program made of it on the way; [Dates] reads
// times. [NewWriter] writes what a spreadsheet opens with its umlauts and without running it. The package knows nothing
// of what columns mean and never guesses in silence: [Table.ReadAs] says it all in one line.
package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// maxSize bounds a table; 50,000 machines are some 10 MB.
const maxSize = 512 << 20

// maxCells bounds the cells of a workbook or JSON text, the empty ones before the last of a row included: a few bytes can
// name a cell far to the right in each of a million rows. 50,000 machines with 200 columns are 10 million.
const maxCells = 32 << 20

// room is how many cells may be; 0: maxCells.
type room int

func (r room) holds(cells int) error {
	if r == 0 {
		r = maxCells
	}
	if cells > int(r) {
		return hint.Wrap(fmt.Errorf("it has more than %d cells", r), "leave out columns that are not needed, or split it")
	}
	return nil
}

// Options say how to read a table. The zero value finds everything out.
type Options struct {
	Encoding  string                   // one of [Encodings]; empty: found out
	Delimiter rune                     // 0: found out
	Known     func(header string) bool // which headers mean something; the delimiter that gives the most of them wins
	room      room
}

// Table is a table as it was found.
type Table struct {
	Encoding  string // "UTF-8", "UTF-16 LE", "Windows-1252", ...
	Guess     string // where the encoding is a guess: a piece of text to judge it by
	Delimiter rune   // 0 for JSON
	form      string
	text      string
	line      int // of the header
	rows      []Row
}

// ErrEmpty is returned for a table without any text.
var ErrEmpty = errors.New("it is empty")

// Open reads everything, up to 512 MB. Also with an error the Table says what was found out so far.
func Open(r io.Reader, o Options) (Table, error) {
	data, err := textfile.ReadAll(r, maxSize)
	if err != nil {
		return Table{}, err
	}
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		var t Table
		err := t.workbook(data, o.room)
		return t, err
	case bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
		return Table{}, hint.Wrap(errors.New("it is a workbook of an old Excel (.xls) or one with a password"), "save it as CSV in UTF-8, or as an Excel workbook (.xlsx) without a password")
	}
	t, err := decode(data, o.Encoding)
	if err == nil {
		err = t.open(o)
	}
	return t, err
}

func (t *Table) open(o Options) (err error) {
	t.text = strings.TrimRight(strings.TrimLeft(t.text, "\ufeff"), "\x1a") // as copy a.csv+b.csv of cmd ends what it writes
	if IsJSON(t.text) {
		t.rows, err = flatten(t.text, o.room)
		t.form, t.text = "JSON", ""
		return err
	}
	t.form = "CSV"
	t.text, t.Delimiter, t.line = preamble(t.text)
	if strings.TrimSpace(t.text) == "" {
		return ErrEmpty
	}
	if o.Delimiter != 0 {
		t.Delimiter = o.Delimiter
	}
	if t.Delimiter == 0 {
		t.Delimiter = guessDelimiter(t.text, o.Known)
	}
	return nil
}

// ReadAs says in one line how the table was understood.
func (t Table) ReadAs() string {
	if t.form != "CSV" && t.form != "JSON" {
		return t.form
	}
	how := t.form + " in " + t.Encoding
	if t.Guess != "" {
		how += fmt.Sprintf(" (a guess: %s; if that is garbled, say --encoding)", t.Guess)
	}
	if t.rows == nil {
		how += fmt.Sprintf(", cells parted by %s", delimiterWord(t.Delimiter))
	}
	return how
}

func delimiterWord(d rune) string {
	switch d {
	case ',':
		return "commas"
	case ';':
		return "semicolons"
	case '\t':
		return "tabs"
	case '|':
		return "bars"
	}
	return fmt.Sprintf("%q", d)
}

// ParseDelimiter reads what a person writes for one: the character itself, or its name.
func ParseDelimiter(s string) (rune, error) {
	for _, d := range []rune{',', ';', '\t', '|'} {
		if s == string(d) || strings.EqualFold(s, delimiterWord(d)) || strings.EqualFold(s+"s", delimiterWord(d)) {
			return d, nil
		}
	}
	switch r := []rune(s); {
	case s == `\t`:
		return '\t', nil
	case len(r) == 1 && r[0] < 0x80 && r[0] > ' ' && r[0] != '"':
		return r[0], nil
	}
	return 0, fmt.Errorf("%q is no delimiter: write comma, semicolon, tab, bar or one character", s)
}

// Rows gives the rows that have something in them, the header first. One that is not well formed carries an error, and
// reading goes on in the next line.
func (t Table) Rows() func(yield func(Row) bool) {
	if t.rows != nil {
		return slices.Values(t.rows)
	}
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
			if known != nil && known(c) {
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
