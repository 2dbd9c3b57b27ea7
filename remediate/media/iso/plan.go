package iso

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/content"
)

// Platform is the firmware that an El Torito entry is for.
type Platform byte

// The platforms of x86 and ARM computers.
const (
	BIOS Platform = 0x00
	UEFI Platform = 0xef
)

func (p Platform) String() string {
	switch p {
	case BIOS:
		return "BIOS"
	case UEFI:
		return "UEFI"
	}
	return fmt.Sprintf("platform %#x", byte(p))
}

// Boot makes a file of the image one that firmware starts without emulation: for BIOS a boot sector such as Microsoft's
// etfsboot.com, for UEFI a FAT volume such as efisys.bin.
type Boot struct {
	Platform Platform
	Path     string // of an entry
	Sectors  int    // of 512 bytes to load; 0: 8 for BIOS, the whole file for UEFI
}

// Options describe the image.
type Options struct {
	Volume string    // volume name, up to 16 characters; default "FLEETMEND"
	Boot   []Boot    // in the order of the catalogue: BIOS first
	Time   time.Time // of the image and of entries without a time; zero: 1980-01-01
}

type node struct {
	name   string
	iso    string
	entry  content.Entry
	kids   []*node // in order of name; sorted again for each of the two hierarchies
	parent *node
	lba    int64 // of a file
	at     [2]place
}

// Place is where a directory lies in one of the two hierarchies.
type place struct {
	lba, sectors int64
	number       int // in the path table
}

// Plan is an image, laid out and not yet written. It may be written several times.
type Plan struct {
	o       Options
	root    *node
	dirs    [2][]*node // breadth first, in the order of the path tables
	files   []*node
	byPath  map[string]*node
	tables  [2]int64 // bytes of a path table
	tableAt [2]int64 // sector of the first of two (little and big endian)
	catalog int64
	sectors int64
}

const (
	primaryTree = 0
	jolietTree  = 1
	padding     = 150 // sectors; drives read ahead over the end
)

