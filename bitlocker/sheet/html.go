package sheet

import (
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
)

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("sheet").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{.Title}}</title><style>
body{font:14px sans-serif;color:#000;background:#fff;max-width:180mm;margin:10mm auto}
section{border-top:1px solid #000;padding:4mm 0;break-inside:avoid}
h1{font-size:20px} h2{font-size:22px;margin:0 0 2mm} code{font:bold 18px monospace}
.head{display:flex;justify-content:space-between;gap:8mm} .qr{width:44mm;height:44mm;flex:none}
h1,h2,p,code{overflow-wrap:anywhere} .head>div{min-width:0}
.groups{display:grid;grid-template-columns:repeat(4,1fr);margin:4mm 0}
.groups span{font:bold 30px monospace;border:1px solid #000;text-align:center;padding:2mm}
.bars{width:170mm;height:20mm;margin:0 5mm} footer{font-size:11px;border-top:1px solid #000;padding-top:2mm}
</style></head><body><h1>{{.Title}}</h1>
{{range .Entries}}<section><div class="head"><div><h2>{{.Name}}</h2><p>{{.About}}</p><p>Key ID: compare with the recovery screen<br><code>{{.ID}}</code></p>
{{with .LAPS}}<p>Local administrator {{.User}}{{with .Until}} (changes {{.}}){{end}}<br><code>{{.Password}}</code></p>{{end}}</div>{{.QR}}</div>
<div class="groups">{{range .Groups}}<span>{{.}}</span>{{end}}</div>{{.Bars}}<p>{{$.Note}}</p></section>
{{end}}<footer>Confidential: opens the disks of these machines. Destroy after use. {{.Operator}} {{.Date}}</footer></body></html>
`))
})

type pageEntry struct {
	Name, About, ID string
	Groups          [8]string
	QR, Bars        template.HTML
	LAPS            *pageAccount
}

type pageAccount struct{ User, Until, Password string }

// HTML prints a page that stands alone: style and codes (SVG) are inside, and it may load nothing.
func HTML(w io.Writer, entries []Entry, o Options) error {
	if err := check(entries); err != nil {
		return err
	}
	data := struct {
		Title, Operator, Date, Note string
		Entries                     []pageEntry
	}{Title: o.title(), Operator: o.Operator, Note: o.note()}
	if !o.Date.IsZero() {
		data.Date = o.Date.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	for _, e := range entries {
		content := typed(e.Key.Password.Digits(), o.Enter)
		m, err := matrix(content)
		if err != nil {
			return fmt.Errorf("print sheet: %s: %w", e.name(), err)
		}
		b, err := bars(content)
		if err != nil {
			return fmt.Errorf("print sheet: %s: %w", e.name(), err)
		}
		pe := pageEntry{Name: e.name(), About: e.about(), ID: string(e.Key.ID), Groups: e.Key.Password.Groups(),
			QR: svg("qr", m, 1), Bars: svg("bars", [][]bool{b}, 30)}
		if e.LAPS != nil {
			pe.LAPS = &pageAccount{User: e.LAPS.User, Password: e.LAPS.Password.Reveal()}
			if !e.LAPS.Expires.IsZero() {
				pe.LAPS.Until = e.LAPS.Expires.UTC().Format("2006-01-02")
			}
		}
		data.Entries = append(data.Entries, pe)
	}
	if err := page().Execute(w, data); err != nil {
		return fmt.Errorf("print sheet: %w", err)
	}
	return nil
}

// svg draws modules with one path; height is that of a row in modules.
func svg(class string, m [][]bool, height int) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="%s" viewBox="0 0 %d %d" preserveAspectRatio="none" shape-rendering="crispEdges"><path d="`, class, len(m[0]), len(m)*height)
	for y, row := range m {
		runs(row, func(from, n int) { fmt.Fprintf(&b, "M%d %dh%dv%dh-%dz", from, y*height, n, height, n) })
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()) // #nosec G203 -- numbers only
}
