package winrm

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// RFC 5929 section 4.1: the certificate's own hash, but SHA-256 for MD5 and SHA-1.
func TestEndPointHash(t *testing.T) {
	raw := []byte("certificate")
	sum256, sum384, sum512 := sha256.Sum256(raw), sha512.Sum384(raw), sha512.Sum512(raw)
	for algorithm, want := range map[x509.SignatureAlgorithm][]byte{
		x509.MD5WithRSA: sum256[:], x509.SHA1WithRSA: sum256[:], x509.ECDSAWithSHA1: sum256[:], x509.SHA256WithRSA: sum256[:],
		x509.SHA256WithRSAPSS: sum256[:], x509.ECDSAWithSHA256: sum256[:], x509.SHA384WithRSA: sum384[:], x509.SHA384WithRSAPSS: sum384[:],
		x509.ECDSAWithSHA384: sum384[:], x509.SHA512WithRSA: sum512[:], x509.SHA512WithRSAPSS: sum512[:], x509.ECDSAWithSHA512: sum512[:],
	} {
		if got := endPointHash(&x509.Certificate{Raw: raw, SignatureAlgorithm: algorithm}); !slices.Equal(got, want) {
			t.Errorf("%v: %x", algorithm, got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	c := &Config{Port: 5986}
	for address, want := range map[string]struct {
		hostPort string
		names    []string
	}{
		"":                 {"WS1:5986", []string{"WS1"}},
		"ws1.corp.example": {"ws1.corp.example:5986", []string{"ws1.corp.example", "WS1"}},
		"ws1:443":          {"ws1:443", []string{"ws1"}},
		"10.1.2.3":         {"10.1.2.3:5986", []string{"10.1.2.3", "WS1"}},
		"WS1":              {"WS1:5986", []string{"WS1"}},
		"fe80::1":          {"[fe80::1]:5986", []string{"fe80::1", "WS1"}},
		"[fe80::1]":        {"[fe80::1]:5986", []string{"fe80::1", "WS1"}},
		"[fe80::1]:443":    {"[fe80::1]:443", []string{"fe80::1", "WS1"}},
	} {
		got := c.endpoint(route.Target{Name: "WS1", Address: address})
		if got.hostPort != want.hostPort || !slices.Equal(got.names, want.names) {
			t.Errorf("%q: %+v", address, got)
		}
	}
	known := route.Target{Name: "WS1", Address: "10.1.2.3:5986", FQDN: "ws1.corp.example", Aliases: []string{"ws1", "old1.corp.example"}}
	if got, want := c.endpoint(known).names, []string{"10.1.2.3", "ws1.corp.example", "WS1", "old1.corp.example"}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	if got := sniName([]string{"10.1.2.3", "WS1"}); got != "WS1" {
		t.Errorf("SNI %q", got)
	}
}
