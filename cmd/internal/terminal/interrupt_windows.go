package terminal

import "os"

// os.Interrupt covers Ctrl-C and Ctrl-Break.
var interruptSignals = []os.Signal{os.Interrupt}
