// Package gpt writes and reads GUID partition tables with one data partition, as a boot stick needs them.
//
// [New] lays a disk out around a partition of known size; [Disk.WriteTo] streams it: protective MBR, primary table, the
// partition, backup table. [Read] checks and reads the table of an existing disk. The GUIDs come from a seed, so the same
// input gives the same bytes; the package asks for no randomness and never writes to a device by itself.
//
// Format: UEFI Specification 2.10, chapter 5. Sectors of 512 bytes are written; 512 and 4096 are read.
package gpt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

var le = binary.LittleEndian

const (
	sector     = 512
	alignment  = 1 << 20
	entries    = 128
	entrySize  = 128
	headerSize = 92
	tableSize  = entries * entrySize
)

// GUID is a GUID in the order of its text form.
type GUID [16]byte

// BasicData is the type of partition that Windows and Windows PE give a drive letter.
var BasicData = GUID{0xeb, 0xd0, 0xa0, 0xa2, 0xb9, 0xe5, 0x44, 0x33, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7}

// EFISystem is the type of the EFI system partition.
var EFISystem = GUID{0xc1, 0x2a, 0x73, 0x28, 0xf8, 0x1f, 0x11, 0xd2, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}

func (g GUID) String() string {
	return fmt.Sprintf("%X-%X-%X-%X-%X", g[0:4], g[4:6], g[6:8], g[8:10], g[10:])
}

// Mixed swaps between the text order and the order on disk; it is its own inverse.
func (g GUID) mixed() GUID {
	return GUID{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}
}

// Derive makes a version 8 GUID of a seed and a purpose.
func derive(seed []byte, purpose string) (g GUID) {
	h := sha256.New()
	fmt.Fprintf(h, "fleetmend gpt %s %d ", purpose, len(seed))
	h.Write(seed)
	copy(g[:], h.Sum(nil))
	g[6], g[8] = g[6]&0x0f|0x80, g[8]&0x3f|0x80
	return g
}

// Partition is one entry of a table.
type Partition struct {
	Type   GUID
	ID     GUID
	Name   string
	Offset int64 // bytes
	Size   int64 // bytes
}

// Disk is a partition table.
type Disk struct {
	ID         GUID
	Size       int64 // bytes of the whole disk
	SectorSize int64
	Partitions []Partition
	// Backup tells that the primary table was unusable and the one at the end was read.
	Backup bool
}

// Options describe a new disk.
type Options struct {
	Name string // of the partition, up to 36 characters; default "FLEETMEND"
	Seed []byte // what the GUIDs are made from; the hash of a manifest, for example
	Size int64  // bytes of the disk; 0: the smallest that holds the partition
}

// PartitionOffset is where the partition of a new disk begins, in bytes.
const PartitionOffset = alignment

// New lays out a disk with one basic data partition of the given size in bytes, which must be a multiple of 512.
func New(size int64, o Options) (*Disk, error) {
	if size <= 0 || size%sector != 0 {
		return nil, fmt.Errorf("partition of %d bytes: not a whole number of sectors", size)
	}
	if o.Name == "" {
		o.Name = "FLEETMEND"
	}
	if len(utf16.Encode([]rune(o.Name))) > 36 {
		return nil, fmt.Errorf("partition name %q is longer than 36 characters", o.Name)
	}
	smallest := (PartitionOffset + size + sector + tableSize + alignment - 1) / alignment * alignment
	if o.Size == 0 {
		o.Size = smallest
	}
	o.Size -= o.Size % sector
	if need := int64(PartitionOffset) + size + sector + tableSize; o.Size < need {
		return nil, fmt.Errorf("disk of %d bytes is too small: %d bytes are missing", o.Size, need-o.Size)
	}
	return &Disk{ID: derive(o.Seed, "disk"), Size: o.Size, SectorSize: sector, Partitions: []Partition{{
		Type: BasicData, ID: derive(o.Seed, "partition"), Name: o.Name, Offset: PartitionOffset, Size: size}}}, nil
}

