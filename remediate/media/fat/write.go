package fat

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/content"
)

const (
	attrReadOnly = 0x01
	attrHidden   = 0x02
	attrSystem   = 0x04
	attrVolume   = 0x08
	attrDir      = 0x10
	attrArchive  = 0x20
	attrLong     = attrReadOnly | attrHidden | attrSystem | attrVolume
	lastLong     = 0x40
)

// WriteTo writes the whole volume in order, [Plan.Size] bytes, in one pass. Contents are copied through a buffer of
// 1 MiB; a content that is longer or shorter than its entry says is an error that names it.
func (p *Plan) WriteTo(ctx context.Context, w io.Writer) error {
	b := content.NewWriter(w)
	p.writeReserved(b)
	for range 2 {
		p.writeTable(b)
	}
	if p.g.kind != FAT32 {
		b.Bytes(p.directory(p.root))
		b.Zeros(p.g.root*sector - p.dirSlots(p.root)*slot)
	}
	for _, d := range p.dirs {
		if d.count > 0 {
			list := p.directory(d)
			b.Bytes(list)
			b.Zeros(d.count*p.g.clusterBytes() - int64(len(list)))
		}
	}
	for _, f := range p.files {
		b.Content(ctx, f.src)
		b.Zeros(f.count*p.g.clusterBytes() - f.src.Size)
	}
	b.Zeros((p.g.sectors-p.g.data())*sector - p.used*p.g.clusterBytes())
	return b.Close()
}

// Notice is what a computer without UEFI shows that tries to start from the volume.
const notice = "\r\nThis medium starts on UEFI computers. Choose its UEFI entry in the boot menu.\r\n\x00"

// NoticeCode prints the text behind it through the BIOS and halts. It is loaded at 0x7c00.
func noticeCode(at int) []byte {
	text := 0x7c00 + at + 24
	code := []byte{
		0x31, 0xc0, 0x8e, 0xd8, // xor ax,ax; mov ds,ax
		0xbe, byte(text), byte(text >> 8), // mov si,text
		0xac, 0x84, 0xc0, 0x74, 0x09, // next: lodsb; test al,al; jz halt
		0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, // mov ah,0e; mov bx,7; int 10
		0xeb, 0xf2, // jmp next
		0xf4, 0xeb, 0xfd, // halt: hlt; jmp halt
	}
	return append(code, notice...)
}

func (p *Plan) writeReserved(b *content.Writer) {
	boot := p.bootSector()
	if p.g.kind != FAT32 {
		b.Bytes(boot)
		return
	}
	info := make([]byte, sector)
	copy(info, "RRaA")
	copy(info[484:], "rrAa")
	le.PutUint32(info[488:], uint32(p.g.clusters-p.used))
	le.PutUint32(info[492:], uint32(min(p.used+2, p.g.clusters+1)))
	info[510], info[511] = 0x55, 0xaa
	third := make([]byte, sector)
	third[510], third[511] = 0x55, 0xaa
	for range 2 { // sectors 0 to 2, and their backup at 6
		b.Bytes(boot)
		b.Bytes(info)
		b.Bytes(third)
		b.Zeros(3 * sector)
	}
	b.Zeros((p.g.reserved - 12) * sector)
}

