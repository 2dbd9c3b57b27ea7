package iso_test

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
)

// A disc where two names lead to one directory is no tree: with a few dozen of them, one in the other, a walk would never
// end. The second name is not followed, and everything else can still be read.
func TestDirectoryInTwoPlaces(t *testing.T) {
	good := image(t, iso.Options{}, []content.Entry{content.Bytes("AAA/SUB/X.TXT", []byte("x")), content.Bytes("BBB/Y.TXT", []byte("y")), content.Bytes("ROOT.TXT", []byte("r"))})
	record := func(b []byte, name string) []byte {
		id := append([]byte{byte(len(name))}, name...)
		for at := 18 * 2048; at+34 < len(b); at++ { // behind the descriptors
			if r := b[at:]; bytes.HasPrefix(r[32:], id) && r[25] == 2 && int(r[0]) == (33+len(name)+1)&^1 {
				return r[:34]
			}
		}
		t.Fatalf("no directory %s", name)
		return nil
	}
	for _, c := range []struct{ child, as, bad string }{{"BBB", "AAA", "BBB"}, {"SUB", "BBB", "AAA/SUB"}, {"SUB", "AAA", "AAA/SUB"}} {
		b := bytes.Clone(good)
		copy(record(b, c.child)[2:18], record(b, c.as)[2:18])
		v, err := iso.OpenKind(bytes.NewReader(b), int64(len(b)), iso.ISO9660)
		if err != nil {
			t.Fatal(err)
		}
		var bad []string
		err = fs.WalkDir(v, ".", func(p string, _ fs.DirEntry, err error) error {
			if damage := (*iso.DamagedError)(nil); errors.As(err, &damage) {
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
