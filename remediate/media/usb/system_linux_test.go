package usb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files below a folder; a value that begins with "->" makes a link.
func tree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(target, name)
		} else {
			err = os.WriteFile(name, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func disk(name, dev, size, removable string, more ...string) map[string]string {
	m := map[string]string{"dev": dev, "size": size, "removable": removable, "ro": "0", "queue/logical_block_size": "512"}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	out := map[string]string{"sys/block/" + name: "->../devices/" + name}
	if name == "sdf" || name == "sdg" || name == "sdh" || name == "sdb" || name == "sdc" || name == "sde" {
		out["sys/block/"+name] = "->../devices/pci/usb1/1-2/host/" + name
	}
	base := "sys/" + strings.TrimPrefix(out["sys/block/"+name], "->../") + "/"
	for k, v := range m {
		out[base+k] = v
	}
	return out
}

func TestLinuxDisks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, files := range []map[string]string{
		disk("sda", "8:0", "1000000", "0", "device/model", "Internal SSD", "sda1/partition", "1", "sda1/dev", "8:1"),
		disk("sdb", "8:16", "62500000", "1", "device/vendor", "Kingston", "device/model", "DataTraveler", "sdb1/partition", "1", "sdb1/dev", "8:17", "sdb1/size", "62498816"),
		disk("sdc", "8:32", "62500000", "1", "device/model", "Mounted", "sdc1/partition", "1", "sdc1/dev", "8:33"),
		disk("sdd", "8:48", "62500000", "1", "device/model", "Holder", "sdd1/partition", "1", "sdd1/dev", "8:49", "sdd1/holders/dm-0/x", ""),
		disk("sde", "8:64", "62500000", "0", "device/model", "Swap", "ro", "1", "sde1/partition", "1", "sde1/dev", "8:65"),
		disk("sdf", "8:80", "62500000", "1", "device/model", "Protected", "ro", "1"),
		disk("sdg", "8:96", "62500000", "1", "device/model", "RAID", "holders/md0/x", ""),
		disk("sdh", "8:112", "62500000", "1", "device/model", "LVM or LUKS", "sdh1/partition", "1", "sdh1/dev", "8:113", "sdh1/holders/dm-1/x", ""),
		disk("mmcblk0", "179:0", "62500000", "0", "device/type", "MMC", "device/name", "eMMC"),
		disk("mmcblk1", "179:8", "62500000", "0", "device/type", "SD", "device/name", "SU32G", "device/serial", "0x1234"),
		disk("loop0", "7:0", "62500000", "1"),
		disk("dm-0", "253:0", "62500000", "0"),
	} {
		tree(t, dir, files)
	}
	tree(t, dir, map[string]string{
		"sys/devices/pci/usb1/1-2/idVendor": "0951", "sys/devices/pci/usb1/1-2/serial": "60A44C\x1b[31m",
		"proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:55 / /media/my\\040stick rw - btrfs /dev/sdc1 rw\n3 1 253:0 / /crypt rw - xfs /dev/mapper/x rw\n",
		"proc/swaps":          "Filename Type Size Used Priority\n/dev/sde1 partition 100 0 -2\n",
		"udev/b8:17":          "S:disk/x\nE:ID_FS_TYPE=vfat\nE:ID_FS_LABEL=HOLIDAY\n",
		"udev/b8:16":          "E:ID_SERIAL_SHORT=SHORT1\n",
	})
	l := linux{filepath.Join(dir, "sys"), filepath.Join(dir, "proc"), "/dev", filepath.Join(dir, "udev")}
	disks, err := l.Disks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // what Check says
		"/dev/sda": "part of this system", "/dev/sdb": "", "/dev/sdc": "mounted on /media/my stick",
		"/dev/sdd": "sdd1 belongs to dm-0, and dm-0 is mounted on /crypt", "/dev/sde": "swap space",
		"/dev/sdf": "it is write-protected", "/dev/sdg": "sdg belongs to md0 (RAID, LVM or encryption)", "/dev/sdh": "sdh1 belongs to dm-1 (RAID, LVM or encryption)",
		"/dev/mmcblk0": "internal", "/dev/mmcblk1": "",
	}
	if len(disks) != len(want) {
		t.Errorf("%d disks, want %d: %+v", len(disks), len(want), disks)
	}
	for _, d := range disks {
		err := d.Check(false)
		if text, ok := want[d.Path]; !ok || (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", d.Path, err, text)
		}
	}
	stick, err := Find(disks, "short1")
	if err != nil || stick.Path != "/dev/sdb" || stick.Model != "Kingston DataTraveler" || stick.Size != 32_000_000_000 || stick.Number != "8:16" || stick.Holds() != `sdb1 vfat "HOLIDAY"` {
		t.Errorf("stick: %v %+v %s", err, stick, stick.Holds())
	}
	if _, err := Find(disks, "60A44C[31m"); err == nil || !strings.Contains(err.Error(), "5 disks") {
		t.Errorf("the serial number of the USB device, without control characters: %v", err)
	}
}
