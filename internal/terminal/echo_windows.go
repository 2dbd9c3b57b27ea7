package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// hideEcho keeps the console from showing what is typed, until the function returned is called.
func hideEcho(f *os.File) (show func(), err error) {
	console := windows.Handle(f.Fd())
	var was uint32
	if err := windows.GetConsoleMode(console, &was); err != nil {
		return nil, err
	}
	hidden := was&^windows.ENABLE_ECHO_INPUT | windows.ENABLE_PROCESSED_INPUT | windows.ENABLE_LINE_INPUT
	if err := windows.SetConsoleMode(console, hidden); err != nil {
		return nil, err
	}
	return func() { _ = windows.SetConsoleMode(console, was) }, nil
}

func flushInput(f *os.File) { _ = windows.FlushConsoleInputBuffer(windows.Handle(f.Fd())) }
