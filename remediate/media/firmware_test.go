package media_test

import (
	"bufio"
	"crypto/sha1"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

func need(t *testing.T, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian: %s)", program, debian)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// grub makes a loader that stands in for bootmgfw.efi: it finds sources/boot.wim on the medium it was started from,
// prints its SHA-1 and switches the computer off.
func grub(t *testing.T) string {
	t.Helper()
	need(t, "grub-mkimage", "grub-common")
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "early.cfg"), []byte("search --no-floppy --set=root --file /sources/boot.wim\n"+
		"hashsum --hash sha1 /sources/boot.wim\necho FLEETMEND-READ-IT-ALL\nsleep 1\nhalt\n"))
	image := filepath.Join(dir, "bootmgfw.efi")
	modules := "part_gpt fat iso9660 normal echo search search_fs_file halt hashsum gcry_sha1 sleep terminal"
	run(t, "grub-mkimage", append([]string{"-O", "x86_64-efi", "-o", image, "-c", config, "-p", "/EFI/BOOT"}, strings.Fields(modules)...)...)
	return image
}

// console starts a computer with the firmware and the medium and reads its console until a line holds one of the words.
func console(t *testing.T, code, vars, medium string, words ...string) (string, bool) {
	t.Helper()
	need(t, "qemu-system-x86_64", "qemu-system-x86")
	b, err := os.ReadFile(vars)
	if err != nil {
		t.Skip("OVMF is not installed (Debian: ovmf)")
	}
	own := write(t, filepath.Join(t.TempDir(), "vars.fd"), b)
	args := []string{"-accel", "tcg", "-machine", "q35,smm=on", "-m", "512", "-cpu", "max", "-nographic", "-net", "none",
		"-drive", "if=pflash,format=raw,readonly=on,file=" + code, "-drive", "if=pflash,format=raw,file=" + own}
	if filepath.Ext(medium) == ".iso" {
		args = append(args, "-cdrom", medium)
	} else {
		args = append(args, "-drive", "file="+medium+",format=raw,if=none,id=u", "-device", "qemu-xhci", "-device", "usb-storage,drive=u")
	}
	cmd := exec.CommandContext(t.Context(), "qemu-system-x86_64", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(4*time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	var all strings.Builder
	found := false
	for lines := bufio.NewScanner(out); !found && lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		for _, w := range words {
			found = found || strings.Contains(lines.Text(), w)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return all.String(), found
}

func long(t *testing.T) {
	t.Helper()
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("starts emulated computers for a minute each: set FLEETMEND_LONG=1")
	}
}

// boot builds a medium with a loader and gives its path with the SHA-1 of the WIM on it.
func boot(t *testing.T, format media.Format, loader string) (medium, sum string) {
	t.Helper()
	raw, err := os.ReadFile(loader)
	if err != nil {
		t.Fatal(err)
	}
	s := spec(t, "amd64")
	s.Format = format
	s.Source = source(t, "amd64", wim.PutBytes("Windows/Boot/EFI/bootmgfw.efi", raw))
	medium = filepath.Join(t.TempDir(), map[media.Format]string{media.USB: "stick.img", media.ISO: "disc.iso"}[format])
	if _, err := media.Build(ctx, s, medium); err != nil {
		t.Fatal(err)
	}
	root, _ := open(t, medium)
	b, err := fs.ReadFile(root, "sources/boot.wim")
	if err != nil {
		t.Fatal(err)
	}
	return medium, fmt.Sprintf("%x", sha1.Sum(b))
}

const (
	ovmf     = "/usr/share/OVMF/"
	readIt   = "FLEETMEND-READ-IT-ALL"
	snakeoil = "/usr/share/ovmf/PkKek-1-snakeoil."
)

// TestFirmwareStartsMedia lets UEFI firmware start what was built, and the loader read the whole WIM.
func TestFirmwareStartsMedia(t *testing.T) {
	long(t)
	loader := grub(t)
	for _, format := range []media.Format{media.USB, media.ISO} {
		t.Run(string(format), func(t *testing.T) {
			medium, sum := boot(t, format, loader)
			out, ok := console(t, ovmf+"OVMF_CODE_4M.fd", ovmf+"OVMF_VARS_4M.fd", medium, readIt)
			if !ok || !strings.Contains(out, sum) {
				t.Errorf("the console does not show %s:\n%s", sum, out)
			}
		})
	}
}

// TestSecureBootAsPredicted starts a signed and an unsigned loader with Secure Boot on, in a firmware that trusts the
// signer, and compares with what Inspect says.
func TestSecureBootAsPredicted(t *testing.T) {
	long(t)
	need(t, "sbsign", "sbsigntool")
	need(t, "openssl", "openssl")
	if _, err := os.Stat(snakeoil + "key"); err != nil {
		t.Skip("the firmware with a key of its own is not installed (Debian: ovmf)")
	}
	unsigned := grub(t)
	dir := t.TempDir()
	key, signed := filepath.Join(dir, "key.pem"), filepath.Join(dir, "signed.efi")
	run(t, "openssl", "rsa", "-in", snakeoil+"key", "-passin", "pass:snakeoil", "-out", key)
	run(t, "sbsign", "--key", key, "--cert", snakeoil+"pem", "--output", signed, unsigned)
	for _, c := range []struct{ name, loader, says, shows string }{
		{"signed", signed, "Secure Boot on: starts where the owner put this certificate into the firmware's db", readIt},
		{"unsigned", unsigned, "Secure Boot on: refused by every machine", "Access Denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			medium, sum := boot(t, media.USB, c.loader)
			in, err := media.Inspect(ctx, medium)
			if err != nil || !strings.HasPrefix(in.Loaders[0].Starts[0], c.says) {
				t.Fatalf("%+v, %v", in, err)
			}
			out, ok := console(t, ovmf+"OVMF_CODE_4M.secboot.fd", ovmf+"OVMF_VARS_4M.snakeoil.fd", medium, readIt, "Access Denied")
			if !ok || !strings.Contains(out, c.shows) || c.name == "signed" && !strings.Contains(out, sum) {
				t.Errorf("the console does not show %q:\n%s", c.shows, out)
			}
		})
	}
}

// TestLoaderOfAnotherMaker inspects a real file that Microsoft signed twice for another maker.
func TestLoaderOfAnotherMaker(t *testing.T) {
	b, err := os.ReadFile("/usr/lib/shim/shimx64.efi.signed")
	if err != nil {
		t.Skip("no signed shim here (Debian: shim-signed)")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "EFI", "BOOT", "BOOTX64.EFI"), b)
	in, err := media.Inspect(ctx, dir)
	if err != nil || len(in.Loaders) != 1 || !strings.Contains(strings.Join(in.Loaders[0].Starts, "\n"), "for other makers") {
		t.Errorf("%+v, %v", in, err)
	}
	s := spec(t, "amd64")
	s.SecureBoot = media.For11
	s.Source = source(t, "amd64", wim.PutBytes("Windows/Boot/EFI/bootmgfw.efi", b))
	if _, err := media.Build(ctx, s, filepath.Join(dir, "x.img")); err == nil || !strings.Contains(err.Error(), "signed under Microsoft Corporation UEFI CA 2011") {
		t.Errorf("a shim was taken for a boot manager signed for Windows: %v", err)
	}
}
