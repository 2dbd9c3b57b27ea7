package fat

import "fmt"

// Type is a kind of FAT.
type Type int

// The kinds. Small picks FAT12 or FAT16 by size, as fits an El Torito boot image.
const (
	FAT32 Type = iota
	FAT12
	FAT16
	Small
)

func (t Type) String() string { return [...]string{"FAT32", "FAT12", "FAT16", "small FAT"}[t] }

const (
	sector = 512
	slot   = 32

	// Limits of the cluster count between the kinds, with the distance that Microsoft's specification advises.
	max12, min16, max16, min32, max32 = 4084, 4085 + 16, 65524, 65525 + 16, 1<<28 - 17
)

// Geometry is how a volume of some size is cut. All sizes are in sectors.
type geometry struct {
	kind     Type
	sectors  int64
	reserved int64
	table    int64 // one of the two FATs
	root     int64 // the fixed root directory of FAT12 and FAT16
	cluster  int64
	clusters int64
}

func (g geometry) data() int64         { return g.reserved + 2*g.table + g.root }
func (g geometry) clusterBytes() int64 { return g.cluster * sector }

// Cut lays out a volume. The number of clusters depends on the size of the tables and the other way round, so the
// table grows from a lower bound until it covers every cluster and the two entries that belong to none.
func cut(kind Type, sectors, rootEntries int64) (geometry, error) {
	return cutBy(kind, sectors, rootEntries, cluster32(sectors))
}

// CutBy is cut with another cluster size for FAT32.
func cutBy(kind Type, sectors, rootEntries, cluster int64) (geometry, error) {
	g := geometry{kind: kind, sectors: sectors, reserved: 1, cluster: 1}
	if kind == FAT32 {
		g.reserved, g.cluster = 32, cluster
	} else {
		g.root = ceil(rootEntries*slot, sector)
	}
	for {
		g.fill()
		if kind == FAT32 || g.clusters <= (map[Type]int64{FAT12: max12, FAT16: max16})[kind] {
			break
		}
		if g.cluster *= 2; g.cluster > 64 {
			return g, fmt.Errorf("a volume of %d MiB is too large for %v", sectors*sector>>20, kind)
		}
	}
	if kind == FAT32 { // begin the data on a 4 KiB boundary: flash likes it
		if over := g.data() % 8; over != 0 {
			g.reserved += 8 - over
			g.clusters = (g.sectors - g.data()) / g.cluster
		}
	}
	low, high := int64(1), int64(max12)
	switch kind {
	case FAT16:
		low, high = min16, max16
	case FAT32:
		low, high = min32, max32
	}
	if g.clusters < low || g.clusters > high {
		return g, fmt.Errorf("a volume of %d KiB cannot be %v", sectors*sector>>10, kind)
	}
	return g, nil
}

func (g *geometry) fill() {
	bits := map[Type]int64{FAT12: 12, FAT16: 16, FAT32: 32}[g.kind]
	for g.table = 1; ; {
		g.clusters = max((g.sectors-g.data())/g.cluster, 0)
		need := ceil((g.clusters+2)*bits, 8*sector)
		if need <= g.table {
			return
		}
		g.table += max((need-g.table)/2, 1)
	}
}

// Cluster32 is the table of Microsoft's format program.
func cluster32(sectors int64) int64 {
	const mib = 1 << 20 / sector
	switch {
	case sectors <= 260*mib:
		return 1
	case sectors <= 8<<10*mib:
		return 8
	case sectors <= 16<<10*mib:
		return 16
	case sectors <= 32<<10*mib:
		return 32
	}
	return 64
}

// MinVolume is the smallest size of a kind, in sectors.
func minVolume(kind Type) int64 {
	switch kind {
	case FAT12:
		return 2880
	case FAT16:
		return 4400
	}
	return 34 << 20 / sector
}
