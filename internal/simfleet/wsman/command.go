package wsman

import (
	"context"
	"io"
	"sync"
	"time"
)

// exitInterrupted is STATUS_CONTROL_C_EXIT, what a console program ends with after Ctrl+C.
const exitInterrupted = 0xC000013A

// The sizes of a command's pipes. A writer waits when nobody reads, so that no output grows beyond bounds here.
const (
	outputPipe = 256 << 10
	inputPipe  = 1 << 20
	holdBack   = 16 << 10
)

type chunk struct {
	stream string
	data   []byte
}

// command is one running or finished command of a shell: two pipes and an exit code.
type command struct {
	id      string
	console bool
	ctx     context.Context
	cancel  context.CancelFunc

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced whenever anything below changes
	input       []byte
	inputEnded  bool
	pending     []chunk
	size        int
	interrupted bool
	aborted     bool
	done        bool
	exit        uint32
}

func newCommand(id string, console bool) *command {
	c := &command{id: id, console: console, changed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// change wakes everybody who waits; the lock is held.
func (c *command) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait gives up the lock until something changes or one of the channels fires. It reports whether to look again.
func (c *command) wait(done <-chan struct{}, timer <-chan time.Time) bool {
	changed := c.changed
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-changed:
		return true
	case <-done:
		return false
	case <-timer:
		return false
	}
}

// Read is the command's standard input.
func (c *command) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.input) == 0 {
		if c.inputEnded {
			return 0, io.EOF
		}
		if c.aborted || c.interrupted || !c.wait(c.ctx.Done(), nil) {
			return 0, context.Canceled
		}
	}
	n := copy(p, c.input)
	c.input = c.input[n:]
	if len(c.input) == 0 {
		c.input = nil
	}
	c.change()
	return n, nil
}

// feed takes what a client sends.
func (c *command) feed(ctx context.Context, data []byte, end bool) *Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.done && !c.aborted && len(c.input) > 0 && len(c.input)+len(data) > inputPipe {
		if !c.wait(ctx.Done(), nil) {
			return NewFault(CodeTimedOut)
		}
	}
	switch {
	case c.aborted:
		return NewFault(CodeAborted)
	case c.done:
		return NewFault(CodePipeClosing)
	case c.inputEnded:
		return NewFault(CodeInvalidInputStream)
	}
	if len(c.input) == 0 {
		c.input = data // nobody else has it
	} else {
		c.input = append(c.input, data...)
	}
	c.inputEnded = end
	c.change()
	return nil
}

// publish puts output where a Receive finds it.
func (c *command) publish(stream string, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.size > outputPipe {
		if c.aborted || !c.wait(c.ctx.Done(), nil) {
			return context.Canceled
		}
	}
	if c.aborted {
		return context.Canceled
	}
	c.pending = append(c.pending, chunk{stream, data})
	c.size += len(data)
	c.change()
	return nil
}

// take waits for output or the end, at most for timeout, and removes up to limit bytes.
func (c *command) take(ctx context.Context, timeout time.Duration, limit int) (out []chunk, done bool, exit uint32, fault *Fault) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.aborted && !c.done && c.size == 0 {
		if !c.wait(ctx.Done(), timer.C) {
			return nil, false, 0, NewFault(CodeTimedOut)
		}
	}
	if c.aborted {
		return nil, false, 0, NewFault(CodeAborted)
	}
	for limit > 0 && len(c.pending) > 0 {
		part := c.pending[0]
		if len(part.data) > limit {
			part.data, c.pending[0].data = part.data[:limit], part.data[limit:]
		} else {
			c.pending = c.pending[1:]
		}
		limit -= len(part.data)
		c.size -= len(part.data)
		if n := len(out); n > 0 && out[n-1].stream == part.stream {
			out[n-1].data = append(out[n-1].data[:len(out[n-1].data):len(out[n-1].data)], part.data...)
		} else {
			out = append(out, part)
		}
	}
	c.change()
	return out, c.done && len(c.pending) == 0, c.exit, nil
}

// finish records the exit code.
func (c *command) finish(exit uint32) {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done, c.exit = true, exit
	if c.interrupted {
		c.exit = exitInterrupted
	}
	c.input = nil
	c.change()
}

// abort ends the command for good: whoever waits for it gets the fault "aborted".
func (c *command) abort() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted, c.pending, c.input = true, nil, nil
	c.change()
}

// interrupt is Ctrl+C: the program ends, whether it reads a console or a pipe, because it has a console in any case.
func (c *command) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return
	}
	c.interrupted = true
	c.cancel()
	c.change()
}

// stream is a command's standard output or error. Small writes are held back, so that a short command's whole output
// and its end arrive in one Receive. It belongs to the command's goroutine.
type stream struct {
	command *command
	name    string
	held    []byte
}

func (s *stream) Write(p []byte) (int, error) {
	s.held = append(s.held, p...)
	if len(s.held) < holdBack {
		return len(p), nil
	}
	return len(p), s.Flush()
}

// Flush publishes what is held back.
func (s *stream) Flush() error {
	if len(s.held) == 0 {
		return nil
	}
	data := s.held
	s.held = nil
	return s.command.publish(s.name, data)
}
