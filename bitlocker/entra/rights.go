package entra

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Rights are what the application or user may do in the tenant.
type Rights struct {
	ListKeys     bool // BitlockerKey.ReadBasic.All, or more
	ListDevices  bool // Device.Read.All: keys come with the names of their devices
	ListManaged  bool // DeviceManagementManagedDevices.Read.All: keys come with serial numbers, and Intune can be asked for new ones
	KeysEscrowed bool // at least one key is listed

	// ReadKeys is what the token says of BitlockerKey.Read.All; Shown is false where it says nothing. It is not tried: the tenant
	// records each reading of a key.
	ReadKeys, Shown bool
}

// Rights signs in and asks what is allowed. It reads no key. Not tried against a tenant of Microsoft's.
func (s *Source) Rights(ctx context.Context) (Rights, error) {
	var r Rights
	var keys page[recoveryKey]
	var err error
	may := func(address string, out any) bool {
		if err != nil {
			return false
		}
		refused := s.call(ctx, http.MethodGet, s.options.Cloud.Graph+address, out)
		switch status(refused) {
		case http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest: // no right, or a tenant without Intune
			return false
		}
		err = refused
		return err == nil
	}
	r.ListKeys = may(keysPath+"?$select=id", &keys)
	r.KeysEscrowed = len(keys.Value) > 0
	r.ListDevices = may(devicesPath+"?$select=deviceId&$top=1", nil)
	r.ListManaged = may(managedPath+"?$select=id&$top=1", nil)
	if err == nil {
		token, failed := s.identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{s.options.Cloud.Graph + "/.default"}})
		if err = failed; err == nil {
			granted, shown := permissions(token.Token)
			r.Shown, r.ReadKeys = shown, slices.Contains(granted, "BitlockerKey.Read.All")
		}
	}
	if err != nil {
		return Rights{}, fmt.Errorf("ask %s for rights: %w", s.Name(), plain(ctx, err))
	}
	return r, nil
}

// permissions gives those that an access token names: an application's in roles, a user's in scp (access token claims
// reference of the Microsoft identity platform). Such a token is the tenant's own affair and may say nothing that we can read.
func permissions(token string) (granted []string, shown bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, false
	}
	var claims struct {
		Roles  []string `json:"roles"`
		Scopes string   `json:"scp"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return nil, false
	}
	return append(claims.Roles, strings.Fields(claims.Scopes)...), true
}
