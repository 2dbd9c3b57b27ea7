package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/media/practice"
	"github.com/fleetmend/fleetmend/remediate/media/pxe"
	"github.com/fleetmend/fleetmend/remediate/media/wim"
)

const (
	bootMAC  = "52:54:00:12:34:56"
	bootUUID = "00112233-4455-6677-8899-aabbccddeeff"
	bootHost = "10.77.0.10" // of media serve
)

// need skips a test where a file of a Debian package is missing.
func need(t *testing.T, file, debian string) {
	t.Helper()
	if _, err := exec.LookPath(file); err == nil {
		return
	}
	if _, err := os.Stat(file); err != nil {
		t.Skipf("%s is not here (Debian: %s)", file, debian)
	}
}

func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// TestMachinesStartOverTheNetwork goes the whole way: an image is built, made into a bundle and served by `media serve` as
// a process, beside a DHCP server that knows nothing of booting (dnsmasq). Emulated computers with the firmware of Debian
// start from it: UEFI HTTP Boot, UEFI PXE over TFTP, UEFI PXE with iPXE, and iPXE on BIOS. A loader (GRUB, in the place of
// Microsoft's) reads boot.wim back and shows its hash. All of it is in network namespaces of its own.
func TestMachinesStartOverTheNetwork(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") == "" {
		t.Skip("starts emulated computers for two minutes: set FLEETMEND_LONG=1")
	}
	need(t, "qemu-system-x86_64", "qemu-system-x86")
	need(t, "grub-mkimage", "grub-common")
	need(t, "/usr/lib/grub/x86_64-efi/http.mod", "grub-efi-amd64-bin")
	need(t, "/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")
	need(t, "dnsmasq", "dnsmasq-base")
	need(t, "/boot/ipxe.efi", "ipxe")
	need(t, "/usr/lib/ipxe/qemu/pxe-e1000.rom", "ipxe-qemu")
	if os.Getenv("FLEETMEND_NETNS") == "" {
		t.Parallel()
		if out, err := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", "ip link add br0 type bridge && ip tuntap add t0 mode tap").CombinedOutput(); err != nil {
			t.Skipf("no network namespace with bridge and tap to be had here (needs root): %s", out)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run=^TestMachinesStartOverTheNetwork$", "-test.v")
		cmd.Env = append(os.Environ(), "FLEETMEND_NETNS=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	n := newNetboot(t)
	uefi := []string{"-machine", "q35", "-cpu", "max", "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "virtio-net-pci,romfile="}
	noPXE := []string{"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"}

	t.Run("UEFI HTTP Boot", func(t *testing.T) {
		s := n.serve(t, "--loader", "x64=BOOTX64.EFI")
		n.wantHash(t, n.start(t, append(uefi, noPXE...), nil), "http")
		s.wantEvents(t, "dhcp UEFI x64 (HTTP) is told to start http://10.77.0.10:8080/BOOTX64.EFI", "http fetched BOOTX64.EFI", "http fetched boot.wim")
	})
	t.Run("UEFI PXE", func(t *testing.T) {
		s := n.serve(t, "--loader", "x64=BOOTX64.EFI")
		n.wantHash(t, n.start(t, uefi, nil), "tftp")
		s.wantEvents(t, "dhcp UEFI x64 is told to start BOOTX64.EFI", "boot UEFI x64 is told to start BOOTX64.EFI", "tftp fetched BOOTX64.EFI", "tftp fetched boot.wim")
	})
	t.Run("UEFI PXE with iPXE", func(t *testing.T) {
		s := n.serve(t, "--machine-files", n.machines)
		out := n.start(t, uefi, nil)
		s.wantEvents(t, "boot UEFI x64 is told to start ipxe.efi", "tftp fetched ipxe.efi",
			"dhcp UEFI x64 is told to start http://10.77.0.10:8080/boot.ipxe?mac="+bootMAC+"&uuid="+bootUUID,
			"http fetched, with 1 files of its own boot.ipxe", "http fetched wimboot", "http fetched boot.wim", "http fetched fleetmend-network.json",
			"http fetched its own file keys.age")
		if n.wimboot != "" { // the real one hands the loader out of boot.wim a disk with boot.wim and all other files in it
			for _, want := range []string{"patching WIM fleetmend-network.json", "patching WIM keys.age", "Loaded bootmgfw.efi", "(hd0,1)/sources/boot.wim"} {
				if !strings.Contains(out, want) {
					t.Errorf("wimboot does not say %q:\n%s", want, out)
				}
			}
			return
		}
		n.wantHash(t, out, "http")
	})
	t.Run("BIOS with iPXE, once", func(t *testing.T) {
		s := n.serve(t, "--once", "--machine-files", n.machines)
		// In the place of wimboot: iPXE as a Linux kernel, which is started and ends.
		mustRun(t, exec.CommandContext(t.Context(), "cp", "/boot/ipxe.lkrn", filepath.Join(n.bundle, "wimboot")))
		bios := []string{"-machine", "pc", "-boot", "n", "e1000,romfile=/usr/lib/ipxe/qemu/pxe-e1000.rom"}
		n.start(t, bios, s.seen("fetched its own file"))
		n.start(t, bios, s.seen("has been started already"))
		s.wantEvents(t, "dhcp BIOS is told to start http://10.77.0.10:8080/boot.ipxe?mac="+bootMAC+"&uuid="+bootUUID, "http fetched wimboot", "http fetched boot.wim",
			"http fetched its own file keys.age", "dhcp BIOS has been started already and is left alone ")
	})
	shown := mustRun(t, asCommand(t, "inventory", "show", bootMAC, "--state-dir", n.state))
	for _, want := range []string{bootMAC, "(pxe, ", bootUUID, "record"} {
		if !strings.Contains(shown, want) {
			t.Errorf("inventory show does not say %q:\n%s", want, shown)
		}
	}
}

// netboot is a network with a DHCP server, and a bundle.
type netboot struct {
	bundle, machines, state, hash string
	wimboot                       string // the real one, FLEETMEND_WIMBOOT
}

func newNetboot(t *testing.T) *netboot {
	work := t.TempDir()
	n := &netboot{filepath.Join(work, "bundle"), filepath.Join(work, "machines"), filepath.Join(work, "state"), "", os.Getenv("FLEETMEND_WIMBOOT")}
	script := func(name, text string) string {
		name = filepath.Join(work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	mustRun(t, exec.CommandContext(t.Context(), "sh", "-ec", `ip link set lo up; ip link add br0 type bridge; ip addr add `+bootHost+`/24 dev br0
		ip tuntap add tap0 mode tap; ip link set tap0 master br0; ip link add v0 type veth peer name v1; ip link set v0 master br0
		for i in br0 tap0 v0; do ip link set $i up; done`))
	n.leases(t, work)

	// GRUB asks both services, and looks at the disk that wimboot makes.
	early := script("early.cfg", strings.Join([]string{"hashsum --hash sha1 (http," + bootHost + ":8080)/boot.wim",
		"hashsum --hash sha1 (tftp," + bootHost + ")/boot.wim", "hashsum --hash sha1 (hd0,1)/sources/boot.wim", "sleep 1", "halt", ""}, "\n"))
	loader := filepath.Join(work, "grub.efi")
	mustRun(t, exec.CommandContext(t.Context(), "grub-mkimage", append([]string{"-O", "x86_64-efi", "-o", loader, "-c", early, "-p", "/EFI/BOOT"},
		strings.Fields("normal echo net efinet tftp http halt hashsum gcry_sha1 sleep terminal fat part_msdos")...)...))
	grub, err := os.ReadFile(loader)
	if err != nil {
		t.Fatal(err)
	}
	pad := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{5}).Read(pad)
	image, err := practice.WIM(t.Context(), "amd64", wim.PutBytes("Windows/Boot/EFI/bootmgfw.efi", grub), wim.PutBytes("Windows/pad.bin", pad))
	if err != nil {
		t.Fatal(err)
	}
	source, pe, stick := script("winre.wim", string(image)), script("pe.exe", string(practice.Loader("amd64"))), filepath.Join(work, "stick.img")
	wimboot := script("standin/wimboot", string(grub))
	if n.wimboot != "" {
		wimboot = n.wimboot
	}
	script("machines/52-54-00-12-34-56/keys.age", "sealed")
	mustRun(t, asCommand(t, "media", "build", source, "--agent", pe, "-p", "crowdstrike-channel-file-291", "--out", stick, "--state-dir", n.state))
	mustRun(t, asCommand(t, "media", "bundle", stick, n.bundle, "--add", "/boot/ipxe.efi", "--add", "/usr/lib/ipxe/undionly.kpxe", "--add", wimboot))
	b, err := os.ReadFile(filepath.Join(n.bundle, "boot.wim"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(b)
	n.hash = hex.EncodeToString(sum[:])
	return n
}

// leases starts a DHCP server in a namespace of its own, because port 67 here is that of media serve.
func (n *netboot) leases(t *testing.T, work string) {
	dhcp := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-ec", `echo ready; read go; ip link set lo up; ip addr add 10.77.0.1/24 dev v1
		ip link set v1 up; exec dnsmasq --keep-in-foreground --port=0 --conf-file=/dev/null --user=root --no-ping --log-facility=- \
		--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h --pid-file= --dhcp-leasefile=`+filepath.Join(work, "leases"))
	in, err := dhcp.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := dhcp.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dhcp.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dhcp.Process.Kill(); _ = dhcp.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("no namespace for the DHCP server: %q, %v", line, err)
	}
	mustRun(t, exec.CommandContext(t.Context(), "ip", "link", "set", "v1", "netns", fmt.Sprint(dhcp.Process.Pid)))
	if _, err := io.WriteString(in, "go\n"); err != nil {
		t.Fatal(err)
	}
}

// serving is a running media serve.
type serving struct {
	cmd    *exec.Cmd
	errs   bytes.Buffer
	done   chan struct{} // the events have come to their end
	mu     sync.Mutex
	events []pxe.Event
	watch  map[string]chan struct{}
}

// serve starts media serve and waits until it serves.
func (n *netboot) serve(t *testing.T, args ...string) *serving {
	t.Helper()
	s := &serving{done: make(chan struct{}), watch: map[string]chan struct{}{}}
	s.cmd = asCommand(t, append([]string{"media", "serve", n.bundle, "--address", bootHost, "--json", "--state-dir", n.state}, args...)...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	go s.read(out)
	lines := bufio.NewReader(errs)
	for {
		line, err := lines.ReadString('\n')
		s.errs.WriteString(line)
		if err != nil {
			t.Fatalf("media serve does not serve: %v\n%s", err, s.errs.String())
		}
		if strings.HasPrefix(line, "serving ") {
			break
		}
	}
	go func() { _, _ = io.Copy(&s.errs, lines) }()
	return s
}

func (s *serving) read(out io.Reader) {
	defer close(s.done)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e pxe.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		s.mu.Lock()
		s.events = append(s.events, e)
		for what, seen := range s.watch {
			if strings.Contains(e.What, what) {
				close(seen)
				delete(s.watch, what)
			}
		}
		s.mu.Unlock()
	}
}

// seen gives a channel that is closed when an event says what.
func (s *serving) seen(what string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	s.watch[what] = c
	return c
}

// wantEvents ends the server as Ctrl-C does and compares what it said.
func (s *serving) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-s.done
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("media serve: %v\n%s", err, s.errs.String())
	}
	var said []string
	for _, e := range s.events {
		kind := ""
		if e.Service == "dhcp" || e.Service == "boot" {
			kind = e.Client.Arch.String() + " "
		}
		if e.Client.MAC != bootMAC || e.Client.UUID != bootUUID {
			t.Errorf("whose is this? %+v", e)
		}
		said = append(said, e.Service+" "+kind+e.What+" "+e.File)
	}
	for _, w := range want {
		if !slices.Contains(said, w) {
			t.Errorf("no event %q in\n%s", w, strings.Join(said, "\n"))
		}
	}
}

// start runs a computer until it switches itself off, or enough is closed. What of the machine has a romfile is its
// network card.
func (n *netboot) start(t *testing.T, machine []string, enough <-chan struct{}) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args := []string{"-accel", "tcg", "-m", "512", "-nographic", "-uuid", bootUUID, "-netdev", "tap,id=t,ifname=tap0,script=no,downscript=no"}
	for _, a := range machine {
		if strings.Contains(a, ",romfile=") {
			args = append(args, "-device", a+",netdev=t,mac="+bootMAC)
		} else {
			args = append(args, a)
		}
	}
	if slices.Contains(machine, "q35") {
		vars, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
		name := filepath.Join(t.TempDir(), "vars.fd")
		if err = errors.Join(err, os.WriteFile(name, vars, 0o600)); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-drive", "if=pflash,format=raw,file="+name)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-enough:
			cancel()
		case <-over:
		}
	}()
	err := cmd.Wait()
	close(over)
	<-stopped
	if err != nil && (enough == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		t.Errorf("emulator: %v\n%s", err, out.String())
	}
	return out.String()
}

func (n *netboot) wantHash(t *testing.T, out, service string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.Contains(line, n.hash) && strings.Contains(line, "("+service+",") {
			return
		}
	}
	t.Errorf("boot.wim (%s) was not read over %s:\n%s", n.hash, service, out)
}
