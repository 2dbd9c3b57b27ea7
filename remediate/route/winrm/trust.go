package winrm

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// errUntrusted is what every refusal of a machine's certificate wraps.
var errUntrusted = errors.New("the machine's certificate is not trusted")

// tlsConfig is the configuration for one machine that must prove to be one of names. The usual verification is replaced
// by verify, which does the same with any of the machine's names, not only the one that was dialled.
func (c *Config) tlsConfig(names []string) *tls.Config {
	t := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         sniName(names),
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection below verifies chain and name
		VerifyConnection:   func(state tls.ConnectionState) error { return verify(state.PeerCertificates, names, c.RootCAs) },
	}
	if c.Auth == AuthCertificate {
		// Windows asks for the client's certificate in a renegotiation, which TLS 1.3 does not have.
		t.Certificates = []tls.Certificate{*c.Certificate}
		t.Renegotiation = tls.RenegotiateOnceAsClient
		t.MaxVersion = tls.VersionTLS12
	}
	return t
}

// sniName is the first name that may stand in a TLS greeting: an address may not (RFC 6066 section 3).
func sniName(names []string) string {
	for _, name := range names {
		if net.ParseIP(name) == nil {
			return name
		}
	}
	return names[0]
}

// verify checks the chain against roots (nil: those of the system) and that the certificate is for one of names.
func verify(chain []*x509.Certificate, names []string, roots *x509.CertPool) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w: it showed none", errUntrusted)
	}
	leaf := chain[0]
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(options); err != nil {
		return untrusted(chain, err)
	}
	var err error
	for _, name := range names {
		if err = leaf.VerifyHostname(name); err == nil {
			return nil
		}
	}
	return hint.Wrap(fmt.Errorf("%w: it is for %s, not for %s", errUntrusted, certificateNames(leaf), strings.Join(names, " or ")),
		"give the machine a certificate for one of these names, or bring the name that it has into the inventory (column fqdn or name)")
}

// untrusted says which certificate is missing and where to put it.
func untrusted(chain []*x509.Certificate, err error) error {
	last := chain[len(chain)-1]
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return hint.Wrap(fmt.Errorf("%w: %v", errUntrusted, err), "renew the machine's certificate, or correct the clock of this computer or of the machine")
	case errors.As(err, &unknown) && last.Issuer.String() == last.Subject.String() && len(chain) == 1:
		return hint.Wrap(fmt.Errorf("%w: it signed itself (%s)", errUntrusted, name(last)),
			"add this certificate as a PEM file to the trusted ones (ca), or give the machine one from your CA")
	case errors.As(err, &unknown):
		return hint.Wrap(fmt.Errorf("%w: its issuer %q is not among the trusted CAs", errUntrusted, last.Issuer.String()),
			"add the certificate of that CA as a PEM file to the trusted ones (ca)")
	}
	return hint.Wrap(fmt.Errorf("%w: %v", errUntrusted, err), "add the CA that issued it as a PEM file to the trusted ones (ca)")
}

func name(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return s
	}
	return certificateNames(c)
}

func certificateNames(c *x509.Certificate) string {
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Sprintf("no name (subject %q)", c.Subject.String())
	}
	return clip(strings.Join(names, ", "), 200)
}

// endPointHash is the hash of the channel binding tls-server-end-point (RFC 5929 section 4.1): by the hash of the
// certificate's signature, but SHA-256 in place of MD5 and SHA-1. Signatures without a hash of their own (Ed25519) have
// no defined binding; SHA-256 is what Windows and others use for what they do not know.
func endPointHash(c *x509.Certificate) []byte {
	h := crypto.SHA256
	switch c.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h = crypto.SHA512
	}
	sum := h.New()
	sum.Write(c.Raw)
	return sum.Sum(nil)
}
