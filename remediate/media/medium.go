package media

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// Medium is a medium opened for reading: an image of a stick or disc, a device, a folder such as a mounted stick, or a WIM,
// which is what media are made from.
type Medium struct {
	Kind string // "USB image", "FAT volume", "ISO", "folder", "WIM"
	FS   fs.FS  // its root; names are found without regard to case; empty for a WIM
	disc *iso.FS
	wim  *wim.File
	file io.Closer // nil: none to be given back
}

// Close gives the file back.
func (m *Medium) Close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}

// ReadMedium opens the bytes of a medium, such as a disk, and closes them with it or when they are none. Name is for errors.
func ReadMedium(name string, r io.ReaderAt, size int64, file io.Closer) (*Medium, error) {
	m, err := openImage(r, size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open medium %q: %w", name, err), file.Close())
	}
	m.file = file
	return m, nil
}

// OpenMedium opens a medium, made by this program or by others.
func OpenMedium(name string) (*Medium, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open medium: %w", err)
	}
	if st.IsDir() {
		return &Medium{Kind: "folder", FS: foldFS{os.DirFS(name)}}, nil
	}
	f, size, err := openFile(name)
	if err != nil {
		return nil, fmt.Errorf("open medium: %w", err)
	}
	return ReadMedium(name, f, size, f)
}

func openImage(f io.ReaderAt, size int64) (*Medium, error) {
	w, err := wim.Open(f, size)
	if err == nil {
		return &Medium{Kind: "WIM", FS: empty{}, wim: w}, nil
	}
	if !errors.Is(err, wim.ErrNotWIM) {
		return nil, err
	}
	disc, err := iso.Open(f, size)
	if err == nil {
		return &Medium{Kind: "ISO", FS: disc, disc: disc}, nil
	}
	if !errors.Is(err, iso.ErrNotISO) {
		return nil, err
	}
	table, err := gpt.Read(f, size)
	if err == nil {
		for _, p := range table.Partitions {
			if p.Offset+p.Size > size {
				return nil, fmt.Errorf("it is cut off: its partition ends at %d, the image at %d", p.Offset+p.Size, size)
			}
			if v, err := fat.Open(io.NewSectionReader(f, p.Offset, p.Size), p.Size); err == nil {
				return &Medium{Kind: "USB image", FS: v}, nil
			}
		}
		return nil, errors.New("none of its partitions is a FAT volume, which UEFI starts from")
	}
	if !errors.Is(err, gpt.ErrNoTable) {
		return nil, err
	}
	if at, n, ok := mbrPartition(f, size); ok {
		if v, err := fat.Open(io.NewSectionReader(f, at, n), n); err == nil {
			return &Medium{Kind: "USB image", FS: v}, nil
		}
	}
	v, err := fat.Open(f, size)
	if err == nil {
		return &Medium{Kind: "FAT volume", FS: v}, nil
	}
	return nil, hint.Wrap(errors.New("it is no image of a stick or disc, and no WIM"), "give an image, a WIM, a device, or the folder where the stick is mounted")
}

// mbrPartition finds the first FAT partition of a stick partitioned in the old way, as other tools make them.
func mbrPartition(r io.ReaderAt, size int64) (at, n int64, ok bool) {
	var b [512]byte
	if _, err := r.ReadAt(b[:], 0); err != nil || b[510] != 0x55 || b[511] != 0xaa {
		return 0, 0, false
	}
	for i := 446; i < 510; i += 16 {
		switch b[i+4] {
		case 0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e, 0xef:
			at = int64(uint32(b[i+8])|uint32(b[i+9])<<8|uint32(b[i+10])<<16|uint32(b[i+11])<<24) * 512
			n = int64(uint32(b[i+12])|uint32(b[i+13])<<8|uint32(b[i+14])<<16|uint32(b[i+15])<<24) * 512
			if at > 0 && n > 0 && at+n <= size {
				return at, n, true
			}
		}
	}
	return 0, 0, false
}

// empty is a root without a file.
type empty struct{}

// Open implements fs.FS.
func (empty) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
