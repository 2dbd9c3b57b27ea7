package fat_test

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
)

// BenchmarkVolume writes a volume with a 500 MB file beside a plain copy of the same bytes to the same disk. Budget: 1.5.
func BenchmarkVolume(b *testing.B) {
	const size = 500_000_000
	dir := b.TempDir()
	name := filepath.Join(dir, "boot.wim")
	src, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyN(src, rand.NewChaCha8([32]byte{1}), size); err != nil {
		b.Fatal(err)
	}
	if err := src.Close(); err != nil {
		b.Fatal(err)
	}
	e, err := content.File("sources/boot.wim", name)
	if err != nil {
		b.Fatal(err)
	}
	p, err := fat.NewPlan(fat.Options{}, []content.Entry{e})
	if err != nil {
		b.Fatal(err)
	}
	timed := func(write func(io.Writer) error) time.Duration {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			b.Fatal(err)
		}
		defer out.Close()
		start := time.Now()
		if err := write(out); err != nil {
			b.Fatal(err)
		}
		if err := out.Sync(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	var ours, plain time.Duration
	b.SetBytes(size)
	for b.Loop() {
		plain += timed(func(w io.Writer) error {
			r, err := os.Open(name)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 1<<20))
			return err
		})
		ours += timed(func(w io.Writer) error { return p.WriteTo(context.Background(), w) })
	}
	b.ReportMetric(float64(ours)/float64(plain), "ratio-plain-copy")
}
