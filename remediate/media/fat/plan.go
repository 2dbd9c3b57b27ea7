package fat

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/remediate/media/content"
)

var le = binary.LittleEndian

// Options describe the volume.
type Options struct {
	Type   Type
	Size   int64     // bytes, rounded down to sectors; 0: as small as the entries allow, plus Slack
	Slack  int64     // bytes to leave free when Size is 0
	Label  string    // up to 11 ASCII characters; upper-cased
	Serial uint32    // volume serial number; 0: made from names and sizes
	Hidden uint32    // sectors before the volume on its disk
	Time   time.Time // of directories and of files without a time; zero: 1980-01-01
}

// Entry is a node of the tree with its place.
type entry struct {
	name   string
	src    content.Entry
	kids   []*entry
	parent *entry
	short  [11]byte
	long   bool
	first  int64 // cluster
	count  int64 // clusters
}

// Plan is a volume, laid out and not yet written. It may be written several times.
type Plan struct {
	o     Options
	g     geometry
	root  *entry
	dirs  []*entry // parents first
	files []*entry // in order of path
	used  int64    // clusters
	slots int64    // of the fixed root directory
}

// NewPlan lays out a volume. It returns a [*FileTooLargeError], a [*NoSpaceError], or says which entry is wrong.
func NewPlan(o Options, entries []content.Entry) (*Plan, error) {
	p := &Plan{o: o, root: &entry{src: content.Entry{Dir: true}}}
	if err := p.checkLabel(); err != nil {
		return nil, err
	}
	if err := p.build(entries); err != nil {
		return nil, err
	}
	if err := p.size(); err != nil {
		return nil, err
	}
	p.place()
	if p.o.Serial == 0 {
		p.o.Serial = p.serial()
	}
	return p, nil
}

// Size returns the size of the volume in bytes.
func (p *Plan) Size() int64 { return p.g.sectors * sector }

// Free returns the bytes that stay free.
func (p *Plan) Free() int64 { return (p.g.clusters - p.used) * p.g.clusterBytes() }

// Type returns the kind of FAT.
func (p *Plan) Type() Type { return p.g.kind }

func (p *Plan) checkLabel() error {
	p.o.Label = strings.ToUpper(p.o.Label)
	if len(p.o.Label) > 11 {
		return fmt.Errorf("volume label %q is longer than 11 characters", p.o.Label)
	}
	for _, r := range p.o.Label {
		if r != ' ' && !strings.ContainsRune(shortChars, r) {
			return fmt.Errorf("volume label %q: the character %q is not allowed", p.o.Label, r)
		}
	}
	return nil
}

func (p *Plan) build(entries []content.Entry) error {
	byPath := map[string]*entry{"": p.root}
	for _, e := range entries {
		if e.Size > MaxFile {
			return tooLarge(e.Path, e.Size)
		}
		if e.Size < 0 || (e.Size > 0 && e.Open == nil && !e.Dir) {
			return fmt.Errorf("entry %q: no content for %d bytes", e.Path, e.Size)
		}
		parts := strings.Split(strings.Trim(e.Path, "/"), "/")
		at, key := p.root, ""
		for i, name := range parts {
			if err := checkName(name); err != nil {
				return fmt.Errorf("entry %q: %w", e.Path, err)
			}
			key += "/" + strings.ToUpper(name)
			k := byPath[key]
			last := i == len(parts)-1
			switch {
			case k == nil:
				k = &entry{name: name, parent: at, src: content.Entry{Dir: true}}
				if last {
					k.src = e
				}
				at.kids, byPath[key] = append(at.kids, k), k
			case last && e.Dir && k.src.Dir:
				k.src.ModTime = e.ModTime
			case last || !k.src.Dir:
				return fmt.Errorf("entry %q: there is already a file or directory %q", e.Path, strings.Join(parts[:i+1], "/"))
			}
			at = k
		}
	}
	return p.collect(p.root)
}

// Collect sorts the tree, so that the order of the entries does not matter, and names it.
func (p *Plan) collect(d *entry) error {
	slices.SortFunc(d.kids, func(a, b *entry) int { return cmp.Compare(strings.ToUpper(a.name), strings.ToUpper(b.name)) })
	if err := shortNames(d.kids); err != nil {
		return err
	}
	p.dirs = append(p.dirs, d)
	if n := p.dirSlots(d); n > 65535 {
		return fmt.Errorf("directory %q: its %d names need more than FAT allows (65,535 slots)", d.name, len(d.kids))
	}
	for _, k := range d.kids {
		if k.src.Dir {
			if err := p.collect(k); err != nil {
				return err
			}
		} else {
			p.files = append(p.files, k)
		}
	}
	return nil
}