// NewPlan lays out an image. It returns a [*FileTooLargeError] or says which entry is wrong.
func NewPlan(o Options, entries []content.Entry) (*Plan, error) {
	if o.Volume == "" {
		o.Volume = "FLEETMEND"
	}
	o.Boot = slices.Clone(o.Boot) // its defaults are filled in
	if len(ucs2(o.Volume)) > 32 {
		return nil, fmt.Errorf("volume name %q is longer than 16 characters", o.Volume)
	}
	if o.Time.IsZero() {
		o.Time = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	p := &Plan{o: o, root: &node{entry: content.Entry{Dir: true}}}
	p.root.parent = p.root
	p.byPath = map[string]*node{"": p.root}
	for _, e := range entries {
		if err := p.add(e); err != nil {
			return nil, fmt.Errorf("entry %q: %w", e.Path, err)
		}
	}
	if err := p.order(); err != nil {
		return nil, err
	}
	p.place()
	return p, p.checkBoot()
}

// Size returns the size of the image in bytes.
func (p *Plan) Size() int64 { return p.sectors * sector }

func (p *Plan) add(e content.Entry) error {
	if e.Size > MaxFile {
		return tooLarge(e.Path, e.Size)
	}
	if e.Size < 0 || (e.Size > 0 && e.Open == nil && !e.Dir) {
		return fmt.Errorf("no content for %d bytes", e.Size)
	}
	at, key := p.root, ""
	parts := strings.Split(strings.Trim(e.Path, "/"), "/")
	for i, name := range parts {
		if err := checkName(name); err != nil {
			return err
		}
		key += "/" + strings.ToUpper(name)
		k, last := p.byPath[key], i == len(parts)-1
		switch {
		case k == nil:
			k = &node{name: name, parent: at, entry: content.Entry{Dir: true}}
			if last {
				k.entry = e
			}
			at.kids, p.byPath[key] = append(at.kids, k), k
		case last && e.Dir && k.entry.Dir:
			k.entry.ModTime = e.ModTime
		case last || !k.entry.Dir:
			return fmt.Errorf("there is already a file or directory %q", strings.Join(parts[:i+1], "/"))
		}
		at = k
	}
	return nil
}

// Order sorts and names everything, so that the order of the entries does not matter.
func (p *Plan) order() error {
	var files func(*node)
	files = func(d *node) {
		for _, k := range d.kids {
			if k.entry.Dir {
				files(k)
			} else {
				p.files = append(p.files, k)
			}
		}
	}
	level := []*node{p.root}
	for len(level) > 0 {
		d := level[0]
		level = level[1:]
		slices.SortFunc(d.kids, func(a, b *node) int { return lessJoliet(a.name, b.name) })
		if err := primaryNames(d.kids); err != nil {
			return err
		}
		for _, k := range d.kids {
			if k.entry.Dir {
				level = append(level, k)
			}
		}
	}
	files(p.root)
	for tree := range 2 {
		list := []*node{p.root}
		for i := 0; i < len(list); i++ {
			if i > 65534 {
				return fmt.Errorf("more directories than an ISO image can number (65,535)")
			}
			list[i].at[tree].number = i + 1
			for _, k := range p.kids(list[i], tree) {
				if k.entry.Dir {
					list = append(list, k)
				}
			}
		}
		p.dirs[tree] = list
	}
	return nil
}

// Kids returns what a directory holds, in the order of one hierarchy.
func (p *Plan) kids(d *node, tree int) []*node {
	if tree == jolietTree {
		return d.kids
	}
	list := slices.Clone(d.kids)
	slices.SortFunc(list, func(a, b *node) int { return lessPrimary(a.iso, b.iso) })
	return list
}

func (n *node) id(tree int) []byte {
	if tree == jolietTree {
		return ucs2(n.name)
	}
	return []byte(n.iso)
}

func recordSize(id int) int64 { return int64(33+id+1) &^ 1 }

// Place gives every structure its sectors.
func (p *Plan) place() {
	next := int64(16 + 3) // primary, Joliet, terminator
	if len(p.o.Boot) > 0 {
		next++
	}
	for tree := range 2 {
		for _, d := range p.dirs[tree] {
			p.tables[tree] += int64(8+max(len(d.id(tree)), 1)+1) &^ 1
		}
		p.tableAt[tree] = next
		next += 2 * ceil(p.tables[tree], sector)
	}
	for tree := range 2 {
		for _, d := range p.dirs[tree] {
			at := &d.at[tree]
			at.lba, at.sectors = next, p.dirSectors(d, tree)
			next += at.sectors
		}
	}
	if len(p.o.Boot) > 0 {
		p.catalog = next
		next++
	}
	for _, f := range p.files {
		f.lba = next
		next += ceil(f.entry.Size, sector)
	}
	p.sectors = next + padding
}

// DirSectors counts the sectors of a directory; a record never crosses from one into the next.
func (p *Plan) dirSectors(d *node, tree int) int64 {
	used, n := 2*recordSize(1), int64(1)
	for _, k := range p.kids(d, tree) {
		size := recordSize(len(k.id(tree)))
		if used+size > sector {
			n, used = n+1, 0
		}
		used += size
	}
	return n
}

func (p *Plan) checkBoot() error {
	for i := range p.o.Boot {
		b := &p.o.Boot[i]
		f := p.byPath["/"+strings.ToUpper(strings.Trim(b.Path, "/"))]
		if f == nil || f.entry.Dir || f.entry.Size == 0 {
			return fmt.Errorf("%v boot file %q is not among the entries, or empty", b.Platform, b.Path)
		}
		whole := int(ceil(f.entry.Size, 512))
		if b.Sectors == 0 {
			if b.Sectors = whole; b.Platform == BIOS {
				b.Sectors = min(whole, 8)
			}
		}
		if b.Sectors > 65535 {
			return fmt.Errorf("%v boot file %q has %d bytes: firmware loads less than 32 MiB", b.Platform, b.Path, f.entry.Size)
		}
	}
	if len(p.o.Boot) > 20 {
		return fmt.Errorf("%d boot entries are more than the catalogue holds", len(p.o.Boot))
	}
	return nil
}
