package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed" // page, style and script
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

var (
	//go:embed page.html
	pageSource string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string

	page = sync.OnceValue(func() *template.Template {
		return template.Must(template.New("report").Funcs(template.FuncMap{"parts": commandline.Parts}).Parse(pageSource))
	})
)

// HTMLOptions say for whom the page is made. The zero value is local time.
type HTMLOptions struct {
	Location *time.Location // of the times beside UTC; nil means time.Local
	Program  string         // "fleetmend 1.2.3", for the foot of the page
}

// Above printAll machines paper gets only those that need attention; above shortReasons the reason in the table of
// machines is cut, its full text stands in the table of reasons. Both keep the page usable with 10,000 machines.
const (
	printAll     = 400
	shortReasons = 3000
)

// WriteHTML writes one self-contained page: nothing is loaded from anywhere, it works from a file and on paper. With
// JavaScript the table of machines can be sorted, filtered and paged; without it all rows stand in the page.
func (r *Report) WriteHTML(w io.Writer) error { return r.WriteHTMLFor(w, HTMLOptions{}) }

// WriteHTMLFor is [Report.WriteHTML] with options.
func (r *Report) WriteHTMLFor(w io.Writer, o HTMLOptions) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if err := page().Execute(b, r.view(o)); err != nil {
		return fmt.Errorf("write report of run %q: %w", r.Run.ID, err)
	}
	return b.Flush()
}

// view is what the page shows; html/template escapes every text of it.
type view struct {
	*Report
	Style    template.CSS
	Script   template.JS
	Policy   string
	Title    string
	Verdict  string
	Tone     string // good, attention, stopped
	Share    string // "84"; empty without machines
	ShareOf  string
	Facts    []fact
	Tiles    []tile
	Hatches  []string
	FleetBar template.HTML
	Charts   []chart
	Groups   []reasonView
	Events   []eventView
	Rows     []row
	Site     bool // whether any machine has one
	Class    bool
	Large    bool
	Program  string
	Made     string
}

type fact struct{ Name, Value string }

type tile struct{ Status, Class, Mark, Title, Count string }

type chart struct {
	Title string
	Body  template.HTML
}

type reasonView struct {
	Class, Mark, Title, Text, Advice, Count string
	Names                                   []string
}

type eventView struct{ Time, Since, What, Text, Class string }

type row struct {
	Class, Name, Site, Kind, Wave, Route, Mark, Word, Reason, Took, Ended string
	Attempts, Changed                                                     int
	Millis                                                                int64
	Quiet                                                                 bool
}

