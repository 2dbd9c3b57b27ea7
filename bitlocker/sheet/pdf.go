package sheet

import (
	"fmt"
	"io"
	"slices"
	"strings"

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
	beside    = width - qrSide - 8 // what text has to the left of the QR code
)

// PDF prints two keys on each A4 page. The letters of Latin, Greek and Cyrillic are printed as they are; others stand as
// their numbers, and [Problems] says so. A long name gets smaller and is cut in its middle; it never reaches the code.
// Equal input gives equal bytes.
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
	addFonts(p)
	pages := (len(entries) + perPage - 1) / perPage
	for i, e := range entries {
		if i%perPage == 0 {
			p.AddPage()
			frame(p, o, i/perPage+1, pages)
		}
		if err := draw(p, e, o, entryTop+float64(i%perPage)*entryStep); err != nil {
			return fmt.Errorf("print sheet: %s: %w", e.name(), err)
		}
	}
	if err := p.Output(w); err != nil {
		return fmt.Errorf("print sheet: %w", err)
	}
	return nil
}

func frame(p *fpdf.Fpdf, o Options, page, pages int) {
	title := fit(p, fontText, "B", letters(o.title()), 15, 9, width, true)
	p.SetXY(margin, 14)
	p.CellFormat(width, 8, title, "B", 0, "L", false, 0, "")
	p.SetXY(margin, 284)
	left := "Confidential: opens the disks of these machines. Destroy after use."
	if o.Operator != "" {
		left += "   " + o.Operator
	}
	left = fit(p, fontText, "", letters(left), 8, 6, width-42, true)
	p.CellFormat(width-40, 5, left, "", 0, "L", false, 0, "")
	p.SetFont(fontText, "", 8)
	date := ""
	if !o.Date.IsZero() {
		date = o.Date.UTC().Format("2006-01-02 15:04") + " UTC   "
	}
	p.CellFormat(40, 5, fmt.Sprintf("%s%d/%d", date, page, pages), "", 0, "R", false, 0, "")
}

func draw(p *fpdf.Fpdf, e Entry, o Options, top float64) error {
	line := func(y, size float64, font, style, s string) {
		s = fit(p, font, style, s, size, min(size, 10)*0.7, beside, true)
		p.SetXY(margin, top+y)
		p.CellFormat(beside, 8, s, "", 0, "L", false, 0, "")
	}
	line(0, 18, fontText, "B", letters(e.name()))
	line(8, 9, fontText, "", letters(e.about()))
	line(17, 10, fontText, "", "Key ID: compare with the recovery screen")
	line(23, 14, fontMono, "B", letters(string(e.Key.ID))) // of a key without an ID it holds the name of the machine
	if e.LAPS != nil {
		until := ""
		if !e.LAPS.Expires.IsZero() {
			until = " (changes " + e.LAPS.Expires.UTC().Format("2006-01-02") + ")"
		}
		line(32, 10, fontText, "", letters("Local administrator "+e.LAPS.User+until))
		if printed := e.LAPS.printed(p); printed != "" {
			p.SetXY(margin, top+38)
			p.CellFormat(beside, 8, printed, "", 0, "L", false, 0, "")
		} else {
			line(38, 9, fontText, "", "(its password cannot be printed here; the HTML sheet has it)")
		}
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
	p.SetFont(fontText, "", 8)
	p.SetXY(margin, top+103)
	p.CellFormat(width, 5, o.note(), "", 0, "C", false, 0, "")
	return p.Error()
}

// printed sets the font and gives the password as it is, never cut and never with another letter; "" where that cannot be.
func (a *Account) printed(p *fpdf.Fpdf) string {
	password := a.Password.Reveal()
	if len(unprintable(password)) > 0 {
		return ""
	}
	return fit(p, fontMono, "B", password, 13, 5, beside, false)
}

// Problems says what [PDF] does not print as it is, one sentence for a machine, however many keys it has, and no secret in any. [HTML] prints
// everything, with the fonts of the computer that shows it.
func Problems(entries []Entry, o Options) []string {
	p := fpdf.New("P", "mm", "A4", "")
	addFonts(p)
	var out []string
	if missing := unprintable(o.title()); len(missing) > 0 {
		out = append(out, fmt.Sprintf("the title: %s stand as their numbers in the PDF; the HTML sheet prints them", strings.Join(missing, " ")))
	}
	for _, e := range entries {
		if missing := unprintable(e.name()); len(missing) > 0 {
			out = append(out, fmt.Sprintf("%s: %s stand as their numbers in the PDF (%s); the HTML sheet prints them", e.name(), strings.Join(missing, " "), letters(e.name())))
		}
		if e.LAPS != nil && e.LAPS.printed(p) == "" {
			out = append(out, fmt.Sprintf("%s: the password of %s cannot be printed in the PDF; the HTML sheet has it", e.name(), e.LAPS.User))
		}
	}
	said := make(map[string]bool, len(out))
	return slices.DeleteFunc(out, func(text string) bool {
		again := said[text]
		said[text] = true
		return again
	})
}
