package terminal

import "time"

// Pace shows how far something is: in the status line of a terminal, redrawn, or as a line of talk now and then elsewhere. It is used by
// one goroutine at a time.
type Pace struct {
	t      *Terminal
	quiet  bool
	redraw bool
	said   time.Time
}

// NewPace makes a Pace of t. Quiet shows nothing; plain never redraws.
func NewPace(t *Terminal, quiet, plain bool) *Pace {
	return &Pace{t: t, quiet: quiet, redraw: t.ErrTTY && !plain}
}

// Show shows what text says, unless the last was shown a moment ago.
func (p *Pace) Show(text func() string) {
	now, wait := time.Now(), 10*time.Second
	if p.redraw {
		wait = 200 * time.Millisecond
	}
	if p.quiet || now.Sub(p.said) < wait {
		return
	}
	p.said = now
	if p.redraw {
		p.t.Status(text())
		return
	}
	p.t.Say("%s", text())
}

// End takes the status line away.
func (p *Pace) End() { p.t.Status("") }
