package iso_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

// TestGolden pins the bytes of a WIM, a stick and a disc, so that they are the same on every system and with every
// version: who changes a layout on purpose changes the hashes here.
func TestGolden(t *testing.T) {
	ctx := context.Background()
	var w bytes.Buffer
	blank := wim.Blank(wim.Image{Name: "Windows PE", Architecture: "amd64"}, when)
	if _, err := wim.Inject(ctx, bytes.NewReader(blank), int64(len(blank)), &w, wim.Options{Time: when}, []wim.Change{
		wim.PutBytes("Windows/System32/startnet.cmd", []byte("wpeinit\r\n")), wim.PutBytes("Windows/big.bin", make([]byte, 1<<20)), wim.Mkdir("Prüfung"),
	}); err != nil {
		t.Fatal(err)
	}
	list := append(entries(contents(t)), content.Bytes("sources/winre.wim", w.Bytes()))
	volume, err := fat.NewPlan(fat.Options{Label: "FLEETMEND", Time: when, Hidden: 2048}, list)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := gpt.New(volume.Size(), gpt.Options{Seed: []byte("golden")})
	if err != nil {
		t.Fatal(err)
	}
	image, err := iso.NewPlan(iso.Options{Boot: boot, Time: when}, list)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		write func(context.Context, io.Writer) error
		want  string
	}{
		"WIM":   {func(_ context.Context, o io.Writer) error { _, err := o.Write(w.Bytes()); return err }, "523a1b8bc750de16a0dbfbbf94bb002cbc1e4c286c7ff2ea4d1c8fb7806b5d56"},
		"stick": {func(ctx context.Context, o io.Writer) error { return disk.WriteTo(ctx, o, volume.WriteTo) }, "8135dea3403c01f7cb121e200d777a3c90913c68bc9ead2504f12e3adec5eae0"},
		"disc":  {image.WriteTo, "c80f89e0e0726165fbf0f26b5944b1bc24e535bcba1ff87af0e257956ee96aaf"},
	} {
		sum := sha256.New()
		if err := tt.write(ctx, sum); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sum.Sum(nil)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
