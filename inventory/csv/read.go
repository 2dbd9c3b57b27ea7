package csv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
)

// Options say how to read.
type Options struct {
	Source    string            // name of the source, "csv:machines.csv"
	SeenAt    time.Time         // when the table was written; zero: now
	Map       map[string]string // header -> field, above the guesses; "-" leaves a column out
	Encoding  string            // one of [table.Encodings]; empty: found out
	Delimiter rune              // 0: found out
	DateOrder table.Order       // of dates such as 3/4/2026
}

// Report says how a table was understood and what of it was not used. Each finding is one sentence with its line.
type Report struct {
	ReadAs     string         `json:"read_as"` // form, encoding, delimiter and order of dates in one line
	Encoding   string         `json:"encoding"`
	Delimiter  string         `json:"delimiter,omitempty"`
	Columns    []Column       `json:"columns,omitempty"`
	Ignored    []string       `json:"ignored,omitempty"` // headers that mean nothing to us
	Rows       int            `json:"rows"`              // rows with something in them, without the header
	BadRows    []BadRow       `json:"bad_rows,omitempty"`
	Problems   []string       `json:"problems,omitempty"`   // values that could not be read; their rows were used
	Duplicates []string       `json:"duplicates,omitempty"` // rows that speak of the same machine
	Other      []string       `json:"other,omitempty"`      // machines that run no Windows; they were left out
	Systems    map[string]int `json:"systems,omitempty"`    // how many of them run which system
}

// BadRow is a row that was left out.
type BadRow struct {
	Line   int    `json:"line"` // of the file, from 1
	Reason string `json:"reason"`
}

func (b BadRow) String() string { return fmt.Sprintf("line %d: %s", b.Line, b.Reason) }

// maxTable bounds what is read into memory; a machine takes some 300 bytes, so this is about a million of them.
const maxTable = 512 << 20

// Read reads a table with a header, or JSON: what [WriteJSON] wrote, strictly (see [ReadJSON]), and what PowerShell, Graph
// and other programs write, as a table of its keys. An error means that nothing could be used: no text, no column that
// names machines ([*WrongColumnsError]), or a wrong mapping.
func Read(r io.Reader, o Options) ([]inventory.Record, Report, error) {
	if o.SeenAt.IsZero() {
		o.SeenAt = time.Now().UTC()
	}
	data, err := textfile.ReadAll(r, maxTable)
	if err != nil {
		return nil, Report{}, fmt.Errorf("read table: %w", err)
	}
	if text, err := textfile.Decode(data); err == nil && o.Encoding == "" && isOwn(text.Content) {
		return readOwn(text, o)
	}
	in, err := table.Open(bytes.NewBuffer(data), table.Options{Encoding: o.Encoding, Delimiter: o.Delimiter,
		Known: func(header string) bool { return fieldOfHeader()[plain(header)] != "" }})
	report := Report{Encoding: in.Encoding}
	if err != nil {
		return nil, report, fmt.Errorf("read table: %w", err)
	}
	if in.Delimiter != 0 {
		report.Delimiter = string(in.Delimiter)
	}
	t := reading{o: o, report: &report, dates: table.Dates{Order: o.DateOrder}, byName: map[string][]*entry{}}
	for row := range in.Rows() {
		if t.columns == nil {
			if row.Err != nil {
				return nil, report, fmt.Errorf("read table: header in line %d: %w", row.Line, row.Err)
			}
			if t.columns, err = columns(row.Cells, o.Map); err != nil {
				return nil, report, fmt.Errorf("read table: %w", elsewhere(in, err))
			}
			t.used = make([]bool, len(t.columns))
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
	records := t.finish()
	report.ReadAs = in.ReadAs()
	if dates := t.dates.Said(); dates != "" {
		report.ReadAs += ", " + dates
	}
	return records, report, nil
}

// elsewhere says of a table without a column of names what may be the matter: its header is further down, as under the title of a
// report, or is in another encoding.
func elsewhere(in table.Table, err error) error {
	const far = 30
	if wrong := (*WrongColumnsError)(nil); !errors.As(err, &wrong) {
		return err
	}
	if in.Guess != "" {
		err = hint.Wrapf(err, "it was read as %s, which is a guess: if the columns look garbled, say which encoding it is with --encoding", in.Encoding)
	}
	n := 0
	for row := range in.Rows() {
		if n++; n > far {
			break
		}
		found, none := columns(row.Cells, nil)
		known := 0
		for _, c := range found {
			if c.Field != "" {
				known++
			}
		}
		if none == nil && known > 1 {
			return hint.Wrapf(err, "line %d looks like the header: take out the lines above it", row.Line)
		}
	}
	return err
}

// finish makes records and says what is left to say. A name that several machines have is told apart by their keys,
// whatever their order.
func (t *reading) finish() []inventory.Record {
	for i, c := range t.columns {
		if c.Header != "" && (c.Field == "" || c.soft != nil && !t.used[i]) {
			t.report.Ignored = append(t.report.Ignored, c.Header)
			t.columns[i].Field = ""
		}
	}
	t.report.Columns = t.columns
	t.lostZeros()
	t.report.Problems = t.findings.List()
	out := make([]inventory.Record, 0, len(t.entries))
	for _, e := range t.entries {
		key := e.key()
		if len(t.byName[e.name]) > 1 {
			key = t.keyAmong(e)
		}
		out = append(out, inventory.Record{Source: t.o.Source, SourceKey: key, SeenAt: t.o.SeenAt, Fields: e.fields})
	}
	return out
}

// lostZeros remarks on serial numbers that lack digits which all others have: Excel takes off zeros at the front.
func (t *reading) lostZeros() {
	column := slices.IndexFunc(t.columns, func(c Column) bool { return c.Field == "serial" })
	count := map[int]int{}
	digits := 0
	for _, e := range t.entries {
		if s := e.fields["serial"]; s != "" && onlyDigits(s) {
			if s[0] == '0' {
				return
			}
			count[len(s)]++
			digits++
		}
	}
	for length, n := range count {
		if n == digits || n < 5 || n*10 < digits*8 {
			continue
		}
		for _, e := range t.entries {
			if s := e.fields["serial"]; s != "" && onlyDigits(s) && len(s) < length {
				t.findings.Add(e.line, t.columns[column].Header, fmt.Sprintf("holds %s, where others have %d digits; Excel may have taken off zeros at the front", s, length))
			}
		}
	}
}

func onlyDigits(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b < '0' || b > '9' })
}
