//go:build unix

package runs

import (
	"os"
	"syscall"
)

// way is how a process is let go of, what is said about it, and whether the next way is tried after an error.
type way struct {
	how    *syscall.SysProcAttr
	remark string
	again  func(error) bool
}

// detached gives the process a session of its own: no terminal, and no signal of one (setsid(2)).
func detached() []way {
	remark := EndsAtLogoff()
	if remark != "" {
		remark += ": " + OutlivesLogoff
	}
	return []way{{how: &syscall.SysProcAttr{Setsid: true}, remark: remark, again: func(error) bool { return false }}}
}

// makeLog makes a file for a runner that starts.
func makeLog(dir string) (*os.File, error) { return os.CreateTemp(dir, startingLog) }
