package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"time"
)

// Options choose the image to change and what is recorded about it.
type Options struct {
	Image   int       // 0: the boot image, or the only one
	SetBoot bool      // make it the image that the boot manager starts
	Time    time.Time // the time of new names and of the change; zero: the newest already in the image, for equal bytes from equal input
}

// Report says what a plan does.
type Report struct {
	Image     int
	Added     []string // paths of files that are new
	Replaced  []string
	Removed   []string // files, also those inside removed directories
	MadeDirs  []string
	Bytes     int64 // content that had to be stored
	Shared    int64 // content that the WIM already held
	Abandoned int64 // bytes of the source that nothing refers to any more; wimlib-imagex optimize or dism /Export-Image drop them
	OldSize   int64
	NewSize   int64
}

// Plan is a changed copy, worked out and not yet written. It may be written several times, each with the same bytes.
type Plan struct {
	f      *File
	report Report
	keep   int64     // bytes of the source copied, header included
	copied []*blob   // what the copy refers to in them
	add    []content // stored in this order
	tail   []byte    // metadata, table of resources, XML
	sumEnd int64     // the integrity table covers [headerSize, sumEnd)
	header [headerSize]byte
}

// Size returns the size of the copy in bytes.
func (p *Plan) Size() int64 { return p.report.NewSize }

// Report returns what the plan does.
func (p *Plan) Report() Report { return p.report }

type counts struct{ files, dirs, bytes, linked int64 }

// Planner holds what changes while the changes are applied one after another.
type planner struct {
	f        *File
	ctx      context.Context
	m        *metadata
	filetime uint64
	blobs    []*blob // copies of the source's, in its order, then the new ones
	byHash   map[digest]*blob
	fresh    []content
	p        *Plan
}

// Content is what a change brings and the source does not hold.
type content struct {
	change Change
	blob   *blob
}

// Plan applies the changes, in order, to one image in memory. It reads every new content once. The source is only read, also
// where it is marked read-only; the copy does not carry that mark.
func (f *File) Plan(ctx context.Context, o Options, changes []Change) (*Plan, error) {
	image, err := f.imageFor(o)
	if err != nil {
		return nil, err
	}
	m, err := f.parse(image)
	if err != nil {
		return nil, err
	}
	b := &planner{f: f, ctx: ctx, m: m, byHash: map[digest]*blob{}, p: &Plan{f: f}}
	b.p.report = Report{Image: image, OldSize: f.size}
	for _, e := range f.blobs {
		c := *e
		b.blobs = append(b.blobs, &c)
		if c.flags&resMetadata == 0 {
			b.byHash[c.hash] = &c
		}
	}
	b.filetime = toFileTime(o.Time)
	if b.filetime == 0 {
		m.root.each(func(n *node) { b.filetime = max(b.filetime, le.Uint64(n.raw[56:])) })
	}
	before := b.count()
	for _, c := range changes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := b.apply(c); err != nil {
			return nil, err
		}
	}
	return b.p, b.layout(o, before)
}

func (f *File) imageFor(o Options) (int, error) {
	if o.Image == 0 {
		im, err := f.Pick("")
		return im.Index, err
	}
	if o.Image < 0 || o.Image > len(f.images) {
		return 0, f.noImage(fmt.Sprintf("there is no image %d", o.Image))
	}
	return o.Image, nil
}

// Count does what the makers of WIMs do for the XML: every name but the root counts, links to a file count its
// size again, and what links save is told apart.
func (b *planner) count() counts {
	var c counts
	seen := map[uint64]bool{}
	b.m.root.each(func(n *node) {
		if n == b.m.root {
			return
		}
		if n.attr()&attrDirectory != 0 {
			c.dirs++
		} else {
			c.files++
		}
		linked := n.link() != 0 && seen[n.link()]
		seen[n.link()] = true
		for i, h := range n.hashes() {
			e := b.byHash[h]
			if e == nil {
				continue
			}
			if i == 0 || !linked {
				c.bytes += e.size
			}
			if i == 0 && linked {
				c.linked += e.size
			}
		}
	})
	return c
}

