package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/secret"
)

var attributes = strings.Fields(`objectGUID objectSid sAMAccountName dNSHostName operatingSystem operatingSystemVersion userAccountControl lastLogonTimestamp pwdLastSet whenCreated whenChanged servicePrincipalName distinguishedName msDS-SupportedEncryptionTypes msLAPS-PasswordExpirationTime ms-Mcs-AdmPwdExpirationTime objectClass primaryGroupID uSNChanged`)

func readDirectory(ctx context.Context, dir string) error {
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	password, err := firstLine(filepath.Join(dir, "password"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "fleetmend.yaml"))
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(text), `dc: ["`)
	name, _, _ := strings.Cut(after, `"`)
	dc, err := directory.ParseDC(name)
	if err != nil {
		return err
	}
	conn, err := directory.Dial(ctx, directory.Config{
		Domain: "fleet.test", DCs: []directory.DC{dc}, Method: directory.SimpleLDAPS, RootCAs: pool,
		Credential: directory.Credential{User: "admin@fleet.test", Password: secret.New(password)},
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	n := 0
	_, err = conn.Search(ctx, directory.Query{Filter: "(&(objectCategory=computer)(operatingSystem=*Windows*))", Attributes: attributes}, func(e *directory.Entry) error {
		n++
		return nil
	})
	fmt.Println(n)
	return err
}
