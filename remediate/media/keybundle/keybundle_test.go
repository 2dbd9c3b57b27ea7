package keybundle_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/secret"
	"github.com/fleetmend/fleetmend/remediate/media/keybundle"
)

var (
	made   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	phrase = secret.New("horse battery staple")
)

const planted = "111111-222222-333333-444444-555555-666666-000011-000022"

func bundle() keybundle.Bundle {
	key := keybundle.Key{Machine: "ws001", ID: "{aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}", Password: secret.New(planted)}.Normal()
	return keybundle.Bundle{Made: made, Expires: made.Add(48 * time.Hour), Keys: []keybundle.Key{key}}
}

func TestSealAndOpen(t *testing.T) {
	var sealed bytes.Buffer
	if err := keybundle.Seal(&sealed, bundle(), phrase); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed.Bytes(), []byte("111111")) {
		t.Error("the key is readable in the sealed bundle")
	}
	b, err := keybundle.Open(bytes.NewReader(sealed.Bytes()), phrase, made.Add(47*time.Hour))
	if err != nil || len(b.Keys) != 1 || b.Keys[0].Password.Reveal() != planted || b.Keys[0].Machine != "WS001" {
		t.Fatalf("%v, %v", b, err)
	}
	if _, err := keybundle.Open(bytes.NewReader(sealed.Bytes()), secret.New("another passphrase"), made); !errors.Is(err, keybundle.ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := keybundle.Open(bytes.NewReader(sealed.Bytes()), phrase, made.Add(48*time.Hour)); !isExpired(err) {
		t.Errorf("expired: %v", err)
	}
	cut := sealed.Bytes()[:sealed.Len()-3]
	if _, err := keybundle.Open(bytes.NewReader(cut), phrase, made); err == nil || errors.Is(err, keybundle.ErrPassphrase) {
		t.Errorf("cut short: %v", err)
	}
}

func isExpired(err error) bool { _, ok := errors.AsType[*keybundle.ExpiredError](err); return ok }

func TestSealRefuses(t *testing.T) {
	change := func(f func(*keybundle.Bundle)) keybundle.Bundle {
		b := bundle()
		f(&b)
		return b
	}
	for name, c := range map[string]struct {
		bundle keybundle.Bundle
		phrase string
		want   string
	}{
		"short passphrase": {bundle(), "short", "at least 12"},
		"no expiry":        {change(func(b *keybundle.Bundle) { b.Expires = time.Time{} }), phrase.Reveal(), "expiry"},
		"bad ID":           {change(func(b *keybundle.Bundle) { b.Keys[0].ID = "x" }), phrase.Reveal(), "no GUID"},
		"mistyped": {change(func(b *keybundle.Bundle) {
			b.Keys[0].Password = secret.New(strings.Replace(planted, "000011", "000012", 1))
		}), phrase.Reveal(), "group 7"},
		"too large": {change(func(b *keybundle.Bundle) {
			b.Keys[0].Password = secret.New(strings.Replace(planted, "000011", "720896", 1))
		}), phrase.Reveal(), "group 7"},
	} {
		var out bytes.Buffer
		err := keybundle.Seal(&out, c.bundle, secret.New(c.phrase))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), "111111") {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}
