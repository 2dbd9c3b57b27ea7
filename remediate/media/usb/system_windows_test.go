package usb

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// files is a System whose disks are files, opened by the calls that open disks.
type files struct{ disks []Disk }

func (f files) Disks(context.Context) ([]Disk, error) { return f.disks, nil }

func (f files) Open(_ context.Context, d Disk, write bool) (Device, error) {
	h, err := open(d.Path, windows.GENERIC_READ|windows.GENERIC_WRITE, windows.FILE_FLAG_NO_BUFFERING|windows.FILE_FLAG_WRITE_THROUGH)
	if err != nil {
		return nil, err
	}
	return &device{handle: h, write: write}, nil
}

func TestUnbufferedFile(t *testing.T) {
	data := bootImage(t, 9<<20)
	dir, err := os.MkdirTemp("", "usb") // Wine 8 cannot remove in the way that t.TempDir insists on
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := filepath.Join(dir, "stick")
	if err := os.WriteFile(name, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	system := files{disks: []Disk{{Path: name, Size: 16 << 20, Sector: 512, Removable: true}}}
	results, err := Write(t.Context(), imageOf(data), system.disks, Options{System: system})
	if err != nil || results[0].Err != nil || !results[0].Relocated {
		t.Fatalf("%v %+v", err, results)
	}
	if err := Verify(t.Context(), system.disks[0], imageOf(data), Options{System: system}); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(b[1<<20:9<<20], data[1<<20:9<<20]) {
		t.Error("the file differs")
	}
}

// TestLocalDisks lists what is there: whatever it is, the disk of Windows must be among the refused.
func TestLocalDisks(t *testing.T) {
	disks, err := Disks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range disks {
		t.Logf("%+v", d)
		for _, v := range d.Volumes {
			if strings.EqualFold(v.Name, "C:") && d.Check(true) == nil {
				t.Errorf("%s holds C: and would be written", d.Path)
			}
		}
	}
}
