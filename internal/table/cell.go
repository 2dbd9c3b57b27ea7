package table

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/fleetmend/fleetmend/internal/lazyregexp"
)

// Damage is what a program made of a value on its way into a cell; empty for none. It completes the sentence "the cell
// holds ...".
type Damage string

var (
	typeName   = lazyregexp.New(`^(?:Selected\.|Deserialized\.)*(?:System|Microsoft|Windows)(?:\.[A-Z_][A-Za-z0-9_+]*(?:` + "`" + `[0-9]+)?)+(?:\[.*\])?$`)
	scientific = lazyregexp.New(`^[+-]?[0-9](?:[.,][0-9]+)?E[+-]?[0-9]{1,3}$`)
	narrow     = lazyregexp.New(`^#{2,}$`)
	errorValue = lazyregexp.New(`^#(?:N/[ABD]|NV|NB|[¡¿]?[\p{Lu}/0]+[!?])$`) // of any language: #NV, #BEZUG!, #¿NOMBRE?
	formula    = lazyregexp.New(`^="((?:[^"]|"")*)"$`)
)

// Value gives what a cell says: blanks around it, Excel's ="..." and the apostrophe of [NewWriter] are taken off. A cell
// that holds the name of a type (PowerShell), a picture of too narrow a column or an error (Excel) says nothing, and
// damage says why.
func Value(cell string) (value string, damage Damage) {
	value = strings.TrimSpace(cell)
	if value == "" {
		return "", ""
	}
	if plain := Unescape(value); plain != value {
		return strings.TrimSpace(plain), ""
	}
	switch value[0] { // most cells are nothing of all this
	case '=', '#', '@', 'S', 'D', 'M', 'W':
	default:
		return value, ""
	}
	if m := formula.FindStringSubmatch(value); m != nil {
		return strings.TrimSpace(strings.ReplaceAll(m[1], `""`, `"`)), ""
	}
	switch {
	case typeName.MatchString(value):
		return "", Damage(fmt.Sprintf("the name of a type (%s) in place of a value, as PowerShell writes lists and objects; select the value itself before Export-Csv", clip(value)))
	case strings.HasPrefix(value, "@{") && strings.HasSuffix(value, "}"):
		return "", "a whole object (@{...}) in place of a value, as PowerShell writes it; select the value itself before Export-Csv"
	case narrow.MatchString(value):
		return "", "only ###, as Excel shows a column that is too narrow; save the file from Excel with wider columns"
	case errorValue.MatchString(value):
		return "", Damage("Excel's error " + value + " in place of a value")
	}
	return value, ""
}

// Rounded says of a value that should be an identity that Excel made a rounded number of it, as 1.23457E+11.
func Rounded(value string) Damage {
	if strings.IndexByte(value, 'E') > 0 && scientific.MatchString(value) {
		return Damage(fmt.Sprintf("%s, a number that Excel rounded; take the value from the source again, and import the column as text", value))
	}
	return ""
}

// passwordIn is a recovery password as Windows writes it.
var passwordIn = lazyregexp.New(`\b[0-9]{6}(?:-[0-9]{6}){7}\b`)

// Misplaced says of a value that it looks like a recovery password, in a row where a cell is missing for one: it is kept out of
// what is stored and said in clear, such as the name of a machine, and not repeated.
func Misplaced(value string) Damage {
	if len(value) < 40 {
		return ""
	}
	digits, others := 0, 0
	for _, r := range value {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case unicode.IsLetter(r):
			others++
		}
	}
	if digits >= 40 && (others == 0 || passwordIn.MatchString(value)) {
		return "what looks like a recovery password, in place of what belongs there; it was left out"
	}
	return ""
}

// run are the characters with which a spreadsheet begins to calculate (OWASP, CSV injection), also in their wide forms.
const run = "=+-@|%\t\r＝＋－＠"

var (
	number = lazyregexp.New(`^-?[0-9]+(?:[.,][0-9]+)?$`)
	// Excel of another locale parts cells at other characters than were meant, and within what was a cell.
	inner    = lazyregexp.New(`([;,\t\r\n|]["' ]*)([=+\-@＝＋－＠])`)
	innerOff = lazyregexp.New(`([;,\t\r\n|]["' ]*)'([=+\-@＝＋－＠])`)
)

// Escape puts an apostrophe before what a spreadsheet of any locale would take for a formula. A number is left alone.
func Escape(cell string) string {
	if cell == "" || number.MatchString(cell) {
		return cell
	}
	first := []rune(cell)[:min(2, len([]rune(cell)))]
	begins := strings.ContainsRune(run, first[0]) || first[0] == '\'' && len(first) > 1 && strings.ContainsRune(run+"'", first[1])
	cell = inner.ReplaceAllString(cell, "$1'$2")
	if begins {
		return "'" + cell
	}
	return cell
}

// Unescape takes off the apostrophes of [Escape].
func Unescape(cell string) string {
	if r := []rune(cell[:min(len(cell), 8)]); len(r) > 1 && r[0] == '\'' && strings.ContainsRune(run+"'", r[1]) {
		cell = cell[1:]
	}
	if strings.IndexByte(cell, '\'') < 0 {
		return cell
	}
	return innerOff.ReplaceAllString(cell, "$1$2")
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}
