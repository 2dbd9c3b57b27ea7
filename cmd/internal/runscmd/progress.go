package runscmd

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// progress shows a run while it goes on: one line redrawn on a terminal, plain lines elsewhere, JSON lines with --json. It follows
// the journal: a terminal that does not take what is printed holds nothing but the follower, and misses nothing.
type progress struct {
	fold     *run.Progress
	face     face
	interval time.Duration
	events   chan journal.Event
}

// face is one way of showing progress.
type face interface {
	event(journal.Event)
	tick(run.Snapshot)
	end(run.Snapshot)
}

func newProgress(c *command.Context, frozen *plan.Plan) *progress {
	p := &progress{fold: run.NewProgress(frozen), events: make(chan journal.Event), interval: 10 * time.Second}
	switch {
	case c.JSONLines:
		p.face = &jsonFace{w: c.Out}
	case c.Quiet:
		p.face = silentFace{}
	case c.ErrTTY:
		p.face, p.interval = &lineFace{c.Terminal}, 200*time.Millisecond
	default:
		p.face = &plainFace{w: c.Err}
	}
	return p
}

// take hands an event to the printer and waits until it takes it.
func (p *progress) take(e journal.Event) {
	p.fold.Observe(e)
	p.events <- e
}

// show prints until there are no more events.
func (p *progress) show() {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		select {
		case e, more := <-p.events:
			if !more {
				p.face.end(p.fold.Snapshot(time.Now()))
				return
			}
			p.face.event(e)
		case <-ticker.C:
			p.face.tick(p.fold.Snapshot(time.Now()))
		}
	}
}

type silentFace struct{}

func (silentFace) event(journal.Event) {}
func (silentFace) tick(run.Snapshot)   {}
func (silentFace) end(run.Snapshot)    {}

// jsonFace writes one JSON object a line, versioned.
type jsonFace struct{ w io.Writer }

func (f *jsonFace) event(e journal.Event) {
	_ = terminal.WriteJSONLine(f.w, struct {
		V    int    `json:"v"`
		Type string `json:"type"`
		journal.Event
	}{1, "event", e})
}
func (f *jsonFace) tick(run.Snapshot) {}
func (f *jsonFace) end(run.Snapshot)  {}

// plainFace writes a line for each machine that is done and for what happens to the run, and a summary now and then.
type plainFace struct{ w io.Writer }

func (f *plainFace) event(e journal.Event) {
	if line := eventLine(e); line != "" {
		fmt.Fprintln(f.w, line)
	}
}
func (f *plainFace) tick(g run.Snapshot) { fmt.Fprintln(f.w, figuresLine(g)) }
func (f *plainFace) end(run.Snapshot)    {}

// lineFace redraws one status line below the lines that stay.
type lineFace struct{ *terminal.Terminal }

func (f *lineFace) event(e journal.Event) {
	if e.Machine != "" && (e.Outcome == "" || e.Outcome == journal.Clean || e.Outcome == journal.Fixed || e.Outcome == journal.Held || e.Outcome == journal.Undone) {
		return
	}
	if line := eventLine(e); line != "" {
		f.Say("%s", line)
	}
}

func (f *lineFace) tick(g run.Snapshot) { f.Status(figuresLine(g)) }
func (f *lineFace) end(run.Snapshot)    { f.Status("") }

// eventLine is the plain line of an event; empty for those that are steps on the way.
func eventLine(e journal.Event) string {
	if e.Machine == "" {
		return prose.OneLine(e.Text)
	}
	if e.Outcome == "" || e.Outcome == journal.Held {
		return ""
	}
	line := prose.Pad(e.Machine, 15) + string(e.Outcome)
	if e.Text != "" {
		line += ": " + e.Text
	}
	return prose.OneLine(line)
}

// figuresLine is "wave 2/4  87/200  fixed 40  clean 45  failed 2  12.3/s  3 min left".
func figuresLine(g run.Snapshot) string {
	parts := []string{fmt.Sprintf("wave %d/%d", g.Wave, len(g.Waves)), fmt.Sprintf("%d/%d", g.Done, g.Machines)}
	for _, outcome := range runs.Outcomes {
		if n := g.Outcomes[outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", outcome, n))
		}
	}
	if n := g.States[journal.Running] + g.States[journal.Leased]; n > 0 {
		parts = append(parts, fmt.Sprintf("in flight %d", n))
	}
	if n := g.States[journal.Rebooting]; n > 0 {
		parts = append(parts, fmt.Sprintf("restarting %d", n))
	}
	if g.Rate > 0 {
		parts = append(parts, fmt.Sprintf("%.1f/s", g.Rate))
	}
	if g.ETA > 0 {
		parts = append(parts, prose.Span(g.ETA)+" left")
	}
	return strings.Join(parts, "  ")
}
