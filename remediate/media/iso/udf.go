package iso

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"
)

// Udf reads UDF with type 1 partition maps: what oscdimg, genisoimage and mkudffs write for discs.
type udf struct {
	r      io.ReaderAt
	size   int64
	block  int64
	starts []partition // by partition reference
}

type partition struct{ first, blocks int64 }

const (
	tagAnchor    = 2
	tagPartition = 5
	tagVolume    = 6
	tagEnd       = 8
	tagSet       = 256
	tagName      = 257
	tagExtents   = 258
	tagFile      = 261
	tagExtended  = 266

	tagSize = 16
)

// Tagged reads a descriptor at a byte offset and checks its tag; zero wants any.
func (u *udf) tagged(off int64, want uint16, n int64) ([]byte, error) {
	if off < 0 || off+n > u.size {
		return nil, damaged("a UDF descriptor at byte %d lies behind the end (%d)", off, u.size)
	}
	b := make([]byte, n)
	if _, err := u.r.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("read UDF descriptor: %w", err)
	}
	return b, checkTag(b, want)
}

func checkTag(b []byte, want uint16) error {
	var sum byte
	for i, c := range b[:tagSize] {
		if i != 4 {
			sum += c
		}
	}
	if id := le.Uint16(b); sum != b[4] || want != 0 && id != want {
		return damaged("a UDF descriptor of kind %d where %d should be (or its checksum is wrong)", id, want)
	}
	return nil
}

func openUDF(r io.ReaderAt, size int64) (*FS, error) {
	var first error
	for _, block := range []int64{2048, 512, 4096} {
		u := &udf{r: r, size: size, block: block}
		for _, at := range []int64{256, size/block - 1, size/block - 257} {
			a, err := u.tagged(at*block, tagAnchor, 512)
			if err == nil && int64(le.Uint32(a[12:])) == at {
				return u.volume(a)
			}
			if first == nil {
				first = err
			}
		}
	}
	return nil, fmt.Errorf("find the anchor of the UDF volume: %w", errors.Join(first))
}

