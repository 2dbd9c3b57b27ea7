package simfleet_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/internal/simfleet"
)

// TestTenant reads the whole tenant with a client of the Azure libraries and compares it with the fleet.
func TestTenant(t *testing.T) {
	f, err := simfleet.New(simfleet.Options{Machines: 200, Seed: 6})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id, password, err := f.TenantApp(simfleet.TenantReader)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.CA()}}
	defer transport.CloseIdleConnections()
	source, err := entra.New(entra.Options{
		Tenant: f.Tenant().TenantID(), ClientID: id, Secret: password, Cloud: entra.Cloud{Authority: f.Tenant().URL(), Graph: f.Tenant().URL()},
		Client: &http.Client{Transport: transport}, Rate: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[bitlocker.KeyID]bitlocker.KeyRef{}
	if err := source.Keys(t.Context(), time.Time{}, func(r bitlocker.KeyRef) error { got[r.ID] = r; return nil }); err != nil {
		t.Fatal(err)
	}
	want, several, alone, none, read := 0, 0, 0, 0, 0
	for _, m := range f.Machines() {
		keys, err := f.TenantKeys(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		inAD, err := f.RecoveryKeys(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(keys) == 0:
			none++
		case len(inAD) == 0:
			alone++
		case len(keys) > 1:
			several++
		}
		want += len(keys)
		for _, k := range keys {
			ref := got[bitlocker.KeyID(k.ID)]
			if ref.Machine.Name != m.Name || !ref.Created.Equal(k.Created.Truncate(time.Second)) || ref.Volume == bitlocker.VolumeUnknown {
				t.Fatalf("%s: key %+v, want %+v", m.Name, ref, k)
			}
			if read < 5 {
				p, err := source.Password(t.Context(), ref)
				if err != nil || p.Reveal() != k.Password.Reveal() {
					t.Fatalf("%s: %v", m.Name, err)
				}
				read++
			}
		}
	}
	if len(got) != want || several == 0 || alone == 0 || none == 0 {
		t.Errorf("%d keys of %d; %d machines with several, %d in the tenant alone, %d with none", len(got), want, several, alone, none)
	}
	if audit := f.Tenant().Audit(); len(audit) != read || !strings.HasPrefix(audit[0].Actor, "app:") {
		t.Errorf("audit %+v", audit)
	}
}
