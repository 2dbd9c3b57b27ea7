package terminal

import (
	"context"
	"os"
	"os/signal"
	"sync"
)

type interruptKey struct{}

// interrupts lets one command decide what the first Ctrl-C means; the second one always cancels the context. A question that
// stands ends with any of them.
type interrupts struct {
	mu        sync.Mutex
	first     func() // called once, instead of cancelling
	seen      int
	announce  func()
	questions map[int]context.CancelFunc
	next      int
}

// Interruptible returns a context that Ctrl-C cancels: at the first one, or at the second where a command has claimed the
// first with [OnFirstInterrupt].
func Interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	in := &interrupts{questions: map[int]context.CancelFunc{}}
	ctx = context.WithValue(ctx, interruptKey{}, in)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, interruptSignals...)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-signals:
				if !in.take() {
					cancel()
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// take reports whether a command took the interrupt as its own first one.
func (in *interrupts) take() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.seen++
	for _, end := range in.questions {
		end()
	}
	if in.first == nil || in.seen > 1 {
		if in.announce != nil {
			in.announce()
		}
		return false
	}
	in.first()
	return true
}

// OnFirstInterrupt makes the first Ctrl-C call stop and the second one call announce before it cancels the context; it returns
// what ends that. Neither may wait for anything.
func OnFirstInterrupt(ctx context.Context, stop, announce func()) func() {
	in, ok := ctx.Value(interruptKey{}).(*interrupts)
	if !ok {
		return func() {}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.first, in.announce, in.seen = stop, announce, 0
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.first, in.announce = nil, nil
	}
}

// untilInterrupted returns a context for one question: the next Ctrl-C cancels it, whatever else it means.
func untilInterrupted(ctx context.Context) (context.Context, func()) {
	asking, end := context.WithCancel(ctx)
	in, ok := ctx.Value(interruptKey{}).(*interrupts)
	if !ok {
		return asking, end
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	id := in.next
	in.next++
	in.questions[id] = end
	return asking, func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		delete(in.questions, id)
		end()
	}
}
