package runscmd

import (
	"fmt"
	"io"
	"time"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
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
	unasked  func(journal.Event) // says how a wave is approved, where nobody can be asked here; nil: he is asked
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
	if !c.JSONLines && !c.CanAsk() {
		p.unasked = func(e journal.Event) {
			if c.Quiet {
				c.Say("%s", runs.EventText(e))
			}
			c.Say("`fleetmend runs approve %[1]s --wave %[2]d` lets it begin, `fleetmend runs cancel %[1]s` ends the run", e.Run, e.Wave+1)
		}
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
			if e.Kind == journal.Approval && p.unasked != nil {
				p.unasked(e)
			}
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
type jsonFace struct {
	silentFace
	w io.Writer
}

func (f *jsonFace) event(e journal.Event) {
	_ = terminal.WriteJSONLine(f.w, struct {
		V    int    `json:"v"`
		Type string `json:"type"`
		journal.Event
	}{1, "event", e})
}

// plainFace writes a line for each machine that is done and for what happens to the run, and a summary now and then.
type plainFace struct {
	silentFace
	w io.Writer
}

func (f *plainFace) event(e journal.Event) {
	if line := runs.EventText(e); line != "" {
		fmt.Fprintln(f.w, line)
	}
}
func (f *plainFace) tick(g run.Snapshot) { fmt.Fprintln(f.w, runs.FiguresText(g)) }

// lineFace redraws one status line below the lines that stay.
type lineFace struct{ *terminal.Terminal }

func (f *lineFace) event(e journal.Event) {
	if line := runs.EventText(e); line != "" && !runs.Calm(e) {
		f.Say("%s", line)
	}
}

func (f *lineFace) tick(g run.Snapshot) { f.Status(runs.FiguresText(g)) }
func (f *lineFace) end(run.Snapshot)    { f.Status("") }
