package fve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Layout is how a volume announces its metadata.
type Layout string

// The layouts.
const (
	Vista          Layout = "windows-vista"
	Seven          Layout = "windows-7" // and all later ones
	ToGo           Layout = "to-go"     // a FAT volume that older systems see as a reader program
	EncryptOnWrite Layout = "encrypt-on-write"
)

// Errors that callers tell apart. ErrNotBitLocker is returned for whatever does not begin like a BitLocker volume,
// ErrDamaged for what does and has no usable metadata.
var (
	ErrNotBitLocker = errors.New("not a BitLocker volume")
	ErrDamaged      = errors.New("the BitLocker metadata is damaged")
)

const (
	headerSize  = 512
	copyCount   = 3         // copies of the metadata
	regionSize  = 64 << 10  // of one copy, its checksum and padding
	vistaRegion = 16 << 10  //
	maxCluster  = 2 << 20   // the largest cluster NTFS has
	maxSector   = 4 << 10   //
	unknownSize = 1<<63 - 1 // of a device that does not tell
)

// GUIDs in the volume header, in the byte order of the disk: {4967D63B-2E29-4AD8-8399-F6A339E3D001} stands before the three
// offsets of the metadata, {92A84D3B-DD80-4D0E-9E4E-B1E3284EAED8} too where Windows encrypts what is written.
var (
	guidOffsets    = [16]byte{0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01}
	guidEOWOffsets = [16]byte{0x3b, 0x4d, 0xa8, 0x92, 0x80, 0xdd, 0x0e, 0x4d, 0x9e, 0x4e, 0xb1, 0xe3, 0x28, 0x4e, 0xae, 0xd8}
)

// header is what the first sector says.
type header struct {
	layout  Layout
	offsets []int64 // of the metadata copies: three, or the first alone in the layout of Windows Vista
}

// readHeader reads the first sector of a volume.
func readHeader(r io.ReaderAt, size int64) (header, error) {
	if size < headerSize {
		return header{}, fmt.Errorf("%w: it has %d bytes, the first sector alone has 512", ErrNotBitLocker, size)
	}
	raw := make([]byte, min(maxSector, size))
	if n, err := r.ReadAt(raw, 0); n < headerSize {
		if err == nil || errors.Is(err, io.EOF) {
			return header{}, fmt.Errorf("%w: it ends within the first sector", ErrNotBitLocker)
		}
		return header{}, fmt.Errorf("read the first sector: %w", err)
	}
	return parseHeader(raw[:headerSize])
}

func parseHeader(b []byte) (header, error) {
	at := 0
	switch {
	case bytes.Equal(b[3:11], []byte("-FVE-FS-")) && b[0] == 0xeb && b[1] == 0x52:
		return parseVista(b)
	case bytes.Equal(b[3:11], []byte("-FVE-FS-")):
		at = 160
	case bytes.Equal(b[3:11], []byte("MSWIN4.1")):
		at = 424 // also the name of any FAT volume made by Windows 95 and later: the GUID decides
	default:
		return header{}, ErrNotBitLocker
	}
	h := header{layout: Seven}
	switch guid := [16]byte(b[at : at+16]); {
	case guid == guidOffsets && at == 424:
		h.layout = ToGo
	case guid == guidOffsets:
	case guid == guidEOWOffsets:
		h.layout = EncryptOnWrite
	case at == 424:
		return header{}, ErrNotBitLocker
	default:
		return header{}, fmt.Errorf("%w: the volume header names no metadata", ErrDamaged)
	}
	for i := range copyCount {
		h.offsets = append(h.offsets, offset(b[at+16+8*i:]))
	}
	return h, nil
}

// parseVista reads a header that is NTFS but for the name and the number of the metadata's first cluster.
func parseVista(b []byte) (header, error) {
	sector, cluster := int64(binary.LittleEndian.Uint16(b[11:])), int64(b[13])
	first := binary.LittleEndian.Uint64(b[56:])
	if sector < 512 || sector > maxSector || cluster == 0 || sector*cluster > maxCluster || first > math.MaxInt64/maxCluster {
		return header{}, fmt.Errorf("%w: the volume header has impossible numbers", ErrDamaged)
	}
	return header{layout: Vista, offsets: []int64{int64(first) * sector * cluster}}, nil
}

// offset reads a 64-bit offset; what is too large for one becomes -1, which no volume has.
func offset(b []byte) int64 {
	if v := binary.LittleEndian.Uint64(b); v <= math.MaxInt64 {
		return int64(v)
	}
	return -1
}
