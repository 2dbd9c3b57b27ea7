package winrm_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// acceptor is test/interop/ntlm_acceptor.py: pyspnego's NTLM on the other side.
type acceptor struct {
	port string
	mu   sync.Mutex
	log  bytes.Buffer
}

func (a *acceptor) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(p)
}

func (a *acceptor) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

// python finds an interpreter with pyspnego: FLEETMEND_PYTHON, else python3.
func python(t *testing.T) string {
	for _, candidate := range []string{os.Getenv("FLEETMEND_PYTHON"), "python3"} {
		if candidate != "" && exec.Command(candidate, "-c", "import spnego, cryptography").Run() == nil {
			return candidate
		}
	}
	t.Skip("no Python with pyspnego: set FLEETMEND_PYTHON to one (pip install pyspnego==0.12.4)")
	return ""
}

func startAcceptor(t *testing.T, arguments ...string) *acceptor {
	t.Helper()
	interpreter := python(t)
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("CORP:admin:"+password+"\n:local:"+password+"\n:jörg@corp.example:pässwörd€\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &acceptor{}
	command := exec.Command(interpreter, append([]string{filepath.Join("..", "..", "..", "test", "interop", "ntlm_acceptor.py")}, arguments...)...)
	command.Env = append(os.Environ(), "NTLM_USER_FILE="+users)
	command.Stderr = a
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = command.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the acceptor did not start: %v\n%s", err, a.said())
	}
	a.port = strings.TrimSpace(strings.TrimPrefix(line, "ready "))
	return a
}

func ntlmRoute(t *testing.T, name, secret string, change func(*winrm.Config)) *winrm.Route {
	t.Helper()
	config := winrm.Config{Credential: fixed(name, secret), ReceiveTimeout: patience}
	if change != nil {
		change(&config)
	}
	r, err := winrm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNTLMSealedAgainstPyspnego(t *testing.T) {
	t.Parallel()
	a := startAcceptor(t)
	sealedRoundTrip(t, a)
	sealIsInsistedOn(t, a)
	wrongPasswordOnce(t, a)
}

func sealedRoundTrip(t *testing.T, a *acceptor) {
	target := route.Target{Name: "WS1", Address: "127.0.0.1:" + a.port}
	payload := bytes.Repeat([]byte("every byte \x00\x01\xff--Encrypted Boundary\r\n"), 6000) // three Sends
	for _, account := range [][2]string{{user, password}, {`.\local`, password}, {"jörg@corp.example", "pässwörd€"}} {
		r := ntlmRoute(t, account[0], account[1], nil)
		out, err := r.Run(t.Context(), target, "echo <&>", payload)
		if err != nil || out.ExitCode != 7 || !bytes.Equal(out.Stdout, payload) {
			t.Errorf("%s: exit %d, %d bytes, %v\n%s", account[0], out.ExitCode, len(out.Stdout), err, a.said())
		}
	}
	if got := strings.Count(a.said(), "logon: "); got != 3 || strings.Contains(a.said(), "refused") {
		t.Errorf("want one logon per machine:\n%s", a.said())
	}
}

func sealIsInsistedOn(t *testing.T, a *acceptor) {
	target := route.Target{Name: "WS1", Address: "127.0.0.1:" + a.port}
	for path, op := range map[string]string{"/tamper": "authenticate", "/plain": "authenticate", "/weak": "authenticate"} {
		r := ntlmRoute(t, user, password, func(c *winrm.Config) { c.Path = path })
		_, err := r.Run(t.Context(), target, "x", []byte("x"))
		check(t, path, err, route.Untrusted, op)
	}
	// A replayed answer is noticed once there is an earlier one, that to the proof of the sign-in: before anything has started.
	r := ntlmRoute(t, user, password, func(c *winrm.Config) { c.Path = "/replay" })
	_, err := r.Run(t.Context(), target, "x", []byte("x"))
	check(t, "/replay", err, route.Untrusted, "create")
}

func wrongPasswordOnce(t *testing.T, a *acceptor) {
	target := route.Target{Name: "WS1", Address: "127.0.0.1:" + a.port}
	r := ntlmRoute(t, user, "wrong", nil)
	classes := map[route.Class]int{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			_, err := r.Run(t.Context(), target, "x", []byte("x"))
			mu.Lock()
			classes[route.ClassOf(err)]++
			mu.Unlock()
		})
	}
	group.Wait()
	if got := strings.Count(a.said(), "refused: "); got != 1 || classes[route.Auth] != 1 || classes[route.Stopped] != 49 {
		t.Errorf("%d attempts reached the machine, classes %v", got, classes)
	}
}

func TestChannelBindingAgainstPyspnego(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} { // bound by SHA-256 and by SHA-384
		t.Run(curve.Params().Name, func(t *testing.T) {
			t.Parallel()
			directory := t.TempDir()
			certificate, key := filepath.Join(directory, "cert.pem"), filepath.Join(directory, "key.pem")
			pool, pair := selfSigned(t, curve)
			writePEM(t, certificate, "CERTIFICATE", pair.Certificate[0])
			raw, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			writePEM(t, key, "PRIVATE KEY", raw)
			a := startAcceptor(t, certificate, key)
			r := ntlmRoute(t, user, password, func(c *winrm.Config) { c.Scheme, c.RootCAs = "https", pool })
			out, err := r.Run(t.Context(), route.Target{Name: "WS1", Address: "127.0.0.1:" + a.port}, "x", []byte("hello"))
			if err != nil || string(out.Stdout) != "hello" {
				t.Errorf("%q, %v\n%s", out.Stdout, err, a.said())
			}
			relayed(t, a, pool)
		})
	}
}

// relayed puts a man in the middle who has a certificate that we trust for that name: the logon must fail all the same,
// because it is bound to his certificate and not to the machine's.
func relayed(t *testing.T, a *acceptor, machine *x509.CertPool) {
	pool, address := relay(t, a, machine)
	r := ntlmRoute(t, user, password, func(c *winrm.Config) { c.Scheme, c.RootCAs = "https", pool })
	_, err := r.Run(t.Context(), route.Target{Name: "WS1", Address: address}, "x", []byte("hello"))
	check(t, "relay", err, route.Auth, "authenticate")
	if !strings.Contains(a.said(), "bindings") {
		t.Errorf("the machine refused for another reason:\n%s", a.said())
	}
}

// relay is that man, for one connection: who trusts him, and where he listens.
func relay(t *testing.T, a *acceptor, machine *x509.CertPool) (*x509.CertPool, string) {
	t.Helper()
	pool, pair := selfSigned(t, elliptic.P256())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	group.Go(func() {
		front, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = front.Close() }()
		machine, err := tls.Dial("tcp", "127.0.0.1:"+a.port, &tls.Config{RootCAs: machine})
		if err != nil {
			return
		}
		defer func() { _ = machine.Close() }()
		group.Go(func() { _, _ = bufio.NewReader(front).WriteTo(machine); _ = machine.Close() })
		_, _ = bufio.NewReader(machine).WriteTo(front)
	})
	return pool, listener.Addr().String()
}

func selfSigned(t *testing.T, curve elliptic.Curve) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ws1.corp.example"}, DNSNames: []string{"ws1.corp.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return pool, tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

func writePEM(t *testing.T, path, kind string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}
