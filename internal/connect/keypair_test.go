package connect_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/fleetmend/fleetmend/internal/connect"
)

// files writes a certificate and its key, each as form has it.
func files(t *testing.T, form func([]byte) []byte) (certificate, key string, der []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private); err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, form(pem.EncodeToMemory(block)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key, der
}

func inUTF16(text []byte) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(string(text))) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// Certificates and keys are read as PowerShell 5.1 and Notepad leave them, and authorities also as Windows exports them.
func TestCertificatesInEveryForm(t *testing.T) {
	for name, form := range map[string]func([]byte) []byte{
		"plain": bytes.Clone, "marked": func(b []byte) []byte { return append([]byte("\ufeff"), b...) }, "UTF-16": inUTF16,
	} {
		certificate, key, der := files(t, form)
		if pair, err := connect.KeyPair(certificate, key); err != nil || !bytes.Equal(pair.Certificate[0], der) {
			t.Errorf("%s: %v", name, err)
		}
		own, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		binary := certificate + ".cer"
		if err := os.WriteFile(binary, der, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{certificate, binary} {
			pool, err := connect.Trusted(file)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if _, err := own.Verify(x509.VerifyOptions{Roots: pool}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := connect.KeyPair(key, certificate); err == nil {
			t.Errorf("%s: a key was taken for a certificate", name)
		}
		if _, err := connect.Trusted(key); err == nil {
			t.Errorf("%s: a key was taken for an authority", name)
		}
	}
}
