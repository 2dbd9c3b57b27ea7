package pxe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"
)

// TestFirmwareAsCaptured answers what real firmware sent, taken from the wire: OVMF (UEFI of Debian 12) and iPXE.
func TestFirmwareAsCaptured(t *testing.T) {
	t.Parallel()
	script := "http://192.0.2.10:8080/boot.ipxe?mac=52:54:00:12:34:56&uuid=00112233-4455-6677-8899-aabbccddeeff"
	for name, want := range map[string]struct {
		port int
		arch Arch
		file string
	}{
		"ovmf-http-discover":    {67, X64HTTP, "http://192.0.2.10:8080/ipxe.efi"},
		"ovmf-pxe-discover":     {67, X64, "ipxe.efi"},
		"ovmf-pxe-request-4011": {4011, X64, "ipxe.efi"},
		"ipxe-uefi-discover":    {67, X64, script},
		"ipxe-bios-discover":    {67, BIOS, script},
		"ovmf-pxe-request":      {67, X64, ""}, // for the DHCP server
	} {
		b, err := os.ReadFile(filepath.Join("testdata", name+".dhcp"))
		if err != nil {
			t.Fatal(err)
		}
		var seen []Event
		s := &Server{respond: testResponder, config: Config{OnEvent: func(e Event) { seen = append(seen, e) }}}
		out, _ := s.message(b, &net.UDPAddr{IP: net.IPv4zero, Port: 68}, want.port)
		if len(seen) != 1 || seen[0].Client.MAC != testMAC.String() || seen[0].Client.UUID != "00112233-4455-6677-8899-aabbccddeeff" || seen[0].Client.Arch != want.arch {
			t.Errorf("%s: %+v", name, seen)
		}
		if want.file == "" {
			if out != nil || !strings.HasPrefix(seen[0].What, "takes the address 10.77.0.") {
				t.Errorf("%s: answered, %+v", name, seen)
			}
			continue
		}
		asked, err := dhcpv4.FromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		a, err := dhcpv4.FromBytes(out)
		if err != nil || bootFile(a) != want.file || a.TransactionID != asked.TransactionID || a.Flags != asked.Flags || a.ClientHWAddr.String() != testMAC.String() {
			t.Errorf("%s: %v %v", name, a, err)
		}
	}
}

func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "boot server"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, name
}

// TestHTTPSWithCurl fetches with an independent client, which trusts the authority or does not.
func TestHTTPSWithCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	pair, ca := certificate(t)
	wim := make([]byte, 1<<20+3)
	rand.Read(wim)
	s, _ := served(t, Config{Dir: fill(t, map[string][]byte{"boot.wim": wim, "wimboot": []byte("wimboot")}), TLS: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		Machine: func(context.Context, Client) ([]File, error) { return []File{{"keys.age", []byte("sealed")}}, nil }})
	if !strings.HasPrefix(s.Base(), "https://127.0.0.1:") {
		t.Fatal(s.Base())
	}
	get := func(url string, more ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "curl", append(more, "-sSf", "--noproxy", "*", url)...).Output()
		return string(out), err
	}
	if b, err := get(s.Base()+"/boot.wim", "--cacert", ca); err != nil || b != string(wim) {
		t.Errorf("boot.wim: %d bytes, %v", len(b), err)
	}
	if b, err := get(s.Base()+"/boot.wim", "--cacert", ca, "-r", "1000-1999", "--tls-max", "1.2"); err != nil || b != string(wim[1000:2000]) {
		t.Errorf("a part of boot.wim over TLS 1.2: %d bytes, %v", len(b), err)
	}
	script, err := get(s.Base()+"/boot.ipxe?mac=52:54:00:12:34:56", "--cacert", ca)
	_, link, ok := strings.Cut(script, "keys.age machine/")
	if err != nil || !ok {
		t.Fatalf("%v\n%s", err, script)
	}
	if b, err := get(s.Base()+"/machine/"+strings.Fields(link)[0], "--cacert", ca); err != nil || b != "sealed" {
		t.Errorf("own file: %q, %v", b, err)
	}
	for name, more := range map[string][]string{"an unknown authority": nil, "TLS 1.1": {"--cacert", ca, "--tls-max", "1.1"}} {
		if _, err := get(s.Base()+"/boot.wim", more...); err == nil {
			t.Errorf("%s was good enough", name)
		}
	}
	if _, err := get("http"+strings.TrimPrefix(s.Base(), "https")+"/boot.wim", "--cacert", ca); err == nil {
		t.Error("the file was given without TLS")
	}
}

