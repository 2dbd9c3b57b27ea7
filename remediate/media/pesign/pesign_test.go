package pesign_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/remediate/media/pesign"
)

// Program makes a PE32+ file of one section that does nothing.
func program(machine uint16) []byte {
	b := make([]byte, 0x400)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[60:], 0x80)
	p := b[0x80:]
	copy(p, "PE\x00\x00")
	le.PutUint16(p[4:], machine)
	le.PutUint16(p[6:], 1)
	le.PutUint16(p[20:], 240)
	le.PutUint16(p[22:], 0x22)
	o := p[24:]
	le.PutUint16(o, 0x20b)
	le.PutUint32(o[4:], 0x200)
	le.PutUint32(o[16:], 0x1000)
	le.PutUint32(o[20:], 0x1000)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint32(o[56:], 0x2000)
	le.PutUint32(o[60:], 0x200)
	le.PutUint16(o[68:], pesign.EFIApplication)
	le.PutUint32(o[108:], 16)
	s := o[240:]
	copy(s, ".text")
	le.PutUint32(s[8:], 0x200)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 0x200)
	le.PutUint32(s[20:], 0x200)
	le.PutUint32(s[36:], 0x60000020)
	b[0x200] = 0xc3
	return b
}

func inspect(t testing.TB, b []byte) *pesign.File {
	t.Helper()
	f, err := pesign.Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestUnsigned(t *testing.T) {
	for m, name := range map[uint16]string{0x8664: "amd64", 0xaa64: "arm64", 0x14c: "x86", 0x1234: "machine 0x1234"} {
		f := inspect(t, program(m))
		if len(f.Signatures) != 0 || len(f.Authorities()) != 0 || f.Machine.String() != name || f.Subsystem != pesign.EFIApplication {
			t.Errorf("%+v", f)
		}
	}
	for _, b := range [][]byte{nil, []byte("MZ"), []byte("#!/bin/sh"), bytes.Repeat([]byte("M"), 200)} {
		if _, err := pesign.Inspect(bytes.NewReader(b), int64(len(b))); !errors.Is(err, pesign.ErrNotPE) {
			t.Errorf("%q: %v", b, err)
		}
	}
	b := program(0x8664)
	var bad *pesign.DamagedError
	if _, err := pesign.Inspect(bytes.NewReader(b[:0x300]), 0x300); !errors.As(err, &bad) {
		t.Errorf("cut off: %v", err)
	}
}

func need(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian: %s)", program, pkg)
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Shim is Debian's boot loader, which Microsoft has signed twice.
func TestShimCarriesTwoSignatures(t *testing.T) {
	const name = "/usr/lib/shim/shimx64.efi.signed"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Skip("Debian's shim is not installed (shim-signed)")
	}
	f := inspect(t, b)
	if f.Machine != pesign.AMD64 || f.Subsystem != pesign.EFIApplication {
		t.Errorf("%v %d", f.Machine, f.Subsystem)
	}
	if a := f.Authorities(); !slices.Contains(a, pesign.UEFI2011) || (len(f.Signatures) > 1 && !slices.Contains(a, pesign.UEFI2023)) {
		t.Errorf("authorities %v", a)
	}
	for i, s := range f.Signatures {
		if s.Problem != nil || s.Nested || len(s.Chain) != 2 || s.Hash != crypto.SHA256 || !s.Signer().NotAfter.After(s.Signer().NotBefore) {
			t.Errorf("signature %d: %+v", i, s)
		}
	}
	need(t, "sbverify", "sbsigntool")
	out := run(t, "sbverify", "--list", name)
	if n := strings.Count(out, "image signature issuers:"); n != len(f.Signatures) {
		t.Errorf("sbverify finds %d signatures, we %d", n, len(f.Signatures))
	}
	for _, s := range f.Signatures {
		if !strings.Contains(out, "CN="+s.Signer().Subject.CommonName) || !strings.Contains(out, "CN="+s.Chain[1].Subject.CommonName) {
			t.Errorf("sbverify does not list %v", s.Signer().Subject)
		}
	}
	// A changed byte in the code is noticed by both.
	b[0x2000] ^= 1
	for _, s := range inspect(t, b).Signatures {
		if s.Problem == nil || !strings.Contains(s.Problem.Error(), "changed") {
			t.Errorf("changed file: %v", s.Problem)
		}
	}
	if len(inspect(t, b).Authorities()) != 0 {
		t.Error("a changed file has authorities")
	}
}

// Identity makes a key, a CA and a certificate below it, and returns the files of key and certificate.
func identity(t testing.TB, ca, name string) (key, cert, all string) {
	t.Helper()
	dir := t.TempDir()
	template := func(n int64, cn string, isCA bool) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: cn}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(time.Hour), IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	}
	newKey := func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := newKey(), newKey()
	root, leaf := template(1, ca, true), template(2, name, false)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	save := func(name string, blocks ...*pem.Block) string {
		var b bytes.Buffer
		for _, p := range blocks {
			pem.Encode(&b, p)
		}
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	l, r := &pem.Block{Type: "CERTIFICATE", Bytes: leafDER}, &pem.Block{Type: "CERTIFICATE", Bytes: rootDER}
	return save("key.pem", &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(leafKey)}), save("cert.pem", l), save("all.pem", l, r)
}

