package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/hint"
)

var formats = []string{"table", "wide", "json", "yaml", "csv", "name"}

// output prints lists in the format asked for with -o.
type output struct{ format string }

func (o output) check() error {
	if slices.Contains(formats, o.format) {
		return nil
	}
	err := fmt.Errorf("-o %q is none of %s", o.format, strings.Join(formats, ", "))
	if near := hint.Nearest(o.format, formats); near != "" {
		return usage(err, "did you mean -o %s?", near)
	}
	return usage(err, "take one of them")
}

// column is one column of a list. Wide columns are shown with -o wide and -o csv only.
type column[T any] struct {
	title string
	wide  bool
	cell  func(T) string
}

// list prints items: their own JSON form for json and yaml, the columns otherwise; the first column is the name.
func list[T any](o output, w io.Writer, items []T, columns []column[T]) error {
	if items == nil {
		items = []T{}
	}
	switch o.format {
	case "json":
		return writeJSON(w, items)
	case "yaml":
		return writeYAML(w, items)
	case "name":
		for _, item := range items {
			if _, err := fmt.Fprintln(w, columns[0].cell(item)); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		return listCSV(w, items, columns)
	}
	return listTable(w, items, columns, o.format == "wide")
}

func listTable[T any](w io.Writer, items []T, columns []column[T], wide bool) error {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(cell func(column[T]) string) {
		var cells []string
		for _, c := range columns {
			if !c.wide || wide {
				cells = append(cells, oneLine(cell(c)))
			}
		}
		fmt.Fprintln(table, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	row(func(c column[T]) string { return strings.ToUpper(c.title) })
	for _, item := range items {
		row(func(c column[T]) string { return c.cell(item) })
	}
	return table.Flush()
}

func listCSV[T any](w io.Writer, items []T, columns []column[T]) error {
	out := csv.NewWriter(w)
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = strings.ReplaceAll(c.title, " ", "_")
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for _, item := range items {
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = guardFormula(c.cell(item))
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// guardFormula keeps a spreadsheet from taking a cell for a formula.
func guardFormula(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// oneLine makes text safe for one line of a terminal: no control characters, no escape sequences.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0:
			return -1
		}
		return r
	}, text)
}

func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// writeYAML goes by way of JSON, so that both forms have the same keys.
func writeYAML(w io.Writer, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var plain any
	if err := yaml.Unmarshal(data, &plain); err != nil {
		return err
	}
	text, err := yaml.Marshal(plain)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// one prints a single thing: JSON, YAML or the given text.
func one(o output, w io.Writer, value any, text func(io.Writer) error) error {
	switch o.format {
	case "json":
		return writeJSON(w, value)
	case "yaml":
		return writeYAML(w, value)
	}
	return text(w)
}
