package iso_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// TestFromDiscToStick goes the way of a build: a boot.wim is read where it lies in a UDF disc, changed, and streamed into
// the FAT volume of a stick, without a file in between; then everything is read back.
func TestFromDiscToStick(t *testing.T) {
	need(t, "genisoimage", "genisoimage")
	ctx, dir := context.Background(), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sources"), 0o755); err != nil {
		t.Fatal(err)
	}
	blank := wim.Blank(wim.Image{Name: "Windows PE", Architecture: "amd64"}, when)
	if err := os.WriteFile(filepath.Join(dir, "sources", "boot.wim"), blank, 0o644); err != nil {
		t.Fatal(err)
	}
	disc := filepath.Join(t.TempDir(), "win.iso")
	run(t, "genisoimage", "-quiet", "-udf", "-o", disc, dir)

	f, err := os.Open(disc)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, _ := f.Stat()
	d, err := iso.Open(f, st.Size())
	if err != nil || d.Kind() != iso.UDF {
		t.Fatal(d, err)
	}
	source, err := d.Open("sources/boot.wim")
	if err != nil {
		t.Fatal(err)
	}
	w, err := wim.Open(source.(io.ReaderAt), int64(len(blank)))
	if err != nil {
		t.Fatal(err)
	}
	agent := bytes.Repeat([]byte("agent"), 100_000)
	plan, err := w.Plan(ctx, wim.Options{Time: when}, []wim.Change{wim.PutBytes("Windows/System32/fleetmend-pe.exe", agent)})
	if err != nil {
		t.Fatal(err)
	}
	volume, err := fat.NewPlan(fat.Options{Time: when}, []content.Entry{{Path: "sources/boot.wim", Size: plan.Size(),
		Open: func(ctx context.Context) (io.ReadCloser, error) { return content.Stream(ctx, plan.WriteTo), nil }}})
	if err != nil {
		t.Fatal(err)
	}
	disk, err := gpt.New(volume.Size(), gpt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stick, err := os.Open(create(t, "stick.img", func(ctx context.Context, w io.Writer) error { return disk.WriteTo(ctx, w, volume.WriteTo) }))
	if err != nil {
		t.Fatal(err)
	}
	defer stick.Close()

	table, err := gpt.Read(stick, disk.Size)
	if err != nil || table.Backup {
		t.Fatal(table, err)
	}
	p := table.Partitions[0]
	v, err := fat.Open(io.NewSectionReader(stick, p.Offset, p.Size), p.Size)
	if err != nil {
		t.Fatal(err)
	}
	file, err := v.Open("SOURCES/BOOT.WIM")
	if err != nil {
		t.Fatal(err)
	}
	again, err := wim.Open(file.(io.ReaderAt), plan.Size())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Verify(ctx); err != nil {
		t.Error(err)
	}
	image, err := again.FS(1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(image, "windows/system32/FLEETMEND-PE.EXE"); err != nil || !bytes.Equal(got, agent) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
