package pxe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var testMAC = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}

func ask(t testing.TB, kind dhcpv4.MessageType, arch Arch, class string, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(testMAC), dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier(class)),
		dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{byte(arch >> 8), byte(arch)}),
		dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, []byte{0, 0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var testResponder = responder{address: netip.MustParseAddr("192.0.2.10"), base: "http://192.0.2.10:8080", tftp: true,
	loaders: map[string]string{"bios": "undionly.kpxe", "x64": "ipxe.efi", "arm64": "ipxe-arm64.efi"}}

func TestReplies(t *testing.T) {
	t.Parallel()
	const pxe, web = "PXEClient:Arch:00007:UNDI:003016", "HTTPClient:Arch:00016:UNDI:003001"
	discover, request := dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest
	ipxe := dhcpv4.WithGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE"))
	cases := map[string]struct {
		m      *dhcpv4.DHCPv4
		port   int
		file   string
		kind   dhcpv4.MessageType
		bypass bool
		class  string
	}{
		"BIOS":             {ask(t, discover, BIOS, pxe), 67, "undionly.kpxe", dhcpv4.MessageTypeOffer, true, "PXEClient"},
		"UEFI x64":         {ask(t, discover, X64, pxe), 67, "ipxe.efi", dhcpv4.MessageTypeOffer, false, "PXEClient"},
		"UEFI x64 as EBC":  {ask(t, discover, X64EBC, pxe), 67, "ipxe.efi", dhcpv4.MessageTypeOffer, false, "PXEClient"},
		"ARM64":            {ask(t, discover, ARM64, pxe), 67, "ipxe-arm64.efi", dhcpv4.MessageTypeOffer, false, "PXEClient"},
		"boot server":      {ask(t, request, X64, pxe), 4011, "ipxe.efi", dhcpv4.MessageTypeAck, false, "PXEClient"},
		"HTTP Boot x64":    {ask(t, discover, X64HTTP, web), 67, "http://192.0.2.10:8080/ipxe.efi", dhcpv4.MessageTypeOffer, false, "HTTPClient"},
		"HTTP Boot ARM64":  {ask(t, discover, ARM64HTTP, web), 67, "http://192.0.2.10:8080/ipxe-arm64.efi", dhcpv4.MessageTypeOffer, false, "HTTPClient"},
		"iPXE on BIOS":     {ask(t, discover, BIOS, pxe, ipxe), 67, "http://192.0.2.10:8080/boot.ipxe?mac=52:54:00:12:34:56&uuid=00112233-4455-6677-8899-aabbccddeeff", dhcpv4.MessageTypeOffer, false, "PXEClient"},
		"request on 67":    {m: ask(t, request, X64, pxe), port: 67},
		"discover on 4011": {m: ask(t, discover, X64, pxe), port: 4011},
		"no loader":        {m: ask(t, discover, IA32, pxe), port: 67},
		"unknown":          {m: ask(t, discover, 33, pxe), port: 67},
	}
	for name, c := range cases {
		who, ok := client(c.m)
		if !ok || who.MAC != testMAC.String() || who.UUID != "00112233-4455-6677-8899-aabbccddeeff" {
			t.Errorf("%s: client %+v %v", name, who, ok)
		}
		a, why := testResponder.reply(c.m, who, c.port)
		if c.file == "" {
			if a != nil || why == "" {
				t.Errorf("%s: answered %v", name, a)
			}
			continue
		}
		if a == nil {
			t.Errorf("%s: no answer: %s", name, why)
			continue
		}
		// What goes over the wire is what counts.
		a, err := dhcpv4.FromBytes(a.ToBytes())
		if err != nil {
			t.Fatal(err)
		}
		if a.MessageType() != c.kind || a.BootFileName != c.file || a.ClassIdentifier() != c.class || !a.YourIPAddr.IsUnspecified() ||
			a.ServerIPAddr.String() != "192.0.2.10" || a.TransactionID != c.m.TransactionID ||
			(string(a.Options.Get(dhcpv4.OptionVendorSpecificInformation)) == "\x06\x01\x08\xff") != c.bypass || len(a.Options.Get(dhcpv4.OptionClientMachineIdentifier)) != 17 {
			t.Errorf("%s: %s", name, a.Summary())
		}
		if c.class == "HTTPClient" && a.BootFileNameOption() != c.file {
			t.Errorf("%s: option 67 is %q", name, a.BootFileNameOption())
		}
	}
	if _, ok := client(ask(t, discover, X64, "MSFT 5.0")); ok {
		t.Error("an ordinary computer was taken for one that wants to start from the network")
	}
	relayed := ask(t, discover, X64, pxe, dhcpv4.WithGatewayIP(net.IP{10, 0, 0, 1}))
	if d := destination(relayed, &net.UDPAddr{}, 67); d.String() != "10.0.0.1:67" {
		t.Errorf("relay: %s", d)
	}
}

// served starts a server on loopback and returns it with its events.
func served(t *testing.T, c Config) (*Server, func() []Event) {
	t.Helper()
	var events []Event
	c.Address, c.TFTP, c.HTTP = netip.MustParseAddr("127.0.0.1"), -1, -1
	c.OnEvent = func(e Event) { events = append(events, e) }
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stop := func() []Event {
		if cancel != nil {
			cancel()
			cancel = nil
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		return events
	}
	t.Cleanup(func() { stop() })
	return s, stop
}

func fill(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	for name, b := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTFTP(t *testing.T) {
	t.Parallel()
	big := make([]byte, 3<<20+77)
	rand.Read(big)
	dir := fill(t, map[string][]byte{"boot.wim": big, "Boot/BCD": []byte("bcd"), ".hidden": []byte("x"), "../outside": []byte("secret")})
	s, stop := served(t, Config{Dir: dir})
	get := func(name string, block int) ([]byte, int64, error) {
		c, err := tftp.NewClient(s.tftp.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetBlockSize(block)
		c.RequestTSize(true)
		w, err := c.Receive(name, "octet")
		if err != nil {
			return nil, 0, err
		}
		size := int64(-1)
		if in, ok := w.(tftp.IncomingTransfer); ok {
			size, _ = in.Size()
		}
		var b bytes.Buffer
		_, err = w.WriteTo(&b)
		return b.Bytes(), size, err
	}
	for _, block := range []int{512, 1428, 8192} {
		b, size, err := get("boot.wim", block)
		if err != nil || !bytes.Equal(b, big) || size != int64(len(big)) {
			t.Errorf("blocks of %d: %v, %d bytes, size %d", block, err, len(b), size)
		}
	}
	if b, _, err := get(`\boot\bcd`, 512); err != nil || string(b) != "bcd" {
		t.Errorf("as firmware of Windows asks: %q %v", b, err)
	}
	for _, name := range []string{"../outside", `..\outside`, "/../outside", "Boot/../../outside", ".hidden", "Boot", "none", "C:/x"} {
		if b, _, err := get(name, 512); err == nil {
			t.Errorf("%s was given out: %q", name, b)
		}
	}
	c, err := tftp.NewClient(s.tftp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if w, err := c.Send("new", "octet"); err == nil {
		if _, err = w.ReadFrom(strings.NewReader("x")); err == nil {
			t.Error("a file was taken")
		}
	}
	fetched := 0
	for _, e := range stop() {
		if e.Service == "tftp" && e.Answered && e.Client.Address.IsLoopback() {
			fetched++
		}
	}
	if fetched != 4 {
		t.Errorf("%d events of fetched files", fetched)
	}
}

func TestLinksDoNotLeadOut(t *testing.T) {
	t.Parallel()
	dir := fill(t, map[string][]byte{"boot.wim": nil, "../outside": []byte("secret")})
	if err := os.Symlink("../outside", filepath.Join(dir, "link")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if f, _, _, err := (folder{root}).open("link"); err == nil {
		f.Close()
		t.Error("a link led out of the folder")
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	dir := fill(t, map[string][]byte{"boot.wim": []byte("0123456789"), "wimboot": []byte("w"), "BCD": []byte("b"), "segoe.ttf": nil, "../outside": []byte("secret")})
	s, stop := served(t, Config{Dir: dir, Machine: func(_ context.Context, c Client) ([]File, error) {
		switch c.MAC {
		case "52:54:00:12:34:56":
			return []File{{"keys.age", []byte("sealed")}, {"site.json", []byte("{}")}}, nil
		case "52:54:00:00:00:01":
			return nil, errors.New("the key store is locked")
		case "52:54:00:00:00:02":
			return []File{{"../x y", nil}}, nil
		}
		return nil, nil
	}})
	get := func(path string, header ...string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Base()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(b)
	}
	if code, body := get("/boot.wim", "Range", "bytes=2-4"); code != 206 || body != "234" {
		t.Errorf("range: %d %q", code, body)
	}
	if code, body := get("/BOOT.WIM"); code != 200 || body != "0123456789" {
		t.Errorf("whole: %d %q", code, body)
	}
	for _, p := range []string{"/../outside", "/%2e%2e/outside", "/..%5coutside", "/", "/none", "/machine/x/keys.age", "/machine//"} {
		if code, body := get(p); code != 404 || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %q", p, code, body)
		}
	}
	for _, mac := range []string{"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03", "nonsense"} {
		if code, body := get("/boot.ipxe?mac=" + mac); code != 200 || strings.Contains(body, "machine/") || !strings.Contains(body, "initrd --name boot.wim boot.wim boot.wim ||") {
			t.Errorf("%s: %d\n%s", mac, code, body)
		}
	}
	code, script := get("/boot.ipxe?mac=52-54-00-12-34-56")
	if code != 200 || !strings.HasPrefix(script, "#!ipxe\n") {
		t.Fatalf("%d %s", code, script)
	}
	var own []string
	for line := range strings.Lines(script) {
		if _, at, ok := strings.Cut(line, " machine/"); ok {
			own = append(own, "/machine/"+strings.Fields(at)[0])
		}
	}
	if len(own) != 2 {
		t.Fatalf("links: %v\n%s", own, script)
	}
	if code, body := get(own[0]); code != 200 || body != "sealed" {
		t.Errorf("own file: %d %q", code, body)
	}
	if code, _ := get(own[0]); code != 404 {
		t.Errorf("the token worked twice: %d", code)
	}
	if _, _, ok := s.tickets.redeem(strings.Split(own[1], "/")[2], "site.json", netip.MustParseAddr("192.0.2.66"), time.Now()); ok {
		t.Error("the token worked from another address")
	}
	if code, body := get(own[1]); code != 200 || body != "{}" {
		t.Errorf("the other file: %d %q", code, body)
	}
	for _, e := range stop() {
		if strings.Contains(e.File, strings.Split(own[0], "/")[2]) {
			t.Errorf("token in an event: %+v", e)
		}
	}
}

func TestDryRunAnswersNothing(t *testing.T) {
	t.Parallel()
	dir := fill(t, map[string][]byte{"boot.wim": nil, "ipxe.efi": []byte("x")})
	var events []Event
	s, err := New(t.Context(), Config{Dir: dir, Address: netip.MustParseAddr("127.0.0.1"), DHCP: -1, Boot: -1, TFTP: -1, HTTP: 8080, DryRun: true,
		OnEvent: func(e Event) { events = append(events, e) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.tftp != nil || s.http != nil {
		t.Error("a dry run opened TFTP or HTTP")
	}
	b, _ := s.message(ask(t, dhcpv4.MessageTypeDiscover, X64, "PXEClient").ToBytes(), &net.UDPAddr{}, 67)
	if b != nil || len(events) != 1 || events[0].Answered || events[0].What+" "+events[0].File != "would be told to start ipxe.efi" {
		t.Errorf("%v %+v", b, events)
	}
	s.config.DryRun = false
	if b, to := s.message(ask(t, dhcpv4.MessageTypeDiscover, X64, "PXEClient").ToBytes(), &net.UDPAddr{}, 67); b == nil || to.String() != "255.255.255.255:68" {
		t.Errorf("the real thing: %v to %v", b, to)
	}
}

// TestBootServerOverUDP asks the real socket, as firmware does on port 4011.
func TestBootServerOverUDP(t *testing.T) {
	t.Parallel()
	s, _ := served(t, Config{Dir: fill(t, map[string][]byte{"boot.wim": nil, "ipxe.efi": []byte("x")}), DHCP: -1, Boot: -1})
	var to net.Addr
	for _, p := range s.packets {
		if p.port == bootPort {
			to = p.conn.LocalAddr()
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "udp4", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, bad := range [][]byte{{}, {1}, bytes.Repeat([]byte{1}, 300)} {
		if _, err := conn.Write(bad); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(ask(t, dhcpv4.MessageTypeRequest, X64, "PXEClient").ToBytes()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := dhcpv4.FromBytes(b[:n]); err != nil || m.BootFileName != "ipxe.efi" || m.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("%v %v", err, m)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(ask(f, dhcpv4.MessageTypeDiscover, X64, "PXEClient").ToBytes(), true)
	f.Add(ask(f, dhcpv4.MessageTypeRequest, X64HTTP, "HTTPClient").ToBytes(), false)
	f.Add([]byte{1, 1, 6}, true)
	captured, err := filepath.Glob("testdata/*.dhcp")
	if err != nil || len(captured) == 0 {
		f.Fatalf("captured messages: %d, %v", len(captured), err)
	}
	for _, name := range captured {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, !strings.Contains(name, "4011"))
	}
	f.Fuzz(func(t *testing.T, b []byte, offer bool) {
		defer bounded.Input(t, len(b))()
		port := bootPort
		if offer {
			port = dhcpPort
		}
		s := &Server{respond: testResponder}
		out, to := s.message(b, &net.UDPAddr{IP: net.IP{192, 0, 2, 99}, Port: 68}, port)
		if out == nil {
			return
		}
		m, err := dhcpv4.FromBytes(out)
		if err != nil || m.OpCode != dhcpv4.OpcodeBootReply || !m.YourIPAddr.IsUnspecified() || to == nil {
			t.Errorf("answer %v to %v: %v", m, to, err)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, n := range []string{"boot.wim", `\Boot\BCD`, "../x", "a/../../b", "//x", ".x", "C:\\x", "a\x00b"} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		defer bounded.Input(t, len(name))()
		c, err := clean(name)
		if err != nil {
			return
		}
		if !fs.ValidPath(c) || !filepath.IsLocal(c) || strings.Contains(c, "..\\") || strings.HasPrefix(c, ".") {
			t.Errorf("%q became %q", name, c)
		}
	})
}
