package fat

import (
	"errors"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// MaxFile is the size of the largest file that FAT can hold.
const MaxFile = 1<<32 - 1

// ErrNotFAT means the data does not begin like a FAT file system.
var ErrNotFAT = errors.New("not a FAT file system")

// FileTooLargeError tells that a file does not fit into any FAT file system.
type FileTooLargeError struct {
	Path string
	Size int64
}

func (e *FileTooLargeError) Error() string {
	return fmt.Sprintf("file %q has %d bytes: FAT32 holds files up to 4 GiB less one byte (%d)", e.Path, e.Size, int64(MaxFile))
}

func tooLarge(path string, size int64) error {
	return hint.Wrap(&FileTooLargeError{path, size}, "Firmware starts only from FAT, so the file must be smaller: export only the image you need "+
		"(dism /Export-Image, or wimlib-imagex export), or use winre.wim or boot.wim rather than install.wim.")
}

// NoSpaceError tells that the volume is too small for its entries.
type NoSpaceError struct {
	Have int64 // bytes of the volume that was asked for
	Need int64 // bytes of the smallest volume that holds the entries
}

// Missing returns how many bytes the volume lacks.
func (e *NoSpaceError) Missing() int64 { return e.Need - e.Have }

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("volume too small: it has %d MiB and needs %d MiB, %d MiB are missing", e.Have>>20, ceil(e.Need, 1<<20), ceil(e.Missing(), 1<<20))
}

func noSpace(have, need int64) error {
	return hint.Wrap(&NoSpaceError{have, need}, "Choose a larger stick or image size, or leave out drivers or playbooks that these machines do not need.")
}

// DamagedError tells that a file system contradicts itself or is cut off.
type DamagedError struct{ Reason string }

func (e *DamagedError) Error() string { return "FAT file system is damaged: " + e.Reason }

func damaged(format string, args ...any) error { return &DamagedError{fmt.Sprintf(format, args...)} }

func ceil(a, b int64) int64 { return (a + b - 1) / b }
