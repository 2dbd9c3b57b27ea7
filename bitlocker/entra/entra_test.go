package entra_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/entra"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/leaktest"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/graph"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	tenantID   = "11111111-1111-4111-8111-111111111111"
	readerApp  = "22222222-2222-4222-8222-222222222201" // lists and reads
	listerApp  = "22222222-2222-4222-8222-222222222202" // lists
	nobodyApp  = "22222222-2222-4222-8222-222222222203" // no right at all
	rotatorApp = "22222222-2222-4222-8222-222222222204"
	userApp    = "22222222-2222-4222-8222-222222222205" // users sign in to it
	appSecret  = "planted-client-secret"
)

// tenant is a simulated tenant and what its clients need.
type tenant struct {
	*graph.Server
	t      *testing.T
	client *http.Client
	appPEM []byte // certificate and key of readerApp

	mu       sync.Mutex
	requests []*http.Request
}

func selfSigned(t *testing.T, public, private any) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// RoundTrip records requests on their way.
func (n *tenant) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.requests = append(n.requests, r)
	n.mu.Unlock()
	return n.client.Transport.(*http.Transport).RoundTrip(r)
}

func number(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", i*7919, i) }

func password(i int) bitlocker.Password {
	return bitlocker.PasswordFromNumbers([8]uint16{uint16(i), 1, 2, 3, 4, 5, 6, 65535})
}

// newTenant has 250 devices and 260 keys: device 0 has eleven, the last have none that Intune manages.
func newTenant(t *testing.T) *tenant {
	t.Helper()
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := selfSigned(t, serverKey.Public(), serverKey)
	appKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	appRaw := selfSigned(t, appKey.Public(), appKey)
	appCertificate, err := x509.ParseCertificate(appRaw)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(appKey)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{graph.ReadDevices, graph.ReadManaged, graph.ReadKeyList, graph.ReadKeys}
	config := graph.Config{
		TenantID: tenantID, Certificate: &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: serverKey}, PageSize: 100,
		Apps: []graph.App{
			{ID: readerApp, Secret: secret.New(appSecret), Certificate: appCertificate, Permissions: all},
			{ID: listerApp, Secret: secret.New(appSecret), Permissions: []string{graph.ReadKeyList}},
			{ID: nobodyApp, Secret: secret.New(appSecret)},
			{ID: rotatorApp, Secret: secret.New(appSecret), Permissions: []string{graph.ReadManaged, graph.PrivilegedManaged}},
			{ID: userApp},
		},
		Users: []graph.User{{Name: "anna@contoso.test", Permissions: all}},
	}
	for i := range 250 {
		d := graph.Device{ID: number(i), ObjectID: number(1000 + i), Name: fmt.Sprintf("pc-%03d", i), Version: "10.0.22631", Joined: "AzureAd", LastSeen: time.Now()}
		if i < 200 {
			d.IntuneID, d.Serial = number(2000+i), fmt.Sprintf("SER%03d", i)
		}
		config.Devices = append(config.Devices, d)
	}
	for i := range 260 {
		k := graph.Key{ID: number(5000 + i), DeviceID: number(i % 250), Volume: "operatingSystemVolume", Created: time.Date(2024, 1, 1, i, 0, 0, 0, time.UTC),
			Password: secret.New(password(i).Reveal())}
		if i%2 == 1 {
			k.Volume = "1"
		}
		if i >= 250 {
			k.DeviceID, k.Volume = number(0), "fixedDataVolume"
		}
		config.Keys = append(config.Keys, k)
	}
	server, err := graph.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &tenant{Server: server, t: t, client: &http.Client{Transport: transport},
		appPEM: append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: appRaw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)}
}

func (n *tenant) options(app string) entra.Options {
	return entra.Options{
		Tenant: tenantID, ClientID: app, Secret: secret.New(appSecret), Cloud: entra.Cloud{Name: "test", Authority: n.URL(), Graph: n.URL()},
		Client: &http.Client{Transport: n}, Version: "1.2.3", Rate: 10000, Delay: time.Millisecond,
	}
}

