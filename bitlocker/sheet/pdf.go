package sheet

import (
	"fmt"
	"io"

	"codeberg.org/go-pdf/fpdf"
)

// Millimetres on A4 portrait.
const (
	margin    = 15.0
	width     = 210 - 2*margin
	perPage   = 2
	entryTop  = 32.0
	entryStep = 124.0
	qrSide    = 44.0
	barHeight = 20.0
)

// PDF prints two keys on each A4 page. Characters outside Windows-1252 are printed as dots, for no font is embedded; the
// codes and digits are plain. Equal input gives equal bytes.
func PDF(w io.Writer, entries []Entry, o Options) error {
	if err := check(entries); err != nil {
		return err
	}
	p := fpdf.New("P", "mm", "A4", "")
	p.SetCreationDate(o.Date)
	p.SetModificationDate(o.Date)
	p.SetCatalogSort(true)
	p.SetAutoPageBreak(false, 0)
	p.SetMargins(margin, margin, margin)
	p.SetTitle(o.title(), true)
	p.SetCreator("fleetmend", true)
	text := p.UnicodeTranslatorFromDescriptor("")
	pages := (len(entries) + perPage - 1) / perPage
	for i, e := range entries {
		if i%perPage == 0 {
			p.AddPage()
			frame(p, text, o, i/perPage+1, pages)
		}
		if err := draw(p, text, e, o, entryTop+float64(i%perPage)*entryStep); err != nil {
			return fmt.Errorf("print sheet: %s: %w", e.name(), err)
		}
	}
	if err := p.Output(w); err != nil {
		return fmt.Errorf("print sheet: %w", err)
	}
	return nil
}

func frame(p *fpdf.Fpdf, text func(string) string, o Options, page, pages int) {
	p.SetFont("Helvetica", "B", 15)
	p.SetXY(margin, 14)
	p.CellFormat(width, 8, text(o.title()), "B", 0, "L", false, 0, "")
	p.SetFont("Helvetica", "", 8)
	p.SetXY(margin, 284)
	left := "Confidential: opens the disks of these machines. Destroy after use."
	if o.Operator != "" {
		left += "   " + o.Operator
	}
	p.CellFormat(width-40, 5, text(left), "", 0, "L", false, 0, "")
	date := ""
	if !o.Date.IsZero() {
		date = o.Date.UTC().Format("2006-01-02 15:04") + " UTC   "
	}
	p.CellFormat(40, 5, fmt.Sprintf("%s%d/%d", date, page, pages), "", 0, "R", false, 0, "")
}

func draw(p *fpdf.Fpdf, text func(string) string, e Entry, o Options, top float64) error {
	line := func(y, size float64, font, style, s string) {
		p.SetFont(font, style, size)
		for p.GetStringWidth(s) > width-qrSide-8 && size > 6 { // a long name gets smaller rather than cut
			size--
			p.SetFontSize(size)
		}
		p.SetXY(margin, top+y)
		p.CellFormat(width-qrSide-8, 8, s, "", 0, "L", false, 0, "")
	}
	line(0, 18, "Helvetica", "B", text(e.name()))
	line(8, 9, "Helvetica", "", text(e.about()))
	line(17, 10, "Helvetica", "", "Key ID: compare with the recovery screen")
	line(23, 14, "Courier", "B", string(e.Key.ID))
	if e.LAPS != nil {
		until := ""
		if !e.LAPS.Expires.IsZero() {
			until = " (changes " + e.LAPS.Expires.UTC().Format("2006-01-02") + ")"
		}
		line(32, 10, "Helvetica", "", text("Local administrator "+e.LAPS.User+until))
		line(38, 13, "Courier", "B", text(e.LAPS.Password.Reveal()))
	}
	p.SetFont("Courier", "B", 26)
	for i, g := range e.Key.Password.Groups() {
		p.SetXY(margin+float64(i%4)*width/4, top+50+float64(i/4)*13)
		p.CellFormat(width/4, 12, g, "1", 0, "C", false, 0, "")
	}
	content := typed(e.Key.Password.Digits(), o.Enter)
	m, err := matrix(content)
	if err != nil {
		return err
	}
	p.SetFillColor(0, 0, 0)
	module := qrSide / float64(len(m))
	for y, row := range m {
		runs(row, func(from, n int) {
			p.Rect(margin+width-qrSide+float64(from)*module, top+float64(y)*module, float64(n)*module, module, "F")
		})
	}
	b, err := bars(content)
	if err != nil {
		return err
	}
	bar := (width - 10) / float64(len(b)) // the margin of the page is the quiet zone
	runs(b, func(from, n int) {
		p.Rect(margin+5+float64(from)*bar, top+82, float64(n)*bar, barHeight, "F")
	})
	p.SetFont("Helvetica", "", 8)
	p.SetXY(margin, top+103)
	p.CellFormat(width, 5, o.note(), "", 0, "C", false, 0, "")
	return p.Error()
}
