package wim

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Blob is an entry of the table of resources.
type blob struct {
	resource
	part uint16
	refs uint32
	hash digest
}

// File is an open WIM. Its methods may be called from several goroutines.
type File struct {
	r      io.ReaderAt
	size   int64
	header *header
	xml    string
	images []Image
	blobs  []*blob
	metas  []*blob // in the order of the images
	byHash map[digest]*blob

	mu    sync.Mutex
	trees map[int]*metadata
}

// Image describes one image of a WIM. Texts are as its maker wrote them and may be empty.
type Image struct {
	Index        int    // from 1
	Name         string // e.g. "Microsoft Windows PE (amd64)"
	Description  string
	Boot         bool   // the image that the boot manager starts
	Architecture string // "amd64", "arm64", "x86", "arm", "ia64", or empty if the WIM does not say
	Version      string // Windows version and build, e.g. "10.0.26100.1"
	Languages    []string
	Files        int64 // names of files, as counted by the maker
	Dirs         int64
	Bytes        int64
}

// Open reads the tables of a WIM of the given size; the images themselves are read when asked for. It returns
// [ErrNotWIM], an [*UnsupportedError], a [*TruncatedError] or a [*CorruptError].
func Open(r io.ReaderAt, size int64) (*File, error) {
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{r: r, size: size, header: h, byHash: map[digest]*blob{}, trees: map[int]*metadata{}}
	if err := f.readTable(); err != nil {
		return nil, err
	}
	if len(f.metas) != h.images {
		return nil, corrupt("the table of resources", "%d images, but metadata for %d", h.images, len(f.metas))
	}
	return f, f.readXML()
}

func (f *File) readTable() error {
	const what = "the table of resources"
	b, err := readAll(f.r, f.header.table, f.header.codec, what, nil)
	if err != nil {
		return err
	}
	if len(b)%blobSize != 0 {
		return corrupt(what, "%d bytes is not a whole number of entries", len(b))
	}
	for ; len(b) > 0; b = b[blobSize:] {
		e := &blob{resource: getResource(b), part: le.Uint16(b[24:]), refs: le.Uint32(b[26:]), hash: digest(b[30:50])}
		if e.part > 1 {
			return unsupported(Split, "some of its files lie in part %d", e.part)
		}
		name := fmt.Sprintf("resource %x", e.hash)
		if e.flags&resMetadata != 0 {
			name = fmt.Sprintf("the metadata of image %d", len(f.metas)+1)
		}
		if err := e.check(name, f.size); err != nil {
			return err
		}
		f.blobs = append(f.blobs, e)
		if e.flags&resMetadata != 0 {
			f.metas = append(f.metas, e)
		} else {
			f.byHash[e.hash] = e
		}
	}
	return nil
}

// Size returns the size of the WIM in bytes.
func (f *File) Size() int64 { return f.size }

// Compression returns "LZX", "XPRESS" or "none".
func (f *File) Compression() string { return f.header.codec.String() }

// Images lists the images in order; the caller may keep the slice.
func (f *File) Images() []Image { return append([]Image(nil), f.images...) }

// BootIndex returns the index of the image that the boot manager starts, 0 if none is marked.
func (f *File) BootIndex() int { return f.header.boot }

// Pick finds an image: by number ("2"), by name, or "boot". An empty selector means the boot image, or the only
// image there is. The error wraps [ErrNoImage] and lists the choices.
func (f *File) Pick(selector string) (Image, error) {
	if selector == "" && f.header.boot == 0 && len(f.images) == 1 {
		return f.images[0], nil
	}
	if selector == "" || strings.EqualFold(selector, "boot") {
		if f.header.boot > 0 {
			return f.images[f.header.boot-1], nil
		}
		return Image{}, f.noImage("no image is marked as the one to boot")
	}
	if n, err := strconv.Atoi(selector); err == nil {
		if n >= 1 && n <= len(f.images) {
			return f.images[n-1], nil
		}
		return Image{}, f.noImage(fmt.Sprintf("there is no image %d", n))
	}
	for _, im := range f.images {
		if strings.EqualFold(im.Name, selector) {
			return im, nil
		}
	}
	return Image{}, f.noImage(fmt.Sprintf("no image is called %q", selector))
}

func (f *File) noImage(why string) error {
	var list []string
	for _, im := range f.images {
		list = append(list, fmt.Sprintf("%d %q", im.Index, im.Name))
	}
	return hint.Wrapf(fmt.Errorf("%w: %s", ErrNoImage, why), "The WIM holds: %s. Choose one by number or name.", strings.Join(list, ", "))
}

// Tree returns the parsed metadata of an image. What it returns is shared: parse afresh before changing.
func (f *File) tree(image int) (*metadata, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.trees[image]; m != nil {
		return m, nil
	}
	m, err := f.parse(image)
	if err == nil {
		f.trees[image] = m
	}
	return m, err
}

func (f *File) parse(image int) (*metadata, error) {
	if image < 1 || image > len(f.metas) {
		return nil, f.noImage(fmt.Sprintf("there is no image %d", image))
	}
	what := fmt.Sprintf("the metadata of image %d", image)
	e := f.metas[image-1]
	raw, err := readAll(f.r, e.resource, f.header.codec, what, &e.hash)
	if err != nil {
		return nil, err
	}
	return parseMetadata(raw, what)
}

// FileSize returns the size of the unnamed stream.
func (f *File) fileSize(n *node) (int64, error) {
	h := n.hashes()[0]
	if n.dir || h == (digest{}) {
		return 0, nil
	}
	e := f.byHash[h]
	if e == nil {
		return 0, corrupt(fmt.Sprintf("file %q", n.name), "its content %x is not in the file", h)
	}
	return e.size, nil
}

// Verify reads the whole file once and compares it with its integrity table, if it has one, and every resource with its
// SHA-1. It returns the first error, by the name of the file that is damaged; all of them joined would repeat one damaged
// sector many times.
func (f *File) Verify(ctx context.Context) error {
	all := f.newProof(ctx, f.blobs)
	steps, err := f.newIntegrity(all, f.header.table.end())
	if err == nil {
		src := io.NewSectionReader(f.r, headerSize, f.size-headerSize)
		_, err = io.CopyBuffer(onlyWriter{steps}, contextReader{ctx, onlyReader{src}}, make([]byte, 1<<20))
	}
	if err = all.finish(err); err != nil {
		return err
	}
	if err := f.checkIntegrity(ctx, f.header.table.end()); err != nil { // the last step, which is not whole
		return err
	}
	for i := range f.metas {
		m, err := f.tree(i + 1)
		if err != nil {
			return err
		}
		var missing error
		m.root.each(func(n *node) {
			if missing == nil {
				_, missing = f.fileSize(n)
			}
		})
		if missing != nil {
			return missing
		}
	}
	return nil
}
