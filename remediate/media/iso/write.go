package iso

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/content"
)

// WriteTo writes the whole image in order, [Plan.Size] bytes, in one pass. A content that is longer or shorter than its
// entry says is an error that names it.
func (p *Plan) WriteTo(ctx context.Context, w io.Writer) error {
	b := content.NewWriter(w)
	b.Zeros(16 * sector)
	b.Bytes(p.volume(primaryTree))
	if len(p.o.Boot) > 0 {
		b.Bytes(p.bootRecord())
	}
	b.Bytes(p.volume(jolietTree))
	end := descriptor(255)
	b.Bytes(end)
	for tree := range 2 {
		for _, big := range []bool{false, true} {
			t := p.pathTable(tree, big)
			b.Bytes(t)
			b.Zeros(ceil(p.tables[tree], sector)*sector - int64(len(t)))
		}
	}
	for tree := range 2 {
		for _, d := range p.dirs[tree] {
			b.Bytes(p.directory(d, tree))
		}
	}
	if p.catalog > 0 {
		b.Bytes(p.bootCatalog())
	}
	for _, f := range p.files {
		b.Content(ctx, f.entry)
		b.Zeros(ceil(f.entry.Size, sector)*sector - f.entry.Size)
	}
	b.Zeros(padding * sector)
	if err := b.Close(); err != nil {
		return err
	}
	if b.Len() != p.Size() {
		return fmt.Errorf("wrote %d bytes of %d", b.Len(), p.Size())
	}
	return nil
}

func descriptor(kind byte) []byte {
	d := make([]byte, sector)
	d[0], d[6] = kind, 1
	copy(d[1:], "CD001")
	return d
}

// Both writes a number little-endian and then big-endian, as ECMA-119 has it.
func both(b []byte, v int64) {
	le.PutUint32(b, uint32(v))
	be.PutUint32(b[4:], uint32(v))
}

func both16(b []byte, v uint16) {
	le.PutUint16(b, v)
	be.PutUint16(b[2:], v)
}

// Volume encodes the primary or the supplementary (Joliet) volume descriptor.
func (p *Plan) volume(tree int) []byte {
	d := descriptor(byte(1 + tree))
	text := func(at, n int, s string) {
		if tree == jolietTree {
			u := ucs2(s)
			for i := len(u); i+1 < n; i += 2 {
				u = append(u, 0, ' ')
			}
			copy(d[at:at+n], u)
			return
		}
		copy(d[at:at+n], s+strings.Repeat(" ", n))
	}
	volume := p.o.Volume
	if tree == primaryTree {
		volume = strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
				return r
			}
			return '_'
		}, strings.ToUpper(volume))
	} else {
		d[0] = 2
		copy(d[88:], "%/E")
	}
	text(8, 32, "")
	text(40, 32, volume)
	both(d[80:], p.sectors)
	both16(d[120:], 1)
	both16(d[124:], 1)
	both16(d[128:], sector)
	both(d[132:], p.tables[tree])
	le.PutUint32(d[140:], uint32(p.tableAt[tree]))
	be.PutUint32(d[148:], uint32(p.tableAt[tree]+ceil(p.tables[tree], sector)))
	copy(d[156:], p.record(p.root, tree, []byte{0}))
	for _, f := range [][2]int{{190, 128}, {318, 128}, {446, 128}, {574, 128}, {702, 37}, {739, 37}, {776, 37}} {
		text(f[0], f[1], "")
	}
	stamp := p.o.Time.UTC().Format("20060102150405") + "00\x00"
	for at, s := range map[int]string{813: stamp, 830: stamp, 847: strings.Repeat("0", 16) + "\x00", 864: strings.Repeat("0", 16) + "\x00"} {
		copy(d[at:], s)
	}
	d[881] = 1
	return d
}

// Record encodes a directory record; id is given for "." and "..".
func (p *Plan) record(n *node, tree int, id []byte) []byte {
	if id == nil {
		id = n.id(tree)
	}
	r := make([]byte, recordSize(len(id)))
	r[0] = byte(len(r))
	if n.entry.Dir {
		both(r[2:], n.at[tree].lba)
		both(r[10:], n.at[tree].sectors*sector)
		r[25] = 2
	} else {
		both(r[2:], n.lba)
		both(r[10:], n.entry.Size)
	}
	t := n.entry.ModTime
	if t.IsZero() {
		t = p.o.Time
	}
	copy(r[18:], recordTime(t))
	both16(r[28:], 1)
	r[32] = byte(len(id))
	copy(r[33:], id)
	return r
}

func recordTime(t time.Time) []byte {
	t = t.UTC()
	year := min(max(t.Year()-1900, 0), 255)
	return []byte{byte(year), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0}
}

func (p *Plan) directory(d *node, tree int) []byte {
	out := append(p.record(d, tree, []byte{0}), p.record(d.parent, tree, []byte{1})...)
	for _, k := range p.kids(d, tree) {
		r := p.record(k, tree, nil)
		if over := len(out) % sector; over+len(r) > sector {
			out = append(out, make([]byte, sector-over)...)
		}
		out = append(out, r...)
	}
	return append(out, make([]byte, d.at[tree].sectors*sector-int64(len(out)))...)
}

func (p *Plan) pathTable(tree int, big bool) []byte {
	var t []byte
	for _, d := range p.dirs[tree] {
		id := d.id(tree)
		if d == p.root {
			id = []byte{0}
		}
		e := make([]byte, (8+len(id)+1)&^1)
		e[0] = byte(len(id))
		if big {
			be.PutUint32(e[2:], uint32(d.at[tree].lba))
			be.PutUint16(e[6:], uint16(d.parent.at[tree].number))
		} else {
			le.PutUint32(e[2:], uint32(d.at[tree].lba))
			le.PutUint16(e[6:], uint16(d.parent.at[tree].number))
		}
		copy(e[8:], id)
		t = append(t, e...)
	}
	return t
}

func (p *Plan) bootRecord() []byte {
	d := descriptor(0)
	copy(d[7:], "EL TORITO SPECIFICATION")
	le.PutUint32(d[71:], uint32(p.catalog))
	return d
}

// BootCatalog encodes the validation entry, the default entry, and a section for each further one.
func (p *Plan) bootCatalog() []byte {
	c := make([]byte, 0, sector)
	valid := make([]byte, 32)
	valid[0], valid[1], valid[30], valid[31] = 1, byte(p.o.Boot[0].Platform), 0x55, 0xaa
	copy(valid[4:28], "fleetmend")
	var sum uint16
	for i := 0; i < 32; i += 2 {
		sum += le.Uint16(valid[i:])
	}
	le.PutUint16(valid[28:], -sum)
	c = append(c, valid...)
	for i, b := range p.o.Boot {
		if i > 0 {
			h := make([]byte, 32)
			h[0], h[1] = 0x90, byte(b.Platform)
			if i == len(p.o.Boot)-1 {
				h[0] = 0x91
			}
			le.PutUint16(h[2:], 1)
			c = append(c, h...)
		}
		e := make([]byte, 32)
		e[0] = 0x88
		le.PutUint16(e[6:], uint16(b.Sectors))
		le.PutUint32(e[8:], uint32(p.byPath["/"+strings.ToUpper(strings.Trim(b.Path, "/"))].lba))
		c = append(c, e...)
	}
	return append(c, make([]byte, sector-len(c))...)
}
