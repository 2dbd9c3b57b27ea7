package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
)

// credential makes the one credential that the options ask for.
func (o *Options) credential() (azcore.TokenCredential, error) {
	ways := 0
	for _, given := range []bool{!o.Secret.IsZero(), len(o.Certificate) > 0, o.DeviceCode != nil, o.Credential != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, hint.Wrap(fmt.Errorf("%d ways to sign in are given", ways), "give one of: client secret, client certificate, device code")
	}
	if o.Credential != nil {
		return o.Credential, nil
	}
	if o.ClientID == "" {
		return nil, hint.Wrap(errors.New("no client ID is given"), "it is the application ID of the app registration that has the BitlockerKey permissions")
	}
	options := *o.clientOptions()
	options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: o.Cloud.Authority}
	options.Retry.MaxRetries = 2
	switch {
	case !o.Secret.IsZero():
		return azidentity.NewClientSecretCredential(o.Tenant, o.ClientID, o.Secret.Reveal(),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: o.private()})
	case len(o.Certificate) > 0:
		certificates, key, err := azidentity.ParseCertificates(o.Certificate, []byte(o.Password.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		return azidentity.NewClientCertificateCredential(o.Tenant, o.ClientID, certificates, key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: o.private()})
	}
	show := o.DeviceCode
	return azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
		ClientOptions: options, TenantID: o.Tenant, ClientID: o.ClientID, DisableInstanceDiscovery: o.private(),
		UserPrompt: func(ctx context.Context, m azidentity.DeviceCodeMessage) error {
			return show(ctx, Prompt{URL: m.VerificationURL, Code: m.UserCode, Text: prose.Short(m.Message, longestText)})
		},
	})
}

// ErrSignIn says that the tenant did not sign the application or user in.
var ErrSignIn = errors.New("sign-in was refused")

// plain makes one line of the pages that the sign-in library writes into its errors.
func plain(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) {
		return err
	}
	var text string
	if failed.RawResponse != nil && failed.RawResponse.Body != nil {
		var body struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		raw, readErr := io.ReadAll(failed.RawResponse.Body)
		if readErr == nil && json.Unmarshal(raw, &body) == nil && body.Error != "" {
			first, _, _ := strings.Cut(body.Description, "\n")
			text = prose.Short(body.Error+": "+first, longestText)
		} else {
			text = failed.RawResponse.Status
		}
	} else { // nobody answered, so nobody refused
		return hint.Wrap(fmt.Errorf("sign in: the identity platform cannot be reached: %s", prose.Short(failed.Error(), longestText)),
			"check network and proxy, and that this computer trusts the certificate there (entra.ca)")
	}
	return hint.Wrap(fmt.Errorf("%w: %s", ErrSignIn, text), "check tenant, client ID and secret or certificate, and that they have not expired; a sign-in with a code may have been declined in the browser")
}
