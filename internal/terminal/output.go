package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v4"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/table"
)

// The formats of -o.
const (
	Table = "table"
	Wide  = "wide"
	JSON  = "json"
	YAML  = "yaml"
	CSV   = "csv"
	Name  = "name"
)

// Formats are all formats of -o. ListFormats is what a list can be printed as, OneFormats a single thing.
var (
	Formats     = []string{Table, Wide, JSON, YAML, CSV, Name}
	ListFormats = Formats
	OneFormats  = []string{Table, JSON, YAML}
)

// Output is the format asked for with -o. Which formats a command has is checked before it runs.
type Output struct{ Format string }

// Column is one column of a list. Wide columns are shown with -o wide and -o csv only.
type Column[T any] struct {
	Title string
	Wide  bool
	Cell  func(T) string
}

// Col is a column of every list.
func Col[T any](title string, cell func(T) string) Column[T] {
	return Column[T]{Title: title, Cell: cell}
}

// WideCol is a column of -o wide and -o csv alone.
func WideCol[T any](title string, cell func(T) string) Column[T] {
	return Column[T]{Title: title, Wide: true, Cell: cell}
}

// List prints items: their own JSON form for json and yaml, the columns otherwise; the first column is the name.
func List[T any](o Output, w io.Writer, items []T, columns []Column[T]) error {
	if items == nil {
		items = []T{}
	}
	switch o.Format {
	case JSON:
		return WriteJSON(w, items)
	case YAML:
		return WriteYAML(w, items)
	case Name:
		for _, item := range items {
			if _, err := fmt.Fprintln(w, prose.OneLine(columns[0].Cell(item))); err != nil {
				return err
			}
		}
		return nil
	case CSV:
		return listCSV(w, items, columns)
	}
	return listTable(w, items, columns, o.Format == Wide)
}

func listTable[T any](w io.Writer, items []T, columns []Column[T], wide bool) error {
	aligned := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(cell func(Column[T]) string) {
		var cells []string
		for _, c := range columns {
			if !c.Wide || wide {
				cells = append(cells, prose.OneLine(cell(c)))
			}
		}
		fmt.Fprintln(aligned, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	row(func(c Column[T]) string { return strings.ToUpper(c.Title) })
	for _, item := range items {
		row(func(c Column[T]) string { return c.Cell(item) })
	}
	return aligned.Flush()
}

func listCSV[T any](w io.Writer, items []T, columns []Column[T]) error {
	out := table.NewWriter(w)
	row := make([]string, len(columns))
	for i, c := range columns {
		row[i] = strings.ReplaceAll(c.Title, " ", "_")
	}
	out.Write(row...)
	for _, item := range items {
		for i, c := range columns {
			row[i] = c.Cell(item)
		}
		out.Write(row...)
	}
	return out.Flush()
}

// WriteJSON writes value as indented JSON.
func WriteJSON(w io.Writer, value any) error {
	e := json.NewEncoder(prose.JSONWriter(w))
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// WriteJSONLine writes value as one line of JSON, without the escapes that only HTML needs.
func WriteJSONLine(w io.Writer, value any) error {
	e := json.NewEncoder(prose.JSONWriter(w))
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// WriteYAML goes by way of JSON, so that both forms have the same keys.
func WriteYAML(w io.Writer, value any) error {
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
	_, err = prose.Cleaner(w).Write(text)
	return err
}

// One prints a single thing: JSON, YAML or the given text.
func One(o Output, w io.Writer, value any, text func(io.Writer) error) error {
	switch o.Format {
	case JSON:
		return WriteJSON(w, value)
	case YAML:
		return WriteYAML(w, value)
	}
	return text(w)
}
