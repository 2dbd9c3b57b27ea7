package pesign

import (
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"
)

// A certificate may carry a key of a million bits, with which one check takes minutes.
func TestKeysThatTakeTooLong(t *testing.T) {
	for bits, want := range map[uint]bool{2048: false, 4096: false, 16384: false, 16385: true, 1 << 20: true} {
		key := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
		if endless(&x509.Certificate{PublicKey: key}) != want {
			t.Errorf("%d bits: %v", bits, !want)
		}
	}
}
