package terminal

import (
	"bufio"
	"fmt"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/prose"
)

// Terminal is the person's side of one process. It is safe for concurrent use: lines, the status line and a question never
// write over each other.
type Terminal struct {
	Streams
	NoInput bool // never ask
	NoColor bool

	mu     sync.Mutex // the screen
	status string     // what stands in the status line, "" for none
	drawn  bool
	held   bool     // a question stands: no status line
	after  []string // lines said meanwhile

	turn    chan struct{} // one question at a time
	reading bool          // a goroutine waits for a line; the holder of the turn knows
	buffer  *bufio.Reader
	lines   chan typed
}

// New makes a Terminal of streams.
func New(s Streams) *Terminal {
	return &Terminal{Streams: s, turn: make(chan struct{}, 1), lines: make(chan typed, 1)}
}

// CanAsk reports whether a person can be asked.
func (t *Terminal) CanAsk() bool { return !t.NoInput && t.InTTY && t.ErrTTY }

// Color reports whether Out shows colours.
func (t *Terminal) Color() bool { return t.OutTTY && !t.NoColor }

// Say prints a line of talk, above the status line where there is one. While a question stands it waits for the answer.
func (t *Terminal) Say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := prose.Clean(fmt.Sprintf(format, args...))
	if t.held {
		if len(t.after) < 10_000 {
			t.after = append(t.after, line)
		}
		return
	}
	t.clear()
	fmt.Fprintln(t.Err, line)
	t.draw()
}

// Status puts text into the status line, cut to the width of the terminal; "" takes the line away.
func (t *Terminal) Status(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	t.status = prose.OneLine(text)
	if runes := []rune(t.status); len(runes) >= t.Width {
		t.status = string(runes[:max(t.Width-1, 0)])
	}
	t.draw()
}

// hold keeps the status line and talk away from a question, and brings both back after it.
func (t *Terminal) hold(is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	t.held = is
	if !is {
		for _, line := range t.after {
			fmt.Fprintln(t.Err, line)
		}
		t.after = nil
		t.draw()
	}
}

func (t *Terminal) draw() {
	if t.status != "" && !t.held && t.ErrTTY {
		fmt.Fprint(t.Err, t.status)
		t.drawn = true
	}
}

func (t *Terminal) clear() {
	if t.drawn {
		fmt.Fprint(t.Err, "\r"+strings.Repeat(" ", max(t.Width-1, 0))+"\r")
		t.drawn = false
	}
}
