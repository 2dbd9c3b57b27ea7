package fve

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Device is a device or an image file, open for reading alone. Its ReadAt may be called from several goroutines and at
// any offset: reads of whole sectors, which devices insist on, are its own business.
type Device struct {
	reader io.ReaderAt
	file   *os.File
	size   int64
}

// Open opens an image file, or a device by the name its system gives it: "C:" or `\\.\PhysicalDrive0` on Windows,
// "/dev/sda3" on Linux, "/dev/rdisk4s1" on macOS. Devices need the rights of an administrator. On a running Windows an
// unlocked volume shows itself decrypted, without its metadata: the disk it is on shows them.
func Open(path string) (*Device, error) {
	name := devicePath(path)
	f, err := os.Open(name)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			err = hint.Wrap(err, "reading a device needs the rights of an administrator (Windows: an elevated prompt; Linux and macOS: sudo)")
		}
		return nil, fmt.Errorf("open volume: %w", err)
	}
	size, err := deviceSize(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open volume %s: find its size: %w", path, err)
	}
	return &Device{reader: sectors{f}, file: f, size: size}, nil
}

// Size is the number of bytes. Of a device that does not tell it is the largest number there is.
func (d *Device) Size() int64 { return d.size }

// ReadAt implements io.ReaderAt.
func (d *Device) ReadAt(p []byte, at int64) (int, error) { return d.reader.ReadAt(p, at) }

// Close closes the device.
func (d *Device) Close() error { return d.file.Close() }

// sizeBySeek finds the size of a file or block device by its end.
func sizeBySeek(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return 0, errors.New("it is a folder")
	}
	size, err := f.Seek(0, io.SeekEnd)
	if info.Mode()&os.ModeDevice != 0 && (err != nil || size == 0) {
		return unknownSize, nil
	}
	return size, err
}

// sectors reads whole sectors of up to 4096 bytes, whatever is asked for.
type sectors struct{ r io.ReaderAt }

func (s sectors) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, errors.New("read at a negative offset")
	}
	lead := int(at % maxSector)
	if lead == 0 && len(p)%maxSector == 0 {
		return s.r.ReadAt(p, at)
	}
	whole := make([]byte, (lead+len(p)+maxSector-1)/maxSector*maxSector)
	n, err := s.r.ReadAt(whole, at-int64(lead))
	n = copy(p, whole[min(lead, n):n])
	if n == len(p) {
		return n, nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
