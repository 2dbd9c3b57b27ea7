package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/cmd/internal/command"

	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/media/usb"
)

// drawer is a usb.System of files.
type drawer []usb.Disk

func (d drawer) Disks(context.Context) ([]usb.Disk, error) { return d, nil }
func (d drawer) Open(_ context.Context, disk usb.Disk, _ bool) (usb.Device, error) {
	return os.OpenFile(disk.Path, os.O_RDWR, 0)
}

func TestMediaWrite(t *testing.T) {
	dir := t.TempDir()
	image := make([]byte, 3<<20)
	rand.Read(image)
	copy(image[446:512], append(make([]byte, 64), 0x55, 0xaa)) // one partition in the old way
	copy(image[446:], []byte{0x80, 0, 0, 0, 0x0c, 0, 0, 0, 63, 0, 0, 0, 0, 16, 0, 0})
	noImage := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(noImage, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.img"), image, 0o600); err != nil {
		t.Fatal(err)
	}
	var disks drawer
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, 8<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		disks = append(disks, usb.Disk{Path: path, Model: "Stick", Serial: "S" + name, Size: 8 << 20, Sector: 512, Removable: true, Volumes: []usb.Volume{}})
	}
	disks[1].Serial = ""
	internal := disks[0]
	internal.Path, internal.Serial, internal.Removable = filepath.Join(dir, "x.img"), "SYS", false
	disks = append(disks, internal)
	a, b := disks[0].Path, disks[1].Path
	cases := []struct {
		name, typed string
		args        []string
		code        int
		err         string
		written     bool
	}{
		{"declined", "yes\n", []string{a}, command.ExitInterrupted, "not confirmed", false},
		{"serial of another", a + " Sb\n", []string{a}, command.ExitInterrupted, "not confirmed", false},
		{"nobody to ask", "", []string{a}, command.ExitUsage, "nobody to ask", false},
		{"yes alone", "", []string{a, "--yes"}, command.ExitUsage, "needs --serial", false},
		{"yes with another serial", "", []string{a, "--yes", "--serial", "S9"}, command.ExitUsage, "not among --serial", false},
		{"internal", "", []string{internal.Path, "--yes", "--serial", "SYS", "--force"}, command.ExitError, "internal disk", false},
		{"wrong hash", "", []string{a, "--yes", "--serial", "Sa", "--sha256", strings.Repeat("0", 64)}, command.ExitError, "SHA-256", false},
		{"half a hash", "", []string{a, "--yes", "--serial", "Sa", "--sha256", "1234"}, command.ExitError, "is no SHA-256", false},
		{"no image", a + " Sa\n", []string{a}, command.ExitError, "no image of a boot stick", false},
		{"typed", a + " Sa\n", []string{a}, command.ExitOK, "ALL OF IT WILL BE LOST", true},
		{"both, by serial and size", "", []string{"sa", b, "--yes", "--serial", "Sa,8388608"}, command.ExitOK, "sa is " + a, true},
	}
	for _, c := range cases {
		if err := os.WriteFile(a, make([]byte, 8<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		app := newApp(terminal.Streams{In: strings.NewReader(c.typed), Out: &out, Err: &errs, InTTY: c.typed != "", ErrTTY: c.typed != "", Width: 80})
		app.Disks = disks
		root := New(app)
		source := filepath.Join(dir, "x.img")
		if c.name == "no image" {
			source = noImage
		}
		root.SetArgs(append([]string{"media", "write", source}, c.args...))
		code := app.report(root.ExecuteContext(t.Context()))
		app.Close()
		if code != c.code || !strings.Contains(errs.String(), c.err) {
			t.Errorf("%s: exit %d\n%s%s", c.name, code, out.String(), errs.String())
		}
		got, err := os.ReadFile(a)
		if err != nil || bytes.Equal(got[:len(image)], image) != c.written {
			t.Errorf("%s: written is not %v (%v)", c.name, c.written, err)
		}
		if c.written != strings.Contains(out.String(), "written and verified") {
			t.Errorf("%s: %s", c.name, out.String())
		}
	}
	after, err := os.ReadFile(internal.Path)
	if err != nil || !bytes.Equal(after, image) {
		t.Error("the internal disk was changed")
	}
}
