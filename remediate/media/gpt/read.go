package gpt

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// ErrNoTable means that the disk carries no GUID partition table that can be read.
var ErrNoTable = errors.New("no GUID partition table")

// Read reads the table of a disk of the given size and checks its checksums. If the primary one is unusable, it takes the
// backup and says so in Disk.Backup; a backup that is not at the very end is normal for an image written to a larger disk.
func Read(r io.ReaderAt, size int64) (*Disk, error) {
	var first error
	for _, ss := range []int64{512, 4096} {
		if size < 8*ss {
			continue
		}
		d, err := readTable(r, size, ss, 1)
		if err == nil {
			return d, nil
		}
		if first == nil || errors.Is(first, ErrNoTable) {
			first = err
		}
		if d, err := readTable(r, size, ss, size/ss-1); err == nil {
			d.Backup = true
			return d, nil
		}
	}
	if first == nil {
		first = ErrNoTable
	}
	return nil, first
}

func readTable(r io.ReaderAt, size, ss, at int64) (*Disk, error) {
	h := make([]byte, headerSize)
	if _, err := r.ReadAt(h, at*ss); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read partition table: %w", err)
	}
	if string(h[:8]) != "EFI PART" {
		return nil, ErrNoTable
	}
	sum := le.Uint32(h[16:])
	le.PutUint32(h[16:], 0)
	n, each := int64(le.Uint32(h[80:])), int64(le.Uint32(h[84:]))
	// The specification allows longer headers and entries; nobody writes them, and a claim is not trusted further.
	if le.Uint32(h[12:]) != headerSize || crc32.ChecksumIEEE(h) != sum {
		return nil, fmt.Errorf("partition table at sector %d: header damaged (checksum)", at)
	}
	if each < entrySize || each > 4096 || n > 1024 || int64(le.Uint64(h[24:])) != at {
		return nil, fmt.Errorf("partition table at sector %d: header damaged", at)
	}
	start := int64(le.Uint64(h[72:]))
	if start <= 0 || start > size/ss || start*ss+n*each > size {
		return nil, fmt.Errorf("partition table at sector %d: its entries lie outside the disk", at)
	}
	t := make([]byte, n*each)
	if _, err := r.ReadAt(t, start*ss); err != nil {
		return nil, fmt.Errorf("read partition table: %w", err)
	}
	if crc32.ChecksumIEEE(t) != le.Uint32(h[88:]) {
		return nil, fmt.Errorf("partition table at sector %d: entries damaged (checksum)", at)
	}
	d := &Disk{ID: GUID(h[56:72]).mixed(), Size: size, SectorSize: ss}
	for ; len(t) > 0; t = t[each:] {
		p, err := partition(t, size, ss)
		if err != nil {
			return nil, err
		}
		if p.Type != (GUID{}) {
			d.Partitions = append(d.Partitions, p)
		}
	}
	return d, nil
}

func partition(e []byte, size, ss int64) (Partition, error) {
	p := Partition{Type: GUID(e[:16]).mixed(), ID: GUID(e[16:32]).mixed()}
	if p.Type == (GUID{}) {
		return p, nil
	}
	first, last := int64(le.Uint64(e[32:])), int64(le.Uint64(e[40:]))
	if first <= 0 || last < first || last >= size/ss {
		return p, fmt.Errorf("partition at sectors %d to %d: outside the disk of %d sectors", first, last, size/ss)
	}
	p.Offset, p.Size = first*ss, (last-first+1)*ss
	var u []uint16
	for i := 56; i < entrySize; i += 2 {
		c := le.Uint16(e[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	p.Name = string(utf16.Decode(u))
	return p, nil
}
