//go:build !windows

package terminal

import (
	"os"
	"os/signal"
	"syscall"
)

var interruptSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// OnHangup makes the end of the terminal, and of whoever reads what is printed, call stop instead of ending the process in the
// middle of its work; it returns what ends that.
func OnHangup(stop func()) func() {
	hangups, pipes, done := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Notify(pipes, syscall.SIGPIPE) // nobody reads them: writing gives an error instead
	go func() {
		for {
			select {
			case <-hangups:
				stop()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		signal.Stop(pipes)
		close(done)
	}
}

// WithoutTerminal makes a process of its own deaf to the end of a terminal and of its readers.
func WithoutTerminal() { signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE) }
