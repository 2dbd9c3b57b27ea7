package fve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Copy is one of the three copies of the metadata.
type Copy struct {
	Offset  int64  `json:"offset"`          // in bytes from the start of the volume
	Damage  string `json:"damage"`          // why it cannot be used; empty for a good one
	Used    bool   `json:"used"`            // the volume was described from it
	Checked bool   `json:"checksum_agrees"` // false only for the layout of Windows Vista or a damaged copy
}

const (
	blockHeaderSize   = 64
	datasetHeaderSize = 48
	validationHeader  = 8
)

// block is a copy of the metadata whose outline is in order: a header of 64 bytes, the dataset with its own header of 48
// bytes, and behind it a checksum and a hash that only a holder of the volume's key can check.
type block struct {
	raw        []byte // header and dataset: what the checksum covers
	validation []byte // datums behind the checksum
	checked    bool
	copies     [copyCount]int64

	current, next  uint16
	stateOffset    uint64
	identification [16]byte
	nonceCounter   uint32
	method         uint16
	created        uint64
	datums         []datum
}

// readBlock reads the copy at an offset. The checksum (CRC-32 as of IEEE 802.3) must agree, but for Windows Vista, whose
// volumes may have none.
func readBlock(r io.ReaderAt, size, at int64, layout Layout) (*block, error) {
	if at <= 0 || at >= size {
		return nil, fmt.Errorf("it would be at byte %d of %d", at, size)
	}
	region := make([]byte, min(regionSize, size-at))
	n, err := r.ReadAt(region, at)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	region = region[:n]
	if len(region) < blockHeaderSize+datasetHeaderSize {
		return nil, errors.New("it is cut off")
	}
	if !bytes.Equal(region[:8], []byte("-FVE-FS-")) {
		return nil, errors.New("there is something else in its place")
	}
	le := binary.LittleEndian
	length, version := int(le.Uint16(region[8:])), le.Uint16(region[10:])
	switch version {
	case 1:
		if layout != Vista {
			return nil, errors.New("it is of version 1, which does not go with the volume header")
		}
	case 2:
		length <<= 4
	default:
		return nil, fmt.Errorf("it is of version %d, known are 1 and 2", version)
	}
	b := &block{
		current: le.Uint16(region[12:]), next: le.Uint16(region[14:]), stateOffset: le.Uint64(region[16:]),
	}
	for i := range b.copies {
		b.copies[i] = offset(region[32+8*i:])
	}
	dataset := region[blockHeaderSize:]
	datasetSize := int64(le.Uint32(dataset))
	if version == 1 && length < blockHeaderSize+int(min(datasetSize, regionSize)) {
		length = blockHeaderSize + int(min(datasetSize, regionSize)) // some count the header alone
	}
	if length < blockHeaderSize+datasetHeaderSize || length > len(region) {
		return nil, errors.New("it is cut off or gives a wrong length")
	}
	b.raw = region[:length]
	if err := b.check(region[length:], version); err != nil {
		return nil, err
	}
	return b, b.parse(datasetSize)
}

// check compares the checksum behind the block.
func (b *block) check(behind []byte, version uint16) error {
	if len(behind) < validationHeader {
		if version == 1 {
			return nil
		}
		return errors.New("its checksum is cut off")
	}
	b.checked = crc32.ChecksumIEEE(b.raw) == binary.LittleEndian.Uint32(behind[4:])
	if !b.checked {
		if version == 1 {
			return nil
		}
		return errors.New("its checksum does not agree")
	}
	b.validation = behind[validationHeader:]
	return nil
}

// parse reads the dataset inside the block.
func (b *block) parse(size int64) error {
	le, d := binary.LittleEndian, b.raw[blockHeaderSize:]
	start := int64(le.Uint32(d[8:]))
	if size < datasetHeaderSize || size > int64(len(d)) || start < datasetHeaderSize || start > size {
		return errors.New("its dataset gives a wrong length")
	}
	b.identification = [16]byte(d[16:32])
	b.nonceCounter = le.Uint32(d[32:])
	b.method = le.Uint16(d[36:])
	b.created = le.Uint64(d[40:])
	var err error
	b.datums, err = parseDatums(d[start:size])
	return err
}

// readCopies reads all copies and chooses: among the good ones that with the highest nonce counter, which grows with
// every change, so that an interrupted update does not show old protectors.
func readCopies(r io.ReaderAt, size int64, h header) (*block, []Copy, error) {
	var blocks []*block
	var copies []Copy
	read := func(at int64) {
		b, err := readBlock(r, size, at, h.layout)
		c := Copy{Offset: at}
		if err != nil {
			b, c.Damage = nil, err.Error()
		} else {
			c.Checked = b.checked
		}
		blocks, copies = append(blocks, b), append(copies, c)
	}
	for _, at := range h.offsets {
		read(at)
	}
	if h.layout == Vista && blocks[0] != nil { // its header knows the first copy alone
		for _, at := range blocks[0].copies {
			if at != h.offsets[0] && len(copies) < copyCount {
				read(at)
			}
		}
	}
	best := -1
	for i, b := range blocks {
		if b != nil && (best < 0 || b.nonceCounter > blocks[best].nonceCounter) {
			best = i
		}
	}
	if best < 0 {
		return nil, copies, fmt.Errorf("%w: %s", ErrDamaged, damages(copies))
	}
	copies[best].Used = true
	return blocks[best], copies, nil
}

// damages tells the reasons, each once.
func damages(copies []Copy) string {
	var reasons []string
	for _, c := range copies {
		if !slices.Contains(reasons, c.Damage) {
			reasons = append(reasons, c.Damage)
		}
	}
	text := "no copy of it can be used"
	for i, reason := range reasons {
		if i == 0 {
			text += ": " + reason
		} else {
			text += "; " + reason
		}
	}
	return text
}
