package table

import (
	"encoding/csv"
	"io"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Mark is the byte order mark by which Excel takes a file for UTF-8 and shows its umlauts. It belongs at the beginning of
// files; what is piped to another program goes without.
const Mark = "\ufeff"

// Marked puts a [Mark] before what is written.
func Marked(write func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := io.WriteString(w, Mark); err != nil {
			return err
		}
		return write(w)
	}
}

// Writer writes rows as CSV with commas, in UTF-8. Every cell is cleaned and escaped, see [Escape].
type Writer struct {
	out *csv.Writer
	err error
	row []string
}

// NewWriter begins a table.
func NewWriter(w io.Writer) *Writer { return &Writer{out: csv.NewWriter(w)} }

// Write writes one row. An error is kept for [Writer.Flush].
func (w *Writer) Write(cells ...string) {
	w.row = w.row[:0]
	for _, c := range cells {
		w.row = append(w.row, Escape(prose.Clean(c)))
	}
	if w.err == nil {
		w.err = w.out.Write(w.row)
	}
}

// Flush ends the table and gives the first error of all.
func (w *Writer) Flush() error {
	w.out.Flush()
	if w.err != nil {
		return w.err
	}
	return w.out.Error()
}
