package textfile

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// hold has nothing to do: Windows removes no file that is open.
func hold(*os.File) {}

func forsaken(string) bool { return true }

// heldOpen reports whether a file was not replaced because a process, a virus scanner for one, has it open.
func heldOpen(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
}
