package media

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestImageFileGivesTheSameBytes writes pieces of any length, with and without runs of zeros, through the cache and past it.
func TestImageFileGivesTheSameBytes(t *testing.T) {
	for _, direct := range []bool{true, false} {
		for _, tail := range []int{0, 512, 1 << 20, 1<<20 + 512} {
			testImageFile(t, direct, tail)
		}
	}
}

func testImageFile(t *testing.T, direct bool, tail int) {
	rng := rand.New(rand.NewPCG(1, 2))
	var want []byte
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newImageFile(f)
	if !direct {
		s.cached()
	}
	for range 60 {
		p := make([]byte, rng.IntN(1<<20))
		if rng.IntN(2) == 0 {
			for i := rng.IntN(len(p) + 1); i < len(p); i += 1 + rng.IntN(300_000) {
				p[i] = 1
			}
		}
		want = append(want, p...)
		if n, err := s.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	end := bytes.Repeat([]byte{byte(tail >> 9 & 1)}, tail)
	if _, err := s.Write(end); err != nil {
		t.Fatal(err)
	}
	want = append(want, end...)
	if err := s.finish(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("direct %v, tail %d: %d bytes of %d, %v; or others", direct, tail, len(got), len(want), err)
	}
}
