//go:build !windows

package sqlitefile

import "syscall"

var diskFull = []error{syscall.ENOSPC, syscall.EDQUOT}
