package entra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/hint"
)

type device struct {
	ID   string `json:"deviceId"`
	Name string `json:"displayName"`
}

type managedDevice struct {
	ID       string `json:"id"`
	DeviceID string `json:"azureADDeviceId"`
	Name     string `json:"deviceName"`
	Serial   string `json:"serialNumber"`
}

// devices gives what Entra and Intune say about machines, by device ID. A right that is missing costs the names or serial
// numbers and no more.
func (s *Source) devices(ctx context.Context) (map[string]bitlocker.Machine, error) {
	out := map[string]bitlocker.Machine{}
	err := each(ctx, s, devicesPath+"?$select=deviceId,displayName&$top=999&$filter="+url.QueryEscape("operatingSystem eq 'Windows'"), func(d device) error {
		out[strings.ToLower(d.ID)] = bitlocker.Machine{Name: strings.ToUpper(d.Name)}
		return nil
	})
	if status(err) == http.StatusForbidden {
		s.options.Warn(s.Name() + ": no right to list devices (Device.Read.All): keys come with the ID of their device instead of its name")
	} else if err != nil {
		return nil, err
	}
	err = each(ctx, s, managedPath+"?$select=id,azureADDeviceId,deviceName,serialNumber", func(d managedDevice) error {
		id := strings.ToLower(d.DeviceID)
		m := out[id]
		if m.Name == "" {
			m.Name = strings.ToUpper(d.Name)
		}
		m.Serial = d.Serial
		out[id] = m
		return nil
	})
	switch status(err) {
	case http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest: // no right, or a tenant without Intune
		s.options.Warn(s.Name() + ": Intune's devices cannot be listed (DeviceManagementManagedDevices.Read.All): keys come without serial numbers")
		return out, nil
	}
	return out, err
}

// ErrNotManaged says that Intune does not manage a device, so that it cannot rotate its keys.
var ErrNotManaged = errors.New("the device is not managed by Intune")

// ErrRotateDenied says that the right to have keys rotated is missing.
var ErrRotateDenied = errors.New("not allowed to rotate keys")

// Rotate asks Intune to replace the recovery passwords of a device, named by its Entra device ID. Intune passes the
// request on when the device next reports; the new key is in the list when the device has escrowed it. Microsoft
// documents this call in the beta version of Graph only.
func (s *Source) Rotate(ctx context.Context, deviceID string) error {
	var found []managedDevice
	filter := url.QueryEscape("azureADDeviceId eq '" + strings.ReplaceAll(deviceID, "'", "''") + "'")
	err := each(ctx, s, managedPath+"?$select=id,azureADDeviceId&$filter="+filter, func(d managedDevice) error {
		if strings.EqualFold(d.DeviceID, deviceID) {
			found = append(found, d)
		}
		return nil
	})
	const rights = "it needs DeviceManagementManagedDevices.Read.All, and DeviceManagementManagedDevices.PrivilegedOperations.All or .ReadWrite.All"
	if err != nil {
		return fmt.Errorf("rotate keys of device %s: %w", deviceID, denied(err, ErrRotateDenied, rights))
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("rotate keys of device %s: %w", deviceID, hint.Wrap(ErrNotManaged, "where WinRM reaches it: `fleetmend keys rotate HOST --via winrm`, with --escrow ad or entra"))
	case 1:
	default:
		return fmt.Errorf("rotate keys of device %s: Intune knows it %d times; remove the stale entries first", deviceID, len(found))
	}
	// What was sent and not answered may have been done: only refusals are tried again.
	ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{
		MaxRetries: int32(s.options.Retries), RetryDelay: s.options.Delay, MaxRetryDelay: maxRetryDelay,
		ShouldRetry: func(r *http.Response, err error) bool {
			return err == nil && (r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusServiceUnavailable)
		},
	})
	err = s.call(ctx, http.MethodPost, s.options.Cloud.Graph+"/beta/deviceManagement/managedDevices/"+url.PathEscape(found[0].ID)+"/rotateBitLockerKeys", nil)
	if err != nil {
		return fmt.Errorf("rotate keys of device %s: %w", deviceID, denied(err, ErrRotateDenied, rights))
	}
	return nil
}
