package iso_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/content"
	"github.com/fleetmend/fleetmend/remediate/media/fat"
	"github.com/fleetmend/fleetmend/remediate/media/gpt"
	"github.com/fleetmend/fleetmend/remediate/media/iso"
)

// Loader makes a GRUB image that stands in for bootmgfw.efi: it finds sources/boot.wim on the medium it was started
// from, prints its SHA-1 and switches the computer off.
func loader(t *testing.T) []byte {
	t.Helper()
	need(t, "grub-mkimage", "grub-common and grub-efi-amd64-bin")
	dir := t.TempDir()
	config, image := filepath.Join(dir, "early.cfg"), filepath.Join(dir, "BOOTX64.EFI")
	script := "search --no-floppy --set=root --file /sources/boot.wim\nhashsum --hash sha1 /sources/boot.wim\necho FLEETMEND-READ-IT-ALL\nsleep 1\nhalt\n"
	if err := os.WriteFile(config, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	args := "-p /EFI/BOOT part_gpt fat iso9660 normal echo search search_fs_file halt hashsum gcry_sha1 sleep terminal"
	run(t, "grub-mkimage", append([]string{"-O", "x86_64-efi", "-o", image, "-c", config}, strings.Fields(args)...)...)
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func firmware(t *testing.T) (code, vars string) {
	t.Helper()
	code, vars = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	b, err := os.ReadFile(vars)
	if err != nil {
		t.Skip("OVMF is not installed (Debian: ovmf)")
	}
	vars = filepath.Join(t.TempDir(), "vars.fd")
	if err := os.WriteFile(vars, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return code, vars
}

func create(t *testing.T, name string, write func(context.Context, io.Writer) error) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := write(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestFirmwareStartsBoth lets UEFI firmware in an emulator start a stick and a disc, and the loader read the whole WIM.
func TestFirmwareStartsBoth(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("starts two emulated computers for a minute each: set FLEETMEND_LONG=1")
	}
	need(t, "qemu-system-x86_64", "qemu-system-x86")
	wim := make([]byte, 20<<20)
	rand.NewChaCha8([32]byte{9}).Read(wim)
	list := []content.Entry{
		content.Bytes("EFI/BOOT/BOOTX64.EFI", loader(t)), content.Bytes("sources/boot.wim", wim),
		content.Bytes("EFI/Microsoft/Boot/Fonts/a long name.ttf", []byte("font")),
	}
	volume, err := fat.NewPlan(fat.Options{Label: "FLEETMEND", Hidden: gpt.PartitionOffset / 512}, list)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := gpt.New(volume.Size(), gpt.Options{Seed: []byte("boot test")})
	if err != nil {
		t.Fatal(err)
	}
	stick := create(t, "stick.img", func(ctx context.Context, w io.Writer) error { return disk.WriteTo(ctx, w, volume.WriteTo) })

	small, err := fat.NewPlan(fat.Options{Type: fat.Small}, list[:1])
	if err != nil {
		t.Fatal(err)
	}
	var sys bytes.Buffer
	if err := small.WriteTo(context.Background(), &sys); err != nil {
		t.Fatal(err)
	}
	const efisys = "efi/microsoft/boot/efisys.bin"
	image, err := iso.NewPlan(iso.Options{Boot: []iso.Boot{{Platform: iso.UEFI, Path: efisys}}}, append(list, content.Bytes(efisys, sys.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	disc := create(t, "disc.iso", image.WriteTo)

	for name, args := range map[string][]string{
		"stick": {"-drive", "file=" + stick + ",format=raw,if=none,id=u", "-device", "qemu-xhci", "-device", "usb-storage,drive=u"},
		"disc":  {"-cdrom", disc},
	} {
		t.Run(name, func(t *testing.T) {
			code, vars := firmware(t)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{"-accel", "tcg", "-machine", "q35", "-m", "512", "-cpu", "max",
				"-nographic", "-net", "none", "-drive", "if=pflash,format=raw,readonly=on,file=" + code, "-drive", "if=pflash,format=raw,file=" + vars}, args...)...).CombinedOutput()
			for _, want := range []string{fmt.Sprintf("%x", sha1.Sum(wim)), "FLEETMEND-READ-IT-ALL"} {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("the console does not show %q (%v):\n%s", want, err, out)
				}
			}
		})
	}
}

// TestBIOSIsTold starts a stick, and a disc with a BIOS entry, on a computer with a BIOS. The stick cannot start there and
// has to say so; the boot sector of its volume, taken as the BIOS entry of the disc, has to be started and says the same.
func TestBIOSIsTold(t *testing.T) {
	need(t, "qemu-system-x86_64", "qemu-system-x86")
	volume, err := fat.NewPlan(fat.Options{Hidden: gpt.PartitionOffset / 512}, nil)
	if err != nil {
		t.Fatal(err)
	}
	disk, err := gpt.New(volume.Size(), gpt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stick := create(t, "stick.img", func(ctx context.Context, w io.Writer) error { return disk.WriteTo(ctx, w, volume.WriteTo) })
	var b bytes.Buffer
	if err := volume.WriteTo(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	image, err := iso.NewPlan(iso.Options{Boot: []iso.Boot{{Platform: iso.BIOS, Path: "boot/etfsboot.com"}}},
		[]content.Entry{content.Bytes("boot/etfsboot.com", b.Bytes()[:512])})
	if err != nil {
		t.Fatal(err)
	}
	disc := create(t, "disc.iso", image.WriteTo)
	for name, args := range map[string][]string{"stick": {"-drive", "file=" + stick + ",format=raw"}, "disc": {"-cdrom", disc}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{"-accel", "tcg", "-m", "64", "-nographic", "-net", "none"}, args...)...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var seen bytes.Buffer
			for p := make([]byte, 1024); !bytes.Contains(seen.Bytes(), []byte("This medium starts on UEFI computers")); {
				n, err := out.Read(p)
				seen.Write(p[:n])
				if err != nil {
					t.Errorf("the console does not show the notice:\n%s", seen.Bytes())
					break
				}
			}
			cancel()
			_ = cmd.Wait() // it was ended on purpose
		})
	}
}

// TestStickForPrograms lets the partitioning and FAT tools of Linux judge a whole stick.
func TestStickForPrograms(t *testing.T) {
	need(t, "sgdisk", "gdisk")
	volume, err := fat.NewPlan(fat.Options{Label: "FLEETMEND", Hidden: gpt.PartitionOffset / 512, Size: 40 << 20}, entries(contents(t)))
	if err != nil {
		t.Fatal(err)
	}
	disk, err := gpt.New(volume.Size(), gpt.Options{Seed: []byte("seed")})
	if err != nil {
		t.Fatal(err)
	}
	stick := create(t, "stick.img", func(ctx context.Context, w io.Writer) error { return disk.WriteTo(ctx, w, volume.WriteTo) })
	if out := run(t, "sgdisk", "-v", stick); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	need(t, "mtype", "mtools")
	if got := run(t, "mtype", "-i", fmt.Sprintf("%s@@%d", stick, gpt.PartitionOffset), "::/sources/boot.wim"); got != string(contents(t)["sources/boot.wim"]) {
		t.Errorf("mtools reads %d bytes of boot.wim", len(got))
	}
}
