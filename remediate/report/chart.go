package report

import (
	"fmt"
	"html"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"
)

// Charts are drawn in user units that are about a pixel on a screen and scale with the page. Every status is told by its
// hatching and a word as well as by its colour, so that they survive grey print and colour blindness.
const chartWidth = 560

// drawing collects the elements of one SVG.
type drawing struct {
	strings.Builder
	width, height float64
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.Builder, format, args...) }

func (d *drawing) rect(x, y, w, h float64, class string) {
	d.add(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, class, x, y, max(w, 0), max(h, 0))
}

// bar is a rectangle in colour and hatching of a status.
func (d *drawing) bar(x, y, w, h float64, status Status) {
	class := faceOf(status).class
	d.rect(x, y, w, h, "c-"+class)
	d.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="url(#h-%s)"/>`, x, y, max(w, 0), max(h, 0), class)
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	d.add(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

// text writes s at a baseline; anchor is start, middle or end.
func (d *drawing) text(x, y float64, anchor, class, s string) {
	d.add(`<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, class, x, y, anchor, html.EscapeString(s))
}

// pill writes a short text on a plate, readable on any hatching.
func (d *drawing) pill(x, y float64, s string) {
	w := textWidth(s) + 10
	d.add(`<rect class="plate" x="%.1f" y="%.1f" width="%.1f" height="17" rx="8.5"/>`, x-w/2, y-8.5, w)
	d.text(x, y+4.2, "middle", "num", s)
}

// textWidth estimates the width of a text at 12 units, a little too wide rather than too narrow.
func textWidth(s string) float64 { return 6.9 * float64(utf8.RuneCountInString(s)) }

// finish wraps the drawing in an SVG that a screen reader can announce: title says what it is, desc what it shows.
func (d *drawing) finish(id, title, desc string) template.HTML {
	return template.HTML(fmt.Sprintf( //nolint:gosec // every text in it went through html.EscapeString
		`<svg role="img" aria-labelledby="%s-t %s-d" viewBox="0 0 %.0f %.0f"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>%s</svg>`,
		id, id, d.width, d.height, id, html.EscapeString(title), id, html.EscapeString(desc), d.String()))
}

// stacked draws one bar of the given width, divided as the counts are. Every part is at least two units wide.
func (d *drawing) stacked(x, y, w, h float64, counts []Count) {
	total, floor := 0, 2.0
	for _, c := range counts {
		total += c.Machines
	}
	if total == 0 {
		return
	}
	spare := w - floor*float64(len(counts))
	for _, c := range counts {
		part := floor + spare*float64(c.Machines)/float64(total)
		d.bar(x, y, max(part-1, 1), h, c.Status)
		if s := number(c.Machines); part > textWidth(s)+14 {
			d.pill(x+part/2-0.5, y+h/2, s)
		}
		x += part
	}
}

func fleetBar(r *Report) template.HTML {
	d := &drawing{width: 1160, height: 40}
	d.stacked(0, 0, d.width, d.height, r.Totals)
	return d.finish("fleet", "The fleet at a glance", countsInWords(r.Totals))
}

func countsInWords(counts []Count) string {
	var parts []string
	for _, c := range counts {
		parts = append(parts, number(c.Machines)+" "+faceOf(c.Status).word)
	}
	return strings.Join(parts, ", ")
}

// maxWaveBars bounds the rows of the wave chart; what follows is drawn as one.
const maxWaveBars = 14

func waveChart(r *Report) template.HTML {
	waves := r.Waves
	var merged *Wave
	if len(waves) > maxWaveBars {
		first := waves[maxWaveBars-1]
		var rest []Machine
		for _, m := range r.Machines {
			if waveOrder(m.Wave) >= waveOrder(first.Number) {
				rest = append(rest, m)
			}
		}
		merged = &Wave{Number: first.Number, Machines: len(rest), Counts: countsOf(rest)}
		waves = append(waves[:maxWaveBars-1:maxWaveBars-1], *merged)
	}
	const row, left, right = 34.0, 68.0, 112.0
	d := &drawing{width: chartWidth, height: row*float64(len(waves)) + 4}
	var desc []string
	for i, w := range waves {
		y := row * float64(i)
		label := fmt.Sprintf("Wave %d", w.Number)
		if w.Number == 0 {
			label = "Left out"
		}
		if merged != nil && i == len(waves)-1 {
			label = fmt.Sprintf("From %d", w.Number)
		}
		d.text(0, y+18, "start", "label", label)
		d.stacked(left, y+2, d.width-left-right, 24, w.Counts)
		d.text(d.width, y+18, "end", "soft", machines(w.Machines))
		desc = append(desc, label+": "+countsInWords(w.Counts))
	}
	return d.finish("waves", "Outcomes by wave", strings.Join(desc, ". ")+".")
}

// plot is a frame with axes: x and y map values to the drawing.
type plot struct {
	*drawing
	left, top, w, h float64
}

func newPlot(height float64) plot {
	d := &drawing{width: chartWidth, height: height}
	return plot{d, 46, 34, chartWidth - 46 - 14, height - 34 - 40}
}

func (p plot) bottom() float64 { return p.top + p.h }

// countAxis draws lines for machines and returns the value at the top.
func (p plot) countAxis(most int) float64 {
	step := niceCount(float64(most) / 4)
	top := (most + step - 1) / step * step
	for v := 0; v <= top; v += step {
		y := p.bottom() - p.h*float64(v)/float64(top)
		p.line(p.left, y, p.left+p.w, y, "grid")
		p.text(p.left-8, y+4, "end", "soft", number(v))
	}
	return float64(top)
}

