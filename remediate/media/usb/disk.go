// Package usb lists the removable disks of this machine and writes a boot image to several of them at once.
//
// [Disks] says what is plugged in and, for each disk, why it may not be written; [Write] writes, reads back and verifies.
// The first MiB comes last, after everything else was read back and found right: a stick that was pulled, cancelled or
// that lies has no partition table and does not pretend to be bootable.
//
// The package never writes to the system disk, an internal or a mounted disk, nor an image that no firmware could start,
// and asks nobody: confirming is the caller's part, and [Write] holds him to the disk that was confirmed. Device number,
// model, serial and size are compared once more on the open handle, because a name may lead to another disk than the one
// that was shown. On Linux that is tried with real devices; on Windows and macOS it is written after their documentation
// and untried.
package usb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Ceiling is the size in bytes above which a disk is taken for a backup disk rather than a boot stick.
const Ceiling = 256 << 30

// Disk is one whole disk as the operating system shows it.
type Disk struct {
	Path      string   `json:"path"`             // /dev/sdb, \\.\PhysicalDrive2, /dev/disk4
	Number    string   `json:"number,omitempty"` // what the system itself calls it: 8:16 (major:minor), or 2 on Windows
	Turn      string   `json:"turn,omitempty"`   // which disk since the start of the system it is (Linux: diskseq); another one after it was pulled out and put in
	Model     string   `json:"model"`
	Serial    string   `json:"serial,omitempty"`
	Bus       string   `json:"bus,omitempty"` // usb, sd, nvme, ...
	Size      int64    `json:"size"`          // bytes
	Sector    int64    `json:"sector"`        // logical sector in bytes
	Removable bool     `json:"removable"`     // a stick, a card, or a disk on USB
	Volumes   []Volume `json:"volumes"`
	// Refused are the reasons why this disk is never written, in plain words; the size ceiling is not among them.
	Refused []string `json:"refused,omitempty"`
}

// Volume is a partition or file system that is on a disk now.
type Volume struct {
	Name    string `json:"name,omitempty"` // sdb1, E:, disk4s1
	Kind    string `json:"kind,omitempty"` // FAT32, NTFS, BitLocker, ...; empty where it could not be read
	Label   string `json:"label,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Mounted string `json:"mounted,omitempty"` // where
}

// Holds says in one line what is on the disk.
func (d Disk) Holds() string {
	var parts []string
	for _, v := range d.Volumes {
		words := []string{}
		for _, w := range []string{v.Name, v.Kind} {
			if w != "" {
				words = append(words, w)
			}
		}
		if v.Label != "" {
			words = append(words, fmt.Sprintf("%q", v.Label))
		}
		if v.Mounted != "" && v.Mounted != v.Name {
			words = append(words, "on "+v.Mounted)
		}
		parts = append(parts, strings.Join(words, " "))
	}
	if len(parts) == 0 {
		return "nothing recognised"
	}
	return strings.Join(parts, ", ")
}

// RefusedError says why a disk is not written.
type RefusedError struct {
	Path    string
	Reasons []string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is not written: %s", e.Path, strings.Join(e.Reasons, "; "))
}

// Check returns a [RefusedError] if the disk must not be written; force lifts the size [Ceiling] and nothing else.
func (d Disk) Check(force bool) error {
	reasons := append([]string(nil), d.Refused...)
	if !d.Removable {
		reasons = append(reasons, "it is an internal disk")
	}
	if d.Size <= 0 {
		reasons = append(reasons, "there is no medium in it")
	}
	if d.Sector > 512 {
		reasons = append(reasons, fmt.Sprintf("its sectors have %d bytes, and the image is laid out for 512", d.Sector))
	}
	if len(reasons) > 0 {
		return &RefusedError{d.Path, reasons}
	}
	if d.Size > Ceiling && !force {
		return hint.Wrap(&RefusedError{d.Path, []string{fmt.Sprintf("with %s it is larger than a boot stick (%s)", Bytes(d.Size), Bytes(Ceiling))}},
			"If it really is the right disk, add --force.")
	}
	return nil
}

// same reports whether other is the disk that d was when it was confirmed.
func (d Disk) same(other Disk) bool { return d.differs(other) == "" }

// differs says what of other is not as it was when d was confirmed; empty if it is the same disk.
func (d Disk) differs(other Disk) string {
	for _, c := range []struct{ what, was, is string }{
		{"name", d.Path, other.Path}, {"device number", d.Number, other.Number}, {"model", d.Model, other.Model},
		{"serial number", d.Serial, other.Serial}, {"size", fmt.Sprint(d.Size), fmt.Sprint(other.Size)},
	} {
		if c.was != c.is {
			return fmt.Sprintf("its %s is %q, and that of the disk shown was %q", c.what, c.is, c.was)
		}
	}
	if d.Serial == "" && d.Turn != other.Turn { // two sticks of one make have nothing else to tell them apart
		return "it has no serial number, and a disk was put in since it was shown"
	}
	return ""
}

// prove returns [ErrGone] where the device that was opened for d turns out to be now.
func (d Disk) prove(now Disk) error {
	if text := d.differs(now); text != "" {
		return hint.Wrapf(fmt.Errorf("%w: %s", ErrGone, text), "Nothing was written. %s leads to another device than the one that was listed; list the disks again, and look who made that name if it stays so.", d.Path)
	}
	return nil
}

// Bytes prints a size as sellers of sticks do, in powers of ten.
func Bytes(n int64) string {
	switch {
	case n >= 1e12:
		return fmt.Sprintf("%.1f TB", float64(n)/1e12)
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Device is an open disk. Offsets and lengths are multiples of 512 bytes and buffers begin at a multiple of 4096 in memory;
// reads bypass the cache of the operating system where it lets them. A short count comes with an error. ReadAt and
// WriteAt are called by one goroutine at a time.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error // lets the operating system look at the disk again
}

// System is the part of the operating system that knows disks. An implementation is safe for concurrent use.
type System interface {
	Disks(context.Context) ([]Disk, error)
	// Open opens a disk for reading, or locked for writing: nobody else has it mounted while the device is open. What is
	// open is proven to be d by what the open handle says; if it is not, the error wraps [ErrGone] and nothing was touched.
	Open(ctx context.Context, d Disk, write bool) (Device, error)
}

// Disks lists all disks of this machine, also those that [Disk.Check] refuses.
func Disks(ctx context.Context) ([]Disk, error) { return Local().Disks(ctx) }

// ErrGone means that a disk is not there any more, or is another one than was confirmed.
var ErrGone = errors.New("the disk is not the one that was chosen")

var errProtected = hint.Wrap(errors.New("it is write-protected"), "Turn the stick's switch, or take another one.")
