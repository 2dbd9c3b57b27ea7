package wim

import (
	"fmt"
	"io/fs"
	"strings"
)

// Apply makes one change in the tree and in the counts of references.
func (b *planner) apply(c Change) error {
	parts := splitPath(c.Path)
	if len(parts) == 0 {
		return fmt.Errorf("%s: the path is empty", c.Op)
	}
	for _, name := range parts {
		if err := checkName(name, c.Path); err != nil {
			return err
		}
	}
	switch c.Op {
	case OpPut:
		return b.put(c, parts)
	case OpMkdir:
		_, err := b.mkdir(parts, c.Path)
		return err
	case OpDelete:
		return b.remove(c, parts)
	}
	return fmt.Errorf("change %q: unknown operation %q", c.Path, c.Op)
}

func (b *planner) mkdir(parts []string, path string) (*node, error) {
	d := b.m.root
	for i, name := range parts {
		k := d.find(name)
		if k == nil {
			k = newNode(name, true, siblingSecurity(d, true), digest{}, b.filetime)
			d.add(k)
			b.p.report.MadeDirs = append(b.p.report.MadeDirs, strings.Join(parts[:i+1], "/"))
		} else if !k.dir {
			return nil, fmt.Errorf("make directory for %q: %q is a file or a link in the image", path, strings.Join(parts[:i+1], "/"))
		}
		d = k
	}
	return d, nil
}

// SiblingSecurity picks the descriptor of a neighbour of the same kind, else that of the directory: a name without a
// descriptor keeps DISM from mounting the image.
func siblingSecurity(d *node, dir bool) uint32 {
	const none = 0xffffffff
	for _, k := range d.kids {
		if k.dir == dir && k.security() != none {
			return k.security()
		}
	}
	return d.security()
}

func (b *planner) put(c Change, parts []string) error {
	dir, err := b.mkdir(parts[:len(parts)-1], c.Path)
	if err != nil {
		return err
	}
	name := parts[len(parts)-1]
	old := dir.find(name)
	if old != nil && old.dir {
		return fmt.Errorf("put %q: it is a directory in the image", c.Path)
	}
	size, h, err := c.measure(b.ctx)
	if err != nil {
		return err
	}
	if err := b.store(c, size, h); err != nil {
		return err
	}
	path := strings.Join(parts, "/")
	if old == nil {
		dir.add(newNode(name, false, siblingSecurity(dir, false), h, b.filetime))
		b.p.report.Added = append(b.p.report.Added, path)
		return nil
	}
	b.release(old)
	old.overwrite(h, b.filetime)
	b.p.report.Replaced = append(b.p.report.Replaced, path)
	return nil
}

// Store makes the content part of the copy, or refers to the same content that is there.
func (b *planner) store(c Change, size int64, h digest) error {
	if size == 0 {
		return nil
	}
	if e := b.byHash[h]; e != nil {
		if e.size != size {
			return corrupt("the table of resources", "content %x has %d bytes, not %d", h, size, e.size)
		}
		e.refs++
		b.p.report.Shared += size
		return nil
	}
	e := &blob{resource: resource{stored: size, size: size, off: -1}, part: 1, refs: 1, hash: h}
	b.blobs, b.byHash[h] = append(b.blobs, e), e
	b.fresh = append(b.fresh, content{c, e})
	return nil
}

func (b *planner) release(n *node) {
	for _, h := range n.hashes() {
		if e := b.byHash[h]; e != nil && e.refs > 0 {
			e.refs--
		}
	}
}

func (b *planner) remove(c Change, parts []string) error {
	dir, path := b.m.lookup(strings.Join(parts[:len(parts)-1], "/"))
	var n *node
	if dir != nil {
		n = dir.find(parts[len(parts)-1])
	}
	if n == nil {
		if c.Optional {
			return nil
		}
		return &fs.PathError{Op: "delete", Path: c.Path, Err: fs.ErrNotExist}
	}
	b.removeAll(n, strings.TrimPrefix(path+"/"+n.name, "/"))
	dir.remove(n)
	return nil
}

func (b *planner) removeAll(n *node, path string) {
	b.release(n)
	if !n.dir {
		b.p.report.Removed = append(b.p.report.Removed, path)
	}
	for _, k := range n.kids {
		b.removeAll(k, path+"/"+k.name)
	}
}
