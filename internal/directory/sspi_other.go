//go:build !windows

package directory

import (
	"crypto/x509"
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/hint"
)

func loggedOn(*x509.Certificate) (ldap.GSSAPIClient, error) {
	return nil, hint.Wrap(errors.New("the logged-on user can be used on Windows only"), "run kinit and name the ticket cache")
}
