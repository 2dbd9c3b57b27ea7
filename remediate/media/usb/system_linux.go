package usb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// linux reads /sys, /proc and the database of udev; no root is needed to list disks.
type linux struct{ sys, proc, dev, udev string }

// Local is the system this program runs on.
func Local() System { return linux{"/sys", "/proc", "/dev", "/run/udev/data"} }

// inUse is what must not be written: device numbers and names, with the reason.
type inUse map[string]string

func (l linux) Disks(ctx context.Context) ([]Disk, error) {
	dir := filepath.Join(l.sys, "block")
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}
	used, err := l.used()
	if err != nil {
		return nil, err
	}
	disks := []Disk{}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// Loop, RAM and mapped devices are no disks; what lies on a disk by way of them shows up as its holder.
		if name := e.Name(); !slices.ContainsFunc([]string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"},
			func(p string) bool { return strings.HasPrefix(name, p) }) {
			disks = append(disks, l.disk(name, filepath.Join(dir, name), used))
		}
	}
	return disks, nil
}

func (l linux) disk(name, dir string, used inUse) Disk {
	d := l.identity(name, dir)
	if number(dir, "ro") == 1 {
		d.Refused = append(d.Refused, "it is write-protected")
	}
	l.look(&d, name, dir, used, l.facts(d.Number))
	return d
}

// identity is what tells a disk from others.
func (l linux) identity(name, dir string) Disk {
	d := Disk{Path: filepath.Join(l.dev, name), Number: text(dir, "dev"), Turn: text(dir, "diskseq"), Model: strings.TrimSpace(text(dir, "device/vendor") + " " + text(dir, "device/model")),
		Serial: text(dir, "device/serial"), Size: number(dir, "size") * sector, Sector: number(dir, "queue/logical_block_size"), Volumes: []Volume{}}
	if d.Model == "" {
		d.Model = text(dir, "device/name") // cards
	}
	if s := l.facts(d.Number)["ID_SERIAL_SHORT"]; s != "" {
		d.Serial = s
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		real = dir
	}
	d.Bus = bus(name, real)
	d.Removable = d.Bus == "usb" || d.Bus == "sd" || number(dir, "removable") == 1
	if d.Serial == "" && d.Bus == "usb" {
		d.Serial = usbSerial(real)
	}
	return d
}

func bus(name, real string) string {
	switch {
	case strings.Contains(real, "/usb"):
		return "usb"
	case strings.HasPrefix(name, "nvme"):
		return "nvme"
	case strings.HasPrefix(name, "mmcblk"):
		if text(real, "device/type") == "SD" {
			return "sd"
		}
		return "mmc"
	case strings.HasPrefix(name, "vd"):
		return "virtio"
	case strings.Contains(real, "/ata"):
		return "sata"
	}
	return ""
}

