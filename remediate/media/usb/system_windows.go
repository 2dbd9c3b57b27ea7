package usb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Control codes of winioctl.h and ntddstor.h.
const (
	fsctlLockVolume              = 0x00090018
	fsctlDismountVolume          = 0x00090020
	ioctlDiskGetDriveGeometryEx  = 0x000700a0
	ioctlDiskIsWritable          = 0x00070024
	ioctlDiskUpdateProperties    = 0x00070140
	ioctlStorageQueryProperty    = 0x002d1400
	ioctlStorageGetDeviceNumber  = 0x002d1080
	ioctlVolumeGetVolumeDiskExts = 0x00560000
)

const mostDisks = 64

type local struct{}

// Local is the system this program runs on.
func Local() System { return local{} }

func (local) Disks(ctx context.Context) ([]Disk, error) {
	volumes, err := listVolumes()
	if err != nil {
		return nil, err
	}
	known := slices.ContainsFunc(volumes, func(v volume) bool { return v.system && len(v.disks) > 0 })
	disks := []Disk{}
	for n := range mostDisks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if d, ok := describe(n); ok {
			for _, v := range volumes {
				if v.on(n) {
					d.Volumes = append(d.Volumes, v.Volume)
					if v.system {
						d.Refused = append(d.Refused, "Windows runs from it")
					}
					if len(v.disks) > 1 {
						d.Refused = append(d.Refused, v.Name+" spans several disks")
					}
				}
			}
			if !known {
				d.Refused = append(d.Refused, "it cannot be told which disk Windows runs from")
			}
			disks = append(disks, d)
		}
	}
	return disks, nil
}

func path(n int) string { return fmt.Sprintf(`\\.\PhysicalDrive%d`, n) }

// describe asks a disk what it is. Access 0 is enough for that and needs no administrator.
func describe(n int) (Disk, bool) {
	h, err := open(path(n), 0, 0)
	if err != nil {
		return Disk{}, false
	}
	defer func() { _ = windows.CloseHandle(h) }()
	d := identity(h, path(n))
	if d.Number != strconv.Itoa(n) {
		d.Refused = append(d.Refused, "its name leads to another device, or it does not tell its number")
	}
	if _, err := control(h, ioctlDiskIsWritable, nil, nil); errors.Is(err, windows.ERROR_WRITE_PROTECT) {
		d.Refused = append(d.Refused, "it is write-protected")
	}
	return d, true
}

// identity is what an open disk says of itself: its number is that of the device, whatever name it was opened by.
func identity(h windows.Handle, name string) Disk {
	d := Disk{Path: name, Volumes: []Volume{}}
	// STORAGE_DEVICE_NUMBER: type, number, partition.
	number := make([]byte, 12)
	if k, err := control(h, ioctlStorageGetDeviceNumber, nil, number); err == nil && k == len(number) {
		d.Number = strconv.FormatUint(uint64(le.Uint32(number[4:])), 10)
	}
	geometry := make([]byte, 256)
	if k, err := control(h, ioctlDiskGetDriveGeometryEx, nil, geometry); err == nil && k >= 32 {
		d.Sector, d.Size = int64(le.Uint32(geometry[20:])), int64(le.Uint64(geometry[24:]))
	}
	// STORAGE_PROPERTY_QUERY: StorageDeviceProperty, PropertyStandardQuery.
	b := make([]byte, 4096)
	k, err := control(h, ioctlStorageQueryProperty, make([]byte, 12), b)
	if err == nil && k >= 36 {
		storageDescriptor(&d, b[:k])
	}
	return d
}

// deviceNumber knows no other names of disks than those that are listed.
func deviceNumber(string) string { return "" }

type volume struct {
	Volume
	device string // \\?\Volume{...}
	disks  []uint32
	system bool
}

func (v volume) on(disk int) bool {
	for _, n := range v.disks {
		if n == uint32(disk) {
			return true
		}
	}
	return false
}

func listVolumes() ([]volume, error) {
	name := make([]uint16, windows.MAX_PATH+1)
	find, err := windows.FindFirstVolume(&name[0], uint32(len(name)))
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	defer func() { _ = windows.FindVolumeClose(find) }()
	home, err := windows.GetSystemWindowsDirectory()
	if err != nil {
		return nil, fmt.Errorf("find Windows: %w", err)
	}
	var volumes []volume
	for {
		if v, ok := describeVolume(windows.UTF16ToString(name), home); ok {
			volumes = append(volumes, v)
		}
		if err := windows.FindNextVolume(find, &name[0], uint32(len(name))); err != nil {
			if errors.Is(err, windows.ERROR_NO_MORE_FILES) {
				return volumes, nil
			}
			return nil, fmt.Errorf("list volumes: %w", err)
		}
	}
}

