package graph_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/internal/simfleet/graph"
)

const (
	tenantID = "11111111-1111-4111-8111-111111111111"
	appID    = "22222222-2222-4222-8222-222222222222"
	deviceID = "33333333-3333-4333-8333-333333333333"
	keyID    = "44444444-4444-4444-8444-444444444444"
	planted  = "000011-000022-000033-000044-000055-000066-000077-000088"
)

func newServer(t *testing.T, permissions ...string) (*graph.Server, *http.Client) {
	t.Helper()
	borrowed := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer borrowed.Close()
	s, err := graph.New(graph.Config{
		TenantID: tenantID, Certificate: &tls.Certificate{Certificate: borrowed.TLS.Certificates[0].Certificate, PrivateKey: borrowed.TLS.Certificates[0].PrivateKey},
		Apps:    []graph.App{{ID: appID, Secret: secret.New("s3cret"), Permissions: permissions}},
		Users:   []graph.User{{Name: "anna", Permissions: permissions}},
		Devices: []graph.Device{{ID: deviceID, Name: "PC-1"}},
		Keys:    []graph.Key{{ID: keyID, DeviceID: deviceID, Volume: "1", Created: time.Unix(1.7e9, 0), Password: secret.New(planted)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	client := borrowed.Client()
	t.Cleanup(client.CloseIdleConnections)
	return s, client
}

func signIn(t *testing.T, s *graph.Server, c *http.Client) string {
	t.Helper()
	resp, err := c.PostForm(s.URL()+"/"+tenantID+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {appID},
		"client_secret": {"s3cret"}, "scope": {s.URL() + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Token == "" {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return body.Token
}

func get(t *testing.T, c *http.Client, address, token, agent string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", agent)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestKeysByRightAndSelection(t *testing.T) {
	const path = "/v1.0/informationProtection/bitlocker/recoveryKeys"
	s, c := newServer(t, graph.ReadKeyList)
	token := signIn(t, s, c)
	for _, want := range []struct {
		path, token, agent string
		status             int
	}{
		{path, token, "x", 200}, {path, "wrong", "x", 401}, {path, token, "", 400}, {path + "?$top=5", token, "x", 400},
		{path + "?$filter=id+eq+%27x%27", token, "x", 400}, {path + "?$select=id,key", token, "x", 200},
		{path + "/" + keyID, token, "x", 200}, {path + "/" + keyID + "?$select=key", token, "x", 403}, {path + "/none?$select=key", token, "x", 404},
		{"/v1.0/devices", token, "x", 403}, {"/v1.0/nothing", token, "x", 404},
	} {
		status, body := get(t, c, s.URL()+want.path, want.token, want.agent)
		if status != want.status || strings.Contains(body, "000011") {
			t.Errorf("%s: %d, want %d: %s", want.path, status, want.status, body)
		}
	}
	if audit := s.Audit(); len(audit) != 1 || audit[0].OK || audit[0].KeyID != keyID {
		t.Errorf("audit %+v", audit)
	}
	reader, rc := newServer(t, graph.ReadKeys)
	if status, body := get(t, rc, reader.URL()+path+"/"+strings.ToUpper(keyID)+"?$select=key", signIn(t, reader, rc), "x"); status != 200 || !strings.Contains(body, planted) {
		t.Errorf("reader: %d %s", status, body)
	}
	if reader.Stats().KeyReads != 1 {
		t.Errorf("%+v", reader.Stats())
	}
}

func TestLoginPage(t *testing.T) {
	s, c := newServer(t, graph.ReadKeys)
	resp, err := c.PostForm(s.URL()+"/devicelogin", url.Values{"code": {"<b>none"}, "user": {"anna"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 400 || !bytes.Contains(body, []byte("unknown")) || bytes.Contains(body, []byte("<b>none")) {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
}

func TestNeedsIDAndCertificate(t *testing.T) {
	if _, err := graph.New(graph.Config{TenantID: tenantID}); err == nil {
		t.Error("made without a certificate")
	}
	s, err := graph.New(graph.Config{TenantID: tenantID, Certificate: &tls.Certificate{}})
	if err != nil || s.URL() != "" {
		t.Errorf("%v", err)
	}
	s.Close()
}
