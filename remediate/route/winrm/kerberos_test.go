package winrm_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/internal/kerberos/mitlab"
	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/route/winrm"
)

// TestKerberosSealedAgainstPyspnego: tickets of MIT's KDC, accepted by MIT's library, for every cipher; nothing readable is on the wire.
func TestKerberosSealedAgainstPyspnego(t *testing.T) {
	lab := mitlab.Start(t, "")
	account := mitAccount(t, lab, mitlab.Password)
	payload := bytes.Repeat([]byte("every byte \x00\x01\xff--Encrypted Boundary\r\n"), 6000) // three Sends
	if exec.Command(python(t), "-c", "import sys; sys.path.append('/usr/lib/python3/dist-packages'); import gssapi").Run() != nil {
		t.Skip("no Python with Kerberos (Debian: python3-gssapi)")
	}
	for kind := range mitlab.Ciphers {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			host := fmt.Sprintf("ws%d.mit.test", kind)
			t.Setenv("KRB5_KTNAME", lab.Dir+"/services.keytab")
			t.Setenv("KRB5_CONFIG", lab.Dir+"/krb5.conf")
			t.Setenv("KRB5_HOST", host)
			a := startAcceptor(t)
			target := route.Target{Name: "WS", FQDN: host, Address: "127.0.0.1:" + a.port}
			var wire recorder
			r, err := winrm.New(winrm.Config{Auth: winrm.AuthKerberos, Account: account, ReceiveTimeout: patience, Dial: wire.dial})
			if err != nil {
				t.Fatal(err)
			}
			out, err := r.Run(t.Context(), target, "echo <&>", payload)
			if err != nil || out.ExitCode != 7 || !bytes.Equal(out.Stdout, payload) {
				t.Fatalf("exit %d, %d bytes, %v\n%s", out.ExitCode, len(out.Stdout), err, a.said())
			}
			if seen := string(wire.bytes()); strings.Contains(seen, "Envelope") || strings.Contains(seen, "MessageID") || !strings.Contains(seen, "session-encrypted") {
				t.Error("SOAP in the clear was on the wire")
			}
			for path, op := range map[string]string{"/tamper": "create", "/plain": "create", "/replay": "command"} {
				if kind != 18 {
					continue // one cipher is enough for what is the same with all
				}
				r, err := winrm.New(winrm.Config{Auth: winrm.AuthKerberos, Account: account, ReceiveTimeout: patience, Path: path})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Run(t.Context(), target, "x", []byte("x")); !strings.Contains(fmt.Sprint(err), op) || route.ClassOf(err) != route.Untrusted && route.ClassOf(err) != route.Unknown {
					t.Errorf("%s: %s, %v", path, route.ClassOf(err), err)
				}
			}
		})
	}
}

