package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/prose"
)

// TextOptions say how the terminal is.
type TextOptions struct {
	Width int  // columns; 0 means 80, below 40 counts as 40
	Color bool // use the 16 colours; words and marks say the same without
}

// namesShown is how many machines of a group the terminal names.
const namesShown = 5

// WriteText writes the summary for a terminal: sentences, a table by wave, the reasons, and what to type next. Apart from
// names and reasons, which are cleaned of control characters, it is ASCII.
func (r *Report) WriteText(w io.Writer, o TextOptions) error {
	if o.Width == 0 {
		o.Width = 80
	}
	p := &textPage{w: bufio.NewWriter(w), width: max(o.Width, 40), color: o.Color}
	p.head(r)
	p.waves(r)
	p.reasons(r)
	p.next(r)
	return p.w.Flush()
}

// textPage relies on bufio.Writer keeping the first error until Flush.
type textPage struct {
	w     *bufio.Writer
	width int
	color bool
}

func (p *textPage) line(s string) {
	p.w.WriteString(strings.TrimRight(s, " "))
	p.w.WriteByte('\n')
}

func (p *textPage) paint(sgr, s string) string {
	if !p.color || sgr == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

func (p *textPage) head(r *Report) {
	title := "Run " + prose.Short(r.Run.ID, 0)
	if r.Run.Playbook != "" {
		title += ": " + prose.Short(r.Run.Playbook, 0)
	}
	if r.Run.Mode != "" {
		title += " (" + prose.Short(string(r.Run.Mode), 0) + ")"
	}
	if d := took(r.AsOf.Sub(r.Run.Started)); d != "" && !r.Run.Started.IsZero() {
		title += ", " + d
	}
	for _, l := range wrap(title, p.width) {
		p.line(p.paint("1", l))
	}
	for _, l := range wrap(r.Summary, p.width) {
		p.line(l)
	}
	for _, step := range r.Permanent {
		for _, l := range wrap("Cannot be undone: "+prose.OneLine(step)+".", p.width) {
			p.line(l)
		}
	}
	for _, stay := range r.Stays {
		for _, l := range wrap("Not taken back on "+machines(stay.Machines)+": "+prose.OneLine(stay.Step)+".", p.width) {
			p.line(l)
		}
	}
}

// waves writes one row per wave with a column for each status that occurs; where that is too wide, rows of words.
func (p *textPage) waves(r *Report) {
	if len(r.Machines) == 0 {
		return
	}
	rows := [][]string{{"wave", "machines"}}
	for _, c := range r.Totals {
		rows[0] = append(rows[0], faceOf(c.Status).word)
	}
	rows[0] = append(rows[0], "time")
	for _, wave := range r.Waves {
		name := fmt.Sprint(wave.Number)
		if wave.Number == 0 {
			name = "none"
		}
		rows = append(rows, p.row(r, name, wave.Machines, wave.Counts, wave.Ended.Sub(wave.Started)))
	}
	if len(r.Waves) > 1 {
		rows = append(rows, p.row(r, "all", len(r.Machines), r.Totals, r.AsOf.Sub(r.Run.Started)))
	}
	widths, total := make([]int, len(rows[0])), 0
	for i := range rows[0] {
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i] + 2
	}
	p.line("")
	if total-2 > p.width {
		p.wavesInWords(rows)
		return
	}
	for n, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 1 && i < len(row)-1 && n > 0 && cell != "." {
				cell = p.paint(faceOf(r.Totals[i-2].Status).ansi, cell)
			}
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		if n == 0 {
			p.line(p.paint("1", b.String()))
		} else {
			p.line(b.String())
		}
	}
}

func (p *textPage) row(r *Report, name string, all int, counts []Count, d time.Duration) []string {
	row := []string{name, number(all)}
	for _, c := range r.Totals {
		cell := "."
		for _, have := range counts {
			if have.Status == c.Status {
				cell = number(have.Machines)
			}
		}
		row = append(row, cell)
	}
	if d > 1000*time.Hour { // one of the two times is missing
		d = 0
	}
	return append(row, took(d))
}

func (p *textPage) wavesInWords(rows [][]string) {
	for _, row := range rows[1:] {
		var parts []string
		for i := 2; i < len(row)-1; i++ {
			if row[i] != "." {
				parts = append(parts, row[i]+" "+rows[0][i])
			}
		}
		label := "wave " + row[0]
		switch row[0] {
		case "all":
			label = "all"
		case "none":
			label = "left out"
		}
		p.indented(label+", "+row[1]+": ", strings.Join(parts, ", "))
	}
}

func (p *textPage) reasons(r *Report) {
	if len(r.Reasons) == 0 {
		return
	}
	p.line("")
	p.line(p.paint("1", "Reasons"))
	said := map[string]bool{}
	for _, reason := range r.Reasons {
		f := faceOf(reason.Status)
		p.painted("  ", number(len(reason.Machines))+" "+f.word+":", f.ansi, reason.Text)
		p.indented("      ", strings.Join(nameList(reason.Machines, namesShown), " "))
		if !said[reason.Advice] {
			said[reason.Advice] = true
			p.indented("      > ", reason.Advice)
		}
	}
}

func (p *textPage) next(r *Report) {
	p.line("")
	p.line(p.paint("1", "Next"))
	for _, c := range r.Next {
		p.indented("  ", c.For+":")
		p.line("    " + prose.Short(c.Line, 0)) // never wrapped: it is there to be copied
	}
}

// indented writes text after the first words, wrapped, with the further lines below its beginning.
func (p *textPage) indented(first, text string) { p.painted(first, "", "", text) }

// painted is indented with a coloured head before the text.
func (p *textPage) painted(first, head, sgr, text string) {
	rest := strings.Repeat(" ", len(first))
	for i, l := range wrap(head+" "+text, p.width-len(first)) {
		if i > 0 {
			p.line(rest + l)
			continue
		}
		if tail, ok := strings.CutPrefix(l, head); ok && head != "" {
			l = p.paint(sgr, head) + tail
		}
		p.line(first + l)
	}
}

// nameList names the first few, with commas, and counts the rest.
func nameList(names []string, show int) []string {
	list := make([]string, 0, show+1)
	for i, n := range names[:min(len(names), show)] {
		n = prose.Short(n, 0)
		if i < len(names)-1 && i < show-1 {
			n += ","
		}
		list = append(list, n)
	}
	if more := len(names) - show; more > 0 {
		list = append(list, "and "+number(more)+" more")
	}
	return list
}

// wrap breaks at blanks; a word that is longer than a line stands alone and whole, so that it can be copied.
func wrap(s string, width int) []string {
	var lines []string
	line, used := "", 0
	for _, word := range commandline.Fields(s) {
		n := utf8.RuneCountInString(word)
		if used > 0 && used+1+n > width {
			lines, line, used = append(lines, line), "", 0
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+n
	}
	return append(lines, line)
}
