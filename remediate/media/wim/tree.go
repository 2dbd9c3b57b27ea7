package wim

import (
	"crypto/sha1"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	dentrySize = 102
	maxDepth   = 256
	maxPath    = 32767 // bytes of a path, about as long as Windows allows

	attrReadOnly  = 0x1
	attrHidden    = 0x2
	attrSystem    = 0x4
	attrDirectory = 0x10
	attrArchive   = 0x20
	attrReparse   = 0x400
	attrContent   = 0x200 | 0x400 | 0x800 | 0x4000 // sparse, reparse, compressed, encrypted: say how data is kept
)

type digest = [sha1.Size]byte

// Node is one name in an image. Raw is the dentry as it stands in the metadata, padding included; it is shared with
// the metadata and copied before it is changed. Extra holds its extra streams, raw as well.
type node struct {
	raw   []byte
	extra []byte
	name  string
	kids  []*node
	dir   bool
}

func (n *node) attr() uint32     { return le.Uint32(n.raw[8:]) }
func (n *node) security() uint32 { return le.Uint32(n.raw[12:]) }
func (n *node) reparse() bool    { return n.attr()&attrReparse != 0 }

// Link is the hard-link group, 0 for a file with one name.
func (n *node) link() uint64 {
	if n.reparse() || n.dir {
		return 0
	}
	return le.Uint64(n.raw[88:])
}

// Hashes returns the SHA-1 of every stream; the unnamed one is first, all zero for an empty file. With extra streams
// the unnamed one may be among them, under an empty name, and the dentry's own hash is then zero.
func (n *node) hashes() []digest {
	all := []digest{digest(n.raw[64:84])}
	for e := n.extra; len(e) >= streamSize; {
		h, name := digest(e[16:36]), le.Uint16(e[36:])
		if name == 0 && all[0] == (digest{}) {
			all[0] = h
		} else {
			all = append(all, h)
		}
		e = e[min(align8(le.Uint64(e)), uint64(len(e))):]
	}
	return all
}

const streamSize = 38

func align8(n uint64) uint64 { return (n + 7) &^ 7 }

func (n *node) find(name string) *node {
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	for _, k := range n.kids {
		if strings.EqualFold(k.name, name) {
			return k
		}
	}
	return nil
}

// Add puts k where its name sorts, without moving anything else: the order of what is there is the writer's choice.
func (n *node) add(k *node) {
	up := strings.ToUpper(k.name)
	i := slices.IndexFunc(n.kids, func(o *node) bool { return strings.ToUpper(o.name) > up })
	if i < 0 {
		i = len(n.kids)
	}
	n.kids = slices.Insert(n.kids, i, k)
}

func (n *node) remove(k *node) {
	n.kids = slices.DeleteFunc(n.kids, func(o *node) bool { return o == k })
}

// Each calls fn for n and everything below it.
func (n *node) each(fn func(*node)) {
	fn(n)
	for _, k := range n.kids {
		k.each(fn)
	}
}

// Metadata is one image: its security data, untouched, and its tree.
type metadata struct {
	security []byte
	root     *node
}

type parser struct {
	m    []byte
	left int // names that can still exist: each takes dentrySize bytes
	what string
}

func parseMetadata(m []byte, what string) (*metadata, error) {
	p := &parser{m: m, left: len(m) / dentrySize, what: what}
	if len(m) < 8 {
		return nil, corrupt(what, "%d bytes", len(m))
	}
	sec := align8(uint64(le.Uint32(m)))
	if sec < 8 { // some writers leave the length zero
		sec = 8
	}
	if sec > uint64(len(m)) {
		return nil, corrupt(what, "security data of %d bytes in %d", sec, len(m))
	}
	root, _, err := p.dentry(sec)
	if err != nil {
		return nil, err
	}
	if root == nil || !root.dir {
		return nil, corrupt(what, "no root directory")
	}
	if err := p.children(root, 0, maxPath); err != nil {
		return nil, err
	}
	return &metadata{m[:sec], root}, nil
}