func (r *Report) view(o HTMLOptions) *view {
	if o.Location == nil {
		o.Location = time.Local
	}
	v := &view{
		Report: r, Style: template.CSS(pageStyle), Script: template.JS(pageScript), //nolint:gosec // our own embedded files
		Policy: "default-src 'none'; base-uri 'none'; form-action 'none'; style-src '" + digest(pageStyle) + "'; script-src '" + digest(pageScript) + "'",
		Title:  "Run " + r.Run.ID, Large: len(r.Machines) > printAll, Program: o.Program, FleetBar: fleetBar(r),
		Made: zoned(r.AsOf, o.Location),
	}
	if r.Run.Playbook != "" {
		v.Title = r.Run.Playbook + ", run " + r.Run.ID
	}
	v.judge()
	v.Facts = r.facts(o.Location)
	for _, c := range r.Totals {
		f := faceOf(c.Status)
		v.Tiles = append(v.Tiles, tile{string(c.Status), f.class, f.mark, f.title, number(c.Machines)})
	}
	for _, c := range []chart{
		{"Outcomes by wave", waveChart(r)}, {"Burn-down over time", burndownChart(r)},
		{"Machines by reason", reasonChart(r)}, {"How long machines took", durationChart(r)},
	} {
		if c.Body != "" && len(r.Machines) > 0 {
			v.Charts = append(v.Charts, c)
		}
	}
	for _, g := range r.Reasons {
		f := faceOf(g.Status)
		v.Groups = append(v.Groups, reasonView{f.class, f.mark, f.title, g.Text, g.Advice, number(len(g.Machines)), nameList(g.Machines, 12)})
	}
	v.Events = r.eventViews(o.Location)
	v.Rows = r.rows()
	v.Site = slices.ContainsFunc(r.Machines, func(m Machine) bool { return m.Site != "" })
	v.Class = slices.ContainsFunc(r.Machines, func(m Machine) bool { return m.Class != "" })
	return v
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// judge finds the one word on top and the share of machines that need nothing more.
func (v *view) judge() {
	good := v.Total(Status(journal.Fixed), Status(journal.Clean), Status(journal.Undone)) - v.partly()
	all := len(v.Machines)
	v.ShareOf = "fixed or not affected"
	switch v.Run.Mode {
	case agent.Undo:
		v.ShareOf = "as they were before"
	case agent.Detect:
		v.ShareOf = "not affected"
	}
	if all > 0 {
		share := good * 100 / all // rounded down: 100 means all of them
		v.Share = fmt.Sprint(share)
	}
	v.Verdict, v.Tone = "Done", "good"
	if good < all {
		v.Verdict, v.Tone = "Needs attention", "attention"
	}
	if word, ok := map[journal.Status]string{
		journal.RunRunning: "In progress", journal.RunPaused: "Paused", journal.RunWaiting: "Waiting for approval",
		journal.RunGated: "Stopped by a gate", journal.RunCancelled: "Cancelled", journal.RunInterrupted: "Interrupted",
		journal.RunAuth: "Stopped: credentials rejected", journal.RunTimeout: "Stopped at its time limit",
	}[v.Run.Status]; ok {
		v.Verdict, v.Tone = word, "stopped"
		if v.Run.Status == journal.RunRunning {
			v.Tone = "attention"
		}
	}
}

func (r *Report) facts(loc *time.Location) []fact {
	mode := map[agent.Mode]string{
		agent.Fix: "fix", agent.Detect: "detect only, nothing was changed", agent.Undo: "undo", agent.Verify: "verify, nothing was changed",
	}[r.Run.Mode]
	if mode == "" {
		mode = string(r.Run.Mode)
	}
	changed, rebooted := 0, 0
	for _, m := range r.Machines {
		if m.Changed > 0 {
			changed++
		}
		if m.Rebooted {
			rebooted++
		}
	}
	stays := make([]string, len(r.Stays))
	for i, stay := range r.Stays {
		stays[i] = stay.Step + " (" + machines(stay.Machines) + ")"
	}
	ended := zoned(r.Run.Ended, loc)
	if r.Run.Ended.IsZero() {
		ended = "not yet; as of " + zoned(r.AsOf, loc)
	}
	facts := []fact{
		{"Playbook", r.Run.Playbook}, {"Mode", mode}, {"Run", r.Run.ID}, {"Operator", r.Run.Operator},
		{"Takes back run", r.Run.Undoes}, {"Repeats run", r.Run.RetryOf},
		{"Started", zoned(r.Run.Started, loc)}, {"Ended", ended}, {"Took", took(r.AsOf.Sub(r.Run.Started))},
		{"Cannot be undone", strings.Join(r.Permanent, "; ")}, {"Not taken back", strings.Join(stays, "; ")},
		{"Machines", fmt.Sprintf("%s, changed on %s, restarted %s", number(len(r.Machines)), number(changed), number(rebooted))},
	}
	return slices.DeleteFunc(facts, func(f fact) bool { return f.Value == "" })
}

// zoned writes a time where the reader is and, unless that is the same, in UTC.
func zoned(t time.Time, loc *time.Location) string {
	if t.IsZero() {
		return ""
	}
	here, utc := t.In(loc), t.UTC()
	if _, offset := here.Zone(); offset == 0 {
		return utc.Format("2 January 2006 15:04:05 UTC")
	}
	s := here.Format("2 January 2006 15:04:05 -07:00")
	if here.Format(time.DateOnly) != utc.Format(time.DateOnly) {
		return s + utc.Format(" (2 January 15:04:05 UTC)")
	}
	return s + utc.Format(" (15:04:05 UTC)")
}

func (r *Report) eventViews(loc *time.Location) []eventView {
	events := make([]eventView, 0, len(r.Timeline))
	for _, e := range r.Timeline {
		v := eventView{Time: e.Time.In(loc).Format("15:04:05"), What: strings.ReplaceAll(prose.Short(e.Kind, 0), "-", " "), Text: prose.Short(e.Text, 0)}
		if e.Time.In(loc).YearDay() != r.Run.Started.In(loc).YearDay() {
			v.Time = e.Time.In(loc).Format("2 Jan 15:04:05")
		}
		if since := took(e.Time.Sub(r.Run.Started)); since != "" {
			v.Since = "+" + since
		}
		if e.Wave > 0 {
			v.What += fmt.Sprintf(" (wave %d)", e.Wave)
		}
		if e.Kind == "gate" {
			v.Class = "gate"
		}
		events = append(events, v)
	}
	return events
}

func (r *Report) rows() []row {
	longest := 200
	if len(r.Machines) > shortReasons {
		longest = 90
	}
	layout := "15:04:05"
	if r.AsOf.UTC().Format(time.DateOnly) != r.Run.Started.UTC().Format(time.DateOnly) {
		layout = "01-02 15:04:05"
	}
	rows := make([]row, 0, len(r.Machines))
	for _, m := range r.Machines {
		f := faceOf(m.Status)
		out := row{
			Class: f.class, Name: prose.Short(m.Name, 0), Site: m.Site, Kind: m.Class, Route: m.Route, Mark: f.mark, Word: f.word,
			Reason: cut(strings.TrimPrefix(prose.Short(m.Reason, 0), prose.Short(m.Name, 0)+": "), longest), Attempts: m.Attempts, Changed: m.Changed, Took: took(m.Took),
			Millis: m.Took.Milliseconds(), Quiet: !needsAttention(m.Status),
		}
		if m.Wave > 0 {
			out.Wave = fmt.Sprint(m.Wave)
		}
		if !m.Ended.IsZero() {
			out.Ended = m.Ended.UTC().Format(layout)
		}
		rows = append(rows, out)
	}
	return rows
}
