package directory

import (
	"crypto/x509"
	"errors"

	"github.com/go-ldap/ldap/v3"
	"github.com/go-ldap/ldap/v3/gssapi"
)

// loggedOn binds as the user of the Windows session, tied to the certificate of the TLS connection.
func loggedOn(cert *x509.Certificate) (ldap.GSSAPIClient, error) {
	if cert == nil {
		return nil, errors.New("the domain controller showed no certificate")
	}
	return gssapi.NewSSPIClientWithChannelBinding(cert)
}
