package runs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
)

// way is how a process is let go of, what is said about it, and whether the next way is tried after an error.
type way struct {
	how    *syscall.SysProcAttr
	remark string
	again  func(error) bool
}

// detached gives the process no console, a group of its own and, where it is allowed, no part in the job of this one: a terminal
// or SSH server may end all processes of its job (processthreadsapi.h, CREATE_BREAKAWAY_FROM_JOB).
func detached() []way {
	const apart = windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP
	refused := func(err error) bool { return errors.Is(err, windows.ERROR_ACCESS_DENIED) }
	return []way{
		{how: &syscall.SysProcAttr{CreationFlags: apart | windows.CREATE_BREAKAWAY_FROM_JOB}, again: refused},
		{how: &syscall.SysProcAttr{CreationFlags: apart}, again: func(error) bool { return false },
			remark: "this session does not let the run leave its job: keep the session open until the run is over"},
	}
}

// makeLog makes a file for a runner that starts. It is renamed and taken away while processes have it open, which Windows allows
// where all of them share that (fileapi.h, FILE_SHARE_DELETE); package os does not.
func makeLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, strings.Replace(startingLog, "*", rand.Text(), 1))
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, share, nil, windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return os.NewFile(uintptr(h), path), nil
}
