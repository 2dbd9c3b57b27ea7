package usb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
)

// ErrNoImage means that a file is not the image of a stick that a firmware could start.
var ErrNoImage = errors.New("it is no image of a boot stick")

// check looks at the image while nothing is touched yet: it begins with a partition table whose partitions it holds, and
// has the hash that was asked for. Without a hash only its beginning is read.
func (i Image) check(ctx context.Context) error {
	if i.SHA256 != "" {
		if b, err := hex.DecodeString(i.SHA256); err != nil || len(b) != sha256.Size {
			return hint.Wrap(fmt.Errorf("%q is no SHA-256", i.SHA256), "It has 64 digits and letters a to f; nothing was written.")
		}
	}
	look := &looker{whole: i.SHA256 != "", sum: sha256.New()}
	if err := i.WriteTo(ctx, look); err != nil && !errors.Is(err, errSeen) {
		return fmt.Errorf("read the image: %w", err)
	}
	if err := hasTable(look.head, i.Size); err != nil {
		return hint.Wrap(fmt.Errorf("%w: %w", ErrNoImage, err),
			"Nothing was written. Give the .img file that `fleetmend media build` makes; an .iso is for discs, and a .wim is what an image is built from.")
	}
	if got := hex.EncodeToString(look.sum.Sum(nil)); look.whole && !strings.EqualFold(got, i.SHA256) {
		return hint.Wrap(fmt.Errorf("the image has the SHA-256 %s instead of %s", got, i.SHA256), "Nothing was written. The image is damaged, or it is another one: copy or build it again.")
	}
	return nil
}

var errSeen = errors.New("enough of the image was seen")

// looker keeps the first MiB and, where the whole is asked for, hashes all.
type looker struct {
	head  []byte
	whole bool
	sum   hash.Hash
}

func (l *looker) Write(p []byte) (int, error) {
	if missing := head - len(l.head); missing > 0 {
		l.head = append(l.head, p[:min(missing, len(p))]...)
	}
	if !l.whole && len(l.head) == head {
		return 0, errSeen
	}
	return l.sum.Write(p)
}

// hasTable reports what is wrong with the partition table at the beginning of an image: GPT (UEFI Specification 2.10,
// section 5.3) or, as other tools write sticks, the four entries of an MBR (section 5.2.1).
func hasTable(b []byte, size int64) error {
	if len(b) < head {
		return fmt.Errorf("it has %d bytes", size)
	}
	table, err := gpt.Read(beginning{bytes.NewReader(b)}, size)
	switch {
	case err == nil && table.SectorSize != sector:
		return fmt.Errorf("it is laid out for sectors of %d bytes", table.SectorSize)
	case err == nil && len(table.Partitions) == 0:
		return errors.New("its partition table is empty")
	case err == nil:
		return nil
	case !errors.Is(err, gpt.ErrNoTable):
		return err
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return errors.New("it has no partition table")
	}
	found := 0
	for e := b[446:510]; len(e) > 0; e = e[16:] {
		first, sectors := int64(le.Uint32(e[8:])), int64(le.Uint32(e[12:]))
		switch {
		case bytes.Equal(e[:16], make([]byte, 16)):
		case e[0]&0x7f != 0 || e[4] == 0 || sectors == 0: // the code or text of a boot sector
			return errors.New("it has no partition table")
		case e[4] == 0xee:
			return errors.New("its GUID partition table is missing")
		case (first+sectors)*sector > size:
			return fmt.Errorf("it is cut off: a partition ends at byte %d, the image at %d", (first+sectors)*sector, size)
		default:
			found++
		}
	}
	if found == 0 {
		return errors.New("it has no partition table")
	}
	return nil
}

// beginning reads as an image whose rest cannot be read: the backup table at its end does not make up for the first one.
type beginning struct{ io.ReaderAt }

func (r beginning) ReadAt(p []byte, off int64) (int, error) {
	if off >= head {
		clear(p)
		return len(p), nil
	}
	return r.ReaderAt.ReadAt(p, off)
}
