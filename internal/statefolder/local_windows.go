package statefolder

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// kindOf asks for the type of the drive that a path is on (fileapi.h, GetDriveTypeW); a path of a server is one by itself.
func kindOf(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	from, err := windows.UTF16PtrFromString(abs)
	if err != nil {
		return "", err
	}
	var root [windows.MAX_PATH + 1]uint16
	if err := windows.GetVolumePathName(from, &root[0], uint32(len(root))); err != nil {
		return "", err
	}
	if windows.GetDriveType(&root[0]) != windows.DRIVE_REMOTE {
		return "", nil
	}
	return windows.UTF16ToString(root[:]), nil
}
