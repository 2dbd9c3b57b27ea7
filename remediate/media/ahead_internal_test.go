package media

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
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
