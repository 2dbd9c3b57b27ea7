package textfile

import (
	"errors"
	"os"
	"syscall"
)

// The error codes of Windows that say who has a file open; golang.org/x/sys/windows, which names them, is made of the
// package net, and what runs in Windows PE reads files through this package.
const (
	sharingViolation = syscall.Errno(32) // ERROR_SHARING_VIOLATION
	lockViolation    = syscall.Errno(33) // ERROR_LOCK_VIOLATION
)

// hold has nothing to do: Windows removes no file that is open.
func hold(*os.File) {}

func forsaken(string) bool { return true }

// heldOpen reports whether a file was not replaced because a process, a virus scanner for one, has it open.
func heldOpen(err error) bool {
	return errors.Is(err, sharingViolation) || errors.Is(err, lockViolation) || errors.Is(err, syscall.ERROR_ACCESS_DENIED)
}
