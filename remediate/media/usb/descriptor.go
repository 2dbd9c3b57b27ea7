package usb

import "strings"

// storageDescriptor reads a STORAGE_DEVICE_DESCRIPTOR (ntddstor.h): offsets of texts at 12 (vendor), 16 (product) and
// 24 (serial number), RemovableMedia at 10, BusType at 28.
func storageDescriptor(d *Disk, b []byte) {
	if len(b) < 36 {
		return
	}
	field := func(at int) string {
		from := int64(le.Uint32(b[at:]))
		if from == 0 || from >= int64(len(b)) {
			return ""
		}
		s, _, _ := strings.Cut(string(b[from:]), "\x00")
		return strings.TrimSpace(printable([]byte(s)))
	}
	d.Model = strings.TrimSpace(field(12) + " " + field(16))
	d.Serial = field(24)
	names := map[uint32]string{1: "scsi", 3: "ata", 7: "usb", 8: "raid", 9: "iscsi", 10: "sas", 11: "sata", 12: "sd", 13: "mmc", 15: "virtual", 17: "nvme"}
	d.Bus = names[le.Uint32(b[28:])]
	d.Removable = d.Bus == "usb" || d.Bus == "sd" || b[10] != 0 && d.Bus != "mmc"
}

// extents reads the disk numbers of a VOLUME_DISK_EXTENTS (winioctl.h): a count, padded to 8, and 24 bytes for each.
func extents(b []byte) []uint32 {
	var disks []uint32
	if len(b) < 8 {
		return nil
	}
	for e, left := b[8:], le.Uint32(b); left > 0 && len(e) >= 24; e, left = e[24:], left-1 {
		disks = append(disks, le.Uint32(e))
	}
	return disks
}