// Layout fixes every offset of the copy: the source up to the end of what is still referred to, the new contents,
// the metadata, the table of resources, the XML and, if the source has one, the integrity table.
func (b *planner) layout(o Options, before counts) error {
	p, f := b.p, b.f
	p.header = f.header.raw
	le.PutUint32(p.header[16:], le.Uint32(p.header[16:])&^flagReadOnly)
	if err := b.rescue(); err != nil {
		return err
	}
	meta := b.place()
	raw := b.m.encode()
	meta.resource = resource{stored: int64(len(raw)), flags: resMetadata, off: p.tailStart(), size: int64(len(raw))}
	meta.hash = sha1.Sum(raw)
	// Metadata are compressed like those of every other tool: some readers expect it without looking at the flag.
	if small := compressed(f.header.codec, raw); small != nil {
		raw, meta.stored, meta.flags = small, int64(len(small)), resMetadata|resCompressed
	}
	table := b.table()
	tableRes := resource{stored: int64(len(table)), flags: resMetadata, off: meta.end(), size: int64(len(table))}
	p.tail = append(raw, table...)
	p.sumEnd = tableRes.end()
	after := b.count()
	delta := counts{after.files - before.files, after.dirs - before.dirs, after.bytes - before.bytes, after.linked - before.linked}
	doc, err := editXML(f.xml, p.report.Image, delta, b.filetime, p.sumEnd)
	if err != nil {
		return err
	}
	xml := append([]byte{0xff, 0xfe}, encode16(doc)...)
	xmlRes := resource{stored: int64(len(xml)), flags: resMetadata, off: p.sumEnd, size: int64(len(xml))}
	p.tail = append(p.tail, xml...)
	p.report.NewSize = xmlRes.end()
	b.finishHeader(o, meta.resource, tableRes, xmlRes)
	return nil
}

// Place decides how much of the source is copied and where the new contents go, and returns the entry of the image's
// metadata, whose old place is given up.
func (b *planner) place() (meta *blob) {
	p, live, images := b.p, int64(0), 0
	p.keep = headerSize
	for _, e := range b.blobs {
		if e.flags&resMetadata != 0 {
			if images++; images == p.report.Image {
				meta = e
				continue
			}
		} else if e.refs == 0 {
			continue
		}
		if e.off >= 0 {
			p.keep, live = max(p.keep, e.end()), live+e.stored
			p.copied = append(p.copied, e)
		}
	}
	p.report.Abandoned = p.keep - headerSize - live
	end := p.keep
	for _, c := range b.fresh {
		if c.blob.refs == 0 { // put, then removed again by a later change
			continue
		}
		c.blob.off = end
		end += c.blob.stored
		p.report.Bytes += c.blob.stored
		p.add = append(p.add, c)
	}
	return meta
}

// Rescue looks, before any content is dropped, whether a name of some image still needs it: counts of references
// written by old tools are not always right.
func (b *planner) rescue() error {
	dropped := map[digest]*blob{}
	for _, e := range b.blobs {
		if e.flags&resMetadata == 0 && e.refs == 0 && e.off >= 0 {
			dropped[e.hash] = e
		}
	}
	if len(dropped) == 0 {
		return nil
	}
	recount := func(n *node) {
		for _, h := range n.hashes() {
			if e := dropped[h]; e != nil {
				e.refs++
			}
		}
	}
	for i := range b.f.metas {
		m := b.m
		if i+1 != b.p.report.Image {
			var err error
			if m, err = b.f.parse(i + 1); err != nil {
				return err
			}
		}
		m.root.each(recount)
	}
	return nil
}

func (b *planner) table() []byte {
	var t bytes.Buffer
	for _, e := range b.blobs {
		if e.flags&resMetadata == 0 && e.refs == 0 {
			continue
		}
		var raw [blobSize]byte
		e.put(raw[:])
		le.PutUint16(raw[24:], e.part)
		le.PutUint32(raw[26:], e.refs)
		copy(raw[30:], e.hash[:])
		t.Write(raw[:])
	}
	return t.Bytes()
}

// FinishHeader also gives the copy a GUID of its own, made from the source's and from the new tables, so that the
// same input makes the same file.
func (b *planner) finishHeader(o Options, meta, table, xml resource) {
	p, f := b.p, b.f
	table.put(p.header[48:])
	xml.put(p.header[72:])
	if o.SetBoot {
		le.PutUint32(p.header[120:], uint32(p.report.Image))
	}
	if int(le.Uint32(p.header[120:])) == p.report.Image {
		meta.put(p.header[96:])
	}
	sum := sha1.New()
	sum.Write(f.header.raw[24:40])
	sum.Write(p.tail)
	guid := sum.Sum(nil)[:16]
	guid[7], guid[8] = guid[7]&0x0f|0x80, guid[8]&0x3f|0x80 // version 8, little-endian
	copy(p.header[24:40], guid)
	clear(p.header[124:148])
	if f.header.integrity.stored > 0 {
		n := integritySize(p.sumEnd)
		resource{stored: n, flags: resMetadata, off: p.report.NewSize, size: n}.put(p.header[124:])
		p.report.NewSize += n
	}
}
