package sqlitefile

import (
	"errors"
	"strconv"
	"strings"
)

// Packed is an SQL expression for one text that holds many columns. To hand a column over costs the driver more than finding
// the row costs SQLite, so that a table of 50,000 rows and twenty columns is read three times as fast in one. Words are columns
// that never hold a space, texts those that may hold anything; none may be NULL. [Unpack] takes the text apart.
func Packed(words, texts []string) string {
	var b strings.Builder
	b.WriteString("concat_ws(' '")
	for _, column := range texts {
		b.WriteString(", octet_length(" + column + ")")
	}
	for _, column := range words {
		b.WriteString(", " + column)
	}
	b.WriteString(", '')")
	for _, column := range texts {
		b.WriteString(" || " + column)
	}
	return b.String()
}

var errPacked = errors.New("a packed row does not have the form it was written in")

// Row is a packed row under way: its words are taken from it one after the other, in their order. A mistake stays in Err.
type Row struct {
	rest string
	Err  error
}

// Unpack gives the texts of a packed row, as parts of it, and the row for its words.
func Unpack(packed string, texts ...*string) Row {
	r := Row{rest: packed}
	var sizes [16]int
	sum := 0
	for i := range texts {
		sizes[i] = int(r.Int())
		sum += sizes[i]
	}
	if r.Err != nil || sum < 0 || sum > len(r.rest) {
		return Row{Err: errPacked}
	}
	at := len(r.rest) - sum
	tail := r.rest[at:]
	r.rest = r.rest[:at]
	for i, text := range texts {
		if sizes[i] < 0 || sizes[i] > len(tail) {
			return Row{Err: errPacked}
		}
		*text, tail = tail[:sizes[i]], tail[sizes[i]:]
	}
	return r
}

// First is the first text of a packed row that has so many.
func First(packed string, texts int) (string, error) {
	r := Row{rest: packed}
	first, sum := 0, 0
	for i := range texts {
		n := int(r.Int())
		if i == 0 {
			first = n
		}
		sum += n
	}
	if r.Err != nil || first < 0 || first > sum || sum > len(r.rest) {
		return "", errPacked
	}
	at := len(packed) - sum
	return packed[at : at+first], nil
}

// Word is the next word.
func (r *Row) Word() string {
	word, rest, found := strings.Cut(r.rest, " ")
	if !found && r.Err == nil {
		r.Err = errPacked
	}
	r.rest = rest
	return word
}

// Int is the next word, a whole number. It is read by hand: rows are many, and most of their words are numbers.
func (r *Row) Int() int64 {
	s := r.rest
	digits, n := 0, int64(0)
	for ; digits < len(s) && digits < maxDigits && s[digits] >= '0' && s[digits] <= '9'; digits++ {
		n = n*10 + int64(s[digits]-'0')
	}
	if digits > 0 && digits < len(s) && s[digits] == ' ' {
		r.rest = s[digits+1:]
		return n
	}
	n, err := strconv.ParseInt(r.Word(), 10, 64) // a negative or very large one, or none
	if err != nil && r.Err == nil {
		r.Err = errPacked
	}
	return n
}

// maxDigits is how many decimal digits an int64 holds in any case.
const maxDigits = 18
