package table

import (
	"fmt"
	"strings"
)

// Findings collects what is to be said of cells, each thing once with the lines it was found in. The zero value is empty.
type Findings struct {
	order []string
	lines map[string][]int
}

// Add notes something about the column in a line, such as "holds ...".
func (f *Findings) Add(line int, column, what string) {
	if column != "" {
		what = fmt.Sprintf("column %q %s", column, what)
	}
	if f.lines == nil {
		f.lines = map[string][]int{}
	}
	lines, known := f.lines[what]
	if !known {
		f.order = append(f.order, what)
	}
	if len(lines) == 0 || lines[len(lines)-1] != line { // a cell may be looked at more than once
		f.lines[what] = append(lines, line)
	}
}

// List gives one sentence for each finding.
func (f *Findings) List() []string {
	var out []string
	for _, what := range f.order {
		lines := f.lines[what]
		words, word := make([]string, 0, 4), "line"
		for _, n := range lines[:min(len(lines), 3)] {
			words = append(words, fmt.Sprint(n))
		}
		if len(lines) > 1 {
			word = "lines"
		}
		text := strings.Join(words, ", ")
		if more := len(lines) - len(words); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, fmt.Sprintf("%s %s: %s", word, text, what))
	}
	return out
}

// Headers lists columns for people: the first twenty, none longer than a line. A table without a header has a row in its place,
// whose recovery password is not repeated.
func Headers(list []string) string {
	const mostHeaders = 20
	words := make([]string, 0, mostHeaders+1)
	for _, h := range list[:min(len(list), mostHeaders)] {
		words = append(words, clip(hushed(h[:min(len(h), 1024)], 24)))
	}
	if more := len(list) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}