func burndownChart(r *Report) template.HTML {
	if len(r.Burndown) == 0 {
		return ""
	}
	p := newPlot(240)
	first, last := r.Burndown[0], r.Burndown[len(r.Burndown)-1]
	span := last.Time.Sub(first.Time)
	if span <= 0 {
		return ""
	}
	top := p.countAxis(first.Left)
	x := func(t time.Time) float64 { return p.left + p.w*float64(t.Sub(first.Time))/float64(span) }
	y := func(n int) float64 { return p.bottom() - p.h*float64(n)/top }

	var path strings.Builder
	fmt.Fprintf(&path, "M%.1f %.1f", x(first.Time), y(first.Left))
	for _, point := range r.Burndown[1:] {
		fmt.Fprintf(&path, "H%.1fV%.1f", x(point.Time), y(point.Left))
	}
	p.add(`<path class="area" d="%sV%.1fH%.1fZ"/><path class="curve" d="%s"/>`, path.String(), p.bottom(), p.left, path.String())

	p.timeAxis(span)
	p.waveMarks(r, x)
	label := number(last.Left) + " left"
	p.text(p.left+p.w, y(last.Left)-9, "end", "label", label)
	p.text(0, 12, "start", "soft", "machines not finished")
	desc := fmt.Sprintf("%s at the start, %s not finished after %s.", machines(first.Left), number(last.Left), took(span))
	return p.finish("burndown", "Burn-down over time", desc)
}

func (p plot) timeAxis(span time.Duration) {
	step := niceDuration(span / 6)
	for t := time.Duration(0); t <= span; t += step {
		x := p.left + p.w*float64(t)/float64(span)
		p.line(x, p.bottom(), x, p.bottom()+4, "tick")
		label, anchor := took(t), "middle"
		if t == 0 {
			label, anchor = "start", "start"
		} else if x > p.left+p.w-16 {
			anchor = "end"
		}
		p.text(x, p.bottom()+18, anchor, "soft", label)
	}
	p.text(p.left+p.w/2, p.bottom()+34, "middle", "soft", "time since the start")
}

// waveMarks draws where waves began, as many as can be told apart.
func (p plot) waveMarks(r *Report, x func(time.Time) float64) {
	free := p.left
	for _, w := range r.Waves {
		if w.Number == 0 || w.Started.IsZero() {
			continue
		}
		at := x(w.Started)
		label := fmt.Sprintf("wave %d", w.Number)
		if at < free || at > p.left+p.w-textWidth(label) || len(r.Waves) == 1 {
			continue
		}
		p.line(at, p.top-12, at, p.bottom(), "mark")
		p.text(at+4, p.top-4, "start", "soft", label)
		free = at + textWidth(label) + 10
	}
}

func durationChart(r *Report) template.HTML {
	bins := r.Durations.Bins
	if len(bins) == 0 {
		return ""
	}
	p := newPlot(240)
	most := 0
	for _, b := range bins {
		most = max(most, b.Machines)
	}
	top := p.countAxis(most)
	w := p.w / float64(len(bins))
	every := (len(bins) + 5) / 6
	var desc []string
	for i, b := range bins {
		x, h := p.left+w*float64(i), p.h*float64(b.Machines)/top
		p.rect(x+1.5, p.bottom()-h, w-3, h, "column")
		label := took(b.From)
		if i == 0 {
			label = "0"
		}
		switch {
		case b.To == 0:
			p.text(p.left+p.w, p.bottom()+18, "end", "soft", "longer")
			desc = append(desc, number(b.Machines)+" took "+took(b.From)+" or longer")
		case i%every == 0 && x < p.left+p.w-60:
			p.line(x, p.bottom(), x, p.bottom()+4, "tick")
			p.text(x, p.bottom()+18, "middle", "soft", label)
			fallthrough
		default:
			desc = append(desc, fmt.Sprintf("%s took %s to %s", number(b.Machines), label, took(b.To)))
		}
	}
	p.text(0, 12, "start", "soft", "machines")
	p.text(p.left+p.w, 12, "end", "label", fmt.Sprintf("half within %s, 95 %% within %s", took(r.Durations.Median), took(r.Durations.P95)))
	p.text(p.left+p.w/2, p.bottom()+34, "middle", "soft", "time from the first contact to the outcome")
	return p.finish("durations", "How long machines took", strings.Join(desc, "; ")+".")
}

// maxReasonBars bounds the rows of the chart of reasons; the table below it has all of them.
const maxReasonBars = 6

func reasonChart(r *Report) template.HTML {
	if len(r.Reasons) == 0 {
		return ""
	}
	shown := r.Reasons[:min(len(r.Reasons), maxReasonBars)]
	const row, right = 40.0, 58.0
	d := &drawing{width: chartWidth, height: row * float64(len(shown))}
	most := 0
	for _, reason := range shown {
		most = max(most, len(reason.Machines))
	}
	if rest := r.Reasons[len(shown):]; len(rest) > 0 {
		d.height += 18
		n := 0
		for _, reason := range rest {
			n += len(reason.Machines)
		}
		d.text(0, d.height-4, "start", "soft", fmt.Sprintf("and %d more reasons with %s, in the table below", len(rest), machines(n)))
	}
	var desc []string
	for i, reason := range shown {
		y, f := row*float64(i), faceOf(reason.Status)
		d.text(0, y+12, "start", "label", cut(f.title+": "+reason.Text, 84))
		d.bar(0, y+17, (d.width-right)*float64(len(reason.Machines))/float64(most), 15, reason.Status)
		d.text((d.width-right)*float64(len(reason.Machines))/float64(most)+8, y+29, "start", "label", number(len(reason.Machines)))
		desc = append(desc, machines(len(reason.Machines))+" "+f.word+": "+reason.Text)
	}
	return d.finish("reasons", "Machines by reason", strings.Join(desc, ". ")+".")
}
