package usb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// removable shows loop devices, which Local leaves out, as sticks; opening them is the real thing.
type removable struct {
	linux
	disks []Disk
}

func (r removable) Disks(context.Context) ([]Disk, error) { return r.disks, nil }

// loop makes a block device of a file of the given size.
func loop(t *testing.T, size int64, more ...string) (Disk, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stick")
	if err := os.WriteFile(file, bytes.Repeat([]byte{0xa5}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", append(more, "--find", "--show", file)...).CombinedOutput()
	if err != nil {
		t.Skipf("no loop devices here: %s", bytes.TrimSpace(out))
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %s", dev, out)
		}
	})
	d := Local().(linux).identity(filepath.Base(dev), filepath.Join("/sys/block", filepath.Base(dev)))
	if d.Removable = true; d.Size != size/512*512 || d.Number == "" {
		t.Fatalf("of a file of %d bytes the kernel made %+v", size, d)
	}
	return d, file
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

// untouched fails the test where the file behind a disk is not as [loop] made it.
func untouched(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(b[:1<<20], bytes.Repeat([]byte{0xa5}, 1<<20)) || len(bytes.Trim(b[1<<20:], "\x00")) > 0 {
			t.Errorf("%s was written to (%v)", file, err)
		}
	}
}

// TestNodeOfAnotherDisk is the name that leads to another disk of the same size than /sys says: the other one must not be
// written, nor read in the name of the one that was shown.
func TestNodeOfAnotherDisk(t *testing.T) {
	shown, one := loop(t, 32<<20)
	other, two := loop(t, 32<<20)
	l := Local().(linux)
	l.dev = t.TempDir()
	var major, minor uint32
	if _, err := fmt.Sscanf(other.Number, "%d:%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	shown.Path = filepath.Join(l.dev, filepath.Base(shown.Path))
	if err := unix.Mknod(shown.Path, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Skipf("no device nodes can be made here: %v", err)
	}
	refused(t, removable{l, []Disk{shown}}, other.Number, one, two)

	// A link to the other disk, and a file, in place of the node.
	for _, make := range []func() error{
		func() error { return os.Symlink(other.Path, shown.Path) },
		func() error { return os.WriteFile(shown.Path, make([]byte, 32<<20), 0o600) },
	} {
		if err := errors.Join(os.Remove(shown.Path), make()); err != nil {
			t.Fatal(err)
		}
		refused(t, removable{l, []Disk{shown}}, "device number", one, two)
	}
}

// refused expects that the one disk of a system is neither written nor verified.
func refused(t *testing.T, system removable, want string, files ...string) {
	t.Helper()
	image := imageOf(bootImage(t, 4<<20))
	results, err := Write(t.Context(), image, system.disks, Options{System: system})
	if err != nil || !errors.Is(results[0].Err, ErrGone) || !strings.Contains(results[0].Err.Error(), want) || results[0].Touched {
		t.Errorf("write: %v, %+v", err, results)
	}
	if err := Verify(t.Context(), system.disks[0], image, Options{System: system}); !errors.Is(err, ErrGone) {
		t.Errorf("verify: %v", err)
	}
	untouched(t, files...)
}

// TestWrongDiskTrial is the same with the real /dev, in a mount namespace of its own: the node of another disk is bound over
// the one that was shown, between the listing and the writing.
func TestWrongDiskTrial(t *testing.T) {
	if shown := os.Getenv("USB_TEST_SHOWN"); shown != "" { // inside
		var disks []Disk
		if err := json.Unmarshal([]byte(shown), &disks); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount(disks[1].Path, disks[0].Path, "", unix.MS_BIND, "")); err != nil {
			t.Fatal(err)
		}
		refused(t, removable{Local().(linux), disks[:1]}, disks[1].Number)
		return
	}
	shown, one := loop(t, 32<<20)
	other, two := loop(t, 32<<20)
	both, err := json.Marshal([]Disk{shown, other})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWrongDiskTrial$", "-test.v")
	cmd.Env = append(os.Environ(), "USB_TEST_SHOWN="+string(both))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skip("no mount namespaces here")
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestWrongDiskTrial")) {
		t.Errorf("%v\n%s", err, out)
	}
	untouched(t, one, two)
	// Outside of it the name leads to what it says.
	system := removable{Local().(linux), []Disk{shown}}
	if results, err := Write(t.Context(), imageOf(bootImage(t, 4<<20)), system.disks, Options{System: system}); err != nil || results[0].Err != nil {
		t.Errorf("%v %+v", err, results)
	}
	untouched(t, two)
}

// TestOpenDeviceIsWhatWasListed: each fact that tells disks apart is compared when it is open.
func TestOpenDeviceIsWhatWasListed(t *testing.T) {
	d, file := loop(t, 32<<20)
	for want, change := range map[string]func(*Disk){
		"serial number": func(d *Disk) { d.Serial = "60A44C" },
		"model":         func(d *Disk) { d.Model = "DataTraveler" },
		"size":          func(d *Disk) { d.Size += 512 },
		"device number": func(d *Disk) { d.Number = "8:0" },
		"put in since":  func(d *Disk) { d.Turn += "0" }, // a loop device has no serial number
	} {
		listed := d
		change(&listed)
		refused(t, removable{Local().(linux), []Disk{listed}}, want, file)
	}
	// What /sys says is not what the device has: the size of the open device decides.
	l := Local().(linux)
	l.sys = t.TempDir()
	name := filepath.Base(d.Path)
	tree(t, l.sys, map[string]string{"block/" + name + "/dev": d.Number, "block/" + name + "/size": "70000", "dev/block/" + d.Number: "->../../block/" + name})
	listed := l.identity(name, filepath.Join(l.sys, "block", name))
	if listed.Removable = true; listed.Size != 70000*512 || listed.Number != d.Number {
		t.Fatalf("%+v", listed)
	}
	refused(t, removable{l, []Disk{listed}}, "size", file)
}

// TestProtectedDevice: a disk that protects itself is refused by what it is, and nobody is told that it was emptied.
func TestProtectedDevice(t *testing.T) {
	d, file := loop(t, 32<<20, "--read-only")
	system := removable{Local().(linux), []Disk{d}}
	results, err := Write(t.Context(), imageOf(bootImage(t, 4<<20)), system.disks, Options{System: system})
	if err != nil || !errors.Is(results[0].Err, errProtected) || results[0].Touched || !strings.Contains(fmt.Sprint(hint.Of(results[0].Err)), "switch") {
		t.Errorf("%v %+v", err, results)
	}
	untouched(t, file)
	if now := Local().(linux).disk(filepath.Base(d.Path), filepath.Join("/sys/block", filepath.Base(d.Path)), inUse{}); !strings.Contains(fmt.Sprint(now.Refused), "write-protected") {
		t.Errorf("listed as %+v", now)
	}
}

// TestFindsByLink: a name such as those in /dev/disk/by-id is another name of the disk.
func TestFindsByLink(t *testing.T) {
	d, _ := loop(t, 32<<20)
	link := filepath.Join(t.TempDir(), "usb-DataTraveler-0:0")
	if err := os.Symlink(d.Path, link); err != nil {
		t.Fatal(err)
	}
	d.Volumes = []Volume{{Name: "null"}}
	for _, name := range []string{d.Path, link} {
		if got, err := Find([]Disk{{Path: "/dev/other", Number: "1:2"}, d}, name); err != nil || got.Path != d.Path {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := Find([]Disk{d}, "/dev/null"); err == nil || !strings.Contains(err.Error(), "a volume on "+d.Path) {
		t.Errorf("a volume: %v", err)
	}
}
