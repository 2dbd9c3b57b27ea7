package report_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/report"
	"github.com/fleetmend/fleetmend/remediate/route"
)

func render(t *testing.T, r *report.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func each(n *html.Node, f func(*html.Node)) {
	f(n)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		each(c, f)
	}
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func parse(t *testing.T, page []byte) *html.Node {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Everything that could make a browser fetch something, or run or style something the policy does not name.
func TestPageLoadsNothing(t *testing.T) {
	doc := parse(t, render(t, fleet(200)))
	var policy string
	content := map[string]string{}
	each(doc, func(n *html.Node) {
		if n.Type != html.ElementNode {
			return
		}
		switch n.Data {
		case "link", "img", "iframe", "object", "embed", "video", "audio", "base", "form", "image", "use", "foreignobject":
			t.Errorf("element <%s>", n.Data)
		case "style", "script":
			content[n.Data] += n.FirstChild.Data
		case "meta":
			if attribute(n, "http-equiv") == "Content-Security-Policy" {
				policy = attribute(n, "content")
			}
		}
		for _, a := range n.Attr {
			local := strings.HasPrefix(a.Val, "#")
			switch {
			case a.Key == "src" || a.Key == "srcset" || a.Key == "style" || strings.HasPrefix(a.Key, "on"),
				strings.HasSuffix(a.Key, "href") && !local,
				strings.Contains(a.Val, "url(") && !strings.HasPrefix(a.Val, "url(#"):
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	})
	if m := regexp.MustCompile(`(?i)@import|url\(|https?:|//[a-z]|fetch\(|XMLHttpRequest|WebSocket|import\(`).FindString(content["style"] + content["script"]); m != "" {
		t.Errorf("style or script has %q", m)
	}
	if !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("policy %q", policy)
	}
	for name, text := range content {
		sum := sha256.Sum256([]byte(text))
		if want := name + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("the policy does not allow the page's own %s", name)
		}
	}
}

func TestPageEscapesWhatMachinesSay(t *testing.T) {
	const evil = `<script>alert(1)</script><img src=x onerror=alert(2)>"'>${{.}}</title></svg></style>&amp;]]>`
	m := one(evil, journal.Failed, evil)
	m.Target.Site, m.Target.Class, m.Target.Address, m.Route = evil, evil, evil, evil
	m.Result = &agent.Result{Steps: []agent.StepDone{{Action: evil, Target: evil, Note: evil}}}
	unknown := one("x", journal.Outcome(evil), evil)
	run := journal.Run{ID: evil, Operator: evil, Playbook: evil, Mode: agent.Mode(evil), Status: journal.Status(evil), Reason: evil, Undoes: evil, Started: began, Ended: began.Add(time.Minute)}
	r := report.Build(run, []journal.Machine{m, unknown}, []journal.Event{{Seq: 1, Time: began, Kind: "gate", Text: evil}}, nil)
	doc := parse(t, render(t, r))
	count := map[string]int{}
	each(doc, func(n *html.Node) {
		if n.Type != html.ElementNode {
			return
		}
		count[n.Data]++
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") {
				t.Errorf("<%s %s>", n.Data, a.Key)
			}
		}
	})
	if count["script"] != 1 || count["img"] != 0 || count["style"] != 1 {
		t.Errorf("a text became an element: %v", count)
	}
}

func TestPageIsAccessible(t *testing.T) {
	doc := parse(t, render(t, fleet(200)))
	ids, charts := map[string]bool{}, 0
	each(doc, func(n *html.Node) {
		if id := attribute(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("id %q twice", id)
			}
			ids[id] = true
		}
	})
	each(doc, func(n *html.Node) {
		if n.Type != html.ElementNode {
			return
		}
		switch n.Data {
		case "svg":
			if attribute(n, "aria-hidden") == "true" {
				return
			}
			charts++
			for id := range strings.FieldsSeq(attribute(n, "aria-labelledby")) {
				if !ids[id] {
					t.Errorf("chart refers to missing %q", id)
				}
			}
			if n.FirstChild == nil || n.FirstChild.Data != "title" || n.FirstChild.NextSibling.Data != "desc" {
				t.Error("chart without title and desc")
			}
		case "th":
			if attribute(n, "scope") == "" {
				t.Error("table header without scope")
			}
		case "html":
			if attribute(n, "lang") != "en" {
				t.Error("no language")
			}
		}
		if fill := attribute(n, "fill"); strings.HasPrefix(fill, "url(#") && !ids[strings.TrimSuffix(strings.TrimPrefix(fill, "url(#"), ")")] {
			t.Errorf("hatching %s is not defined", fill)
		}
	})
	if charts != 5 {
		t.Errorf("%d charts, want the bar of the fleet and four more", charts)
	}
}

func TestPageStaysUsableWithTenThousandMachines(t *testing.T) {
	run := journal.Run{ID: "r", Started: began, Ended: began.Add(time.Hour), Mode: agent.Fix, Status: journal.RunDone}
	long := strings.Repeat("the volume is write protected; ", 12)
	var list []journal.Machine
	for i := range 10000 { // the worst case: each has a long reason of its own
		m := one(fmt.Sprintf("WORKSTATION-%d", i), journal.Failed, fmt.Sprintf("%s %d", long, i))
		m.Target.Site, m.Target.Class, m.Class = "LONDON-NORTH", "workstation", route.Denied
		list = append(list, m)
	}
	for name, r := range map[string]*report.Report{"realistic": fleet(10000), "worst": report.Build(run, list, nil, nil)} {
		page := render(t, r)
		if len(page) > 5<<20 {
			t.Errorf("%s: %d bytes", name, len(page))
		}
		rows := 0
		each(parse(t, page), func(n *html.Node) {
			if n.Data == "tr" && attribute(n, "data-s") != "" {
				rows++
			}
		})
		if rows != 10000 {
			t.Errorf("%s: %d rows in the page; without JavaScript all must be there", name, rows)
		}
	}
}

// In a real browser the policy must let the script through, and the script must page the list.
func TestPageInBrowser(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") != "1" {
		t.Skip("FLEETMEND_LONG=1 runs this in chromium")
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "report.html")
	if err := os.WriteFile(file, render(t, fleet(2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	flags := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir=" + filepath.Join(dir, "profile"), "--enable-logging=stderr", "--dump-dom", "file://" + file,
	}
	cmd := exec.CommandContext(ctx, browser, flags...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if strings.Contains(stderr.String(), "CONSOLE") {
		t.Errorf("the browser complains: %s", stderr.String())
	}
	rows, hidden, label := 0, false, ""
	each(parse(t, dom), func(n *html.Node) {
		switch {
		case n.Data == "tr" && attribute(n, "data-s") != "":
			rows++
		case n.Data == "output" && n.FirstChild != nil:
			label = n.FirstChild.Data
		case attribute(n, "class") == "tools":
			for _, a := range n.Attr {
				hidden = hidden || a.Key == "hidden"
			}
		}
	})
	if rows != 100 || hidden || label != "1 to 100 of 2,000" {
		t.Errorf("the script did not run: %d rows, tools hidden %v, label %q", rows, hidden, label)
	}
}
