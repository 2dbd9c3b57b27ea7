package media

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// drawer is a usb.System of files.
type drawer []usb.Disk

func (d drawer) Disks(context.Context) ([]usb.Disk, error) { return d, nil }
func (d drawer) Open(_ context.Context, disk usb.Disk, _ bool) (usb.Device, error) {
	return os.OpenFile(disk.Path, os.O_RDWR, 0)
}

// TestEachDiskIsAgreedTo: without consent to each disk none is touched, and the question says what would be lost.
func TestEachDiskIsAgreedTo(t *testing.T) {
	dir := t.TempDir()
	image := make([]byte, 3<<20)
	rand.Read(image)
	copy(image[446:512], append(make([]byte, 64), 0x55, 0xaa))
	copy(image[446:], []byte{0x80, 0, 0, 0, 0x0c, 0, 0, 0, 63, 0, 0, 0, 0, 16, 0, 0})
	r := WriteRequest{Image: filepath.Join(dir, "x.img"), Answers: question.Answers{}}
	if err := os.WriteFile(r.Image, image, 0o600); err != nil {
		t.Fatal(err)
	}
	var disks drawer
	empty := make([]byte, 8<<20)
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		disks = append(disks, usb.Disk{Path: path, Model: "Stick", Serial: "S" + name, Size: 8 << 20, Sector: 512, Removable: true,
			Volumes: []usb.Volume{{Kind: "FAT32", Label: "HOLIDAY"}}})
		r.Disks = append(r.Disks, "S"+name)
	}
	d, said := work(t, desk.Options{Disks: disks})
	untouched := func() {
		t.Helper()
		for _, disk := range disks {
			if b, err := os.ReadFile(disk.Path); err != nil || !bytes.Equal(b, empty) {
				t.Fatalf("%s was touched (%v)", disk.Path, err)
			}
		}
	}
	for i, disk := range disks {
		_, err := Write(t.Context(), d, r)
		needed := (*question.NeededError)(nil)
		if !errors.As(err, &needed) || needed.Question.Kind != question.Word || needed.Question.Word != disk.Path+" "+disk.Serial {
			t.Fatalf("question %d: %v", i, err)
		}
		for _, want := range []string{disk.Serial + " is " + disk.Path, "Stick", "8.4 MB", "HOLIDAY", "ALL OF IT WILL BE LOST"} {
			if !strings.Contains(needed.Question.Text, want) {
				t.Errorf("question %d lacks %q: %s", i, want, needed.Question.Text)
			}
		}
		untouched()
		r.Answers[needed.Question.ID] = question.Answer{Text: "another"}
		if _, err := Write(t.Context(), d, r); !errors.As(err, &needed) {
			t.Errorf("another word was taken for consent: %v", err)
		}
		untouched()
		r.Answers[needed.Question.ID] = question.Answer{Text: needed.Question.Word}
	}
	// Another stick of that name and serial number, as cheap ones share, plugged in while it was typed.
	shown := disks[1]
	for what, other := range map[string]usb.Disk{
		"number": {Number: "8:32"}, "model": {Model: "Backup"}, "size": {Size: shown.Size + 512}, "content": {Volumes: []usb.Volume{{Kind: "NTFS", Label: "PAYROLL"}}},
	} {
		disks[1].Number, disks[1].Model = cmp.Or(other.Number, shown.Number), cmp.Or(other.Model, shown.Model)
		disks[1].Size = cmp.Or(other.Size, shown.Size)
		if other.Volumes != nil {
			disks[1].Volumes = other.Volumes
		}
		if _, err := Write(t.Context(), d, r); !errors.As(err, new(*question.NeededError)) {
			t.Errorf("a disk with another %s than was shown: %v", what, err)
		}
		untouched()
		disks[1] = shown
	}
	results, err := Write(t.Context(), d, r)
	if err != nil || len(results) != 2 || !results[0].OK || !results[1].OK {
		t.Fatalf("%v %+v", err, results)
	}
	if same, err := Compare(t.Context(), d, "Sa", r.Image, nil); err != nil || same.Disk.Path != disks[0].Path {
		t.Errorf("%+v, %v", same, err)
	}
	r.Answers, r.Sure = nil, true
	if _, err := Write(t.Context(), d, r); !hint.IsMistake(err) {
		t.Errorf("sure without serial numbers: %v", err)
	}
	r.Serials = []string{"Sa"}
	if _, err := Write(t.Context(), d, r); !hint.IsMistake(err) || !strings.Contains(err.Error(), `"Sb"`) {
		t.Errorf("one that is not named: %v", err)
	}
	r.Serials = []string{"Sa", "Sb"}
	if _, err := Write(t.Context(), d, r); err != nil || len(*said) == 0 || !strings.Contains((*said)[len(*said)-1], "Sb is ") {
		t.Errorf("%v, said %v", err, *said)
	}
}
