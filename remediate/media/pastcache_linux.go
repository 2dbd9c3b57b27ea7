package media

import (
	"os"

	"golang.org/x/sys/unix"
)

// pastCache turns the use of the page cache off or on for what is written to f.
func pastCache(f *os.File, past bool) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		var flags int
		if flags, failed = unix.FcntlInt(fd, unix.F_GETFL, 0); failed != nil {
			return
		}
		if flags &^= unix.O_DIRECT; past {
			flags |= unix.O_DIRECT
		}
		_, failed = unix.FcntlInt(fd, unix.F_SETFL, flags)
	})
	if err == nil {
		err = failed
	}
	return err
}
