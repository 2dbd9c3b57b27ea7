package fat

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// FS reads a FAT file system. It is an [io/fs.FS] whose names are found without regard to case; the files it opens are
// also [io.ReaderAt] and [io.Seeker]. It may be used by several goroutines if the reader below may.
type FS struct {
	r      io.ReaderAt
	g      geometry
	size   int64
	first  uint32 // cluster of the root directory, FAT32
	label  string
	serial uint32
	slots  int64
	data   int64 // byte offset of the first cluster

	mu    sync.Mutex
	known map[uint32][]name // directories read before, by cluster
	names int               // in known
	in    map[uint32]uint32 // the directory that holds each directory met, both by cluster
}

// Open reads the boot sector of a volume of the given size. It returns [ErrNotFAT] or a [*DamagedError].
func Open(r io.ReaderAt, size int64) (*FS, error) {
	var s [sector]byte
	if n, err := r.ReadAt(s[:], 0); n < sector {
		if err == io.EOF {
			return nil, ErrNotFAT
		}
		return nil, fmt.Errorf("read boot sector: %w", err)
	}
	bytes, spc := int64(le.Uint16(s[11:])), int64(s[13])
	if s[510] != 0x55 || s[511] != 0xaa || s[0] != 0xeb && s[0] != 0xe9 || bytes&(bytes-1) != 0 || bytes < sector || bytes > 4096 ||
		spc == 0 || spc&(spc-1) != 0 || s[16] == 0 || string(s[3:11]) == "NTFS    " || string(s[3:11]) == "EXFAT   " {
		return nil, ErrNotFAT
	}
	v := &FS{r: r, size: size}
	return v, v.geometry(s[:], bytes, spc)
}

// Geometry converts to sectors of 512 bytes and finds the kind by the number of clusters, as the specification says.
func (v *FS) geometry(s []byte, bytes, spc int64) error {
	u16 := func(o int) int64 { return int64(le.Uint16(s[o:])) }
	scale, copies := bytes/sector, int64(s[16])
	sectors, table := u16(19), u16(22)
	if sectors == 0 {
		sectors = int64(le.Uint32(s[32:]))
	}
	ext := 36
	if table == 0 {
		table, ext = int64(le.Uint32(s[36:])), 64
		v.first = le.Uint32(s[44:])
	}
	v.slots = u16(17)
	v.g = geometry{sectors: sectors * scale, reserved: u16(14) * scale, table: table * scale, cluster: spc * scale,
		root: ceil(v.slots*slot, bytes) * scale}
	data := v.g.reserved + copies*v.g.table + v.g.root
	if v.g.reserved == 0 || table == 0 || data > v.g.sectors {
		return damaged("its boot sector contradicts itself")
	}
	if end := v.g.sectors * sector; end > v.size {
		return damaged("it has %d bytes, but the image or device ends at %d", end, v.size)
	}
	v.g.clusters = (v.g.sectors - data) / v.g.cluster
	bits := int64(32)
	switch {
	case ext == 64:
		v.g.kind = FAT32
	case v.g.clusters <= max12:
		v.g.kind, bits = FAT12, 12
	default:
		v.g.kind, bits = FAT16, 16
	}
	if (v.g.clusters+2)*bits > v.g.table*sector*8 {
		return damaged("its tables are too short for its %d clusters", v.g.clusters)
	}
	v.data = data * sector
	v.serial = le.Uint32(s[ext+3:])
	v.label = strings.TrimRight(string(s[ext+7:ext+18]), " ")
	if v.label == "NO NAME" {
		v.label = ""
	}
	return nil
}

// Type returns the kind of FAT.
func (v *FS) Type() Type { return v.g.kind }

// Size returns the size of the volume in bytes.
func (v *FS) Size() int64 { return v.g.sectors * sector }

// Label returns the volume label of the boot sector, empty if there is none.
func (v *FS) Label() string { return v.label }

// Serial returns the volume serial number.
func (v *FS) Serial() uint32 { return v.serial }

// Extent is a run of clusters: byte offsets in the file and in the volume, and length in bytes.
type extent struct{ at, off, n int64 }

// Chain follows a file through the table and returns where its bytes lie. A chain that is longer than the volume,
// or longer than limit bytes ask for, ends there.
func (v *FS) chain(first uint32, limit int64) ([]extent, error) {
	var list []extent
	var total int64
	size := v.g.clusterBytes()
	t := &lookup{v: v, at: -1}
	for c := int64(first); total < limit; {
		if c < 2 || c >= v.g.clusters+2 {
			return nil, damaged("a chain leads to cluster %d of %d", c, v.g.clusters)
		}
		if total >= v.g.clusters*size {
			return nil, damaged("a chain runs in a circle")
		}
		off := v.data + (c-2)*size
		if n := len(list); n > 0 && list[n-1].off+list[n-1].n == off {
			list[n-1].n += size
		} else {
			list = append(list, extent{total, off, size})
		}
		total += size
		next, end, err := t.next(c)
		if err != nil {
			return nil, err
		}
		if end {
			break
		}
		c = next
	}
	return list, nil
}

// Lookup reads the table by pages.
type lookup struct {
	v    *FS
	page [4096]byte
	at   int64 // offset of the page in the table, -1 for none
}

func (t *lookup) bytes(off, n int64) (uint32, error) {
	var v uint32
	for i := range n {
		o := off + i
		if page := o &^ 4095; page != t.at {
			g := t.v.g
			if _, err := t.v.r.ReadAt(t.page[:min(4096, g.table*sector-page)], g.reserved*sector+page); err != nil {
				return 0, fmt.Errorf("read FAT: %w", err)
			}
			t.at = page
		}
		v |= uint32(t.page[o&4095]) << (8 * i)
	}
	return v, nil
}

// Next returns the cluster behind c, or that c is the last.
func (t *lookup) next(c int64) (int64, bool, error) {
	var v uint32
	var err error
	var last uint32
	switch t.v.g.kind {
	case FAT32:
		v, err = t.bytes(c*4, 4)
		v, last = v&0x0fffffff, 0x0ffffff8
	case FAT16:
		v, err = t.bytes(c*2, 2)
		last = 0xfff8
	default:
		v, err = t.bytes(c*3/2, 2)
		if c&1 == 1 {
			v >>= 4
		}
		v, last = v&0xfff, 0xff8
	}
	return int64(v), v >= last, err
}
