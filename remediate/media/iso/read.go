package iso

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrNotISO means that the data carries neither ISO 9660 nor UDF descriptors.
var ErrNotISO = errors.New("not an ISO image")

// Kind is the hierarchy of names that is read.
type Kind string

// The hierarchies, best first.
const (
	UDF     Kind = "UDF"
	Joliet  Kind = "Joliet"
	ISO9660 Kind = "ISO 9660"
)

// BootEntry is an El Torito entry of an existing image.
type BootEntry struct {
	Platform Platform
	Bootable bool
	Offset   int64 // bytes
	Size     int64 // bytes that firmware may read; up to the end of the image where the catalogue does not say
}

// FS reads an image. It is an [io/fs.FS] whose names are found without regard to case; the files it opens are [*File]. It
// may be used by several goroutines if the reader below may.
type FS struct {
	r     io.ReaderAt
	size  int64
	kind  Kind
	label string
	boot  []BootEntry
	root  item
	parse func(item) ([]item, error)

	mu    sync.Mutex
	known map[int64][]item // directories read before
	names int              // in known
	in    map[int64]int64  // the directory that holds each directory met, both by place
}

// MaxKnown bounds the names that are remembered; the largest Windows medium has a few thousand.
const maxKnown = 100_000

// List reads a directory, once.
func (f *FS) list(d item) ([]item, error) {
	f.mu.Lock()
	list, ok := f.known[d.at]
	f.mu.Unlock()
	if ok {
		return list, nil
	}
	list, err := f.parse(d)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil || f.names+len(list) > maxKnown {
		f.known, f.names = map[int64][]item{}, 0
	}
	f.mark(d, list)
	f.known[d.at] = list
	f.names += len(list)
	return list, nil
}

// Mark finds the directories of a list that another list, or another name of it, leads to as well. They are not followed:
// what is no tree may have no end.
func (f *FS) mark(d item, list []item) {
	if f.in == nil {
		f.in = map[int64]int64{f.root.at: f.root.at}
	}
	here := map[int64]bool{d.at: true}
	for i, it := range list {
		if !it.dir || it.size == 0 { // empty ones share their place in some images
			continue
		}
		in, ok := f.in[it.at]
		list[i].twice = here[it.at] || ok && in != d.at
		here[it.at] = true
		if !ok {
			f.in[it.at] = d.at
		}
	}
}

// Extent is a run of bytes of the image; off is -1 for zeros that are not recorded.
type extent struct{ at, off, n int64 } // at: in the file

// Item is a file or directory.
type item struct {
	name    string
	dir     bool
	size    int64
	mod     time.Time
	at      int64 // where it is described: no two have it in common
	extents []extent
	inline  []byte // UDF keeps small files in their description
	twice   bool   // a directory that is also somewhere else
}

const (
	maxDir   = 64 << 20
	maxDepth = 64
)

// Open reads the descriptors of an image of the given size and takes the best hierarchy it has: UDF, then Joliet, then
// plain ISO 9660. It returns [ErrNotISO] or a [*DamagedError].
func Open(r io.ReaderAt, size int64) (*FS, error) {
	vols, err := scan(r, size)
	if err != nil {
		return nil, err
	}
	var udfErr error
	if vols.udf {
		var f *FS
		if f, udfErr = openUDF(r, size); udfErr == nil {
			f.boot = vols.boot
			return f, nil
		}
	}
	switch {
	case vols.joliet != nil:
		return vols.open(r, size, Joliet, vols.joliet)
	case udfErr != nil: // the plain names of such an image are only a notice that it needs UDF
		return nil, udfErr
	case vols.primary != nil:
		return vols.open(r, size, ISO9660, vols.primary)
	}
	return nil, ErrNotISO
}

// OpenKind reads one hierarchy of an image.
func OpenKind(r io.ReaderAt, size int64, kind Kind) (*FS, error) {
	vols, err := scan(r, size)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == UDF && vols.udf:
		f, err := openUDF(r, size)
		if err == nil {
			f.boot = vols.boot
		}
		return f, err
	case kind == Joliet && vols.joliet != nil:
		return vols.open(r, size, kind, vols.joliet)
	case kind == ISO9660 && vols.primary != nil:
		return vols.open(r, size, kind, vols.primary)
	}
	return nil, fmt.Errorf("%w with %s names", ErrNotISO, kind)
}

// Kind returns the hierarchy that is read.
func (f *FS) Kind() Kind { return f.kind }

// Label returns the name of the volume.
func (f *FS) Label() string { return f.label }

// Boot returns the El Torito entries in the order of the catalogue.
func (f *FS) Boot() []BootEntry { return slices.Clone(f.boot) }

// BootImage returns the content of an El Torito entry, for UEFI a FAT volume.
func (f *FS) BootImage(b BootEntry) *io.SectionReader {
	return io.NewSectionReader(f.r, b.Offset, b.Size)
}

// Volumes is what the descriptors from sector 16 on say.
type volumes struct {
	primary, joliet []byte
	udf             bool
	boot            []BootEntry
}

