package runscmd

import (
	"fmt"
	"io"
	"time"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// progress shows a run while it goes on: one line redrawn on a terminal, plain lines elsewhere, JSON lines with --json. It follows
// the journal: a terminal that does not take what is printed holds nothing but the follower, and misses nothing.
type progress struct {
	fold     *runs.Progress
	face     face
	interval time.Duration
	events   chan runs.Event
	unasked  func(runs.Event) // says how a wave is approved, where nobody can be asked here; nil: he is asked
}

// face is one way of showing progress.
type face interface {
	event(runs.Event)
	tick(runs.Snapshot)
	end(runs.Snapshot)
}

func newProgress(c *command.Context, frozen *plan.Plan) *progress {
	p := &progress{fold: runs.NewProgress(frozen), events: make(chan runs.Event), interval: 10 * time.Second}
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
	if !c.JSONLines && !c.CanAsk() {
		p.unasked = func(e runs.Event) {
			if c.Quiet {
				c.Say("%s", runs.EventText(e))
			}
			c.Say("`fleetmend runs approve %[1]s --wave %[2]d` lets it begin, `fleetmend runs cancel %[1]s` ends the run", e.Run, e.Wave+1)
		}
	}
	return p
}

// take hands an event to the printer and waits until it takes it.
func (p *progress) take(e runs.Event) {
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
			if e.Kind == runs.Awaited && p.unasked != nil {
				p.unasked(e)
			}
		case <-ticker.C:
			p.face.tick(p.fold.Snapshot(time.Now()))
		}
	}
}

type silentFace struct{}

func (silentFace) event(runs.Event)   {}
func (silentFace) tick(runs.Snapshot) {}
func (silentFace) end(runs.Snapshot)  {}

// jsonFace writes one JSON object a line, versioned.
type jsonFace struct {
	silentFace
	w io.Writer
}

func (f *jsonFace) event(e runs.Event) {
	_ = terminal.WriteJSONLine(f.w, struct {
		V    int    `json:"v"`
		Type string `json:"type"`
		runs.Event
	}{1, "event", e})
}

// plainFace writes a line for each machine that is done and for what happens to the run, and a summary now and then.
type plainFace struct {
	silentFace
	w io.Writer
}

func (f *plainFace) event(e runs.Event) {
	if line := runs.EventText(e); line != "" {
		fmt.Fprintln(f.w, line)
	}
}
func (f *plainFace) tick(g runs.Snapshot) { fmt.Fprintln(f.w, runs.FiguresText(g)) }

// lineFace redraws one status line below the lines that stay.
type lineFace struct{ *terminal.Terminal }

func (f *lineFace) event(e runs.Event) {
	if line := runs.EventText(e); line != "" && !runs.Calm(e) {
		f.Say("%s", line)
	}
}

func (f *lineFace) tick(g runs.Snapshot) { f.Status(runs.FiguresText(g)) }
func (f *lineFace) end(runs.Snapshot)    { f.Status("") }
