package report

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/table"
)

// WriteJSON writes the whole report as one indented JSON object; its "v" is [Version]. Times are RFC 3339 in UTC,
// durations are whole nanoseconds (fields ending in _ns).
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(prose.JSONWriter(w))
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// CSVOptions say for whom the file is. The zero value is what programs expect (RFC 4180, UTF-8).
type CSVOptions struct {
	Comma rune // 0 means ','; Excel in many European languages expects ';'
	BOM   bool // begin with a byte order mark: Excel then reads umlauts right
}

var csvHeader = []string{
	"machine", "id", "address", "site", "subnet", "class", "wave", "route", "status", "error_class", "reason",
	"attempts", "changed", "rebooted", "started", "ended", "duration_s",
}

// WriteCSV writes one line per machine. Text that a spreadsheet would take for a formula gets an apostrophe before it, so
// that a machine called =HYPERLINK(...) is only a strange name.
func (r *Report) WriteCSV(w io.Writer) error { return r.WriteCSVFor(w, CSVOptions{}) }

// WriteCSVFor is [Report.WriteCSV] with options.
func (r *Report) WriteCSVFor(w io.Writer, o CSVOptions) error {
	if o.BOM {
		if _, err := io.WriteString(w, table.Mark); err != nil {
			return err
		}
	}
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if o.Comma != 0 {
		c.Comma = o.Comma
	}
	if err := c.Write(csvHeader); err != nil {
		return err
	}
	for _, m := range r.Machines {
		wave, seconds := "", ""
		if m.Wave > 0 {
			wave = strconv.Itoa(m.Wave)
		}
		if m.Took > 0 {
			seconds = strconv.FormatFloat(m.Took.Seconds(), 'f', 3, 64)
		}
		if err := c.Write([]string{
			plain(m.Name), plain(m.ID), plain(m.Address), plain(m.Site), plain(m.Subnet), plain(m.Class), wave, plain(m.Route),
			plain(string(m.Status)), plain(string(m.Error)), plain(m.Reason), strconv.Itoa(m.Attempts), strconv.Itoa(m.Changed),
			strconv.FormatBool(m.Rebooted), stamp(m.Started), stamp(m.Ended), seconds,
		}); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// plain makes a cell on one line that no spreadsheet evaluates.
func plain(s string) string { return table.Escape(prose.Short(s, 0)) }

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
