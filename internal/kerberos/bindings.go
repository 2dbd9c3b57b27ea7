package kerberos

import (
	"crypto"
	"crypto/md5" //nolint:gosec // RFC 4121 section 4.1.1.2 wants MD5 over the bindings
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/binary"
)

// Bindings gives the MD5 of the channel bindings tls-server-end-point (RFC 5929 section 4.1, RFC 2744 section 3.11): the certificate's
// hash under its own signature's hash function, or under SHA-256 where that is MD5 or SHA-1.
func Bindings(cert *x509.Certificate) []byte {
	h := crypto.SHA256
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h = crypto.SHA512
	}
	d := h.New()
	d.Write(cert.Raw)
	data := d.Sum([]byte("tls-server-end-point:"))
	b := make([]byte, 20, 20+len(data)) // no addresses: four zero fields, then the length
	binary.LittleEndian.PutUint32(b[16:], uint32(len(data)))
	sum := md5.Sum(append(b, data...)) //nolint:gosec // see above
	return sum[:]
}
