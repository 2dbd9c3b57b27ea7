package usb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fleetmend/fleetmend/internal/hint"
)

type local struct{}

// Local is the system this program runs on.
func Local() System { return local{} }

func (local) Disks(ctx context.Context) ([]Disk, error) {
	text, err := run(ctx, "diskutil", "list", "-plist", "physical")
	if err != nil {
		return nil, err
	}
	list, err := wholeDisks(text)
	if err != nil {
		return nil, err
	}
	// Serial numbers are only known to the profiler; without it the disks are told apart by model and size.
	serials := map[string]string{}
	if text, err := run(ctx, "system_profiler", "SPUSBDataType", "-json"); err == nil {
		serials = usbSerials(text)
	}
	disks := []Disk{}
	for _, l := range list {
		d, err := describe(ctx, l)
		if err != nil {
			return nil, err
		}
		d.Serial = serials[l.name]
		disks = append(disks, d)
	}
	return disks, nil
}

// describe asks what a disk is. Its number is that of its raw form, which is what is opened.
func describe(ctx context.Context, w macWhole) (Disk, error) {
	info, err := run(ctx, "diskutil", "info", "-plist", w.name)
	if err != nil {
		return Disk{}, err
	}
	d, err := macDisk(info, w.volumes)
	d.Number = deviceNumber(raw(d.Path))
	return d, err
}

func raw(path string) string { return strings.Replace(path, "/dev/disk", "/dev/rdisk", 1) }

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%s", bytes.TrimSpace(failed.Stderr))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, nil
}

// Open unmounts the disk and opens its raw form, which knows no cache.
func (local) Open(ctx context.Context, d Disk, write bool) (Device, error) {
	flags := os.O_RDONLY | unix.O_NOFOLLOW
	if write {
		if _, err := run(ctx, "diskutil", "unmountDisk", d.Path); err != nil {
			return nil, hint.Wrap(err, "Close what has files open on the stick.")
		}
		flags = os.O_RDWR | unix.O_EXLOCK | unix.O_NONBLOCK | unix.O_NOFOLLOW
	}
	f, err := os.OpenFile(raw(d.Path), flags, 0)
	if errors.Is(err, os.ErrPermission) {
		err = hint.Wrap(err, "Disks are for root: run it with sudo.")
	}
	if err != nil {
		return nil, err
	}
	if err := proven(ctx, f, d); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &device{f, d.Path, write}, nil
}

// Of sys/disk.h: DKIOCGETBLOCKSIZE (uint32) and DKIOCGETBLOCKCOUNT (uint64).
const (
	getBlockSize  = 0x40046418
	getBlockCount = 0x40086419
)

// proven holds the open device against what was listed, and lists it again while it is held open.
func proven(ctx context.Context, f *os.File, d Disk) error {
	now, err := describe(ctx, macWhole{name: strings.TrimPrefix(d.Path, "/dev/")})
	if err != nil {
		return err
	}
	if text, err := run(ctx, "system_profiler", "SPUSBDataType", "-json"); err == nil {
		now.Serial = usbSerials(text)[strings.TrimPrefix(d.Path, "/dev/")]
	}
	if err := d.prove(now); err != nil {
		return err
	}
	if now.Number, err = openNumber(f); err != nil {
		return err
	}
	size, err := unix.IoctlGetInt(int(f.Fd()), getBlockSize)
	if err != nil {
		return fmt.Errorf("ask the open device for its sectors: %w", err)
	}
	count, err := unix.IoctlGetInt(int(f.Fd()), getBlockCount)
	if err != nil {
		return fmt.Errorf("ask the open device for its size: %w", err)
	}
	now.Size = int64(size) * int64(count)
	return d.prove(now)
}

type device struct {
	*os.File
	path  string
	write bool
}

// Sync does nothing to a raw disk that has no cache in the system; one that refuses the call has none.
func (d *device) Sync() error {
	if err := d.File.Sync(); err != nil && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// Close gives the disk back; macOS looks at it again by itself.
func (d *device) Close() error { return d.File.Close() }
