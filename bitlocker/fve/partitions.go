package fve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
// 5.3) or MBR (primary ones). It returns [ErrNotBitLocker] where there is none. A damaged partition table gives what can
// be read of it.
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
	for _, p := range append(mbr(first, size), gpt(disk, size)...) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := readHeader(p.Reader(disk), p.Size); err == nil || errors.Is(err, ErrDamaged) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w, and none is found by a partition table", ErrNotBitLocker)
	}
	return found, nil
}

// mbr reads the four primary partitions. The protective one of a GPT disk begins with its header and is no volume.
func mbr(sector []byte, size int64) []Partition {
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return nil
	}
	var out []Partition
	for i := range 4 {
		e := sector[446+16*i:]
		start, length := int64(binary.LittleEndian.Uint32(e[8:]))*512, int64(binary.LittleEndian.Uint32(e[12:]))*512
		if e[4] != 0 && e[4] != 0xee && start > 0 && length >= headerSize && start < size {
			out = append(out, Partition{Number: i + 1, Start: start, Size: min(length, size-start)})
		}
	}
	return out
}

// gpt reads the primary table of a disk with sectors of 512 or 4096 bytes.
func gpt(disk io.ReaderAt, size int64) []Partition {
	for _, sector := range []int64{512, 4096} {
		h := make([]byte, 92)
		if _, err := disk.ReadAt(h, sector); err != nil || string(h[:8]) != "EFI PART" {
			continue
		}
		at := binary.LittleEndian.Uint64(h[72:])
		count, entry := binary.LittleEndian.Uint32(h[80:]), int64(binary.LittleEndian.Uint32(h[84:]))
		if at > uint64(size/sector) || entry < partitionEntry || entry > maxSector || count == 0 {
			return nil
		}
		return gptEntries(disk, size, int64(at)*sector, entry, int(min(count, maxPartitions)), sector)
	}
	return nil
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
