package directory

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos"
	"github.com/fleetmend/fleetmend/internal/secret"
)

func TestDecode(t *testing.T) {
	if s, err := SID([]byte{1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0xf4, 1, 0, 0}); s != "S-1-5-21-1-2-3-500" || err != nil {
		t.Error(s, err)
	}
	if g, err := GUID([]byte("\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff")); g != "00112233-4455-6677-8899-aabbccddeeff" || err != nil {
		t.Error(g, err)
	}
	at := time.Date(2024, 7, 19, 4, 9, 0, 100, time.UTC)
	if got, err := Filetime(FormatFiletime(at)); err != nil || !got.Equal(at) {
		t.Error(got, err)
	}
	for _, never := range []string{"", "0", "9223372036854775807"} {
		if got, err := Filetime(never); err != nil || !got.IsZero() {
			t.Error(never, got, err)
		}
	}
	if got, err := Filetime("1"); err != nil || got.Year() != 1601 {
		t.Error(got, err)
	}
	if got, err := GeneralizedTime("20240719040900.0Z"); err != nil || got.Minute() != 9 {
		t.Error(got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0})
	f.Add([]byte("133600000000000000"))
	f.Add([]byte("20240719040900.0Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer bounded.Input(t, len(b))()
		if s, err := SID(b); err == nil && (!strings.HasPrefix(s, "S-1-") || len(s) > 200) {
			t.Error(s)
		}
		if g, err := GUID(b); err == nil && len(g) != 36 {
			t.Error(g)
		}
		if at, err := Filetime(string(b)); err == nil && !at.IsZero() {
			if again, err := Filetime(FormatFiletime(at)); err != nil || !again.Equal(at) {
				t.Error(at, again, err)
			}
		}
		_, _ = GeneralizedTime(string(b))
	})
}

// clear protects nothing.
type clear struct{}

func (clear) Wrap(message []byte, _ bool) ([]byte, error) { return message, nil }
func (clear) Open(token []byte, _ bool) ([]byte, error)   { return token, nil }

func TestLayerBoundsWhatItReads(t *testing.T) {
	a, b := net.Pipe()
	go func() { _, _ = b.Write([]byte{0xff, 0xff, 0xff, 0xff}); _ = b.Close() }()
	l := &layer{Conn: a, tokens: clear{}}
	l.on.Store(true)
	if _, err := l.Read(make([]byte, 10)); !errors.Is(err, kerberos.ErrToken) {
		t.Fatal(err)
	}
}

func TestLayerSplitsWhatItWrites(t *testing.T) {
	a, b := net.Pipe()
	l := &layer{Conn: a, seal: true, maxSend: 100, tokens: clear{}}
	l.on.Store(true)
	go func() { _, _ = l.Write(make([]byte, 250)); _ = a.Close() }()
	all, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for ; len(all) > 4; messages++ {
		n := int(binary.BigEndian.Uint32(all))
		if n > 100 {
			t.Errorf("a message of %d bytes", n)
		}
		all = all[4+n:]
	}
	if messages != 3 {
		t.Error(messages)
	}
}

func TestErrorsAreSorted(t *testing.T) {
	krb := func(r kerberos.Reason, code int) error {
		return &kerberos.Error{Reason: r, Code: code, KDC: "dc1", Err: hint.Wrap(errors.New("refused"), "do this")}
	}
	ad := func(code uint16, text string) error { return ldap.NewError(code, errors.New(text)) }
	for want, errs := range map[Kind][]error{
		WrongPassword:   {ad(49, "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data 52e, v4563"), krb(kerberos.WrongSecret, 24), krb(kerberos.UnknownUser, 6)},
		PasswordExpired: {ad(49, "AcceptSecurityContext error, data 532, v4563"), ad(49, "error, data 773, v1"), krb(kerberos.Expired, 23)},
		Locked:          {ad(49, "error, data 775, v1"), krb(kerberos.Revoked, 18)},
		Disabled:        {ad(49, "error, data 533, v1"), ad(49, "error, data 701, v1"), krb(kerberos.Policy, 12)},
		StrongAuth:      {ad(8, "Strong Auth Required"), ad(49, "comment: AcceptSecurityContext error, data 80090346, v4563")},
		SizeLimit:       {ad(4, ""), ad(11, "")},
		WrongRealm:      {krb(kerberos.WrongRealm, 68)},
		UntrustedCA:     {x509.UnknownAuthorityError{Cert: &x509.Certificate{}}, x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}},
	} {
		for _, err := range errs {
			got := explain(err, "dc1")
			if KindOf(got) != want || len(hint.Of(got)) == 0 || !errors.Is(got, err) && want != UntrustedCA {
				t.Errorf("%v: %s, %v", err, KindOf(got), got)
			}
		}
	}
}

type srv map[string][]*net.SRV

func (s srv) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	if found := s[name]; found != nil {
		return "", found, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func TestDiscovery(t *testing.T) {
	conf := Config{Domain: "Corp.Example.", Site: "LON", Credential: Credential{User: "u", Password: secret.New("p")}, Resolver: srv{
		"LON._sites.dc._msdcs.corp.example": {{Target: "DC2.corp.example."}},
		"dc._msdcs.corp.example":            {{Target: "dc1.corp.example."}, {Target: "dc2.corp.example."}},
	}}
	got, err := Discover(t.Context(), conf)
	if err != nil || !slices.Equal(got, []DC{{Host: "dc2.corp.example"}, {Host: "dc1.corp.example"}}) {
		t.Error(got, err)
	}
	conf.Resolver = srv{}
	if _, err := Discover(t.Context(), conf); KindOf(err) != NoDC || len(hint.Of(err)) == 0 {
		t.Error(err)
	}
	conf.DCs = []DC{{Host: "x"}}
	if got, err := Discover(t.Context(), conf); err != nil || got[0].Host != "x" {
		t.Error(got, err)
	}
	if d, err := ParseDC("DC1.corp.example=10.0.0.5"); err != nil || d.target("636") != "10.0.0.5:636" || d.Host != "dc1.corp.example" {
		t.Error(d, err)
	}
}

func TestRangesOfValues(t *testing.T) {
	e := NewEntry("CN=g", map[string][]string{"member": {}, "member;range=0-1499": {"a", "b"}})
	if v, last, done := ranged(e, "member"); len(v) != 2 || last != 1499 || done {
		t.Error(v, last, done)
	}
	if v, _, done := ranged(NewEntry("CN=g", map[string][]string{"Member;Range=1500-*": {"c"}}), "member"); len(v) != 1 || !done {
		t.Error(v, done)
	}
}
