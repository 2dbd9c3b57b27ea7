//go:build unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes a flock, which belongs to the open file and goes when the process does.
func tryLock(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errHeld
		}
		return err
	}
}

// dropLock takes the file away and gives the lock back, in this order: who waits for the lock sees that the file is gone.
// A file that stays is no harm.
func dropLock(f *os.File) error {
	_ = os.Remove(f.Name()) //nolint:errcheck // as said
	return f.Close()
}

func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
