package usb

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// head is how many bytes at the beginning and the end of a disk decide what it pretends to be.
const head = 1 << 20

const (
	sector    = 512
	tableSize = 128 * 128
	tailSize  = sector + tableSize // the backup table and its header
)

var le = binary.LittleEndian

// relocated returns the first MiB of an image changed for a disk of another size, and the backup table for the end of
// that disk. ok is false for an image that carries no GUID partition table of the usual form, which is then written as
// it is. Applying it to the result with the size of the image gives the image back, so that a stick can be held
// against the hash of the image. UEFI Specification 2.10, section 5.3.2.
func relocated(b []byte, image, disk int64) (first, tail []byte, ok bool) {
	if len(b) < head || image%sector != 0 {
		return nil, nil, false
	}
	h := b[sector : 2*sector]
	if string(h[:8]) != "EFI PART" || le.Uint32(h[12:]) != 92 || le.Uint64(h[24:]) != 1 || le.Uint64(h[72:]) != 2 ||
		le.Uint32(h[80:]) != 128 || le.Uint32(h[84:]) != 128 || headerSum(h) != le.Uint32(h[16:]) {
		return nil, nil, false
	}
	if le.Uint64(h[32:]) != uint64(image/sector-1) {
		return nil, nil, false
	}
	table := b[2*sector : 2*sector+tableSize]
	if crc32.ChecksumIEEE(table) != le.Uint32(h[88:]) {
		return nil, nil, false
	}
	last := disk/sector - 1
	for e := table; len(e) > 0; e = e[128:] {
		if le.Uint64(e[40:]) > uint64(last-tailSize/sector) && !bytes.Equal(e[:16], make([]byte, 16)) {
			return nil, nil, false
		}
	}
	first = bytes.Clone(b[:head])
	if mbr := first[446:]; mbr[4] == 0xee {
		le.PutUint32(mbr[12:], uint32(min(last, 0xffffffff)))
	}
	n := first[sector : 2*sector]
	le.PutUint64(n[32:], uint64(last))
	le.PutUint64(n[48:], uint64(last-1-tableSize/sector))
	le.PutUint32(n[16:], headerSum(n))

	tail = make([]byte, tailSize)
	copy(tail, table)
	backup := tail[tableSize:]
	copy(backup, n)
	le.PutUint64(backup[24:], uint64(last))
	le.PutUint64(backup[32:], 1)
	le.PutUint64(backup[72:], uint64(last-tableSize/sector))
	le.PutUint32(backup[16:], headerSum(backup))
	return first, tail, true
}

// reversible reports whether the original can be had back from the relocated head.
func reversible(original, first []byte, image, disk int64) bool {
	back, _, ok := relocated(first, disk, image)
	return ok && bytes.Equal(back, original[:head])
}

func headerSum(h []byte) uint32 {
	c := bytes.Clone(h[:92])
	le.PutUint32(c[16:], 0)
	return crc32.ChecksumIEEE(c)
}
