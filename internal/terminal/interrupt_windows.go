package terminal

import "os"

// os.Interrupt covers Ctrl-C and Ctrl-Break.
var interruptSignals = []os.Signal{os.Interrupt}

// OnHangup does nothing: Windows ends the processes of a console that closes, and a reader that is gone is an error of the write.
func OnHangup(func()) func() { return func() {} }

// WithoutTerminal does nothing: such a process has no console.
func WithoutTerminal() {}
