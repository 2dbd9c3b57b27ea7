// Package mitlab starts MIT Kerberos' KDC for tests: one that others wrote, with every cipher. It takes a second, runs as anybody, and
// ends with the test. Where Debian's krb5-kdc, krb5-admin-server, krb5-user or faketime is absent the test skips and says so.
package mitlab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Lab is a KDC of MIT Kerberos with a user and a service of each cipher, in a folder and on a port of its own.
type Lab struct {
	Dir, Address string
}

// Realm is that of the KDC; Password is that of its users: user17 to user20 (by cipher), expired, disabled, and old, who has RC4 alone.
const (
	Realm    = "MIT.TEST"
	Password = "planted-password"
)

// Ciphers are their names in MIT's settings.
var Ciphers = map[int32]string{17: "aes128-cts", 18: "aes256-cts", 19: "aes128-sha2", 20: "aes256-sha2"}

// Start starts a KDC whose clock is ahead by a time as faketime writes it; "" for a right one.
func Start(t *testing.T, ahead string) *Lab {
	t.Helper()
	for _, program := range []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit", "faketime"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here (Debian: krb5-kdc, krb5-admin-server, krb5-user, faketime)", program)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Lab{t.TempDir(), l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	m.Write(t, "krb5.conf", "[libdefaults]\ndefault_realm = "+Realm+"\ndns_lookup_kdc = false\nudp_preference_limit = 1\ndns_canonicalize_hostname = false\n[realms]\n"+Realm+" = {\nkdc = "+m.Address+"\n}\n")
	m.Write(t, "kdc.conf", fmt.Sprintf("[kdcdefaults]\nkdc_listen = \"\"\nkdc_tcp_listen = %s\n[realms]\n%s = {\ndatabase_name = %[3]s/principal\nkey_stash_file = %[3]s/stash\nacl_file = %[3]s/acl\n"+
		"supported_enctypes = aes256-cts:normal aes128-cts:normal aes256-sha2:normal aes128-sha2:normal\nmax_renewable_life = 7d\n}\n[logging]\nkdc = FILE:%[3]s/kdc.log\n", m.Address, Realm, m.Dir))
	m.Run(t, "", "kdb5_util", "create", "-s", "-r", Realm, "-P", "master")
	commands := "modprinc -maxrenewlife 7d krbtgt/" + Realm + "\n"
	for kind, name := range Ciphers {
		commands += fmt.Sprintf("addprinc -e %[1]s:normal -pw %[3]s +requires_preauth -maxrenewlife 7d user%[2]d\naddprinc -e %[1]s:normal -randkey HTTP/ws%[2]d.mit.test\nsetstr HTTP/ws%[2]d.mit.test session_enctypes %[1]s\n", name, kind, Password)
	}
	commands += "addprinc -randkey WSMAN/ws18.mit.test\n"
	commands += "addprinc -pw " + Password + " -pwexpire 2020-01-01 +requires_preauth expired\naddprinc -pw " + Password + " -allow_tix +requires_preauth disabled\n"
	commands += "addprinc -e rc4-hmac:normal -pw " + Password + " +requires_preauth old\n"
	commands += "ktadd -k " + m.Dir + "/user.keytab -norandkey user18 user20\nktadd -k " + m.Dir + "/services.keytab -norandkey HTTP/ws17.mit.test HTTP/ws18.mit.test HTTP/ws19.mit.test HTTP/ws20.mit.test\n"
	m.Run(t, commands, "kadmin.local")
	var log bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "krb5kdc", "-n")
	cmd.Env, cmd.Stdout, cmd.Stderr = m.Env(), &log, &log
	if ahead != "" { // what faketime gives a program: as its child the KDC would outlive it
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "faketime", "-f", ahead, "env").Output()
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
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", m.Address)
		if err == nil {
			_ = conn.Close()
			return m
		}
		if time.Since(began) > time.Minute {
			t.Fatal("krb5kdc does not answer: ", log.String())
		}
	}
}

// Write writes a file into the folder.
func (m *Lab) Write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Env is the environment of a program that uses this KDC.
func (m *Lab) Env() []string {
	return append(os.Environ(), "KRB5_CONFIG="+m.Dir+"/krb5.conf", "KRB5_KDC_PROFILE="+m.Dir+"/kdc.conf") //nolint:forbidigo // test support: there is no command line above it
}

// Run runs such a program to its end.
func (m *Lab) Run(t *testing.T, stdin string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Env, cmd.Stdin = m.Env(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", name, err, out)
	}
}