func save(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.efi")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSbsignAndSbverifyAgree(t *testing.T) {
	need(t, "sbsign", "sbsigntool")
	in, out := save(t, program(0x8664)), filepath.Join(t.TempDir(), "signed.efi")
	key, cert, _ := identity(t, "Test CA", "Test signer")
	run(t, "sbsign", "--key", key, "--cert", cert, "--output", out, in)
	// A second signature beside the first, as dual-signed boot files have.
	key2, cert2, _ := identity(t, string(pesign.WindowsUEFI2023), "Impostor")
	run(t, "sbsign", "--key", key2, "--cert", cert2, "--output", out, out)
	b, _ := os.ReadFile(out)
	f := inspect(t, b)
	if len(f.Signatures) != 2 {
		t.Fatalf("%d signatures", len(f.Signatures))
	}
	for i, cn := range []string{"Test signer", "Impostor"} {
		s := f.Signatures[i]
		if s.Problem != nil || s.Nested || s.Signer().Subject.CommonName != cn {
			t.Errorf("signature %d: %v %v", i, s.Problem, s.Chain)
		}
		if s.Authority != "" {
			t.Errorf("signature %d: a mere name made it %q", i, s.Authority)
		}
	}
	if f.Signatures[1].Issuer() != "CN=Windows UEFI CA 2023" || len(f.Authorities()) != 0 {
		t.Errorf("%q %v", f.Signatures[1].Issuer(), f.Authorities())
	}
	run(t, "sbverify", "--cert", cert, out)

	// Damage to the signed content, to the signature and to the table.
	for name, at := range map[string]int{"code": 0x201, "signature": bytes.LastIndexFunc(b, func(r rune) bool { return r != 0 }) - 20} {
		c := bytes.Clone(b)
		c[at] ^= 0xff
		g := inspect(t, c)
		if bad := g.Signatures[len(g.Signatures)-1].Problem; bad == nil {
			t.Errorf("damaged %s is not noticed", name)
		}
	}
	// The checksum is not part of what is signed.
	c := bytes.Clone(b)
	c[0x80+24+64] ^= 0xff
	if p := inspect(t, c).Signatures[0].Problem; p != nil {
		t.Errorf("checksum: %v", p)
	}
}

func TestNestedSignatureAndChain(t *testing.T) {
	need(t, "osslsigncode", "osslsigncode")
	in, one, two := save(t, program(0xaa64)), filepath.Join(t.TempDir(), "1.efi"), filepath.Join(t.TempDir(), "2.efi")
	key, _, all := identity(t, "First CA", "First signer")
	run(t, "osslsigncode", "sign", "-h", "sha1", "-certs", all, "-key", key, "-in", in, "-out", one)
	key, _, all = identity(t, "Second CA", "Second signer")
	run(t, "osslsigncode", "sign", "-nest", "-h", "sha384", "-certs", all, "-key", key, "-in", one, "-out", two)
	b, _ := os.ReadFile(two)
	f := inspect(t, b)
	if len(f.Signatures) != 2 {
		t.Fatalf("%d signatures", len(f.Signatures))
	}
	for i, want := range []struct {
		cn     string
		hash   crypto.Hash
		nested bool
	}{{"First signer", crypto.SHA1, false}, {"Second signer", crypto.SHA384, true}} {
		s := f.Signatures[i]
		if s.Problem != nil || s.Nested != want.nested || s.Hash != want.hash || s.Signer().Subject.CommonName != want.cn || len(s.Chain) != 2 {
			t.Errorf("signature %d: %+v", i, s)
		}
	}
	if v, _ := exec.Command("osslsigncode", "verify", "-in", two).CombinedOutput(); !strings.Contains(strings.ToLower(string(v)), hex.EncodeToString(f.Signatures[1].Digest)) {
		t.Errorf("osslsigncode computes another hash:\n%s", v)
	}
}

// FuzzSignature mutates a signature alone; the file around it and its hash stay right.
func FuzzSignature(f *testing.F) {
	signed, err := os.ReadFile("testdata/nested.efi")
	if err != nil {
		f.Fatal(err)
	}
	le := binary.LittleEndian
	entry := signed[le.Uint32(signed[60:])+24+112+4*8:]
	table := le.Uint32(entry)
	if a := inspect(f, signed).Signatures; len(a) != 2 || a[0].Problem != nil {
		f.Fatalf("the seed carries %d signatures", len(a))
	}
	f.Add(signed[table+8:])
	f.Fuzz(func(t *testing.T, der []byte) {
		defer bounded.Input(t, len(der)+len(signed))()
		b := append(bytes.Clone(signed[:table+8]), der...)
		b = append(b, make([]byte, -len(b)&7)...)
		le.PutUint32(b[table:], uint32(8+len(der)))
		le.PutUint32(b[le.Uint32(b[60:])+24+112+4*8+4:], uint32(len(b))-table)
		p, err := pesign.Inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, s := range p.Signatures {
			s.Issuer()
		}
		if len(p.Authorities()) > 0 {
			t.Error("a signature of Microsoft's that Microsoft has not made")
		}
	})
}

func FuzzInspect(f *testing.F) {
	f.Add(program(0x8664))
	if list, err := filepath.Glob("testdata/*.efi"); err == nil {
		for _, n := range list {
			if b, err := os.ReadFile(n); err == nil {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		if p, err := pesign.Inspect(bytes.NewReader(b), int64(len(b))); err == nil {
			p.Authorities()
		}
	})
}
