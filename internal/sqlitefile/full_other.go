//go:build !windows

package sqlitefile

import "syscall"

var diskFull = []error{syscall.ENOSPC, syscall.EDQUOT}

// writeProtected are the errors of a file system that is mounted to be read only.
var writeProtected = []error{syscall.EROFS}
