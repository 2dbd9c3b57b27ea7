package program

import (
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

// Only kernel32 is needed: it is there in every Windows PE.
var (
	kernel32               = syscall.NewLazyDLL("kernel32.dll")
	getLogicalDrives       = kernel32.NewProc("GetLogicalDrives")
	getSystemFirmwareTable = kernel32.NewProc("GetSystemFirmwareTable")
)

// Drives lists the drive letters but the one that Windows PE itself lies on.
func (m machine) Drives() []string {
	mask, _, _ := getLogicalDrives.Call()
	own := strings.ToUpper(filepath.VolumeName(m.systemRoot))
	var list []string
	for i := range 26 {
		letter := string(rune('A'+i)) + ":"
		if mask&(1<<i) != 0 && letter != own {
			list = append(list, letter+`\`)
		}
	}
	return list
}

// Firmware reads the SMBIOS table.
func (machine) Firmware() []byte {
	const rsmb = 0x52534d42
	n, _, _ := getSystemFirmwareTable.Call(rsmb, 0, 0, 0)
	if n == 0 || n > 1<<20 {
		return nil
	}
	b := make([]byte, n)
	n, _, _ = getSystemFirmwareTable.Call(rsmb, 0, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if n == 0 || n > uintptr(len(b)) {
		return nil
	}
	return b[:n]
}
