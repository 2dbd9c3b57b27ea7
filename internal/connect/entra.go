package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

func entraSource(_ context.Context, c *Connector) (bitlocker.Source, error) {
	e := c.Settings.Entra
	if e.Tenant == "" {
		return nil, hint.Mistake(errors.New("no Entra tenant is configured"), "write a section entra with tenant, client-id and secret-file, certificate or device-code into fleetmend.yaml")
	}
	options := entra.Options{Tenant: e.Tenant, ClientID: e.ClientID, Version: c.Version, Warn: c.warn}
	var err error
	if options.Cloud, err = entra.CloudByName(e.Cloud); err != nil {
		return nil, hint.Mistake(fmt.Errorf("entra.cloud: %w", err), "")
	}
	if e.Authority != "" || e.Graph != "" {
		options.Cloud = entra.Cloud{Name: "configured", Authority: e.Authority, Graph: e.Graph}
	}
	roots, err := Trusted(e.CA)
	if err != nil {
		return nil, fmt.Errorf("entra.ca: %w", err)
	}
	if roots != nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		options.Client = &http.Client{Transport: transport}
	}
	if e.SecretFile != "" {
		if options.Secret, err = c.Secret(e.SecretFile, "entra.secret-file names a file with the secret in its first line"); err != nil {
			return nil, err
		}
	}
	if e.Certificate != "" {
		if options.Certificate, err = textfile.Bytes(e.Certificate, MaxCA); err != nil {
			return nil, fmt.Errorf("entra.certificate: %w", err)
		}
	}
	if e.CertificatePassword != "" {
		if options.Password, err = c.Secret(e.CertificatePassword, "entra.certificate-password-file names a file with the password in its first line"); err != nil {
			return nil, err
		}
	}
	if e.DeviceCode {
		options.DeviceCode = func(_ context.Context, p entra.Prompt) error {
			c.Tell(p.Text)
			return nil
		}
	}
	source, err := entra.New(options)
	if err != nil {
		return nil, fmt.Errorf("entra: %w", err)
	}
	return source, nil
}