func (n *tenant) source(o entra.Options) *entra.Source {
	n.t.Helper()
	s, err := entra.New(o)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func collect(t *testing.T, s bitlocker.Source, since time.Time) ([]bitlocker.KeyRef, error) {
	t.Helper()
	var refs []bitlocker.KeyRef
	err := s.Keys(t.Context(), since, func(r bitlocker.KeyRef) error {
		refs = append(refs, r)
		return nil
	})
	return refs, err
}

func TestListAndRead(t *testing.T) {
	n := newTenant(t)
	s := n.source(n.options(readerApp))
	refs, err := collect(t, s, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(refs) != 260 || n.Stats().KeyReads != 0 {
		t.Fatalf("%d keys, %d passwords read while listing", len(refs), n.Stats().KeyReads)
	}
	first, odd, data, unmanaged := refs[0], refs[1], refs[255], refs[249]
	if first.ID != bitlocker.KeyID(strings.ToUpper(number(5000))) || first.Machine.Name != "PC-000" || first.Machine.Serial != "SER000" ||
		first.Machine.DeviceID != number(0) || first.Volume != bitlocker.VolumeOS || first.Source != "entra:"+tenantID || first.Created.Year() != 2024 {
		t.Errorf("first key %+v", first)
	}
	if odd.Volume != bitlocker.VolumeOS || data.Volume != bitlocker.VolumeFixed || data.Machine.DeviceID != number(0) {
		t.Errorf("volumes: %+v, %+v", odd, data)
	}
	if unmanaged.Machine.Name != "PC-249" || unmanaged.Machine.Serial != "" {
		t.Errorf("a device that Intune does not manage: %+v", unmanaged.Machine)
	}
	p, err := s.Password(t.Context(), refs[42])
	if err != nil || !p.Equal(password(42)) {
		t.Errorf("password: %v", err)
	}
	audit := n.Audit()
	if len(audit) != 1 || !audit[0].OK || audit[0].Actor != "app:"+readerApp || audit[0].KeyID != number(5042) {
		t.Errorf("audit of the tenant: %+v", audit)
	}
	n.Retire(number(5042))
	if _, err := s.Password(t.Context(), refs[42]); !errors.Is(err, bitlocker.ErrNotStored) {
		t.Errorf("a key that is gone: %v", err)
	}
}

func TestSinceEmitsNewKeysOnly(t *testing.T) {
	n := newTenant(t)
	refs, err := collect(t, n.source(n.options(readerApp)), time.Date(2024, 1, 1, 250, 0, 0, 0, time.UTC))
	if err != nil || len(refs) < 10 || len(refs) > 12 {
		t.Errorf("%d keys, %v", len(refs), err)
	}
}

func TestRequestsCarryTheHeaders(t *testing.T) {
	n := newTenant(t)
	if _, err := collect(t, n.source(n.options(readerApp)), time.Time{}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range n.requests {
		if !strings.HasPrefix(r.URL.Path, "/v1.0/") {
			continue
		}
		seen++
		if !strings.HasPrefix(r.Header.Get("User-Agent"), "fleetmend ") || r.Header.Get("ocp-client-name") != "fleetmend" || r.Header.Get("ocp-client-version") != "1.2.3" {
			t.Errorf("%s: headers %v", r.URL.Path, r.Header)
		}
	}
	if seen != 3+2+3 { // pages of 100 of devices, managed devices, keys
		t.Errorf("%d requests to Graph", seen)
	}
}

func TestRights(t *testing.T) {
	n := newTenant(t)
	var warnings []string
	o := n.options(listerApp)
	o.Warn = func(s string) { warnings = append(warnings, s) }
	lister := n.source(o)
	refs, err := collect(t, lister, time.Time{})
	if err != nil || len(refs) != 260 {
		t.Fatalf("lister: %d keys, %v", len(refs), err)
	}
	if refs[0].Machine.Name != "" || refs[0].Machine.DeviceID != number(0) {
		t.Errorf("lister sees %+v", refs[0])
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "Device.Read.All") {
		t.Errorf("warnings %q", warnings)
	}
	_, err = lister.Password(t.Context(), refs[0])
	if !errors.Is(err, bitlocker.ErrReadDenied) || len(hint.Of(err)) == 0 {
		t.Errorf("lister reads: %v", err)
	}
	if audit := n.Audit(); len(audit) != 1 || audit[0].OK {
		t.Errorf("audit %+v", audit)
	}
	refs, err = collect(t, n.source(n.options(nobodyApp)), time.Time{})
	if !errors.Is(err, bitlocker.ErrListDenied) || len(refs) != 0 || len(hint.Of(err)) == 0 {
		t.Errorf("nobody lists: %d keys, %v", len(refs), err)
	}
}

func TestThrottled(t *testing.T) {
	n := newTenant(t)
	n.Throttle(graph.Throttle{Path: "recoveryKeys", Times: 3, RetryAfter: -1}, graph.Throttle{Path: "/devices", Times: 1, RetryAfter: 1})
	start := time.Now()
	refs, err := collect(t, n.source(n.options(readerApp)), time.Time{})
	if err != nil || len(refs) != 260 || n.Stats().Throttled != 4 {
		t.Errorf("%d keys, %v, %+v", len(refs), err, n.Stats())
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("Retry-After of a second was obeyed for %s", took)
	}
	n.Throttle(graph.Throttle{Path: "recoveryKeys", Times: 100, RetryAfter: -1})
	o := n.options(readerApp)
	o.Retries = 2
	_, err = collect(t, n.source(o), time.Time{})
	var refusal *entra.Refusal
	if !errors.As(err, &refusal) || refusal.Status != http.StatusTooManyRequests || n.Stats().Throttled != 7 {
		t.Errorf("patience did not end: %v, %+v", err, n.Stats())
	}
}

func TestCancelWhileThrottled(t *testing.T) {
	n := newTenant(t)
	n.Throttle(graph.Throttle{Path: "recoveryKeys", Times: 100, RetryAfter: 60})
	s := n.source(n.options(readerApp))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.Password(ctx, bitlocker.KeyRef{SourceKey: number(5000)}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 50*time.Second { // not the minute
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestSignIn(t *testing.T) {
	n := newTenant(t)
	byCertificate := n.options(readerApp)
	byCertificate.Secret, byCertificate.Certificate = secret.String{}, n.appPEM
	if _, err := n.source(byCertificate).Password(t.Context(), bitlocker.KeyRef{SourceKey: number(5001)}); err != nil {
		t.Errorf("client certificate: %v", err)
	}

	byCode := n.options(userApp)
	byCode.Secret = secret.String{}
	byCode.DeviceCode = func(_ context.Context, p entra.Prompt) error {
		if !strings.HasSuffix(p.URL, "/devicelogin") || len(p.Code) != 8 || !strings.Contains(p.Text, p.Code) {
			t.Errorf("prompt %+v", p)
		}
		return n.Approve(p.Code, "anna@contoso.test")
	}
	if _, err := n.source(byCode).Password(t.Context(), bitlocker.KeyRef{SourceKey: number(5002)}); err != nil {
		t.Errorf("device code: %v", err)
	}
	if audit := n.Audit(); len(audit) != 2 || audit[1].Actor != "user:anna@contoso.test" {
		t.Errorf("audit %+v", audit)
	}

	wrong := n.options(readerApp)
	wrong.Secret = secret.New("planted-wrong-secret")
	_, err := collect(t, n.source(wrong), time.Time{})
	if !errors.Is(err, entra.ErrSignIn) || !strings.Contains(err.Error(), "AADSTS7000215") || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "planted") {
		t.Errorf("wrong secret: %v", err)
	}
	other := n.options(readerApp)
	other.Tenant = "99999999-9999-4999-8999-999999999999"
	if _, err := collect(t, n.source(other), time.Time{}); !errors.Is(err, entra.ErrSignIn) || !strings.Contains(err.Error(), "AADSTS90002") {
		t.Errorf("unknown tenant: %v", err)
	}
}

func TestDeclinedDeviceCode(t *testing.T) {
	n := newTenant(t)
	o := n.options(userApp)
	o.Secret = secret.String{}
	o.DeviceCode = func(_ context.Context, p entra.Prompt) error { return n.Approve(p.Code, "") }
	if _, err := n.source(o).Password(t.Context(), bitlocker.KeyRef{SourceKey: number(5002)}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}

func TestRotate(t *testing.T) {
	n := newTenant(t)
	s := n.source(n.options(rotatorApp))
	n.Throttle(graph.Throttle{Path: "rotateBitLockerKeys", Times: 2, RetryAfter: -1})
	if err := s.Rotate(t.Context(), strings.ToUpper(number(7))); err != nil || n.Rotations(number(7)) != 1 {
		t.Errorf("%v, %d rotations", err, n.Rotations(number(7)))
	}
	if err := s.Rotate(t.Context(), number(240)); !errors.Is(err, entra.ErrNotManaged) {
		t.Errorf("a device without Intune: %v", err)
	}
	if err := n.source(n.options(readerApp)).Rotate(t.Context(), number(7)); !errors.Is(err, entra.ErrRotateDenied) || len(hint.Of(err)) == 0 {
		t.Errorf("without the right: %v", err)
	}
	if n.Stats().Rotations != 1 {
		t.Errorf("%+v", n.Stats())
	}
}

// TestHostileServer has a server that would lead the token astray or never end.
func TestHostileServer(t *testing.T) {
	astray := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the token went to another server: %s", r.URL)
	}))
	defer astray.Close()
	answers := map[string]string{
		"elsewhere": `{"value":[],"@odata.nextLink":"` + astray.URL + `/v1.0/devices"}`,
		"circle":    `{"value":[],"@odata.nextLink":"SELF"}`,
		"no JSON":   `<html>planted-body`,
		"redirect":  "",
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name == "redirect" {
					http.Redirect(w, r, astray.URL, http.StatusFound)
					return
				}
				_, _ = w.Write([]byte(strings.ReplaceAll(answer, "SELF", "https://"+r.Host+r.URL.RequestURI())))
			}))
			defer server.Close()
			client := server.Client()
			defer client.CloseIdleConnections()
			client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
			s, err := entra.New(entra.Options{Tenant: "x", Cloud: entra.Cloud{Authority: server.URL, Graph: server.URL}, Credential: &azfake.TokenCredential{},
				Client: client, Retries: -1, Rate: 1000})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := collect(t, s, time.Time{}); err == nil || strings.Contains(err.Error(), "planted") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestEmitEndsTheReading(t *testing.T) {
	n := newTenant(t)
	enough := errors.New("enough")
	got := 0
	err := n.source(n.options(readerApp)).Keys(t.Context(), time.Time{}, func(bitlocker.KeyRef) error {
		got++
		return enough
	})
	if !errors.Is(err, enough) || got != 1 {
		t.Errorf("%d, %v", got, err)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]entra.Options{
		"no tenant": {ClientID: "x", Secret: secret.New("x")}, "no way": {Tenant: "t", ClientID: "x"},
		"two ways":     {Tenant: "t", ClientID: "x", Secret: secret.New("x"), Certificate: []byte("x")},
		"no client":    {Tenant: "t", Secret: secret.New("x")},
		"certificate":  {Tenant: "t", ClientID: "x", Certificate: []byte("no PEM")},
		"not https":    {Tenant: "t", ClientID: "x", Secret: secret.New("x"), Cloud: entra.Cloud{Graph: "http://graph.test"}},
		"no authority": {Tenant: "t", ClientID: "x", Secret: secret.New("x"), Cloud: entra.Cloud{Graph: "https://graph.test", Authority: "http://login.test"}},
	} {
		if _, err := entra.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, name := range entra.CloudNames() {
		c, err := entra.CloudByName(strings.ToUpper(name))
		if err != nil || !strings.HasPrefix(c.Graph, "https://") || !strings.HasPrefix(c.Authority, "https://login.") {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := entra.CloudByName("moon"); err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("unknown cloud: %v", err)
	}
}

// TestNothingIsPrinted looks for planted secrets in what a program would log of the source and its errors.
func TestNothingIsPrinted(t *testing.T) {
	n := newTenant(t)
	o := n.options(readerApp)
	s := n.source(o)
	p, err := s.Password(t.Context(), bitlocker.KeyRef{SourceKey: number(5003)})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %v %+v", o, o, o, p, s)
	if strings.Contains(out.String(), appSecret) || strings.Contains(out.String(), password(3).Reveal()) {
		t.Error("a secret was printed")
	}
}
