package cases

import (
	"cmp"
	"context"
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// Row is one machine of a list.
type Row struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Site string `json:"site,omitempty"`
	inventory.Case
	By string `json:"by,omitempty"` // what fixed it: run, medium or hand
}

func row(i *journal.Incident, c *casefile.Case) Row {
	r := Row{ID: c.ID, Name: c.Name, Site: c.Site, Case: *shown(i, *c)}
	if c.Verdict == casefile.Fixed {
		r.By = fixedBy(c)
	}
	return r
}

// Rows are the machines of a selector in an incident, found as by [Take], by name.
func Rows(ctx context.Context, d *desk.Desk, incident string, selector inventory.Selector) ([]Row, error) {
	r, err := Tell(ctx, d, incident, selector)
	if err != nil {
		return nil, err
	}
	return r.Rows, nil
}

// Acts are the acts of marking of an incident, newest first.
func Acts(ctx context.Context, d *desk.Desk, incident string) ([]journal.Act, error) {
	i, err := One(ctx, d, incident)
	if err != nil {
		return nil, err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Acts(ctx, i.ID)
}

// Report is an incident for other people: its status with every machine of it, both as of one number of the feed.
type Report struct {
	Status
	Rows []Row `json:"cases"`
}

// Tell makes the report of an incident over the machines of a selector.
func Tell(ctx context.Context, d *desk.Desk, incident string, selector inventory.Selector) (*Report, error) {
	r := &Report{}
	s, err := take(ctx, d, incident, selector, func(i *journal.Incident, c *casefile.Case) { r.Rows = append(r.Rows, row(i, c)) })
	if err != nil {
		return nil, err
	}
	slices.SortFunc(r.Rows, func(a, b Row) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID)) })
	for n := range r.Rows {
		if r.Rows[n].Name == "" {
			r.Rows[n].Name = r.Rows[n].ID
		}
	}
	r.Status = *s
	return r, nil
}

//go:embed report.html
var pageText string

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("report").Funcs(template.FuncMap{
		"when":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"words": func() []casefile.Verdict { return casefile.Verdicts() },
		"share": func(n, of int) string { return fmt.Sprintf("%.1f%%", 100*float64(n)/float64(max(of, 1))) },
		"how":   func(by string) string { return hows[by] },
		"parts": commandline.Parts,
		"todo":  func(rows []Row) []Row { return slices.DeleteFunc(slices.Clone(rows), done) },
		"done": func(rows []Row) []Row {
			return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return !done(r) })
		},
		"listed": listed,
		"bar":    func(n int, hours []Hour) string { return fmt.Sprintf("%.0f", 100*float64(n)/float64(most(hours))) },
	}).Parse(pageText))
})

// hows are what fixed a machine, in the words of the page.
var hows = map[string]string{"run": "by a run", "medium": "from a boot medium", "hand": "by hand"}

func done(r Row) bool { return r.Next == string(casefile.Done) }

// listed is "22 by a run, 2 by hand", the most first.
func listed(counts map[string]int) string {
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	for i, word := range words {
		words[i] = fmt.Sprintf("%d %s", counts[word], cmp.Or(hows[word], word))
	}
	return strings.Join(words, ", ")
}

func most(hours []Hour) int {
	n := 1
	for _, h := range hours {
		n = max(n, h.Machines)
	}
	return n
}

// WriteHTML writes the report as a page that stands alone: no script, nothing loaded from elsewhere.
func (r *Report) WriteHTML(w io.Writer) error {
	if err := page().Execute(prose.PageWriter(w), r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
