package keys

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker/sheet"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

// Paper is what a sheet is written on.
type Paper struct {
	File  string // its ending says how: .pdf or .html
	Title string // "": the usual one
	Enter bool   // the codes end with Enter
}

// Check says whether a sheet can be written on it.
func (p Paper) Check() error {
	_, err := p.write()
	return err
}

func (p Paper) write() (func(io.Writer, []sheet.Entry, sheet.Options) error, error) {
	switch lower := strings.ToLower(p.File); {
	case strings.HasSuffix(lower, ".pdf"):
		return sheet.PDF, nil
	case strings.HasSuffix(lower, ".html"):
		return sheet.HTML, nil
	}
	return nil, hint.Mistake(fmt.Errorf("--out %q is neither .pdf nor .html", p.File), "name the file to write, such as --out lon.pdf")
}

// Write writes the sheet for its reason, readable by its owner alone, and returns in lines what is not on it and what to look at.
func (s Sheet) Write(d *desk.Desk, p Paper, reason string) ([]string, error) {
	write, err := p.write()
	if err != nil {
		return nil, err
	}
	operator, err := d.Auditor()
	if err != nil {
		return nil, err
	}
	o := sheet.Options{Title: p.Title, Date: time.Now(), Operator: operator.OSUser + ": " + reason, Enter: p.Enter}
	if err := textfile.Write(p.File, textfile.Private, func(w io.Writer) error { return write(w, s.Entries, o) }); err != nil {
		return nil, err
	}
	var lines []string
	add := func(what string, of []string) {
		for _, line := range of {
			lines = append(lines, what+": "+prose.OneLine(line))
		}
	}
	add("no key", s.Missing)
	add("no LAPS password on the sheet", s.WithoutLAPS)
	if strings.HasSuffix(strings.ToLower(p.File), ".pdf") {
		add("remark", sheet.Problems(s.Entries, o))
	}
	return lines, nil
}
