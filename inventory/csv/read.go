package csv

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/inventory"
)

// Options say how to read.
type Options struct {
	Source string            // name of the source, "csv:machines.csv"
	SeenAt time.Time         // when the table was written; zero: now
	Map    map[string]string // header -> field, above the guesses; "-" leaves a column out
}

// Report says how a table was understood and what of it was not used. Each finding is one sentence with its line.
type Report struct {
	Encoding   string   `json:"encoding"`
	Delimiter  string   `json:"delimiter,omitempty"`
	Columns    []Column `json:"columns,omitempty"`
	Ignored    []string `json:"ignored,omitempty"` // headers that mean nothing to us
	Rows       int      `json:"rows"`              // rows with something in them, without the header
	BadRows    []BadRow `json:"bad_rows,omitempty"`
	Problems   []string `json:"problems,omitempty"`   // values that could not be read; their rows were used
	Duplicates []string `json:"duplicates,omitempty"` // rows that speak of the same machine
}

// BadRow is a row that was left out.
type BadRow struct {
	Line   int    `json:"line"` // of the file, from 1
	Reason string `json:"reason"`
}

func (b BadRow) String() string { return fmt.Sprintf("line %d: %s", b.Line, b.Reason) }

// Read reads a table with a header. An error means that nothing could be used: no text, no column that names machines
// ([*WrongColumnsError]), or a wrong mapping.
func Read(r io.Reader, o Options) ([]inventory.Record, Report, error) {
	if o.SeenAt.IsZero() {
		o.SeenAt = time.Now().UTC()
	}
	in, err := table.Open(r, func(header string) bool { return fieldOfHeader[plain(header)] != "" })
	report := Report{Encoding: in.Encoding}
	if err != nil {
		return nil, report, fmt.Errorf("read table: %w", err)
	}
	report.Delimiter = string(in.Delimiter)
	t := reading{o: o, report: &report}
	for row := range in.Rows() {
		if t.columns == nil {
			if row.Err != nil {
				return nil, report, fmt.Errorf("read table: header in line %d: %w", row.Line, row.Err)
			}
			if t.columns, err = columns(row.Cells, o.Map); err != nil {
				return nil, report, fmt.Errorf("read table: %w", err)
			}
			continue
		}
		report.Rows++
		if row.Err == nil {
			row.Err = t.take(row)
		}
		if row.Err != nil {
			report.BadRows = append(report.BadRows, BadRow{row.Line, row.Err.Error()})
		}
	}
	report.Columns = t.columns
	for _, c := range t.columns {
		if c.Field == "" && c.Header != "" {
			report.Ignored = append(report.Ignored, c.Header)
		}
	}
	return t.finish(), report, nil
}

// reading collects rows, those of one name together.
type reading struct {
	o       Options
	report  *Report
	columns []Column
	entries []*entry
	byName  map[string][]*entry
}

type entry struct {
	line   int
	name   string // FQDN or name, lower case
	fields map[string]string
}

func (t *reading) take(r table.Row) error {
	if len(r.Cells) > len(t.columns) && !table.Blank(r.Cells[len(t.columns):]) {
		return fmt.Errorf("%d cells, but the header has %d", len(r.Cells), len(t.columns))
	}
	e := &entry{line: r.Line, fields: map[string]string{}}
	for i, c := range r.Cells[:min(len(r.Cells), len(t.columns))] {
		field := t.columns[i].Field
		if c = strings.TrimSpace(table.Unescape(c)); c == "" || field == "" {
			continue
		}
		if field == dnField {
			if _, parent, ok := cutRDN(c); ok {
				field, c = "ou", parent
			}
		}
		if e.fields[field] != "" { // a second column of the same meaning fills gaps only
			continue
		}
		if err := inventory.CheckField(field, c); err != nil {
			if field == "name" || field == "fqdn" {
				return err
			}
			t.report.Problems = append(t.report.Problems, fmt.Sprintf("line %d: %v", r.Line, err))
			continue
		}
		e.fields[field] = c
	}
	e.name = strings.ToLower(strings.TrimSuffix(e.fields["fqdn"], "."))
	if e.name == "" {
		e.name = strings.ToLower(strings.TrimSuffix(e.fields["name"], "$"))
	}
	if e.name == "" {
		return fmt.Errorf("no name")
	}
	t.add(e)
	return nil
}

// add notes an entry, unless the same machine stands there already.
func (t *reading) add(e *entry) {
	if t.byName == nil {
		t.byName = map[string][]*entry{}
	}
	for _, other := range t.byName[e.name] {
		if apart(other.fields, e.fields) {
			continue
		}
		what := "say the same"
		if diff := difference(other.fields, e.fields); diff != "" {
			what = "differ in " + diff
		}
		t.report.Duplicates = append(t.report.Duplicates,
			fmt.Sprintf("%s stands in lines %d and %d, which %s; line %d was taken", e.name, other.line, e.line, what, other.line))
		return
	}
	if others := t.byName[e.name]; len(others) > 0 {
		t.report.Duplicates = append(t.report.Duplicates,
			fmt.Sprintf("%s stands in lines %d and %d with different keys; they are taken for two machines", e.name, others[0].line, e.line))
	}
	t.byName[e.name] = append(t.byName[e.name], e)
	t.entries = append(t.entries, e)
}

// identity are the fields that tell two machines of one name apart.
var identity = append([]string{"serial"}, slices.DeleteFunc(inventory.RecordFields(), func(f string) bool { return !strings.HasPrefix(f, "claims.") })...)

func apart(a, b map[string]string) bool {
	return slices.ContainsFunc(identity, func(f string) bool { return a[f] != "" && b[f] != "" && !strings.EqualFold(a[f], b[f]) })
}

func difference(a, b map[string]string) string {
	var out []string
	for _, f := range inventory.RecordFields() {
		if a[f] != b[f] {
			out = append(out, f)
		}
	}
	return strings.Join(out, ", ")
}

// finish makes records. A name that several machines have is told apart by their keys, whatever their order.
func (t *reading) finish() []inventory.Record {
	out := make([]inventory.Record, 0, len(t.entries))
	for _, e := range t.entries {
		key := e.name
		if len(t.byName[e.name]) > 1 {
			for _, f := range identity {
				if e.fields[f] != "" {
					key += "|" + strings.TrimPrefix(f, "claims.") + "=" + strings.ToLower(e.fields[f])
				}
			}
		}
		out = append(out, inventory.Record{Source: t.o.Source, SourceKey: key, SeenAt: t.o.SeenAt, Fields: maps.Clone(e.fields)})
	}
	return out
}

// cutRDN takes the first part off a distinguished name (RFC 4514); a comma after a backslash belongs to the name.
func cutRDN(dn string) (first, parent string, ok bool) {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return dn[:i], strings.TrimSpace(dn[i+1:]), true
		}
	}
	return dn, "", false
}
