package sqlitefile

import "golang.org/x/sys/windows"

var diskFull = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}

// writeProtected are the errors of a volume that can only be read.
var writeProtected = []error{windows.ERROR_WRITE_PROTECT}
