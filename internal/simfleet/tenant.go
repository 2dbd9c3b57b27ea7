package simfleet

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/directory"
	"github.com/fleetmend/fleetmend/internal/simfleet/graph"
)

// The applications of the simulated tenant, by what they may do.
const (
	TenantReader = "reader" // lists devices and keys and reads keys
	TenantLister = "lister" // lists keys and devices, reads none
	TenantNobody = "nobody" // may sign in and nothing else
	TenantOwner  = "owner"  // all that the reader may, and has keys rotated
)

type tenantApp struct {
	name, id    string
	secret      secret.String
	permissions []string
}

// tenantApps are the same in every start of a fleet of one seed; their secrets are as good as the fleet's password, of
// which they are made.
func (f *Fleet) tenantApps() []tenantApp {
	r := rand.New(rand.NewPCG(f.options.Seed, 0xa99))
	list := []string{graph.ReadDevices, graph.ReadManaged, graph.ReadKeyList}
	read := append(list[:len(list):len(list)], graph.ReadKeys)
	apps := []tenantApp{
		{name: TenantReader, permissions: read}, {name: TenantLister, permissions: list}, {name: TenantNobody},
		{name: TenantOwner, permissions: append(read[:len(read):len(read)], graph.PrivilegedManaged)},
	}
	for i := range apps {
		apps[i].id = directory.GUID(randomGUID(r))
		apps[i].secret = secret.New(base64.RawURLEncoding.EncodeToString([]byte(apps[i].name)) + "~" + f.options.Password.Reveal())
	}
	return apps
}

// TenantApp returns the client ID and the secret of an application of the tenant, such as [TenantReader].
func (f *Fleet) TenantApp(name string) (clientID string, password secret.String, err error) {
	for _, a := range f.tenantApps() {
		if a.name == name {
			return a.id, a.secret, nil
		}
	}
	return "", secret.String{}, fmt.Errorf("application %q: the simulated tenant has none of this name", name)
}

// Tenant returns the simulated Entra tenant, to throttle it and to look at its audit. Nil before Start.
func (f *Fleet) Tenant() *graph.Server { return f.tenant }

// DeviceID returns the ID under which the tenant knows a machine: a joined machine keeps the GUID of its object in AD.
func (f *Fleet) DeviceID(name string) (string, error) {
	h, ok := f.byName[name]
	if !ok {
		return "", fmt.Errorf("device ID of %q: no such simulated machine", name)
	}
	return directory.GUID(h.identity.guid), nil
}

// tenantKeys draws the keys that the tenant keeps for a machine; see [Fleet.TenantKeys].
func (h *host) tenantKeys() []RecoveryKey {
	if h.info.Class != "workstation" {
		return nil
	}
	r := rand.New(rand.NewPCG(h.seed, 0xe17a))
	share, keys := r.Float64(), h.recoveryKeys()
	switch {
	case len(keys) == 0 && share < .5: // escrowed to the cloud alone
		k := newRecoveryKey(r, randomGUID(r))
		k.Created = h.identity.created.Add(time.Duration(1+r.IntN(50*86400)) * time.Second)
		return []RecoveryKey{k}
	case len(keys) == 0 && share < .75: // set up anew since, under a new account, and the new key was escrowed nowhere
		k := newRecoveryKey(r, randomGUID(r))
		k.Created, k.Stale = h.identity.created.Add(-time.Duration(1+r.IntN(300*86400))*time.Second), true
		return []RecoveryKey{k}
	case share < .6:
		return keys
	}
	return nil
}

// serveTenant fills the tenant with the fleet's workstations and serves it.
func (f *Fleet) serveTenant(ctx context.Context) error {
	r := rand.New(rand.NewPCG(f.options.Seed, 0x7e4a))
	config := graph.Config{
		TenantID: directory.GUID(randomGUID(r)), Certificate: f.authority.leaf("graph." + dnsDomain),
		Listen:  func() (net.Listener, error) { return f.ports.listen(new(int)) },
		Rotated: f.rotateDevice,
	}
	for _, a := range f.tenantApps() {
		config.Apps = append(config.Apps, graph.App{ID: a.id, Secret: a.secret, Permissions: a.permissions})
		config.Users = append(config.Users, graph.User{Name: a.name + "@" + dnsDomain, Permissions: a.permissions})
	}
	for _, h := range f.hosts {
		if h.info.Class != "workstation" {
			continue
		}
		d := graph.Device{
			ID: directory.GUID(h.identity.guid), ObjectID: directory.GUID(randomGUID(r)), Name: h.info.Name, Serial: h.info.Serial, OS: h.info.OS,
			Version: fmt.Sprintf("10.0.%d", h.info.Build), Joined: "ServerAd", LastSeen: h.identity.lastLogon,
		}
		if r.Float64() < .9 {
			d.IntuneID = directory.GUID(randomGUID(r))
		}
		config.Devices = append(config.Devices, d)
		for _, k := range h.tenantKeys() {
			config.Keys = append(config.Keys, graph.Key{ID: strings.ToLower(k.ID), DeviceID: d.ID, Volume: volumeType(h.tenantKeys(), k, r), Created: k.Created, Password: k.Password})
		}
	}
	server, err := graph.New(config)
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	f.tenant = server
	return nil
}

// volumeType names the volume of a key, which is the system's for all keys of the first volume, in one of the two ways
// that tenants do.
func volumeType(keys []RecoveryKey, k RecoveryKey, r *rand.Rand) string {
	system, number := k.Volume == keys[0].Volume, r.IntN(3) == 0
	switch {
	case system && number:
		return "1"
	case system:
		return "operatingSystemVolume"
	case number:
		return "2"
	}
	return "fixedDataVolume"
}