// usbSerial climbs from the disk to the USB device, which carries the serial number.
func usbSerial(dir string) string {
	for range 12 {
		if s := text(dir, "serial"); s != "" && text(dir, "idVendor") != "" {
			return s
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

// look fills in what is on the disk and whether somebody uses it.
func (l linux) look(d *Disk, name, dir string, used inUse, facts map[string]string) {
	refuse := func(reason string) {
		if reason != "" && !slices.Contains(d.Refused, reason) {
			d.Refused = append(d.Refused, reason)
		}
	}
	refuse(l.why(name, dir, used, 0))
	parts, _ := filepath.Glob(filepath.Join(dir, name+"*", "partition"))
	for _, p := range parts {
		p = filepath.Dir(p)
		f := l.facts(text(p, "dev"))
		reason := l.why(filepath.Base(p), p, used, 0)
		refuse(reason)
		v := Volume{Name: filepath.Base(p), Kind: f["ID_FS_TYPE"], Label: f["ID_FS_LABEL"], Size: number(p, "size") * sector}
		if on, ok := strings.CutPrefix(reason, v.Name+" is mounted on "); ok {
			v.Mounted = on
		}
		d.Volumes = append(d.Volumes, v)
	}
	if len(parts) == 0 && facts["ID_FS_TYPE"] != "" {
		d.Volumes = append(d.Volumes, Volume{Kind: facts["ID_FS_TYPE"], Label: facts["ID_FS_LABEL"], Size: d.Size})
	}
	if len(facts) == 0 && d.Size > 0 && d.Removable {
		l.probe(d)
	}
}

// probe looks itself where udev has said nothing; without the right to read it stays silent.
func (l linux) probe(d *Disk) {
	f, err := os.Open(d.Path)
	if err != nil {
		return
	}
	defer f.Close()
	for i, v := range probe(f, d.Size) {
		if i < len(d.Volumes) {
			d.Volumes[i].Kind, d.Volumes[i].Label = v.Kind, v.Label
		} else {
			d.Volumes = append(d.Volumes, v)
		}
	}
}

// why says why a disk, a partition or what is built upon it is in use; empty if it is not.
func (l linux) why(name, dir string, used inUse, depth int) string {
	for _, key := range []string{text(dir, "dev"), name} {
		if reason := used[key]; reason != "" {
			return name + " is " + reason
		}
	}
	if depth > 8 {
		return ""
	}
	holders, _ := os.ReadDir(filepath.Join(dir, "holders"))
	for _, h := range holders {
		if reason := l.why(h.Name(), filepath.Join(l.sys, "block", h.Name()), used, depth+1); reason != "" {
			return fmt.Sprintf("%s belongs to %s, and %s", name, h.Name(), reason)
		}
	}
	if len(holders) > 0 {
		return fmt.Sprintf("%s belongs to %s (RAID, LVM or encryption)", name, holders[0].Name())
	}
	return ""
}

// used reads what is mounted and what is swapped to.
func (l linux) used() (inUse, error) {
	mounts, err := os.ReadFile(filepath.Join(l.proc, "self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	used := inUse{}
	for line := range strings.Lines(string(mounts)) {
		before, after, found := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !found || len(f) < 5 || len(g) < 2 {
			continue
		}
		reason := "mounted on " + unescape(f[4])
		if f[4] == "/" || strings.HasPrefix(f[4], "/boot") {
			reason = "part of this system (" + f[4] + ")"
		}
		keys := []string{f[2]}
		// Some file systems (btrfs) show a device number of their own; their source names the partition.
		if strings.HasPrefix(g[1], "/dev/") {
			keys = append(keys, l.base(g[1]))
		}
		for _, k := range keys {
			if !strings.HasPrefix(used[k], "part of") {
				used[k] = reason
			}
		}
	}
	swaps, err := os.ReadFile(filepath.Join(l.proc, "swaps"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read what is swapped to: %w", err)
	}
	for line := range strings.Lines(string(swaps)) {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "/dev/") {
			used[l.base(unescape(f[0]))] = "swap space"
		}
	}
	return used, nil
}

func (l linux) base(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	return filepath.Base(name)
}

// unescape undoes the octal escapes of /proc.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// facts is what udev found out about a device number.
func (l linux) facts(dev string) map[string]string {
	b, err := os.ReadFile(filepath.Join(l.udev, "b"+dev))
	if dev == "" || err != nil {
		return nil
	}
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if kv, ok := strings.CutPrefix(strings.TrimSpace(line), "E:"); ok {
			k, v, _ := strings.Cut(kv, "=")
			m[k] = v
		}
	}
	return m
}

func text(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(printable(b))
}

func number(dir, name string) int64 {
	n, _ := strconv.ParseInt(text(dir, name), 10, 64)
	return n
}

// Open takes the disk for itself: O_EXCL makes the kernel refuse a mounted one, whatever /proc said a moment ago.
func (l linux) Open(_ context.Context, d Disk, write bool) (Device, error) {
	flags := unix.O_RDONLY | unix.O_DIRECT | unix.O_CLOEXEC
	if write {
		flags = unix.O_RDWR | unix.O_DIRECT | unix.O_EXCL | unix.O_CLOEXEC
	}
	fd, err := unix.Open(d.Path, flags, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, hint.Wrapf(err, "Somebody uses it. Unmount what is on it (umount %s?*) and try again.", d.Path)
	case errors.Is(err, unix.EROFS):
		return nil, errProtected
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return nil, hint.Wrap(err, "Disks are for root: run it with sudo.")
	case err != nil:
		return nil, err
	}
	f := os.NewFile(uintptr(fd), d.Path)
	if err := l.proven(f, d, write); err != nil {
		f.Close()
		return nil, err
	}
	return &linuxDevice{f, write}, nil
}

// block is the folder of /sys about a device number.
func (l linux) block(number string) string { return filepath.Join(l.sys, "dev/block", number) }

// proven holds the open device against what was listed: the name may belong to another stick by now, or may never have
// belonged to it. The kernel gives the number of an open device to no other.
func (l linux) proven(f *os.File, d Disk, write bool) error {
	open, err := openNumber(f)
	if err != nil {
		return err
	}
	now := d
	if now.Number = open; open == d.Number {
		dir, err := filepath.EvalSymlinks(l.block(open))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		now = l.identity(filepath.Base(dir), dir)
	}
	if err := d.prove(now); err != nil {
		return err
	}
	if now.Size, err = f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if err := d.prove(now); err != nil || !write {
		return err
	}
	protected, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	if err == nil && protected != 0 {
		err = errProtected
	}
	return err
}

type linuxDevice struct {
	*os.File
	write bool
}

// Close lets the kernel read the new partition table. A failure of that hurts nobody: it is read at the next plugging in.
func (d *linuxDevice) Close() error {
	if d.write {
		if raw, err := d.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetInt(int(fd), unix.BLKRRPART, 0) })
		}
	}
	return d.File.Close()
}