func describeVolume(name, home string) (volume, bool) {
	v := volume{device: strings.TrimSuffix(name, `\`)}
	h, err := open(v.device, 0, 0)
	if err != nil {
		return v, false
	}
	defer func() { _ = windows.CloseHandle(h) }()
	b := make([]byte, 4096)
	k, err := control(h, ioctlVolumeGetVolumeDiskExts, nil, b)
	if err != nil {
		return v, false // a CD, or a volume of the network
	}
	v.disks = extents(b[:k])
	root, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return v, false
	}
	paths, n := make([]uint16, 4096), uint32(0)
	if windows.GetVolumePathNamesForVolumeName(root, &paths[0], uint32(len(paths)), &n) == nil {
		v.Name = strings.TrimSuffix(windows.UTF16ToString(paths), `\`)
	}
	label, kind := make([]uint16, 64), make([]uint16, 64)
	if windows.GetVolumeInformation(root, &label[0], 64, nil, nil, nil, &kind[0], 64) == nil {
		v.Label, v.Kind = windows.UTF16ToString(label), windows.UTF16ToString(kind)
	}
	v.system = len(home) > 1 && strings.EqualFold(v.Name, home[:2])
	return v, true
}

// Open locks and dismounts the volumes on the disk and keeps their handles: Windows refuses writes inside a mounted volume,
// and mounts it again when the handle goes.
func (local) Open(ctx context.Context, d Disk, write bool) (Device, error) {
	dev := &device{handle: windows.InvalidHandle, write: write}
	access := uint32(windows.GENERIC_READ)
	if write {
		access |= windows.GENERIC_WRITE
		if err := dev.lock(ctx, d); err != nil {
			_ = dev.Close()
			return nil, err
		}
	}
	h, err := open(d.Path, access, windows.FILE_FLAG_NO_BUFFERING|windows.FILE_FLAG_WRITE_THROUGH)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		err = hint.Wrap(err, "Disks are for administrators: start the terminal with \"Run as administrator\".")
	}
	if err != nil {
		_ = dev.Close()
		return nil, err
	}
	dev.handle = h
	err = d.prove(identity(h, d.Path))
	if err == nil && write {
		if _, refused := control(h, ioctlDiskIsWritable, nil, nil); errors.Is(refused, windows.ERROR_WRITE_PROTECT) {
			err = errProtected
		}
	}
	if err != nil {
		_ = dev.Close()
		return nil, err
	}
	return dev, nil
}

// lock tries for ten seconds, as something or other (a virus scanner, the Explorer) looks into every new stick for a moment.
func (d *device) lock(ctx context.Context, disk Disk) error {
	volumes, err := listVolumes()
	if err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscanf(disk.Path, `\\.\PhysicalDrive%d`, &n); err != nil {
		return fmt.Errorf("%q is not the name of a disk", disk.Path)
	}
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for _, v := range volumes {
		if !v.on(n) {
			continue
		}
		h, err := open(v.device, windows.GENERIC_READ|windows.GENERIC_WRITE, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", v.Name, err)
		}
		d.volumes = append(d.volumes, h)
		for tries := 0; ; tries++ {
			if _, err = control(h, fsctlLockVolume, nil, nil); err == nil {
				break
			}
			if tries == 40 {
				return hint.Wrapf(fmt.Errorf("lock %s: %w", v.Name, err), "Close what has files open on %s, the Explorer too.", v.Name)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticker.C:
			}
		}
		if _, err := control(h, fsctlDismountVolume, nil, nil); err != nil {
			return fmt.Errorf("dismount %s: %w", v.Name, err)
		}
	}
	return nil
}

type device struct {
	handle  windows.Handle
	volumes []windows.Handle
	write   bool
}

func (d *device) ReadAt(p []byte, off int64) (int, error) {
	var n uint32
	err := windows.ReadFile(d.handle, p, &n, overlapped(off))
	if errors.Is(err, windows.ERROR_HANDLE_EOF) || err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return int(n), err
}

func (d *device) WriteAt(p []byte, off int64) (int, error) {
	var n uint32
	err := windows.WriteFile(d.handle, p, &n, overlapped(off))
	return int(n), err
}

func overlapped(off int64) *windows.Overlapped {
	return &windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
}

func (d *device) Sync() error { return windows.FlushFileBuffers(d.handle) }

// Close lets Windows read the new partition table and mount what it finds.
func (d *device) Close() error {
	var err error
	if d.handle != windows.InvalidHandle {
		if d.write {
			_, _ = control(d.handle, ioctlDiskUpdateProperties, nil, nil)
		}
		err = windows.CloseHandle(d.handle)
	}
	for _, h := range d.volumes {
		err = errors.Join(err, windows.CloseHandle(h))
	}
	return err
}

func open(name string, access, flags uint32) (windows.Handle, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return windows.InvalidHandle, err
	}
	return windows.CreateFile(p, access, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, flags, 0)
}

func control(h windows.Handle, code uint32, in, out []byte) (int, error) {
	var n uint32
	err := windows.DeviceIoControl(h, code, unsafe.SliceData(in), uint32(len(in)), unsafe.SliceData(out), uint32(len(out)), &n, nil)
	return int(n), err
}
