package secret

import (
	"errors"

	"golang.org/x/sys/unix"
)

func noDumps() error {
	// A limit of 0 keeps core files away; a program that takes cores through a pipe is only told by the attribute. It also
	// keeps other processes of the same user from reading this one's memory.
	return errors.Join(unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
