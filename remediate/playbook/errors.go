package playbook

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Position is a place in a playbook's file, both counted from 1. The zero Position is "not in a file".
type Position struct {
	Line, Column int
}

// Error is one fault of a playbook at its place.
type Error struct {
	File string
	Position
	Message string
}

// Error is file:line:column: message; a fault of the file as a whole has no line.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Message
	case e.Line == 0:
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors are all faults found in one playbook, in the order of the file. errors.As finds the single [Error].
type Errors []*Error

// Error has one line per fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single faults.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// maxErrors is how many faults are worth reading at once.
const maxErrors = 25

func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(e) > maxErrors {
		more := &Error{File: e[0].File, Message: fmt.Sprintf("and %d or more errors besides", len(e)-maxErrors)}
		e = append(e[:maxErrors:maxErrors], more)
	}
	return e
}

// unknown says that a word is not known here, which one may be meant, and which are valid.
func unknown(what, word string, valid []string) string {
	text := fmt.Sprintf("unknown %s %q", what, clip(word))
	if near := hint.Nearest(word, valid); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	} else {
		text += ";"
	}
	return text + " Valid here: " + strings.Join(valid, ", ")
}

// clip shortens text from a file so that one broken line cannot flood the terminal.
func clip(s string) string {
	const most = 120
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "..."
}
