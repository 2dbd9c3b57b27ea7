// Package hint attaches advice for the user to an error without changing what the error says or is.
//
// [Wrap] adds a hint, [Of] collects all of them for the one place that prints (the command line). Libraries wrap with
// %w as usual; hints travel along. The package never prints.
package hint

import "fmt"

type hinted struct {
	err  error
	text string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// Wrap returns err with the hint attached; the message stays the same. A nil err gives nil.
func Wrap(err error, text string) error {
	if err == nil || text == "" {
		return err
	}
	return &hinted{err, text}
}

// Wrapf is [Wrap] with a format.
func Wrapf(err error, format string, args ...any) error {
	return Wrap(err, fmt.Sprintf(format, args...))
}

// Of returns the hints found on err and everything it wraps, outermost first, without repetition.
func Of(err error) []string {
	var hints []string
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		if h, ok := err.(*hinted); ok && !seen[h.text] {
			seen[h.text] = true
			hints = append(hints, h.text)
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	return hints
}

// Nearest returns the candidate closest to word, for "did you mean"; empty when none is near. It is a case-insensitive
// edit distance, in which two letters that changed places are one edit, with a limit of a third of the word, at least one and at
// most three edits.
func Nearest(word string, candidates []string) string {
	limit := min(max(len(word)/3, 1), 3)
	best, bestAt := "", limit+1
	for _, c := range candidates {
		if d := distance(word, c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

func distance(a, b string) int {
	x, y := []rune(lower(a)), []rune(lower(b))
	var before []int // the row before above
	above, row := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		before, above, row = above, row, make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			replaced := above[j]
			if x[i] != y[j] {
				replaced++
			}
			row[j+1] = min(replaced, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(y)]
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