// Resize returns the same table for a disk of another size, so that the backup lies at the end of the real stick and
// not at the end of the image.
func (d *Disk) Resize(size int64) (*Disk, error) {
	n := *d
	n.Size = size - size%sector
	for _, p := range d.Partitions {
		if need := p.Offset + p.Size + sector + tableSize; need > n.Size {
			return nil, fmt.Errorf("disk of %d bytes is too small: %d bytes are missing", size, need-n.Size)
		}
	}
	return &n, nil
}

// Head returns what lies before the partition: protective MBR, primary header and table, and zeros.
func (d *Disk) Head() []byte {
	b := make([]byte, PartitionOffset)
	copy(b, d.protective())
	copy(b[2*sector:], d.table())
	copy(b[sector:], d.header(1, d.last(), 2))
	return b
}

// Tail returns what lies behind the partition of a disk that has one: zeros, the backup table and its header.
func (d *Disk) Tail() []byte {
	end := int64(PartitionOffset)
	for _, p := range d.Partitions {
		end = max(end, p.Offset+p.Size)
	}
	b := make([]byte, d.Size-end)
	copy(b[len(b)-sector-tableSize:], d.table())
	copy(b[len(b)-sector:], d.header(d.last(), 1, d.last()-tableSize/sector))
	return b
}

// WriteTo writes the whole disk in order; partition writes exactly the bytes of the partition.
func (d *Disk) WriteTo(ctx context.Context, w io.Writer, partition func(context.Context, io.Writer) error) error {
	if _, err := w.Write(d.Head()); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}
	c := &counter{w: w}
	if err := partition(ctx, c); err != nil {
		return err
	}
	if want := d.Partitions[0].Size; c.n != want {
		return fmt.Errorf("write partition: %d bytes instead of %d", c.n, want)
	}
	if _, err := w.Write(d.Tail()); err != nil {
		return fmt.Errorf("write backup partition table: %w", err)
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (d *Disk) last() int64 { return d.Size/sector - 1 }

// Notice is what a computer without UEFI shows that tries to start from the disk.
const notice = "\r\nThis medium starts on UEFI computers. Choose its UEFI entry in the boot menu.\r\n\x00"

func (d *Disk) protective() []byte {
	b := make([]byte, sector)
	copy(b, []byte{
		0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x18, 0x7c, // xor ax,ax; mov ds,ax; mov si,7c18
		0xac, 0x84, 0xc0, 0x74, 0x09, // next: lodsb; test al,al; jz halt
		0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, // mov ah,0e; mov bx,7; int 10
		0xeb, 0xf2, 0xf4, 0xeb, 0xfd, // jmp next; halt: hlt; jmp halt
	})
	copy(b[24:], notice)
	p := b[446:]
	copy(p, []byte{0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff})
	le.PutUint32(p[8:], 1)
	le.PutUint32(p[12:], uint32(min(d.last(), 0xffffffff)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

func (d *Disk) table() []byte {
	t := make([]byte, tableSize)
	for i, p := range d.Partitions {
		e := t[i*entrySize:]
		typ, id := p.Type.mixed(), p.ID.mixed()
		copy(e, typ[:])
		copy(e[16:], id[:])
		le.PutUint64(e[32:], uint64(p.Offset/sector))
		le.PutUint64(e[40:], uint64((p.Offset+p.Size)/sector-1))
		for j, c := range utf16.Encode([]rune(p.Name)) {
			le.PutUint16(e[56+2*j:], c)
		}
	}
	return t
}

func (d *Disk) header(at, other, table int64) []byte {
	h := make([]byte, sector)
	copy(h, "EFI PART")
	le.PutUint32(h[8:], 0x10000)
	le.PutUint32(h[12:], headerSize)
	le.PutUint64(h[24:], uint64(at))
	le.PutUint64(h[32:], uint64(other))
	le.PutUint64(h[40:], 2+tableSize/sector)
	le.PutUint64(h[48:], uint64(d.last()-1-tableSize/sector))
	id := d.ID.mixed()
	copy(h[56:], id[:])
	le.PutUint64(h[72:], uint64(table))
	le.PutUint32(h[80:], entries)
	le.PutUint32(h[84:], entrySize)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(d.table()))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:headerSize]))
	return h
}
