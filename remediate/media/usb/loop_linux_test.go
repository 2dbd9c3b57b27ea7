package usb

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// removable shows loop devices, which Local leaves out, as sticks; opening them is the real thing.
type removable struct {
	linux
	disks []Disk
}

func (r removable) Disks(context.Context) ([]Disk, error) { return r.disks, nil }

// loop makes a block device of a file of the given size.
func loop(t *testing.T, size int64) (Disk, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stick")
	if err := os.WriteFile(file, bytes.Repeat([]byte{0xa5}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Skipf("no loop devices here: %s", bytes.TrimSpace(out))
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %s", dev, out)
		}
	})
	return Disk{Path: dev, Model: "Loop", Serial: file, Size: size, Sector: 512, Removable: true}, file
}

func TestLoopDevice(t *testing.T) {
	data := bootImage(t, 21<<20+1024)
	one, file := loop(t, 64<<20)
	two, _ := loop(t, 48<<20+512*3)
	system := removable{Local().(linux), []Disk{one, two}}
	results, err := Write(t.Context(), imageOf(data), system.disks, Options{System: system})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || !r.Relocated {
			t.Fatalf("%s: %v, relocated %v", r.Disk.Path, r.Err, r.Relocated)
		}
		if err := Verify(t.Context(), system.disks[i], imageOf(data), Options{System: system}); err != nil {
			t.Error(err)
		}
	}
	onDisk, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(onDisk[1<<20:20<<20], data[1<<20:20<<20]) {
		t.Error("the file behind the device differs")
	}
	if out, err := exec.Command("sgdisk", "-v", one.Path).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Log("sgdisk is not installed (Debian: gdisk); its opinion is missing")
	} else if err != nil || !bytes.Contains(out, []byte("No problems found")) {
		t.Errorf("sgdisk -v: %v\n%s", err, out)
	}
	found := probe(bytes.NewReader(onDisk), int64(len(onDisk)))
	if len(found) != 1 || found[0].Label != "FLEETMEND" {
		t.Errorf("probe: %+v", found)
	}
}

// TestLoopDeviceInUse holds the device with O_EXCL, as a mounted file system does.
func TestLoopDeviceInUse(t *testing.T) {
	d, file := loop(t, 32<<20)
	fd, err := unix.Open(d.Path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	system := removable{Local().(linux), []Disk{d}}
	data := imageOf(bootImage(t, 4<<20))
	results, err := Write(t.Context(), data, system.disks, Options{System: system})
	if err != nil || !errors.Is(results[0].Err, unix.EBUSY) || results[0].Touched {
		t.Errorf("in use: %v %+v", err, results)
	}
	after, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(before, after) {
		t.Error("something was written to a disk in use")
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	if results, err = Write(t.Context(), data, system.disks, Options{System: system}); err != nil || results[0].Err != nil {
		t.Errorf("afterwards: %v %+v", err, results)
	}
}

// TestLoopDeviceShrinks pulls the rug: the file behind the device gets shorter while it is written, as from a stick that
// fails behind some address, and the kernel answers with an I/O error.
func TestLoopDeviceShrinks(t *testing.T) {
	d, file := loop(t, 32<<20)
	system := removable{Local().(linux), []Disk{d}}
	data := bootImage(t, 20<<20)
	image := imageOf(data)
	results, err := Write(t.Context(), image, system.disks, Options{System: system, Progress: func(p Progress) {
		if p.Phase == Verifying && p.Done == 0 {
			if err := os.Truncate(file, 8<<20); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Err == nil || !errors.Is(r.Err, syscall.EIO) && !errors.As(r.Err, new(*CorruptError)) {
		t.Errorf("the missing half was not noticed: %v", r.Err)
	}
	b, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(b[:1<<20], make([]byte, 1<<20)) {
		t.Error("the beginning is not empty")
	}
}

func TestCancelledLoopDevice(t *testing.T) {
	d, file := loop(t, 32<<20)
	system := removable{Local().(linux), []Disk{d}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results, err := Write(ctx, imageOf(bootImage(t, 20<<20)), system.disks, Options{System: system, Progress: func(p Progress) {
		if p.Done > 0 {
			cancel()
		}
	}})
	if err != nil || !errors.Is(results[0].Err, context.Canceled) || !results[0].Cleared {
		t.Errorf("%v %+v", err, results)
	}
	b, err := os.ReadFile(file)
	if err != nil || pretends(b) || !bytes.Equal(b[:1<<20], make([]byte, 1<<20)) || !bytes.Equal(b[31<<20:], make([]byte, 1<<20)) {
		t.Error("the stick still pretends to be something")
	}
}
