package kerberos

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/secret"
)

// mit is a KDC of MIT Kerberos with a user and a service of each cipher, in a folder and on a port of its own.
type mit struct {
	dir, address string
}

const mitRealm = "MIT.TEST"

// ciphers by their names in MIT's settings.
var mitCiphers = map[int32]string{17: "aes128-cts", 18: "aes256-cts", 19: "aes128-sha2", 20: "aes256-sha2"}

// newMIT starts a KDC whose clock is ahead by a time as faketime writes it; "" for a right one.
func newMIT(t *testing.T, ahead string) *mit {
	t.Helper()
	for _, program := range []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit", "faketime"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here (Debian: krb5-kdc, krb5-admin-server, krb5-user, faketime)", program)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mit{t.TempDir(), l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	m.write(t, "krb5.conf", "[libdefaults]\ndefault_realm = "+mitRealm+"\ndns_lookup_kdc = false\nudp_preference_limit = 1\ndns_canonicalize_hostname = false\n[realms]\n"+mitRealm+" = {\nkdc = "+m.address+"\n}\n")
	m.write(t, "kdc.conf", fmt.Sprintf("[kdcdefaults]\nkdc_listen = \"\"\nkdc_tcp_listen = %s\n[realms]\n%s = {\ndatabase_name = %[3]s/principal\nkey_stash_file = %[3]s/stash\nacl_file = %[3]s/acl\n"+
		"supported_enctypes = aes256-cts:normal aes128-cts:normal aes256-sha2:normal aes128-sha2:normal\nmax_renewable_life = 7d\n}\n[logging]\nkdc = FILE:%[3]s/kdc.log\n", m.address, mitRealm, m.dir))
	m.run(t, "", "kdb5_util", "create", "-s", "-r", mitRealm, "-P", "master")
	commands := "modprinc -maxrenewlife 7d krbtgt/" + mitRealm + "\n"
	for kind, name := range mitCiphers {
		commands += fmt.Sprintf("addprinc -e %[1]s:normal -pw %[3]s +requires_preauth -maxrenewlife 7d user%[2]d\naddprinc -e %[1]s:normal -randkey HTTP/ws%[2]d.mit.test\nsetstr HTTP/ws%[2]d.mit.test session_enctypes %[1]s\n", name, kind, password)
	}
	commands += "addprinc -pw " + password + " -pwexpire 2020-01-01 +requires_preauth expired\naddprinc -pw " + password + " -allow_tix +requires_preauth disabled\n"
	commands += "addprinc -e rc4-hmac:normal -pw " + password + " +requires_preauth old\n"
	commands += "ktadd -k " + m.dir + "/user.keytab -norandkey user18 user20\n"
	m.run(t, commands, "kadmin.local")
	var log bytes.Buffer
	cmd := exec.Command("krb5kdc", "-n")
	cmd.Env, cmd.Stdout, cmd.Stderr = m.env(), &log, &log
	if ahead != "" { // what faketime gives a program: as its child the KDC would outlive it
		out, err := exec.Command("faketime", "-f", ahead, "env").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if name, _, _ := strings.Cut(line, "="); name == "LD_PRELOAD" || name == "FAKETIME" {
				cmd.Env = append(cmd.Env, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for began := time.Now(); ; <-time.After(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", m.address)
		if err == nil {
			_ = conn.Close()
			return m
		}
		if time.Since(began) > time.Minute {
			t.Fatal("krb5kdc does not answer: ", log.String())
		}
	}
}

func (m *mit) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *mit) env() []string {
	return append(os.Environ(), "KRB5_CONFIG="+m.dir+"/krb5.conf", "KRB5_KDC_PROFILE="+m.dir+"/kdc.conf")
}

func (m *mit) run(t *testing.T, stdin string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdin = m.env(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", name, err, out)
	}
}

func (m *mit) account(t *testing.T, k Credential, log *bytes.Buffer) (*Account, error) {
	t.Helper()
	c := Config{Realm: mitRealm, KDCs: []KDC{{Name: "kdc.mit.test", Address: m.address}}}
	if log != nil {
		c.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	return New(c, k)
}

// TestEveryCipherOfAnotherKDC: password, keytab and ticket cache get tickets of each cipher from a KDC that others wrote.
func TestEveryCipherOfAnotherKDC(t *testing.T) {
	m := newMIT(t, "")
	m.run(t, password+"\n", "kinit", "-r", "7d", "-c", "FILE:"+m.dir+"/cache", "user19@"+mitRealm)
	ways := map[string]Credential{
		"keytab": {User: "user20", Keytab: m.dir + "/user.keytab"}, "keytab of SHA-1": {User: "User18@mit.test", Keytab: m.dir + "/user.keytab"}, "cache": {CCache: "FILE:" + m.dir + "/cache"},
	}
	for kind := range mitCiphers {
		ways[fmt.Sprint("password ", kind)] = Credential{User: fmt.Sprint("user", kind), Password: secret.New(password)}
	}
	for name, k := range ways {
		t.Run(name, func(t *testing.T) {
			a, err := m.account(t, k, nil)
			if err != nil {
				t.Fatal(err, hint.Of(err))
			}
			for kind := range mitCiphers {
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
			a, err := m.account(t, Credential{User: c.user, Password: secret.New(c.word)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			says(t, a.Prove(t.Context()), c.reason, c.text)
		})
	}
}

// TestAnotherKDCsClock: eleven minutes off works and is said once, a day is refused in words; nothing secret is sent then.
func TestAnotherKDCsClock(t *testing.T) {
	m := newMIT(t, "+11m")
	var log bytes.Buffer
	a, err := m.account(t, Credential{User: "user18", Password: secret.New(password)}, &log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Context(t.Context(), []string{"HTTP/ws18.mit.test"}, Options{}); err != nil {
		t.Fatal(err)
	}
	if (a.Skew()-11*time.Minute).Abs() > time.Minute || strings.Count(log.String(), "this computer's clock is 11 min behind kdc.mit.test") != 1 {
		t.Error(a.Skew(), log.String())
	}
	m = newMIT(t, "-400d")
	if a, err = m.account(t, Credential{User: "user18", Password: secret.New(password)}, nil); err != nil {
		t.Fatal(err)
	}
	says(t, a.Prove(t.Context()), ClockSkew, "this computer's clock is 400 days ahead of kdc.mit.test")
}

// TestFilesThatDoNotHelp: what to do instead is said before anything is sent.
func TestFilesThatDoNotHelp(t *testing.T) {
	m := newMIT(t, "")
	m.run(t, password+"\n", "kinit", "-c", "FILE:"+m.dir+"/service", "-S", "HTTP/ws18.mit.test", "user18@"+mitRealm)
	m.run(t, password+"\n", "kinit", "-c", "FILE:"+m.dir+"/mine", "user18@"+mitRealm)
	m.run(t, password+"\n", "kinit", "-l", "1s", "-c", "FILE:"+m.dir+"/short", "user18@"+mitRealm)
	m.write(t, "junk", "\x05\x04junk")
	m.write(t, "cut", "\x05\x02\x00\x00\x00\xff"+secretWord)
	for name, c := range map[string]struct {
		credential Credential
		text, help string
		later      time.Duration
	}{
		"no principal": {Credential{User: "other", Keytab: m.dir + "/user.keytab"}, "has no key of other@MIT.TEST; it has keys of user18@MIT.TEST, user20@MIT.TEST", "as the keytab names it", 0},
		"no keytab":    {Credential{User: "user18", Keytab: m.dir + "/junk"}, "is no keytab", "ktutil", 0},
		"cut keytab":   {Credential{User: "user18", Keytab: m.dir + "/cut"}, "is no keytab", "ktutil", 0},
		"KCM":          {Credential{CCache: "KCM:1000"}, "ticket caches of the kind KCM cannot be read", "kinit -c FILE:", 0},
		"KEYRING":      {Credential{CCache: "KEYRING:persistent:1000"}, "ticket caches of the kind KEYRING cannot be read", "kinit -c FILE:", 0},
		"no cache":     {Credential{CCache: m.dir + "/junk"}, "is no ticket cache", "kinit", 0},
		"absent":       {Credential{CCache: m.dir + "/absent"}, "read ticket cache", "kinit", 0},
		"no krbtgt":    {Credential{CCache: m.dir + "/service"}, "has no ticket of the kind that gets others", "kinit", 0},
		"other user":   {Credential{User: "user20", CCache: m.dir + "/mine"}, "is that of user18, not of user20", "kinit", 0},
		"ended":        {Credential{CCache: m.dir + "/short"}, "ended at", "kinit", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{Realm: mitRealm, now: func() time.Time { return time.Now().Add(c.later) }}, c.credential)
			says(t, err, NoSecret, c.text)
			if !strings.Contains(strings.Join(hint.Of(err), " "), c.help) {
				t.Error(hint.Of(err))
			}
		})
	}
}
