package usb

import (
	"io"
	"strconv"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/media/gpt"
)

// probe recognises what is on a disk from its first sectors. It never fails: what it cannot read it leaves out.
func probe(r io.ReaderAt, size int64) []Volume {
	var volumes []Volume
	if table, err := gpt.Read(r, size); err == nil {
		for i, p := range table.Partitions {
			kind, label := fileSystem(r, p.Offset)
			if label == "" {
				label = p.Name
			}
			volumes = append(volumes, Volume{Name: "partition " + strconv.Itoa(i+1), Kind: kind, Label: label, Size: p.Size})
			if len(volumes) == 16 {
				break
			}
		}
		return volumes
	}
	if kind, label := fileSystem(r, 0); kind != "" {
		return []Volume{{Kind: kind, Label: label, Size: size}}
	}
	b := make([]byte, sector)
	if n, _ := r.ReadAt(b, 0); n < sector || b[510] != 0x55 || b[511] != 0xaa {
		return nil
	}
	for i := range 4 {
		e := b[446+16*i:]
		first, sectors := int64(le.Uint32(e[8:])), int64(le.Uint32(e[12:]))
		if e[4] == 0 || sectors == 0 {
			continue
		}
		kind, label := fileSystem(r, first*sector)
		volumes = append(volumes, Volume{Name: "partition " + strconv.Itoa(i+1), Kind: kind, Label: label, Size: sectors * sector})
	}
	return volumes
}

func fileSystem(r io.ReaderAt, at int64) (kind, label string) {
	b := make([]byte, 4096)
	if n, _ := r.ReadAt(b, at); n < len(b) {
		return "", ""
	}
	text := func(from, n int) string { return strings.TrimRight(printable(b[from:from+n]), " ") }
	switch {
	case string(b[3:11]) == "-FVE-FS-" || string(b[3:11]) == "MSWIN4.1" && string(b[424:440]) == bitLockerToGo:
		return "BitLocker", ""
	case string(b[3:11]) == "NTFS    ":
		return "NTFS", ""
	case string(b[3:11]) == "EXFAT   ":
		return "exFAT", ""
	case string(b[82:90]) == "FAT32   ":
		return "FAT32", text(71, 11)
	case string(b[54:57]) == "FAT":
		return text(54, 8), text(43, 11)
	case b[1080] == 0x53 && b[1081] == 0xef:
		return "Linux (ext)", text(1144, 16)
	case string(b[:4]) == "XFSB":
		return "XFS", ""
	case string(b[:6]) == "LUKS\xba\xbe":
		return "LUKS", ""
	}
	d := make([]byte, 2048)
	if n, _ := r.ReadAt(d, at+16*2048); n == len(d) && string(d[1:6]) == "CD001" {
		return "ISO 9660", strings.TrimRight(printable(d[40:72]), " ")
	}
	return "", ""
}

// bitLockerToGo is the identifier of BitLocker in the boot sector of removable media, as it lies on the disk.
const bitLockerToGo = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"

func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
}
