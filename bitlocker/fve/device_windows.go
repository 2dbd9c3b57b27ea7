package fve

import (
	"encoding/binary"
	"os"
	"strings"

	"golang.org/x/sys/windows"
)

// devicePath gives "C:", "c:\" and `\\?\Volume{...}\` the form that opens the volume and not its root folder.
func devicePath(path string) string {
	p := strings.TrimRight(path, `\/`)
	switch {
	case len(p) == 2 && p[1] == ':':
		return `\\.\` + strings.ToUpper(p)
	case isDevice(p):
		return p
	}
	return path
}

func isDevice(path string) bool {
	return strings.HasPrefix(path, `\\.\`) || strings.HasPrefix(path, `\\?\`) && strings.HasSuffix(path, "}")
}

// deviceSize asks a device for its length (IOCTL_DISK_GET_LENGTH_INFO) and looks at the end of anything else.
func deviceSize(f *os.File) (int64, error) {
	if !isDevice(f.Name()) {
		return sizeBySeek(f)
	}
	const getLengthInfo = 0x7405c
	var length [8]byte
	var n uint32
	err := windows.DeviceIoControl(windows.Handle(f.Fd()), getLengthInfo, nil, 0, &length[0], uint32(len(length)), &n, nil)
	if err != nil || n != uint32(len(length)) {
		return unknownSize, nil // reads will tell where it ends
	}
	return int64(binary.LittleEndian.Uint64(length[:])), nil
}
