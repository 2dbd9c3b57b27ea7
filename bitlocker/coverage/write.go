package coverage

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/fleetmend/fleetmend/internal/table"
)

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02")
}

// percent says nothing of no machine: all of none would look like a fleet that is well.
func percent(s Sum) string {
	if s.Total == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*s.Covered())
}

func groupName(s string) string {
	if s == "" {
		return "(no group)"
	}
	return s
}

// leftOut is "12 gone, 3 disabled", empty where nothing was left out.
func (r Report) leftOut() string {
	words := make([]string, 0, len(r.LeftOut))
	for _, why := range slices.Sorted(maps.Keys(r.LeftOut)) {
		words = append(words, fmt.Sprintf("%d %s", r.LeftOut[why], why))
	}
	return strings.Join(words, ", ")
}

// Text writes the sums and the machines that need attention, for a terminal.
func (r Report) Text(w io.Writer) error {
	var t strings.Builder
	head := []string{"GROUP", "MACHINES", "COVERED"}
	for _, v := range Verdicts() {
		head = append(head, strings.ToUpper(string(v)))
	}
	t.WriteString(strings.Join(head, "\t") + "\n")
	for _, s := range append(append([]Sum{}, r.Groups...), r.Total) {
		cells := []string{groupName(s.Group), strconv.Itoa(s.Total), percent(s)}
		for _, v := range Verdicts() {
			cells = append(cells, strconv.Itoa(s.Counts[v]))
		}
		t.WriteString(strings.Join(cells, "\t") + "\n")
	}
	t.WriteString("\n")
	t.WriteString("MACHINE\tGROUP\tVERDICT\tKEYS\tNEWEST\tESCROWED\tWHY\n")
	for _, l := range r.Lines {
		if l.Verdict != OK && l.Verdict != Several && l.Verdict != Exempt {
			fmt.Fprintf(&t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Machine.Name, groupName(l.Machine.Group), l.Verdict, l.Keys, l.Newest.Short(), day(l.Created), l.Why)
		}
	}
	if out := r.leftOut(); out != "" {
		fmt.Fprintf(&t, "\nNot counted: %s.\n", out)
	}
	if len(r.Orphans) > 0 {
		fmt.Fprintf(&t, "\nKeys of none of these machines: %d. They are found by `fleetmend keys find` all the same.\n", len(r.Orphans))
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := io.WriteString(columns, t.String())
	if err = errors.Join(err, columns.Flush()); err != nil {
		return fmt.Errorf("write coverage: %w", err)
	}
	return nil
}

// CSV writes one row per machine, all of them. Cells that a spreadsheet would take for a formula get an apostrophe in front.
func (r Report) CSV(w io.Writer) error {
	out := table.NewWriter(w)
	out.Write("machine", "fqdn", "serial", "group", "verdict", "keys", "usable", "newest_key_id", "escrowed", "reimaged", "sources", "why")
	for _, l := range r.Lines {
		out.Write(l.Machine.Name, l.Machine.FQDN, l.Machine.Serial, l.Machine.Group, string(l.Verdict), strconv.Itoa(l.Keys), strconv.Itoa(l.Usable),
			string(l.Newest), day(l.Created), day(l.Machine.Reimaged), strings.Join(l.Sources, " "), l.Why)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write coverage: %w", err)
	}
	return nil
}

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("coverage").Funcs(template.FuncMap{"day": day, "percent": percent, "group": groupName, "verdicts": Verdicts, "leftOut": Report.leftOut}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>BitLocker key coverage</title><style>
body{font:14px sans-serif;margin:2em;color:#222;background:#fff} table{border-collapse:collapse;margin:1em 0}
td,th{padding:.3em .7em;border-bottom:1px solid #ccc;text-align:left} td.n{text-align:right} td:first-child{white-space:nowrap} .zero{color:#999}
.none,.invalid{background:#f6d0d0} .unreadable,.stale{background:#f8e6c0} tfoot{font-weight:bold}
</style></head><body><h1>BitLocker key coverage</h1>
<p>{{.At.UTC.Format "2006-01-02 15:04"}} UTC. {{.Total.Total}} machines{{if .Total.Total}}, {{percent .Total}} of those that need a key have a usable one{{end}}.{{with leftOut .}} Not counted: {{.}}.{{end}}</p>
<table><thead><tr><th>Group</th><th>Machines</th><th>Covered</th>{{range verdicts}}<th>{{.}}</th>{{end}}</tr></thead>
<tbody>{{range .Groups}}{{$s := .}}<tr><td>{{group .Group}}</td><td class="n">{{.Total}}</td><td class="n">{{percent .}}</td>{{range verdicts}}{{$n := index $s.Counts .}}<td class="n {{if $n}}{{.}}{{else}}zero{{end}}">{{$n}}</td>{{end}}</tr>
{{end}}</tbody><tfoot>{{with .Total}}{{$s := .}}<tr><td>all</td><td class="n">{{.Total}}</td><td class="n">{{percent .}}</td>{{range verdicts}}{{$n := index $s.Counts .}}<td class="n {{if $n}}{{.}}{{else}}zero{{end}}">{{$n}}</td>{{end}}</tr>{{end}}</tfoot></table>
<dl>{{range verdicts}}{{if .Advice}}<dt><b>{{.}}</b></dt><dd>{{.Advice}}</dd>{{end}}{{end}}</dl>
<table><thead><tr><th>Machine</th><th>Group</th><th>Verdict</th><th>Keys</th><th>Newest key ID</th><th>Escrowed</th><th>Sources</th><th>Why</th></tr></thead>
<tbody>{{range .Lines}}<tr class="{{.Verdict}}"><td>{{.Machine.Name}}</td><td>{{group .Machine.Group}}</td><td>{{.Verdict}}</td><td class="n">{{.Keys}}</td><td>{{.Newest}}</td><td>{{day .Created}}</td><td>{{range .Sources}}{{.}} {{end}}</td><td>{{.Why}}</td></tr>
{{end}}</tbody></table>
{{with .Orphans}}<h2>Keys of none of these machines</h2><table><tbody>{{range .}}<tr><td>{{.ID}}</td><td>{{.Machine.Label}}</td><td>{{day .Created}}</td><td>{{.Source}}</td></tr>
{{end}}</tbody></table>{{end}}</body></html>
`))
})

// HTML writes a page that stands alone and loads nothing.
func (r Report) HTML(w io.Writer) error {
	if err := page().Execute(w, r); err != nil {
		return fmt.Errorf("write coverage: %w", err)
	}
	return nil
}