// TestKerberosBoundToTheCertificate: over HTTPS a sign-in that somebody relays, with a certificate that we trust, is not taken.
func TestKerberosBoundToTheCertificate(t *testing.T) {
	if exec.Command(python(t), "-c", "import sys; sys.path.append('/usr/lib/python3/dist-packages'); import gssapi").Run() != nil {
		t.Skip("no Python with Kerberos (Debian: python3-gssapi)")
	}
	lab := mitlab.Start(t, "")
	account := mitAccount(t, lab, mitlab.Password)
	for name, value := range map[string]string{"KRB5_KTNAME": lab.Dir + "/services.keytab", "KRB5_CONFIG": lab.Dir + "/krb5.conf", "KRB5_HOST": "ws18.mit.test"} {
		t.Setenv(name, value)
	}
	certificate, key := filepath.Join(lab.Dir, "cert.pem"), filepath.Join(lab.Dir, "key.pem")
	pool, pair := selfSigned(t, elliptic.P384())
	writePEM(t, certificate, "CERTIFICATE", pair.Certificate[0])
	raw, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, key, "PRIVATE KEY", raw)
	a := startAcceptor(t, certificate, key)
	secured := func(pool *x509.CertPool) *winrm.Route {
		r, err := winrm.New(winrm.Config{Scheme: "https", RootCAs: pool, Auth: winrm.AuthKerberos, Account: account, ReceiveTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	out, err := secured(pool).Run(t.Context(), route.Target{Name: "WS", FQDN: "ws18.mit.test", Address: "127.0.0.1:" + a.port}, "x", []byte("hello"))
	if err != nil || string(out.Stdout) != "hello" {
		t.Fatalf("%q, %v\n%s", out.Stdout, err, a.said())
	}
	theirs, address := relay(t, a, pool)
	_, err = secured(theirs).Run(t.Context(), route.Target{Name: "WS", FQDN: "ws18.mit.test", Address: address}, "x", []byte("hello"))
	if route.ClassOf(err) != route.Denied || !strings.Contains(a.said(), "refused") {
		t.Errorf("%s, %v\n%s", route.ClassOf(err), err, a.said())
	}
}

func mitAccount(t *testing.T, lab *mitlab.Lab, password string) *kerberos.Account {
	t.Helper()
	account, err := kerberos.New(kerberos.Config{Realm: mitlab.Realm, KDCs: []kerberos.KDC{{Name: "kdc.mit.test", Address: lab.Address}}},
		kerberos.Credential{User: "user18", Password: secret.New(password)})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// TestKerberosSaysWhoseTroubleItIs: the account's ends before the machine sees anything; the machine's is named, and the others go on.
func TestKerberosSaysWhoseTroubleItIs(t *testing.T) {
	lab := mitlab.Start(t, "")
	good := mitAccount(t, lab, mitlab.Password)
	answers := func(status int, challenges ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Www-Authenticate"] = challenges
			w.WriteHeader(status)
		}
	}
	for name, c := range map[string]struct {
		account *kerberos.Account
		fqdn    string
		answer  http.HandlerFunc
		class   route.Class
		text    string
		asked   int32
	}{
		"wrong password":  {mitAccount(t, lab, "wrong"), "ws18.mit.test", answers(200), route.Auth, "the password of user18@MIT.TEST is wrong", 0},
		"no name":         {good, "ws99.mit.test", answers(200), route.Denied, "MIT.TEST knows no HTTP/ or WSMAN/ name for ws99.mit.test", 0},
		"an address":      {good, "127.0.0.1", answers(200), route.Denied, "by an address alone", 0},
		"no proof":        {good, "ws18.mit.test", answers(200), route.Untrusted, "could not prove to be HTTP/ws18.mit.test", 1},
		"no proof either": {good, "ws18.mit.test", answers(200, "Negotiate oQcwBaADCgEA"), route.Untrusted, "could not prove to be", 1},
		"junk":            {good, "ws18.mit.test", answers(200, "Negotiate "+negotiated([]byte("junk"))), route.Untrusted, "could not prove who it is", 1},
		"not let in":      {good, "ws18.mit.test", answers(401, "Negotiate"), route.Denied, "does not let user18@MIT.TEST in", 1},
		"basic":           {good, "ws18.mit.test", answers(401, `Basic realm="WSMAN"`), route.Denied, "does not take Kerberos; it offers Basic", 1},
		"clock":           {good, "ws18.mit.test", answers(401, "Negotiate "+negotiated(krbError(t, 37, -9*time.Minute))), route.Denied, "ws18.mit.test's clock is 9 min behind the domain's", 1},
		"broken trust":    {good, "ws18.mit.test", answers(401, "Negotiate "+negotiated(krbError(t, 41, 0))), route.Denied, "broken trust", 3},
		"no other name":   {good, "ws19.mit.test", answers(401, "Negotiate "+negotiated(krbError(t, 41, 0))), route.Denied, "broken trust", 2},
		"a web server":    {good, "ws18.mit.test", answers(404), route.Refused, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.ContentLength != 0 || !strings.HasPrefix(r.Header.Get("Authorization"), "Negotiate YI") {
					t.Errorf("asked with %d bytes and %.30q", r.ContentLength, r.Header.Get("Authorization"))
				}
				c.answer(w, r)
			}))
			defer machine.Close()
			r, err := winrm.New(winrm.Config{Auth: winrm.AuthKerberos, Account: c.account, ReceiveTimeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err = r.Run(t.Context(), route.Target{Name: c.fqdn, Address: machine.Listener.Addr().String()}, "x", []byte("x"))
				if route.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.text) {
					t.Fatalf("%s: %v", route.ClassOf(err), err)
				}
				if (c.class == route.Auth) != (route.BarredBy(err) != nil) {
					t.Errorf("what it says of the account: %v", route.BarredBy(err))
				}
			}
			if n := asked.Load(); n != 2*c.asked {
				t.Errorf("the machine was asked %d times, not twice %d", n, c.asked)
			}
			if err := r.Prove(t.Context(), route.Account{}); (c.class == route.Auth) != (route.BarredBy(err) != nil) {
				t.Error(err)
			}
		})
	}
}

// negotiated is a NegTokenResp with a token (RFC 4178 section 4.2.2).
func negotiated(token []byte) string {
	b, err := asn1.Marshal(struct {
		Token []byte `asn1:"explicit,tag:2"`
	}{token})
	if err == nil {
		b, err = asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: b})
	}
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// krbError is a KRB-ERROR in its frame (RFC 4120 section 5.9.1, RFC 4121 section 4.1), of a machine whose clock is ahead.
func krbError(t *testing.T, code int, ahead time.Duration) []byte {
	t.Helper()
	must := func(b []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	text := func(s string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagGeneralString, Bytes: []byte(s)} }
	in := func(tag int, v any) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: must(asn1.Marshal(v))}
	}
	at := asn1.RawValue{Tag: asn1.TagGeneralizedTime, Bytes: []byte(time.Now().Add(ahead).UTC().Format("20060102150405Z"))}
	name := []asn1.RawValue{in(0, 2), in(1, []asn1.RawValue{text("HTTP"), text("ws18.mit.test")})}
	e := must(asn1.Marshal([]asn1.RawValue{in(0, 5), in(1, 30), in(4, at), in(5, 0), in(6, code), in(9, text("MIT.TEST")), in(10, name)}))
	app := func(tag int, b []byte) []byte {
		return must(asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, Tag: tag, IsCompound: true, Bytes: b}))
	}
	mech := must(asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}))
	return app(0, append(append(mech, 3, 0), app(30, e)...))
}
