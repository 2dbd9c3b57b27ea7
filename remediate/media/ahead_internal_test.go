package media

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

func TestAheadGivesTheSameBytes(t *testing.T) {
	for _, size := range []int{0, 1, aheadSize - 1, aheadSize, aheadSize + 1, 9*aheadSize + 77} {
		want := make([]byte, size)
		rand.NewChaCha8([32]byte{1}).Read(want)
		digest := ""
		a := newAhead(io.NopCloser(bytes.NewReader(want)), func(d string) { digest = d })
		got, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(got, want) || digest != sha(want) {
			t.Errorf("%d bytes: %d came back, %v, %s", size, len(got), err, digest)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	broken := errors.New("broken")
	a := newAhead(io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 3*aheadSize+5)), iotest.ErrReader(broken))), func(string) { t.Error("a hash of half a content") })
	if n, err := io.Copy(io.Discard, a); !errors.Is(err, broken) || n != 3*aheadSize+5 {
		t.Errorf("%d, %v", n, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// TestAheadStops closes in the middle, while the source has nothing to give and while it has too much.
func TestAheadStops(t *testing.T) {
	r, w := io.Pipe()
	a := newAhead(r, func(string) { t.Error("a hash of nothing") })
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("the source was left open")
	}
	a = newAhead(io.NopCloser(endless{}), func(string) { t.Error("a hash of the endless") })
	if _, err := io.CopyN(io.Discard, a, 10*aheadSize); err != nil {
		t.Error(err)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestSparse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var want []byte
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &sparse{f: f}
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
	s.Write(make([]byte, 1<<20)) //nolint:errcheck // checked by what follows
	want = append(want, make([]byte, 1<<20)...)
	if err := s.finish(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v; or others", len(got), len(want), err)
	}
}
