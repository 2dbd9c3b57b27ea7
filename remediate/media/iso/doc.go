// Package iso writes bootable ISO images (ISO 9660 with Joliet names and El Torito entries for BIOS and UEFI) in one pass
// and reads images made by others: UDF, as Windows installation media are, Joliet and plain ISO 9660.
//
// [NewPlan] lays an image out, [Plan.WriteTo] streams it; [Open] presents an image as an [io/fs.FS] whose files are also
// [io.ReaderAt], so that a boot.wim can be read in place. The same entries and options give the same bytes.
//
// The package writes no UDF and no Rock Ridge, and therefore no file of 4 GiB or more.
//
// Formats: ECMA-119, the Joliet specification, the El Torito specification 1.0, ECMA-167 and OSTA UDF 1.02 to 2.01.
package iso

import (
	"encoding/binary"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/hint"
)

const (
	sector = 2048

	// MaxFile is the size of the largest file that is written.
	MaxFile = 1<<32 - 1
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

// FileTooLargeError tells that a file does not fit into an ISO 9660 extent.
type FileTooLargeError struct {
	Path string
	Size int64
}

func (e *FileTooLargeError) Error() string {
	return fmt.Sprintf("file %q has %d bytes: the image holds files up to 4 GiB less one byte (%d)", e.Path, e.Size, int64(MaxFile))
}

func tooLarge(path string, size int64) error {
	return hint.Wrap(&FileTooLargeError{path, size}, "Export only the image you need into a smaller WIM (dism /Export-Image, or wimlib-imagex export), "+
		"or use winre.wim or boot.wim rather than install.wim.")
}

// DamagedError tells that an image contradicts itself or is cut off.
type DamagedError struct{ Reason string }

func (e *DamagedError) Error() string { return "ISO image is damaged: " + e.Reason }

func damaged(format string, args ...any) error {
	return hint.Wrap(&DamagedError{fmt.Sprintf(format, args...)}, "The copy or download of this image is incomplete or damaged: fetch it again and compare its hash.")
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }
