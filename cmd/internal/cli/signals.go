package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
)

type interruptKey struct{}

// interrupts lets one command decide what the first Ctrl-C means; the second one always cancels the context.
type interrupts struct {
	mu       sync.Mutex
	first    func() // called once, instead of cancelling
	seen     int
	announce func(string)
}

// interruptible returns a context that Ctrl-C cancels: at the first one, or at the second where a command has claimed the
// first with onFirstInterrupt.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	in := &interrupts{}
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
	if in.first == nil || in.seen > 1 {
		if in.announce != nil {
			in.announce("stopping at once: machines in flight go on by themselves, and what became of them is asked when the run is resumed")
		}
		return false
	}
	in.first()
	return true
}

// onFirstInterrupt makes the first Ctrl-C call stop, and returns what ends that.
func onFirstInterrupt(ctx context.Context, announce func(string), stop func()) func() {
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