// Volume follows the main volume descriptor sequence, or the reserve one.
func (u *udf) volume(anchor []byte) (*FS, error) {
	var first error
	for _, o := range []int{16, 24} {
		f, err := u.sequence(int64(le.Uint32(anchor[o+4:])), int64(le.Uint32(anchor[o:]))/u.block)
		if err == nil {
			return f, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (u *udf) sequence(at, n int64) (*FS, error) {
	parts := map[uint16]partition{}
	var logical []byte
scan:
	for i := range min(n, 256) {
		d, err := u.tagged((at+i)*u.block, 0, min(u.block, sector))
		if err != nil {
			return nil, err
		}
		switch le.Uint16(d) {
		case tagPartition:
			parts[le.Uint16(d[22:])] = partition{int64(le.Uint32(d[188:])), int64(le.Uint32(d[192:]))}
		case tagVolume:
			logical = d
		case tagEnd:
			break scan
		}
	}
	if logical == nil || len(parts) == 0 {
		return nil, damaged("its UDF descriptors name no volume")
	}
	if bs := int64(le.Uint32(logical[212:])); bs != u.block {
		return nil, damaged("UDF blocks of %d bytes on sectors of %d", bs, u.block)
	}
	maps := logical[440:]
	for range le.Uint32(logical[268:]) {
		if len(maps) < 6 || maps[0] != 1 || maps[1] != 6 {
			return nil, damaged("it uses a UDF partition map that is not read (metadata, sparable or virtual)")
		}
		p, ok := parts[le.Uint16(maps[4:])]
		if !ok {
			return nil, damaged("its UDF volume refers to a partition that is not there")
		}
		u.starts, maps = append(u.starts, p), maps[6:]
	}
	return u.fileSet(logical)
}

func (u *udf) fileSet(logical []byte) (*FS, error) {
	off, err := u.offset(logical[248+4:])
	if err != nil {
		return nil, err
	}
	set, err := u.tagged(off, tagSet, 512)
	if err != nil {
		return nil, err
	}
	root, err := u.icb(set[400:])
	if err != nil {
		return nil, err
	}
	if !root.dir {
		return nil, damaged("its UDF root is no directory")
	}
	root.name = "."
	return &FS{r: u.r, size: u.size, kind: UDF, label: dstring(logical[84:212]), root: root, parse: u.list}, nil
}

// Offset turns a block address (block u32, partition reference u16) into a byte offset.
func (u *udf) offset(lb []byte) (int64, error) {
	return u.at(int64(le.Uint32(lb)), int(le.Uint16(lb[4:])), 1)
}

func (u *udf) at(block int64, part int, n int64) (int64, error) {
	if part >= len(u.starts) || block+n > u.starts[part].blocks {
		return 0, damaged("UDF block %d of partition %d is outside", block, part)
	}
	return (u.starts[part].first + block) * u.block, nil
}

// Icb reads a file entry; ad is the long allocation descriptor that leads to it.
func (u *udf) icb(ad []byte) (item, error) {
	off, err := u.offset(ad[4:])
	if err != nil {
		return item{}, err
	}
	b, err := u.tagged(off, 0, u.block)
	if err != nil {
		return item{}, err
	}
	ext, when := 176, 84
	switch le.Uint16(b) {
	case tagFile:
	case tagExtended:
		ext, when = 216, 92
	default:
		return item{}, damaged("a UDF name leads to no file")
	}
	ea, ads := int64(le.Uint32(b[ext-8:])), int64(le.Uint32(b[ext-4:]))
	if ea+ads > u.block-int64(ext) {
		return item{}, damaged("a UDF file entry is longer than its block")
	}
	it := item{dir: b[27] == 4, at: off, mod: udfTime(b[when:])}
	length := le.Uint64(b[56:])
	if length > 1<<50 {
		return item{}, damaged("a UDF file of %d bytes", length)
	}
	it.size = int64(length)
	list := b[int64(ext)+ea:][:ads]
	kind := le.Uint16(b[34:]) & 7
	if kind == 3 {
		if it.size > ads {
			return item{}, damaged("a UDF file is longer than its entry")
		}
		it.inline = list[:it.size]
		return it, nil
	}
	return it, u.extents(&it, list, kind, int(le.Uint16(ad[8:])))
}

// Extents decodes the allocation descriptors, those in continuation blocks too.
func (u *udf) extents(it *item, list []byte, kind uint16, part int) error {
	width := map[uint16]int{0: 8, 1: 16}[kind]
	if width == 0 {
		return damaged("UDF allocation descriptors of kind %d", kind)
	}
	var total int64
	for hops := 0; total < it.size && len(list) >= width; {
		n, block := int64(le.Uint32(list)), int64(le.Uint32(list[4:]))
		typ := n >> 30
		if n &= 1<<30 - 1; n == 0 {
			break
		}
		p := part
		if kind == 1 {
			p = int(le.Uint16(list[8:]))
		}
		off := int64(-1)
		if typ == 0 || typ == 3 {
			var err error
			if off, err = u.at(block, p, ceil(n, u.block)); err != nil {
				return err
			}
			if off+n > u.size {
				return damaged("content at bytes %d to %d lies behind the end (%d)", off, off+n, u.size)
			}
		}
		if list = list[width:]; typ == 3 {
			d, err := u.tagged(off, tagExtents, u.block)
			if err != nil {
				return err
			}
			if hops++; hops > 256 {
				return damaged("a UDF file has too many extents")
			}
			list = d[24:][:min(int64(le.Uint32(d[20:])), u.block-24)]
			continue
		}
		n = min(n, it.size-total)
		it.extents, total = append(it.extents, extent{total, off, n}), total+n
	}
	if total < it.size {
		return damaged("a UDF file of %d bytes has room for %d", it.size, total)
	}
	return nil
}

func (u *udf) list(d item) ([]item, error) {
	if d.size > maxDir || d.size > u.size {
		return nil, damaged("directory %q has %d bytes", d.name, d.size)
	}
	raw := make([]byte, d.size)
	if _, err := (reader{u.r, d}).ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read directory %q: %w", d.name, err)
	}
	var list []item
	for len(raw) >= 38 {
		if err := checkTag(raw, tagName); err != nil {
			return nil, err
		}
		flags, nameLen, use := raw[18], int(raw[19]), int(le.Uint16(raw[36:]))
		n := (38 + use + nameLen + 3) &^ 3
		if 38+use+nameLen > len(raw) {
			return nil, damaged("a name in directory %q is cut off", d.name)
		}
		if flags&(4|8) == 0 { // neither deleted nor the parent
			it, err := u.icb(raw[20:])
			if err != nil {
				return nil, err
			}
			it.name = compressed(raw[38+use:][:nameLen])
			if it.name != "" && !strings.ContainsAny(it.name, "/\\\x00") && it.name != "." && it.name != ".." {
				list = append(list, it)
			}
		}
		raw = raw[min(n, len(raw)):]
	}
	return list, nil
}

// Compressed decodes OSTA compressed unicode (UDF 1.02, 2.1.1).
func compressed(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	var u []uint16
	switch b[0] {
	case 8:
		for _, c := range b[1:] {
			u = append(u, uint16(c))
		}
	case 16:
		return decodeUCS2(b[1:])
	}
	return string(utf16.Decode(u))
}

func dstring(b []byte) string {
	n := int(b[len(b)-1])
	if n > len(b)-1 {
		return ""
	}
	return strings.TrimRight(compressed(b[:n]), "\x00 ")
}

func udfTime(b []byte) time.Time {
	zone := int(int16(le.Uint16(b)<<4) >> 4)
	if zone < -1440 || zone > 1440 {
		zone = 0
	}
	return time.Date(int(int16(le.Uint16(b[2:]))), time.Month(b[4]), int(b[5]), int(b[6]), int(b[7]), int(b[8]), 0, time.FixedZone("", zone*60)).UTC()
}