const manyMachines = 200

// TestManyMachinesOverHTTP lets 200 machines read a large file at once. Memory is measured while all of them are in the
// middle of it.
func TestManyMachinesOverHTTP(t *testing.T) {
	t.Parallel()
	size := int64(8 << 20)
	if os.Getenv("FLEETMEND_LONG") != "" {
		size = 100 << 20
	}
	dir := fill(t, map[string][]byte{"boot.wim": nil})
	if err := os.Truncate(filepath.Join(dir, "boot.wim"), size); err != nil { // a file with a hole costs no disk
		t.Fatal(err)
	}
	s, _ := served(t, Config{Dir: dir})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var begun, all sync.WaitGroup
	begun.Add(manyMachines)
	goOn := make(chan struct{})
	read := func() (int64, error) {
		began := sync.OnceFunc(begun.Done)
		defer began()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Base()+"/boot.wim", nil)
		if err != nil {
			return 0, err
		}
		a, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer a.Body.Close()
		first, err := io.CopyN(io.Discard, a.Body, 64<<10)
		if err != nil {
			return first, err
		}
		began()
		<-goOn
		rest, err := io.Copy(io.Discard, a.Body)
		return first + rest, err
	}
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range manyMachines {
		all.Go(func() {
			if n, err := read(); n != size || err != nil {
				t.Errorf("read %d of %d bytes: %v", n, size, err)
			}
		})
	}
	begun.Wait()
	runtime.GC()
	runtime.ReadMemStats(&during)
	close(goOn)
	all.Wait()
	grown := int64(during.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d machines, %d MB each: %d kB more memory, of server and clients", manyMachines, size>>20, grown>>10)
	if grown > 64<<20 {
		t.Errorf("%d machines took %d MB of memory", manyMachines, grown>>20)
	}
}

// TestManyMachinesOverTFTP lets 200 machines fetch their first program at once.
func TestManyMachinesOverTFTP(t *testing.T) {
	t.Parallel()
	loader := make([]byte, 100<<10)
	rand.Read(loader)
	s, _ := served(t, Config{Dir: fill(t, map[string][]byte{"boot.wim": nil, "ipxe.efi": loader})})
	fetch := func() error {
		c, err := tftp.NewClient(s.tftp.LocalAddr().String())
		if err != nil {
			return err
		}
		c.SetBlockSize(1468)
		c.SetRetries(30)
		w, err := c.Receive("ipxe.efi", "octet")
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if _, err := w.WriteTo(&b); err != nil {
			return err
		}
		if !bytes.Equal(b.Bytes(), loader) {
			return fmt.Errorf("%d bytes that differ", b.Len())
		}
		return nil
	}
	var all sync.WaitGroup
	for range manyMachines {
		all.Go(func() {
			if err := fetch(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestBlocksFitIntoPackets asks for larger blocks than a packet of the network holds.
func TestBlocksFitIntoPackets(t *testing.T) {
	t.Parallel()
	s, _ := served(t, Config{Dir: fill(t, map[string][]byte{"boot.wim": []byte("x")})})
	// The first request may have come before the server asked the system for the interface of each packet.
	agree(t, s)
	options := agree(t, s)
	want := fmt.Sprintf("blksize\x00%d\x00", min(s.link.MTU-32, 65464))
	if !strings.HasPrefix(options, "\x00\x06") || !strings.Contains(options, want) || !strings.Contains(options, "tsize\x001\x00") || strings.Contains(options, "windowsize") {
		t.Errorf("agreed on %q, want %q", options, want)
	}
}

// agree is what the server answers to a request, from a port of its own: a last word of the one before must not come there.
func agree(t *testing.T, s *Server) string {
	t.Helper()
	in, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	// RRQ with blksize, tsize, and windowsize (RFC 7440), which this server does not offer and therefore must leave out.
	if _, err := in.WriteTo([]byte("\x00\x01boot.wim\x00octet\x00blksize\x0065464\x00tsize\x000\x00windowsize\x004\x00"), s.tftp.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, peer, err := in.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteTo([]byte("\x00\x05\x00\x08enough\x00"), peer); err != nil { // error 8 ends the negotiation
		t.Fatal(err)
	}
	return string(b[:n])
}
