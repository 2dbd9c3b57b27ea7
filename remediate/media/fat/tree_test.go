package fat_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
)

// A volume where two names lead to one directory is no tree: with a few dozen of them, one in the other, a walk would
// never end. The second name is not followed, and everything else can still be read.
func TestDirectoryInTwoPlaces(t *testing.T) {
	p, err := fat.NewPlan(fat.Options{Type: fat.FAT12}, []content.Entry{
		content.Bytes("AAA/SUB/X.TXT", []byte("x")), content.Bytes("BBB/Y.TXT", []byte("y")), content.Bytes("ROOT.TXT", []byte("r"))})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	slot := func(image []byte, name string) []byte {
		i := bytes.Index(image, []byte(name+strings.Repeat(" ", 11-len(name))))
		if i < 0 {
			t.Fatalf("no directory %s", name)
		}
		return image[i:][:32]
	}
	for _, c := range []struct{ child, as, bad string }{{"BBB", "AAA", "BBB"}, {"SUB", "BBB", "AAA/SUB"}, {"SUB", "AAA", "AAA/SUB"}} {
		image := bytes.Clone(b.Bytes())
		copy(slot(image, c.child)[26:28], slot(image, c.as)[26:28])
		v, err := fat.Open(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		var bad []string
		err = fs.WalkDir(v, ".", func(p string, _ fs.DirEntry, err error) error {
			if damage := (*fat.DamagedError)(nil); errors.As(err, &damage) {
				bad = append(bad, p)
			} else if err != nil {
				t.Error(err)
			}
			return nil
		})
		if err != nil || len(bad) != 1 || bad[0] != c.bad {
			t.Errorf("%s as %s: %v are damaged, %v", c.child, c.as, bad, err)
		}
		if got, err := fs.ReadFile(v, "ROOT.TXT"); err != nil || string(got) != "r" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// A file in thousands of pieces is found at every offset.
func TestFileInPieces(t *testing.T) {
	want := make([]byte, 512*1000+77)
	for i := range want {
		want[i] = byte(i / 512 * 31)
	}
	p, err := fat.NewPlan(fat.Options{Type: fat.FAT16, Size: 16 << 20}, []content.Entry{content.Bytes("A.BIN", want)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	image := b.Bytes()
	u16 := func(o int) int { return int(image[o]) | int(image[o+1])<<8 }
	table, size, spc, slots := u16(14)*512, u16(22)*512, int(image[13])*512, u16(17)
	data := table + 2*size + slots*32
	n := (len(want) + spc - 1) / spc
	// Swap each cluster of the file with its neighbour and chain them in the order of their content.
	chain := make([]int, n)
	for i := range n {
		chain[i] = 2 + i
	}
	for i := 0; i+1 < n; i += 2 {
		x, y := image[data+i*spc:][:spc], image[data+(i+1)*spc:][:spc]
		z := bytes.Clone(x)
		copy(x, y)
		copy(y, z)
		chain[i], chain[i+1] = chain[i+1], chain[i]
	}
	put := func(at, v int) { image[table+2*at], image[table+2*at+1] = byte(v), byte(v>>8) }
	for i, c := range chain {
		if i+1 < n {
			put(c, chain[i+1])
		} else {
			put(c, 0xffff)
		}
	}
	slot := image[bytes.Index(image, []byte("A       BIN")):]
	slot[26], slot[27] = byte(chain[0]), byte(chain[0]>>8)
	v, err := fat.Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(v, "A.BIN"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v; or others", len(got), err)
	}
	f, err := v.Open("A.BIN")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := int64(0); off < int64(len(want)); off += 4099 {
		got := make([]byte, min(3000, int64(len(want))-off))
		if _, err := f.(*fat.File).ReadAt(got, off); err != nil || !bytes.Equal(got, want[off:][:len(got)]) {
			t.Fatalf("at %d: %v, or other bytes", off, err)
		}
	}
}
