package usb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// MismatchError means that a disk does not hold the image it is held against.
type MismatchError struct {
	Path      string
	Got, Want string // SHA-256
	What      string // what differs, in words
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s does not hold the image: %s", e.Path, e.What)
}

// Verify reads a disk and holds it against an image of which size and SHA-256 are known. The partition table is judged as
// [Write] relocates it. Windows writes to a stick as soon as it is plugged in there, so that only a stick fresh from
// [Write] has exactly the bytes; the files of an older one are checked against the manifest of the image instead.
func Verify(ctx context.Context, d Disk, image Image, o Options) error {
	if o.System == nil {
		o.System = Local()
	}
	if d.Size < image.Size {
		return &TooSmallError{d.Path, d.Size, image.Size}
	}
	dev, err := o.System.Open(ctx, d, false)
	if err != nil {
		return fmt.Errorf("open %s: %w", d.Path, err)
	}
	defer func() { _ = dev.Close() }()
	m := newMeter(d.Path, serial(o.Progress))
	m.begin(Verifying, image.Size, 0)
	sum, b := sha256.New(), aligned(chunk)
	for at := int64(0); at < image.Size; at += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(at+chunk, image.Size)
		part := b[:roundUp(end)-at]
		if err := readAt(dev, part, at); err != nil {
			return hint.Wrap(fmt.Errorf("read %s: %w", d.Path, err), "The stick is broken: take another one.")
		}
		if at == 0 && image.Size >= head {
			if err := restore(dev, part, d, image.Size); err != nil {
				return err
			}
		}
		sum.Write(part[:end-at])
		m.at(end)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, image.SHA256) {
		return hint.Wrap(&MismatchError{d.Path, got, image.SHA256, "SHA-256 " + got + " instead of " + image.SHA256},
			"A stick that was plugged into Windows differs a little; hold its files against the manifest. If it is fresh, write it again.")
	}
	return nil
}

// restore gives the first MiB of a disk the form it has in the image, after checking the backup at the end of the disk.
func restore(dev Device, part []byte, d Disk, image int64) error {
	original, _, ok := relocated(part, d.Size, image)
	if !ok || image == d.Size {
		return nil
	}
	_, want, ok := relocated(original, image, d.Size)
	if !ok {
		return nil
	}
	tail := aligned(tailSize)
	if err := readAt(dev, tail, d.Size/sector*sector-tailSize); err != nil {
		return fmt.Errorf("read %s: %w", d.Path, err)
	}
	if !bytes.Equal(tail, want) {
		return &MismatchError{Path: d.Path, What: "the backup partition table at its end is damaged"}
	}
	copy(part, original)
	return nil
}

// Content opens a disk for reading any of its bytes, for example to list its files.
func Content(ctx context.Context, d Disk, s System) (io.ReaderAt, io.Closer, error) {
	if s == nil {
		s = Local()
	}
	dev, err := s.Open(ctx, d, false)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", d.Path, err)
	}
	return unaligned{dev, d.Size}, dev, nil
}