func (p *Plan) dirSlots(d *entry) int64 {
	n := int64(2) // . and ..
	if d == p.root {
		n = 0
		if p.o.Label != "" {
			n = 1
		}
	}
	for _, k := range d.kids {
		n++
		if k.long {
			n += int64(longSlots(k.name))
		}
	}
	return n
}

// Need counts the clusters for everything, and sets the count of each entry.
func (p *Plan) need(g geometry) (n int64) {
	for _, d := range p.dirs {
		if d.count = max(ceil(p.dirSlots(d)*slot, g.clusterBytes()), 1); d == p.root && g.kind != FAT32 {
			d.count = 0
		}
		n += d.count
	}
	for _, f := range p.files {
		f.count = ceil(f.src.Size, g.clusterBytes())
		n += f.count
	}
	return n
}

func (p *Plan) size() error {
	if p.o.Size == 0 {
		return p.smallest(p.o.Slack)
	}
	kind := p.o.Type
	if kind == Small {
		if kind = FAT12; p.o.Size > 8<<20 {
			kind = FAT16
		}
	}
	have := p.o.Size / sector
	if have >= minVolume(kind) || kind == FAT12 {
		g, err := cut(kind, have, p.rootEntries(have))
		if err != nil {
			return err
		}
		// Many small files may fit only into clusters smaller than the usual ones.
		for kind == FAT32 && p.need(g) > g.clusters && g.cluster > 1 {
			smaller, err := cutBy(kind, have, 0, g.cluster/2)
			if err != nil {
				break
			}
			g = smaller
		}
		if p.need(g) <= g.clusters {
			p.g = g
			return nil
		}
	}
	if err := p.smallest(0); err != nil {
		return err
	}
	return noSpace(p.o.Size, max(p.Size(), p.o.Size+sector))
}

// RootEntries is the length of the fixed root directory: that of a floppy, or 512, or what is needed.
func (p *Plan) rootEntries(sectors int64) int64 {
	n := int64(512)
	if sectors <= 2880 {
		n = 224
	}
	p.slots = max(n, ceil(p.dirSlots(p.root), 16)*16)
	return p.slots
}

// Smallest finds the size by adding what is missing until nothing is.
func (p *Plan) smallest(slack int64) error {
	kinds := []Type{p.o.Type}
	if p.o.Type == Small {
		kinds = []Type{FAT12, FAT16}
	}
	var err error
	for _, kind := range kinds {
		step := int64(1)
		if kind == FAT32 {
			step = 1 << 20 / sector
		}
		for n := minVolume(kind); ; {
			if p.g, err = cut(kind, n, p.rootEntries(n)); err != nil {
				break
			}
			if p.o.Type == Small && kind == FAT12 && n > 8<<20/sector {
				err = fmt.Errorf("too large for FAT12")
				break
			}
			missing := p.need(p.g) + ceil(slack, p.g.clusterBytes()) - p.g.clusters
			if missing <= 0 {
				return nil
			}
			n += max(missing*p.g.cluster, step)
			n = ceil(n, step) * step
		}
	}
	return err
}

func (p *Plan) place() {
	next := int64(2)
	for _, list := range [][]*entry{p.dirs, p.files} {
		for _, e := range list {
			if e.count > 0 {
				e.first = next
				next += e.count
			}
		}
	}
	p.used = next - 2
}

func (p *Plan) serial() uint32 {
	h := sha256.New()
	for _, list := range [][]*entry{p.dirs, p.files} {
		for _, e := range list {
			fmt.Fprintf(h, "%q %d\n", e.name, e.src.Size)
		}
	}
	fmt.Fprintf(h, "%q %d", p.o.Label, p.g.sectors)
	return le.Uint32(h.Sum(nil)) | 1
}

// DosTime packs a time, in UTC, into date and time; seconds are even.
func dosTime(t time.Time) (date, clock uint16) {
	t = t.UTC()
	if t.Year() < 1980 {
		return 1<<5 | 1, 0
	}
	if t.Year() > 2107 {
		t = time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	}
	return uint16(t.Year()-1980)<<9 | uint16(t.Month())<<5 | uint16(t.Day()), uint16(t.Hour())<<11 | uint16(t.Minute())<<5 | uint16(t.Second()/2)
}

func utf16String(u []uint16) string { return string(utf16.Decode(u)) }
