package kerberos

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/kerberos/mitlab"
	"github.com/fleetmend/fleetmend/internal/secret"
)

func mitAccount(t *testing.T, m *mitlab.Lab, k Credential, log *bytes.Buffer) (*Account, error) {
	t.Helper()
	c := Config{Realm: mitlab.Realm, KDCs: []KDC{{Name: "kdc.mit.test", Address: m.Address}}}
	if log != nil {
		c.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	return New(c, k)
}

// TestEveryCipherOfAnotherKDC: password, keytab and ticket cache get tickets of each cipher from a KDC that others wrote.
func TestEveryCipherOfAnotherKDC(t *testing.T) {
	m := mitlab.Start(t, "")
	m.Run(t, password+"\n", "kinit", "-r", "7d", "-c", "FILE:"+m.Dir+"/cache", "user19@"+mitlab.Realm)
	ways := map[string]Credential{
		"keytab": {User: "user20", Keytab: m.Dir + "/user.keytab"}, "keytab of SHA-1": {User: "User18@mit.test", Keytab: m.Dir + "/user.keytab"}, "cache": {CCache: "FILE:" + m.Dir + "/cache"},
	}
	for kind := range mitlab.Ciphers {
		ways[fmt.Sprint("password ", kind)] = Credential{User: fmt.Sprint("user", kind), Password: secret.New(password)}
	}
	for name, k := range ways {
		t.Run(name, func(t *testing.T) {
			a, err := mitAccount(t, m, k, nil)
			if err != nil {
				t.Fatal(err, hint.Of(err))
			}
			for kind := range mitlab.Ciphers {
				c, err := a.Context(t.Context(), []string{"WSMAN/nobody", fmt.Sprintf("HTTP/ws%d.mit.test", kind)}, Options{Protection: Sealed})
				if err != nil {
					t.Fatal(err)
				}
				if c.session.KeyType != kind || len(c.First()) < 300 {
					t.Errorf("the ticket for a service of cipher %d has a key of %d", kind, c.session.KeyType)
				}
			}
			before, err := a.granting(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if after := a.renewed(t.Context(), before); after == nil || bytes.Equal(after.raw, before.raw) || after.renew.IsZero() {
				t.Errorf("renewed into %+v", after)
			}
		})
	}
	for name, c := range map[string]struct {
		user, word string
		reason     Reason
		text       string
	}{
		"wrong":    {"user18", "wrong", WrongSecret, "the password of user18@MIT.TEST is wrong (kdc.mit.test says so; tried once)"},
		"unknown":  {"nobody", password, UnknownUser, "kdc.mit.test does not know the user nobody@MIT.TEST"},
		"expired":  {"expired", password, Expired, "the password of expired@MIT.TEST has expired"},
		"disabled": {"disabled", password, Revoked, "disabled@MIT.TEST is locked, disabled or expired"},
		"rc4":      {"old", password, NoAES, "old@MIT.TEST offers RC4 only"},
		"realm":    {"user18@OTHER.TEST", password, WrongRealm, "user18@OTHER.TEST"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := mitAccount(t, m, Credential{User: c.user, Password: secret.New(c.word)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			says(t, a.Prove(t.Context()), c.reason, c.text)
		})
	}
}

// TestAnotherKDCsClock: eleven minutes off works and is said once, a day is refused in words; nothing secret is sent then.
func TestAnotherKDCsClock(t *testing.T) {
	m := mitlab.Start(t, "+11m")
	var log bytes.Buffer
	a, err := mitAccount(t, m, Credential{User: "user18", Password: secret.New(password)}, &log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Context(t.Context(), []string{"HTTP/ws18.mit.test"}, Options{}); err != nil {
		t.Fatal(err)
	}
	if (a.Skew()-11*time.Minute).Abs() > time.Minute || strings.Count(log.String(), "this computer's clock is 11 min behind kdc.mit.test") != 1 {
		t.Error(a.Skew(), log.String())
	}
	m = mitlab.Start(t, "-400d")
	if a, err = mitAccount(t, m, Credential{User: "user18", Password: secret.New(password)}, nil); err != nil {
		t.Fatal(err)
	}
	says(t, a.Prove(t.Context()), ClockSkew, "this computer's clock is 400 days ahead of kdc.mit.test")
}

// TestFilesThatDoNotHelp: what to do instead is said before anything is sent.
func TestFilesThatDoNotHelp(t *testing.T) {
	m := mitlab.Start(t, "")
	m.Run(t, password+"\n", "kinit", "-c", "FILE:"+m.Dir+"/service", "-S", "HTTP/ws18.mit.test", "user18@"+mitlab.Realm)
	m.Run(t, password+"\n", "kinit", "-c", "FILE:"+m.Dir+"/mine", "user18@"+mitlab.Realm)
	m.Run(t, password+"\n", "kinit", "-l", "1s", "-c", "FILE:"+m.Dir+"/short", "user18@"+mitlab.Realm)
	m.Write(t, "junk", "\x05\x04junk")
	m.Write(t, "cut", "\x05\x02\x00\x00\x00\xff"+secretWord)
	for name, c := range map[string]struct {
		credential Credential
		text, help string
		later      time.Duration
	}{
		"no principal": {Credential{User: "other", Keytab: m.Dir + "/user.keytab"}, "has no key of other@MIT.TEST; it has keys of user18@MIT.TEST, user20@MIT.TEST", "as the keytab names it", 0},
		"no keytab":    {Credential{User: "user18", Keytab: m.Dir + "/junk"}, "is no keytab", "ktutil", 0},
		"cut keytab":   {Credential{User: "user18", Keytab: m.Dir + "/cut"}, "is no keytab", "ktutil", 0},
		"KCM":          {Credential{CCache: "KCM:1000"}, "ticket caches of the kind KCM cannot be read", "kinit -c FILE:", 0},
		"KEYRING":      {Credential{CCache: "KEYRING:persistent:1000"}, "ticket caches of the kind KEYRING cannot be read", "kinit -c FILE:", 0},
		"no cache":     {Credential{CCache: m.Dir + "/junk"}, "is no ticket cache", "kinit", 0},
		"absent":       {Credential{CCache: m.Dir + "/absent"}, "read ticket cache", "kinit", 0},
		"no krbtgt":    {Credential{CCache: m.Dir + "/service"}, "has no ticket of the kind that gets others", "kinit", 0},
		"other user":   {Credential{User: "user20", CCache: m.Dir + "/mine"}, "is that of user18, not of user20", "kinit", 0},
		"ended":        {Credential{CCache: m.Dir + "/short"}, "ended at", "kinit", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{Realm: mitlab.Realm, now: func() time.Time { return time.Now().Add(c.later) }}, c.credential)
			says(t, err, NoSecret, c.text)
			if !strings.Contains(strings.Join(hint.Of(err), " "), c.help) {
				t.Error(hint.Of(err))
			}
		})
	}
}