// Dentry reads the name at off and returns it with the offset behind it; nil at the end of a list.
func (p *parser) dentry(off uint64) (*node, uint64, error) {
	size := uint64(len(p.m))
	if off > size || size-off < 8 {
		return nil, 0, corrupt(p.what, "a directory runs over the end at %d", off)
	}
	n := le.Uint64(p.m[off:])
	if n <= 8 {
		return nil, off + 8, nil
	}
	if n < dentrySize || n > size-off || align8(n) > size-off || p.left == 0 {
		return nil, 0, corrupt(p.what, "an entry of %d bytes at %d", n, off)
	}
	p.left--
	n = align8(n)
	d := &node{raw: p.m[off : off+n : off+n]}
	short, name := int(le.Uint16(d.raw[98:])), int(le.Uint16(d.raw[100:]))
	if dentrySize+name+short > len(d.raw) || name%2 != 0 {
		return nil, 0, corrupt(p.what, "a name of %d bytes at %d", name, off)
	}
	d.name = decode16(d.raw[dentrySize : dentrySize+name])
	d.dir = d.attr()&(attrDirectory|attrReparse) == attrDirectory
	off += n
	start := off
	for range le.Uint16(d.raw[96:]) {
		if size-off < streamSize {
			return nil, 0, corrupt(p.what, "the streams of %q run over the end", d.name)
		}
		n := le.Uint64(p.m[off:])
		if n < streamSize || n > size-off || align8(n) > size-off {
			return nil, 0, corrupt(p.what, "a stream of %q has %d bytes", d.name, n)
		}
		off += align8(n)
	}
	d.extra = p.m[start:off:off]
	return d, off, nil
}

// Children reads the list that d leads to; room is what is left for the path of each name.
func (p *parser) children(d *node, depth, room int) error {
	off := le.Uint64(d.raw[16:])
	if off == 0 { // an empty directory of some writers
		return nil
	}
	if depth > maxDepth {
		return corrupt(p.what, "directories nested deeper than %d", maxDepth)
	}
	for {
		k, next, err := p.dentry(off)
		if err != nil {
			return err
		}
		if k == nil {
			return nil
		}
		if len(k.name) >= room {
			return corrupt(p.what, "a path of more than %d bytes", maxPath)
		}
		if k.dir {
			if err := p.children(k, depth+1, room-1-len(k.name)); err != nil {
				return err
			}
		}
		d.kids, off = append(d.kids, k), next
	}
}

// Encode lays the tree out again. Only the offsets of the directories change in what was there.
func (m *metadata) encode() []byte {
	out := append([]byte(nil), m.security...)
	at := len(out)
	out = append(append(out, m.root.raw...), m.root.extra...)
	out = append(out, make([]byte, 8)...)
	le.PutUint64(out[at+16:], uint64(len(out)))
	return emit(out, m.root.kids)
}

func emit(out []byte, list []*node) []byte {
	at := make([]int, len(list))
	for i, d := range list {
		at[i] = len(out)
		out = append(append(out, d.raw...), d.extra...)
	}
	out = append(out, make([]byte, 8)...)
	for i, d := range list {
		if d.dir {
			le.PutUint64(out[at[i]+16:], uint64(len(out)))
			out = emit(out, d.kids)
		}
	}
	return out
}

// NewNode makes a dentry without a short name; filetime counts 100 ns since 1601.
func newNode(name string, dir bool, security uint32, h digest, filetime uint64) *node {
	nb := encode16(name)
	raw := make([]byte, align8(uint64(dentrySize+len(nb)+2)))
	le.PutUint64(raw, uint64(len(raw)))
	attr := uint32(attrArchive)
	if dir {
		attr = attrDirectory
	}
	le.PutUint32(raw[8:], attr)
	le.PutUint32(raw[12:], security)
	for _, o := range []int{40, 48, 56} {
		le.PutUint64(raw[o:], filetime)
	}
	copy(raw[64:], h[:])
	le.PutUint16(raw[100:], uint16(len(nb)))
	copy(raw[dentrySize:], nb)
	return &node{raw: raw, name: name, dir: dir}
}

// Overwrite gives n new content as Windows does when a file is created over another: the names, the security, the
// attributes and the time of creation stay; other streams, reparse data and the tie to other hard links go.
func (n *node) overwrite(h digest, filetime uint64) {
	short, name := uint64(le.Uint16(n.raw[98:])), uint64(le.Uint16(n.raw[100:]))
	used := dentrySize + name + 2
	if short > 0 {
		used += short + 2
	}
	raw := make([]byte, align8(used))
	copy(raw, n.raw[:min(used, uint64(len(n.raw)))])
	le.PutUint64(raw, uint64(len(raw)))
	attr := n.attr() &^ attrContent
	if attr&^attrReadOnly == 0 {
		attr |= attrArchive
	}
	le.PutUint32(raw[8:], attr&^attrDirectory)
	le.PutUint64(raw[16:], 0)
	le.PutUint64(raw[48:], filetime)
	le.PutUint64(raw[56:], filetime)
	copy(raw[64:84], h[:])
	le.PutUint64(raw[88:], 0)
	le.PutUint16(raw[96:], 0)
	n.raw, n.extra = raw, nil
}

func encode16(s string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, c)
	}
	return b
}

func decode16(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = le.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
