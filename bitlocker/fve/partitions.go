package fve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Partition is a place on a disk that begins like a BitLocker volume.
type Partition struct {
	Number int   `json:"number"` // in the partition table, from 1; 0 for a whole disk or image that is one volume
	Start  int64 `json:"start"`  // in bytes
	Size   int64 `json:"size"`
}

// Reader reads the partition as a volume of its own.
func (p Partition) Reader(disk io.ReaderAt) *io.SectionReader {
	return io.NewSectionReader(disk, p.Start, p.Size)
}

const (
	maxPartitions  = 256
	partitionEntry = 128
)

// Partitions finds the BitLocker volumes on a disk or in an image: the whole of it, or the partitions of its GPT (UEFI
// Specification 2.10, section 5.3; the backup at the end of the disk where the primary one is gone) or MBR (primary and
// logical ones, which count from 5). It returns [ErrNotBitLocker] where there is none. A damaged partition table gives what
// can be read of it.
func Partitions(ctx context.Context, disk io.ReaderAt, size int64) ([]Partition, error) {
	_, err := readHeader(disk, size)
	if err == nil || errors.Is(err, ErrDamaged) {
		return []Partition{{Size: size}}, nil
	}
	if !errors.Is(err, ErrNotBitLocker) || size < headerSize {
		return nil, err
	}
	first := make([]byte, headerSize)
	if _, err := disk.ReadAt(first, 0); err != nil {
		return nil, fmt.Errorf("read the partition table: %w", err)
	}
	var found []Partition
	seen := map[int64]bool{} // a hybrid disk names a volume in both tables
	for _, p := range append(gpt(disk, size, first), mbr(disk, size, first)...) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := readHeader(p.Reader(disk), p.Size); !seen[p.Start] && (err == nil || errors.Is(err, ErrDamaged)) {
			seen[p.Start] = true
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w, and none is found by a partition table", ErrNotBitLocker)
	}
	return found, nil
}

// mbrEntry is one of the four entries of an MBR or of the sector before a logical partition.
type mbrEntry struct {
	kind          byte
	start, length int64 // bytes; what start counts from depends on the kind
}

const protective = 0xee // the entry of an MBR that stands for a GPT

func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

func mbrEntries(sector []byte) (out [4]mbrEntry) {
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return out
	}
	for i := range out {
		e := sector[446+16*i:]
		out[i] = mbrEntry{e[4], int64(binary.LittleEndian.Uint32(e[8:])) * 512, int64(binary.LittleEndian.Uint32(e[12:])) * 512}
	}
	return out
}

// mbr reads the primary partitions and the logical ones of an extended one. The protective one is no volume.
func mbr(disk io.ReaderAt, size int64, first []byte) []Partition {
	var out, logical []Partition
	for i, e := range mbrEntries(first) {
		switch {
		case e.extended():
			logical = append(logical, logicals(disk, size, e.start, 5+len(logical))...)
		case e.kind != 0 && e.kind != protective && e.start > 0 && e.length >= headerSize && e.start < size:
			out = append(out, Partition{Number: i + 1, Start: e.start, Size: min(e.length, size-e.start)})
		}
	}
	return append(out, logical...)
}

// logicals follows the chain of an extended partition: in the sector before each logical one the first entry is that one,
// counted from this sector, and the second leads to the next such sector, counted from the extended partition.
func logicals(disk io.ReaderAt, size, extended int64, number int) []Partition {
	var out []Partition
	sector := make([]byte, 512)
	for at, steps := extended, 0; at > 0 && at < size && steps < maxPartitions; steps++ {
		if _, err := disk.ReadAt(sector, at); err != nil {
			return out
		}
		e := mbrEntries(sector)
		if start := at + e[0].start; e[0].kind != 0 && e[0].start > 0 && e[0].length >= headerSize && start < size {
			out = append(out, Partition{Number: number, Start: start, Size: min(e[0].length, size-start)})
		}
		if number++; !e[1].extended() || e[1].start == 0 {
			return out
		}
		at = extended + e[1].start
	}
	return out
}

// gpt reads the table of a disk with sectors of 512 or 4096 bytes: the first whose checksums agree among the primary one and
// the backups at the end of the disk and where the protective MBR says that the disk ends; else what can be read of any.
func gpt(disk io.ReaderAt, size int64, first []byte) []Partition {
	var damaged []Partition
	for _, sector := range []int64{512, 4096} {
		places := []int64{sector, (size/sector - 1) * sector}
		for _, e := range mbrEntries(first) {
			if e.kind == protective {
				places = append(places, (e.start+e.length)/512*sector-sector)
			}
		}
		for _, at := range places {
			list, sound := gptAt(disk, size, at, sector)
			if sound {
				return list
			}
			damaged = append(damaged, list...)
		}
	}
	return damaged
}

// gptAt reads the table whose header is at a place; sound tells that it is as it was written.
func gptAt(disk io.ReaderAt, size, place, sector int64) (list []Partition, sound bool) {
	h := make([]byte, 92)
	if _, err := disk.ReadAt(h, place); place < sector || err != nil || string(h[:8]) != "EFI PART" {
		return nil, false
	}
	at, le := binary.LittleEndian.Uint64(h[72:]), binary.LittleEndian
	count, entry := le.Uint32(h[80:]), int64(le.Uint32(h[84:]))
	if at > uint64(size/sector) || entry < partitionEntry || entry > maxSector || count == 0 {
		return nil, false
	}
	list = gptEntries(disk, size, int64(at)*sector, entry, int(min(count, maxPartitions)), sector)
	want := le.Uint32(h[16:])
	le.PutUint32(h[16:], 0)
	if le.Uint32(h[12:]) != uint32(len(h)) || crc32.ChecksumIEEE(h) != want || count > maxPartitions {
		return list, false
	}
	table := make([]byte, int64(count)*entry)
	if _, err := disk.ReadAt(table, int64(at)*sector); err != nil {
		return list, false
	}
	return list, crc32.ChecksumIEEE(table) == le.Uint32(h[88:])
}

func gptEntries(disk io.ReaderAt, size, at, entry int64, count int, sector int64) []Partition {
	var out []Partition
	e := make([]byte, partitionEntry)
	for i := range count {
		if _, err := disk.ReadAt(e, at+int64(i)*entry); err != nil {
			return out
		}
		first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		if [16]byte(e[:16]) == [16]byte{} || first == 0 || last < first || last >= uint64(unknownSize/sector) || int64(first)*sector >= size {
			continue
		}
		start := int64(first) * sector
		out = append(out, Partition{Number: i + 1, Start: start, Size: min(int64(last-first+1)*sector, size-start)})
	}
	return out
}
