package wim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// The files that bootmgr could not read either, as wimlib makes them.
func TestRefusesWhatWimlibMakesOtherwise(t *testing.T) {
	needWimlib(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.bin"), bytes.Repeat([]byte("0123456789abcdef"), 400_000))
	noise := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{5}).Read(noise)
	write(t, filepath.Join(dir, "b.bin"), noise)
	refused := func(name string, kind wim.Kind) {
		t.Helper()
		r, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		st, _ := r.Stat()
		var u *wim.UnsupportedError
		if _, err := wim.Open(r, st.Size()); !errors.As(err, &u) || u.Kind != kind || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v", kind, err)
		}
	}
	refused(capture(t, dir, "--solid"), wim.Solid)
	refused(capture(t, dir, "--compress=LZMS"), wim.Solid)
	refused(capture(t, dir, "--compress=LZX", "--chunk-size=64K"), wim.ChunkSize)
	refused(capture(t, dir, "--pipable"), wim.Pipable)
	whole := capture(t, dir, "--compress=none")
	parts := filepath.Join(t.TempDir(), "part.swm")
	wimlib(t, "split", whole, parts, "1")
	refused(parts, wim.Split)
	refused(strings.TrimSuffix(parts, ".swm")+"2.swm", wim.Split)
}

// A source that its own integrity table calls damaged must not become a copy that looks sound.
func TestDamagedSourceIsNotCopied(t *testing.T) {
	needWimlib(t)
	dir := t.TempDir()
	noise := make([]byte, 25<<20)
	rand.NewChaCha8([32]byte{6}).Read(noise)
	write(t, filepath.Join(dir, "noise.bin"), noise)
	name := capture(t, dir, "--compress=none", "--check")
	sound, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := open(t, name).Verify(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{5 << 20, 15 << 20, 24 << 20} { // whole steps, and the last that is not whole
		b := bytes.Clone(sound)
		b[at] ^= 1
		_, err := wim.Inject(context.Background(), bytes.NewReader(b), int64(len(b)), io.Discard, wim.Options{}, []wim.Change{wim.Mkdir("x")})
		var c *wim.CorruptError
		if !errors.As(err, &c) || !strings.Contains(err.Error(), "integrity table") && !strings.Contains(err.Error(), `file "noise.bin" of image 1`) {
			t.Errorf("damage at %d: %v", at, err)
		}
	}
}
