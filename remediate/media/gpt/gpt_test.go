package gpt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
)

func disk(t testing.TB, size int64, o gpt.Options) []byte {
	t.Helper()
	d, err := gpt.New(size, o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = d.WriteTo(context.Background(), &b, func(_ context.Context, w io.Writer) error {
		_, err := w.Write(bytes.Repeat([]byte{0xaa}, int(size)))
		return err
	})
	if err != nil || int64(b.Len()) != d.Size {
		t.Fatalf("%d bytes, planned %d, %v", b.Len(), d.Size, err)
	}
	return b.Bytes()
}

func TestReadsItself(t *testing.T) {
	b := disk(t, 3<<20+512, gpt.Options{Seed: []byte("s"), Name: "Prüfung"})
	if !bytes.Equal(b, disk(t, 3<<20+512, gpt.Options{Seed: []byte("s"), Name: "Prüfung"})) {
		t.Error("two builds differ")
	}
	d, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	p := d.Partitions[0]
	if d.Backup || len(d.Partitions) != 1 || p.Type != gpt.BasicData || p.Name != "Prüfung" || p.Offset != gpt.PartitionOffset || p.Size != 3<<20+512 {
		t.Errorf("%+v", d)
	}
	if b[p.Offset] != 0xaa || b[p.Offset+p.Size-1] != 0xaa || b[p.Offset+p.Size] != 0 {
		t.Error("the partition is not where the table says")
	}
	b[600] ^= 1 // the primary header
	if d, err = gpt.Read(bytes.NewReader(b), int64(len(b))); err != nil || !d.Backup || d.Partitions[0] != p {
		t.Errorf("backup: %+v %v", d, err)
	}
	b[len(b)-100] ^= 1
	b[len(b)-500] ^= 1
	if _, err = gpt.Read(bytes.NewReader(b), int64(len(b))); err == nil {
		t.Error("both damaged, no error")
	}
	if _, err := gpt.Read(strings.NewReader("no disk"), 7); !errors.Is(err, gpt.ErrNoTable) {
		t.Error(err)
	}
}

func TestSgdiskFindsNoProblem(t *testing.T) {
	if _, err := exec.LookPath("sgdisk"); err != nil {
		t.Skip("sgdisk is not installed (Debian: gdisk)")
	}
	check := func(b []byte) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "disk.img")
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("sgdisk", "-v", "-p", name).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "No problems found") || !strings.Contains(string(out), "0700  FLEETMEND") {
			t.Errorf("sgdisk: %v\n%s", err, out)
		}
	}
	for _, size := range []int64{512, 1 << 20, 33<<20 + 1536} {
		b := disk(t, size, gpt.Options{Seed: []byte("x")})
		check(b)
		d, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		big, err := d.Resize(int64(len(b)) + 5<<20)
		if err != nil {
			t.Fatal(err)
		}
		p := b[gpt.PartitionOffset:][:size]
		check(bytes.Join([][]byte{big.Head(), p, big.Tail()}, nil))
	}
}

func TestRefusals(t *testing.T) {
	if _, err := gpt.New(1000, gpt.Options{}); err == nil {
		t.Error("odd size accepted")
	}
	if _, err := gpt.New(1<<20, gpt.Options{Size: 1 << 20}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Error(err)
	}
	if _, err := gpt.New(1<<20, gpt.Options{Name: strings.Repeat("x", 37)}); err == nil {
		t.Error("long name accepted")
	}
	d, _ := gpt.New(1<<20, gpt.Options{})
	if err := d.WriteTo(context.Background(), io.Discard, func(context.Context, io.Writer) error { return nil }); err == nil {
		t.Error("empty partition accepted")
	}
	if _, err := d.Resize(1 << 20); err == nil {
		t.Error("shrunk over the partition")
	}
}

func FuzzRead(f *testing.F) {
	d, err := gpt.New(512, gpt.Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, repair := range []bool{true, false} {
		f.Add(append(d.Head()[:40*512], make([]byte, 512)...), repair)
		f.Add(d.Tail()[len(d.Tail())-40*512:], repair)
	}
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		defer bounded.Input(t, len(b))()
		if repair {
			b = bytes.Clone(b)
			for _, ss := range []int{512, 4096} {
				sealTable(b, ss, ss)
				sealTable(b, len(b)/ss*ss-ss, ss)
			}
		}
		d, err := gpt.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, p := range d.Partitions {
			if p.Offset < 0 || p.Size <= 0 || p.Offset+p.Size > int64(len(b)) {
				t.Fatalf("%+v in %d bytes", p, len(b))
			}
		}
	})
}

// SealTable makes the checksums of the table right whose header is at an offset, so that mutations get behind them.
func sealTable(b []byte, at, ss int) {
	if at < ss || at+92 > len(b) {
		return
	}
	le, h := binary.LittleEndian, b[at:at+92]
	start, n := le.Uint64(h[72:]), uint64(le.Uint32(h[80:]))*uint64(le.Uint32(h[84:]))
	if size := uint64(len(b)); start < size && n <= size && start*uint64(ss)+n <= size {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(b[start*uint64(ss):][:n]))
	}
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}
