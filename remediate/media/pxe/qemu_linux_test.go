package pxe

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func need(t *testing.T, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian: %s)", program, debian)
	}
}

func must(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// TestFirmwareStartsOverTheNetwork lets UEFI firmware in an emulator start from our proxyDHCP and TFTP, beside a plain DHCP
// server (that of the emulator, which knows nothing of booting), and a loader (GRUB, in the place of Microsoft's) read the
// whole boot.wim over TFTP. (Not over HTTP: the emulator's network shares the wire and resets TCP connections that are not its
// own.) It runs in a network namespace of its own, where it may use all ports.
func TestFirmwareStartsOverTheNetwork(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("starts an emulated computer for a minute: set FLEETMEND_LONG=1")
	}
	need(t, "qemu-system-x86_64", "qemu-system-x86")
	need(t, "grub-mkimage", "grub-common and grub-efi-amd64-bin")
	if _, err := os.Stat("/usr/share/OVMF/OVMF_CODE_4M.fd"); err != nil {
		t.Skip("OVMF is not installed (Debian: ovmf)")
	}
	if os.Getenv("FLEETMEND_NETNS") == "" {
		if exec.Command("unshare", "--net", "ip", "tuntap", "add", "fmtap", "mode", "tap").Run() != nil {
			t.Skip("no network namespace with a tap device to be had here (needs root)")
		}
		cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^TestFirmwareStartsOverTheNetwork$", "-test.v")
		cmd.Env = append(os.Environ(), "FLEETMEND_NETNS=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	must(t, "ip", "link", "set", "lo", "up")
	must(t, "ip", "tuntap", "add", "fmtap", "mode", "tap")
	must(t, "ip", "addr", "add", "10.0.2.50/24", "dev", "fmtap")
	must(t, "ip", "link", "set", "fmtap", "up")

	dir := t.TempDir()
	wim := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{5}).Read(wim)
	if err := os.WriteFile(filepath.Join(dir, "boot.wim"), wim, 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "early.cfg")
	script := "hashsum --hash sha1 (tftp,10.0.2.50)/boot.wim\necho OVER-TFTP\nsleep 1\nhalt\n"
	if err := os.WriteFile(config, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "grub-mkimage", append([]string{"-O", "x86_64-efi", "-o", filepath.Join(dir, "BOOTX64.EFI"), "-c", config},
		strings.Fields("-p /EFI/BOOT normal echo net efinet tftp halt hashsum gcry_sha1 sleep terminal")...)...)

	var mu sync.Mutex
	var events []Event
	s, err := New(t.Context(), Config{Dir: dir, Address: netip.MustParseAddr("10.0.2.50"), DHCP: 67, Boot: 4011, TFTP: 69, HTTP: 80,
		OnEvent: func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	out := emulate(t)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	sum := sha1.Sum(wim)
	want := hex.EncodeToString(sum[:])
	if !strings.Contains(out, want) || !strings.Contains(out, "OVER-TFTP") {
		t.Errorf("the loader did not read boot.wim (%s):\n%s", want, out)
	}
	services := map[string]bool{}
	for _, e := range events {
		t.Logf("%+v", e)
		if e.Answered {
			services[e.Service+" "+e.File] = true
		}
		if e.Service == "dhcp" && (e.Client.MAC != "52:54:00:12:34:56" || e.Client.UUID != "00112233-4455-6677-8899-aabbccddeeff" || e.Client.Arch != X64) {
			t.Errorf("client: %+v", e.Client)
		}
	}
	for _, w := range []string{"dhcp BOOTX64.EFI", "boot BOOTX64.EFI", "tftp BOOTX64.EFI", "tftp boot.wim"} {
		if !services[w] {
			t.Errorf("no event %q", w)
		}
	}
}

// emulate runs the computer until it switches itself off. The tap device and the emulator's own network hang on one hub.
func emulate(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err != nil {
		t.Skip("OVMF is not installed (Debian: ovmf)")
	}
	vars := filepath.Join(t.TempDir(), "vars.fd")
	if err := os.WriteFile(vars, b, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "512", "-cpu", "max", "-nographic",
		"-uuid", "00112233-4455-6677-8899-aabbccddeeff",
		"-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", "if=pflash,format=raw,file="+vars,
		"-netdev", "user,id=u,restrict=on", "-netdev", "tap,id=t,ifname=fmtap,script=no,downscript=no",
		"-netdev", "hubport,hubid=0,id=h0,netdev=u", "-netdev", "hubport,hubid=0,id=h1,netdev=t", "-netdev", "hubport,hubid=0,id=h2",
		"-device", "virtio-net-pci,netdev=h2,mac=52:54:00:12:34:56,romfile=")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("emulator: %v", err)
	}
	return out.String()
}
