package practice_test

import (
	"bytes"
	"debug/pe"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/media/pesign"
	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

func TestWIM(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		b, err := practice.WIM(t.Context(), arch, wim.PutBytes("Windows/extra.txt", []byte("extra")))
		if err != nil {
			t.Fatal(err)
		}
		again, err := practice.WIM(t.Context(), arch, wim.PutBytes("Windows/extra.txt", []byte("extra")))
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: made twice it differs (%v)", arch, err)
		}
		w, err := wim.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		if im := w.Images(); len(im) != 1 || !im[0].Boot || im[0].Architecture != arch {
			t.Errorf("%s: %+v", arch, im)
		}
		image, err := w.FS(1)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Windows/System32/manage-bde.exe", "Windows/System32/bcdedit.exe", "Windows/Boot/DVD/EFI/BCD", "Windows/extra.txt"} {
			if st, err := fs.Stat(image, name); err != nil || st.Size() == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		if loader, err := fs.ReadFile(image, "Windows/Boot/EFI/bootmgfw.efi"); err != nil || !bytes.Equal(loader, practice.Loader(arch)) {
			t.Errorf("%s: another boot manager (%v)", arch, err)
		}
		judged(t, b)
	}
}

// judged has wimlib look at the image.
func judged(t *testing.T, b []byte) {
	t.Helper()
	program, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Log("wimlib-imagex is not installed (Debian: wimtools): no other program judges the image")
		return
	}
	name := filepath.Join(t.TempDir(), "practice.wim")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, "verify", name).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestLoader(t *testing.T) {
	for arch, machine := range map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64} {
		b := practice.Loader(arch)
		f, err := pe.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		header, ok := f.OptionalHeader.(*pe.OptionalHeader64)
		const application = 10
		if !ok || f.Machine != machine || header.Subsystem != application || len(f.Sections) != 1 {
			t.Fatalf("%s: %+v", arch, f)
		}
		section := f.Sections[0]
		if code := header.AddressOfEntryPoint; code < section.VirtualAddress || code >= section.VirtualAddress+section.Size {
			t.Errorf("%s: it begins at %#x, outside its code", arch, code)
		}
		signed, err := pesign.Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil || len(signed.Signatures) != 0 {
			t.Errorf("%s: %+v, %v", arch, signed, err)
		}
	}
}