func (p *Plan) bootSector() []byte {
	s, g := make([]byte, sector), p.g
	copy(s[3:], "MSWIN4.1")
	le.PutUint16(s[11:], sector)
	s[13] = byte(g.cluster)
	le.PutUint16(s[14:], uint16(g.reserved))
	s[16], s[21] = 2, 0xf8
	le.PutUint16(s[24:], 63)
	le.PutUint16(s[26:], 255)
	le.PutUint32(s[28:], p.o.Hidden)
	ext := 36
	if g.kind == FAT32 {
		le.PutUint32(s[32:], uint32(g.sectors))
		le.PutUint32(s[36:], uint32(g.table))
		le.PutUint32(s[44:], uint32(p.root.first))
		le.PutUint16(s[48:], 1)
		le.PutUint16(s[50:], 6)
		ext = 64
	} else {
		le.PutUint16(s[17:], uint16(p.slots))
		le.PutUint16(s[22:], uint16(g.table))
		if g.sectors < 65536 {
			le.PutUint16(s[19:], uint16(g.sectors))
		} else {
			le.PutUint32(s[32:], uint32(g.sectors))
		}
	}
	s[ext], s[ext+2] = 0x80, 0x29
	if g.sectors == 2880 { // a 1.44 MB floppy, as El Torito images often are
		s[21], s[ext] = 0xf0, 0
		le.PutUint16(s[24:], 18)
		le.PutUint16(s[26:], 2)
	}
	le.PutUint32(s[ext+3:], p.o.Serial)
	copy(s[ext+7:], fmt.Sprintf("%-11s", cmpOr(p.o.Label, "NO NAME")))
	copy(s[ext+18:], fmt.Sprintf("%-8s", g.kind))
	code := ext + 26
	s[0], s[1], s[2] = 0xeb, byte(code-2), 0x90
	copy(s[code:510], noticeCode(code))
	s[510], s[511] = 0x55, 0xaa
	return s
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// WriteTable streams one FAT: each entry's clusters follow one another, and everything behind the last is free.
func (p *Plan) writeTable(b *content.Writer) {
	t := &table{kind: p.g.kind, out: b}
	t.put(0x0fffff00 | int64(p.media()))
	t.put(0x0fffffff)
	for _, list := range [][]*entry{p.dirs, p.files} {
		for _, e := range list {
			for i := int64(1); i < e.count; i++ {
				t.put(e.first + i)
			}
			if e.count > 0 {
				t.put(0x0fffffff)
			}
		}
	}
	b.Zeros(p.g.table*sector - t.flush())
}

func (p *Plan) media() byte {
	if p.g.sectors == 2880 {
		return 0xf0
	}
	return 0xf8
}

type table struct {
	kind  Type
	out   *content.Writer
	half  int64 // FAT12: the entry waiting for its neighbour
	odd   bool
	bytes int64
}

func (t *table) put(v int64) {
	switch t.kind {
	case FAT32:
		t.out.Bytes([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)})
		t.bytes += 4
	case FAT16:
		t.out.Bytes([]byte{byte(v), byte(v >> 8)})
		t.bytes += 2
	default:
		v &= 0xfff
		if t.odd = !t.odd; t.odd {
			t.half = v
			return
		}
		v = t.half | v<<12
		t.out.Bytes([]byte{byte(v), byte(v >> 8), byte(v >> 16)})
		t.bytes += 3
	}
}

func (t *table) flush() int64 {
	if t.kind == FAT12 && t.odd {
		t.put(0)
	}
	return t.bytes
}

// Directory encodes the list of one directory.
func (p *Plan) directory(d *entry) []byte {
	var list []byte
	if d == p.root {
		if p.o.Label != "" {
			var s [11]byte
			copy(s[:], fmt.Sprintf("%-11s", p.o.Label))
			list = append(list, p.slot(s, attrVolume, 0, 0, p.o.Time)...)
		}
	} else {
		list = append(list, p.slot(pack(".", ""), attrDir, d.first, 0, p.when(d))...)
		up := d.parent.first
		if d.parent == p.root {
			up = 0
		}
		list = append(list, p.slot(pack("..", ""), attrDir, up, 0, p.when(d))...)
	}
	for _, k := range d.kids {
		if k.long {
			list = append(list, longEntries(k.name, k.short)...)
		}
		attr, size := byte(attrArchive), k.src.Size
		if k.src.Dir {
			attr, size = attrDir, 0
		}
		list = append(list, p.slot(k.short, attr, k.first, size, p.when(k))...)
	}
	return list
}

func (p *Plan) when(e *entry) time.Time {
	if e.src.ModTime.IsZero() {
		return p.o.Time
	}
	return e.src.ModTime
}

func (p *Plan) slot(short [11]byte, attr byte, first, size int64, at time.Time) []byte {
	e := make([]byte, slot)
	copy(e, short[:])
	e[11] = attr
	date, clock := dosTime(at)
	le.PutUint16(e[14:], clock)
	le.PutUint16(e[16:], date)
	le.PutUint16(e[18:], date)
	le.PutUint16(e[20:], uint16(first>>16))
	le.PutUint16(e[22:], clock)
	le.PutUint16(e[24:], date)
	le.PutUint16(e[26:], uint16(first))
	le.PutUint32(e[28:], uint32(size))
	return e
}