func scan(r io.ReaderAt, size int64) (*volumes, error) {
	v := &volumes{}
	var catalog int64
	gap := 0 // with blocks of 4096 bytes every other sector is empty
	for i := int64(0); i < 64 && gap < 2; i++ {
		d := make([]byte, sector)
		if _, err := r.ReadAt(d, (16+i)*sector); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read ISO image: %w", err)
		}
		gap++
		switch id := string(d[1:6]); {
		case id == "NSR02" || id == "NSR03":
			v.udf = true
		case id == "BEA01" || id == "TEA01" || id == "BOOT2":
		case id != "CD001":
			continue
		case d[0] == 0 && string(d[7:30]) == "EL TORITO SPECIFICATION":
			catalog = int64(le.Uint32(d[71:]))
		case d[0] == 1 && v.primary == nil:
			v.primary = d
		case d[0] == 2 && d[88] == '%' && d[89] == '/' && strings.ContainsRune("@CE", rune(d[90])) && v.joliet == nil:
			v.joliet = d
		}
		gap = 0
	}
	v.readCatalog(r, size, catalog)
	return v, nil
}

// ReadCatalog reads the boot catalogue; one that makes no sense boots nothing and is therefore no error.
func (v *volumes) readCatalog(r io.ReaderAt, size, at int64) {
	if at == 0 {
		return
	}
	c := make([]byte, sector)
	if _, err := r.ReadAt(c, at*sector); err != nil || c[0] != 1 || c[30] != 0x55 || c[31] != 0xaa {
		return
	}
	platform, left := Platform(c[1]), 1
	for c = c[32:]; len(c) >= 32; c = c[32:] {
		switch {
		case c[0] == 0x90 || c[0] == 0x91:
			platform, left = Platform(c[1]), int(le.Uint16(c[2:]))
		case (c[0] == 0x88 || c[0] == 0) && left > 0:
			left--
			b := BootEntry{Platform: platform, Bootable: c[0] == 0x88, Offset: int64(le.Uint32(c[8:])) * sector, Size: int64(le.Uint16(c[6:])) * 512}
			if b.Offset == 0 || b.Offset >= size {
				continue
			}
			if b.Size <= 512 || b.Offset+b.Size > size {
				b.Size = size - b.Offset
			}
			v.boot = append(v.boot, b)
		}
	}
}

// Ecma reads the directories of ISO 9660 and Joliet.
type ecma struct {
	r    io.ReaderAt
	size int64
	kind Kind
}

func (v *volumes) open(r io.ReaderAt, size int64, kind Kind, d []byte) (*FS, error) {
	if bs := le.Uint16(d[128:]); bs != sector {
		return nil, damaged("blocks of %d bytes", bs)
	}
	if n := int64(le.Uint32(d[80:])) * sector; n > size {
		return nil, damaged("it should have %d bytes and has %d", n, size)
	}
	e := &ecma{r, size, kind}
	root, _, err := e.record(d[156:190])
	if err != nil || !root.dir {
		return nil, damaged("no root directory")
	}
	label := string(d[40:72])
	if kind == Joliet {
		label = decodeUCS2(d[40:72])
	}
	root.name = "."
	return &FS{r: r, size: size, kind: kind, label: strings.TrimRight(label, " \x00"), boot: v.boot, root: root, parse: e.list}, nil
}

// Record decodes a directory record; more tells that the next one continues the same file.
func (e *ecma) record(b []byte) (it item, more bool, err error) {
	if len(b) < 34 || int(b[0]) > len(b) || b[0] < 34 || 33+int(b[32]) > int(b[0]) {
		return it, false, damaged("a directory record is cut off")
	}
	lba, n := int64(le.Uint32(b[2:])), int64(le.Uint32(b[10:]))
	if off := lba*sector + int64(b[1])*sector; n > 0 && off+n > e.size {
		return it, false, damaged("content at bytes %d to %d lies behind the end (%d)", off, off+n, e.size)
	} else if n > 0 {
		it.extents = []extent{{0, off, n}}
	}
	it.at, it.size, it.dir = lba, n, b[25]&2 != 0
	it.mod = time.Date(1900+int(b[18]), time.Month(b[19]), int(b[20]), int(b[21]), int(b[22]), int(b[23]), 0, time.FixedZone("", int(int8(b[24]))*900)).UTC()
	id := b[33:][:b[32]]
	if e.kind == Joliet {
		it.name = decodeUCS2(id)
	} else {
		it.name = string(id)
	}
	it.name, _, _ = strings.Cut(it.name, ";")
	if !it.dir && e.kind == ISO9660 {
		it.name = strings.TrimSuffix(it.name, ".")
	}
	return it, b[25]&0x80 != 0, nil
}

func (e *ecma) list(d item) ([]item, error) {
	if d.size > maxDir {
		return nil, damaged("directory %q has %d bytes", d.name, d.size)
	}
	raw := make([]byte, d.size)
	if d.size > 0 {
		if _, err := e.r.ReadAt(raw, d.extents[0].off); err != nil {
			return nil, fmt.Errorf("read directory %q: %w", d.name, err)
		}
	}
	var list []item
	var open bool // the last file goes on in the next record
	for i := 0; i < len(raw); {
		if raw[i] == 0 { // nothing more in this sector
			i = (i/sector + 1) * sector
			continue
		}
		it, more, err := e.record(raw[i:])
		if err != nil {
			return nil, err
		}
		skip := raw[i+25]&4 != 0 || raw[i+32] == 1 && raw[i+33] <= 1 // associated files, . and ..
		i += int(raw[i])
		if skip || it.name == "" || strings.ContainsAny(it.name, "/\\\x00") {
			continue
		}
		if last := len(list) - 1; open && last >= 0 && list[last].name == it.name {
			for _, e := range it.extents {
				e.at += list[last].size
				list[last].extents = append(list[last].extents, e)
			}
			list[last].size += it.size
		} else {
			list = append(list, it)
		}
		open = more
	}
	return list, nil
}
