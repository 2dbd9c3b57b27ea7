package simfleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// authority is the fleet's own certificate authority. All machines share one key; their certificates are made when they
// are first needed.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	leafKey     *ecdsa.PrivateKey
	account     string
	address     string // of the machines

	mu     sync.Mutex
	serial int64
	leaves map[string]*tls.Certificate
}

func newAuthority(account, address string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the fleet's authority: %w", err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the machines: %w", err)
	}
	a := &authority{key: key, leafKey: leafKey, account: account, address: address, serial: 1, leaves: map[string]*tls.Certificate{}}
	template := a.template("fleetmend simulated fleet CA")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	template.SubjectKeyId = []byte("fleetmend simulated")
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of the fleet's authority: %w", err)
	}
	a.certificate, err = x509.ParseCertificate(raw)
	return a, err
}

func (a *authority) template(name string) *x509.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name, Organization: []string{"fleetmend simulated fleet"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func (a *authority) issue(template *x509.Certificate) *tls.Certificate {
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.leafKey.Public(), a.key)
	if err != nil {
		panic("simfleet: sign a certificate with our own key: " + err.Error())
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: a.leafKey}
}

// leaf returns the certificate of a machine, for its FQDN and for the loopback addresses it is reached by.
func (a *authority) leaf(fqdn string) *tls.Certificate {
	a.mu.Lock()
	leaf, ok := a.leaves[fqdn]
	a.mu.Unlock()
	if ok {
		return leaf
	}
	template := a.template(fqdn)
	template.DNSNames = []string{fqdn, "localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.ParseIP(a.address)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf = a.issue(template)
	a.mu.Lock()
	defer a.mu.Unlock()
	if first, ok := a.leaves[fqdn]; ok {
		return first
	}
	a.leaves[fqdn] = leaf
	return leaf
}

// client issues a certificate that is mapped to the fleet's account, as PEM.
func (a *authority) client() (certificate, key []byte, err error) {
	template := a.template(a.account)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	issued := a.issue(template)
	raw, err := x509.MarshalPKCS8PrivateKey(a.leafKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encode client key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), nil
}

// isClient reports whether a certificate is mapped to the account.
func (a *authority) isClient(c *x509.Certificate) bool {
	_, err := c.Verify(x509.VerifyOptions{Roots: a.pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil && c.Subject.CommonName == a.account
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}
