package fve

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
)

// disk is an image with BitLocker volumes at the given places.
func disk(t testing.TB, size int64, places ...int64) []byte {
	t.Helper()
	volume := model{layout: Seven, current: 4, next: 4, master: make([]byte, 32)}.image(t)
	b := make([]byte, size)
	for _, at := range places {
		copy(b[at:], volume)
	}
	return b
}

// mbrPut writes an entry of an MBR: kind, start and length in sectors.
func mbrPut(sector []byte, i int, kind byte, start, length int64) {
	sector[510], sector[511] = 0x55, 0xaa
	e := sector[446+16*i:]
	e[4] = kind
	binary.LittleEndian.PutUint32(e[8:], uint32(start))
	binary.LittleEndian.PutUint32(e[12:], uint32(length))
}

// gptPut writes a table of 128 entries, entry n being a volume at a place, with its header at one place and its entries at
// another; all in bytes.
func gptPut(b []byte, sector, header, entries int64, n int, at int64) {
	le := binary.LittleEndian
	table := b[entries : entries+128*128]
	e := table[128*n:]
	e[0] = 1
	le.PutUint64(e[32:], uint64(at/sector))
	le.PutUint64(e[40:], uint64((at+modelSize)/sector-1))
	h := b[header : header+92]
	copy(h, "EFI PART")
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[72:], uint64(entries/sector))
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], 128)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(table))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}

func starts(t testing.TB, b []byte) (numbers []int, places []int64) {
	t.Helper()
	found, err := Partitions(t.Context(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Error(err)
	}
	for _, p := range found {
		numbers, places = append(numbers, p.Number), append(places, p.Start)
	}
	return numbers, places
}

// TestPartitionsOfBackupTable: somebody wiped the beginning of the disk, or cloned it to a larger one.
func TestPartitionsOfBackupTable(t *testing.T) {
	const size, at = 6 << 20, 2 << 20
	for _, sector := range []int64{512, 4096} {
		whole := disk(t, size, at)
		mbrPut(whole, 0, 0xee, 1, size/sector-1)
		gptPut(whole, sector, sector, 2*sector, 2, at)
		gptPut(whole, sector, size-sector, size-sector-128*128, 2, at)
		for name, change := range map[string]func([]byte) []byte{
			"whole":                       func(b []byte) []byte { return b },
			"primary header wiped":        func(b []byte) []byte { clear(b[sector : 2*sector]); return b },
			"primary entries wiped":       func(b []byte) []byte { clear(b[2*sector : 2*sector+128*128]); return b },
			"the first MiB wiped":         func(b []byte) []byte { clear(b[:1<<20]); return b },
			"backup wiped":                func(b []byte) []byte { clear(b[size-1<<20:]); return b },
			"on a larger disk, no header": func(b []byte) []byte { clear(b[sector : 2*sector]); return append(b, make([]byte, 3<<20)...) },
		} {
			if numbers, places := starts(t, change(bytes.Clone(whole))); !slices.Equal(numbers, []int{3}) || !slices.Equal(places, []int64{at}) {
				t.Errorf("sectors of %d, %s: %v at %v", sector, name, numbers, places)
			}
		}
	}
}

// TestLogicalPartitions: the second of three logical ones is no BitLocker volume, and one primary is.
func TestLogicalPartitions(t *testing.T) {
	const mib = 1 << 20 / 512
	b := disk(t, 16<<20, 1<<20, 5<<20, 13<<20)
	sector := func(at int64) []byte { return b[at*512 : at*512+512] }
	mbrPut(sector(0), 0, 7, mib, modelSize/512)
	mbrPut(sector(0), 1, 0x0f, 4*mib, 12*mib)
	mbrPut(sector(4*mib), 0, 7, mib, modelSize/512)
	mbrPut(sector(4*mib), 1, 5, 4*mib, 4*mib)
	mbrPut(sector(8*mib), 0, 0x83, mib, modelSize/512)
	mbrPut(sector(8*mib), 1, 5, 8*mib, 4*mib)
	mbrPut(sector(12*mib), 0, 7, mib, modelSize/512)
	if numbers, places := starts(t, b); !slices.Equal(numbers, []int{1, 5, 7}) || !slices.Equal(places, []int64{1 << 20, 5 << 20, 13 << 20}) {
		t.Errorf("%v at %v", numbers, places)
	}
	mbrPut(sector(12*mib), 1, 5, 4*mib, 4*mib) // a ring
	if numbers, _ := starts(t, b); !slices.Equal(numbers, []int{1, 5, 7}) {
		t.Errorf("a ring: %v", numbers)
	}
	// A hybrid disk names its volume in both tables.
	gptPut(b, 512, 512, 1024, 0, 1<<20)
	if numbers, places := starts(t, b); !slices.Equal(numbers, []int{1, 5, 7}) || places[0] != 1<<20 {
		t.Errorf("hybrid: %v at %v", numbers, places)
	}
}

// FuzzPartitions mutates both tables of a disk that has all kinds of partitions.
func FuzzPartitions(f *testing.F) {
	head := make([]byte, 4096)
	mbrPut(head, 0, 7, 8, 1024)
	mbrPut(head, 1, 5, 8, 2048)
	mbrPut(head[8*512-512:], 0, 7, 1, 1024)
	f.Add(head, []byte("EFI PART"))
	gptHead := make([]byte, 40*512)
	gptPut(gptHead, 512, 512, 1024, 0, 8*512)
	f.Add(gptHead, gptHead[512:])
	f.Fuzz(func(t *testing.T, first, last []byte) {
		defer bounded.Input(t, len(first)+len(last))()
		b := append(append(bytes.Clone(first), make([]byte, 4096)...), last...)
		found, err := Partitions(t.Context(), bytes.NewReader(b), int64(len(b)))
		if err == nil && len(found) == 0 {
			t.Fatal("neither a volume nor an error")
		}
		for _, p := range found {
			if p.Start < 0 || p.Size <= 0 || p.Start+p.Size > int64(len(b)) {
				t.Fatalf("%+v in %d bytes", p, len(b))
			}
		}
	})
}
