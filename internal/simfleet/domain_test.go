package simfleet_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/simfleet"
)

const domainBase = "DC=fleet,DC=test"

// ldaps signs in at the directory of a fleet with a client that is not ours.
func ldaps(t testing.TB, f *simfleet.Fleet, user string) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL("ldaps://"+f.LDAPS(), ldap.DialWithTLSConfig(&tls.Config{RootCAs: f.CA(), ServerName: "127.0.0.1"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if user == "" {
		return c
	}
	password, err := f.DirectoryPassword(user)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Bind(user+"@fleet.test", password.Reveal()); err != nil {
		t.Fatal(err)
	}
	return c
}

func query(filter string, attributes ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(domainBase, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, nil)
}

func TestDirectoryHoldsTheMachines(t *testing.T) {
	f := start(t, simfleet.Options{Machines: 300, Seed: 5, Incident: time.Now().Add(-3 * time.Hour)})
	c := ldaps(t, f, "admin")
	r, err := c.SearchWithPaging(query("(&(objectCategory=computer)(dNSHostName=*))", "cn", "dNSHostName", "distinguishedName", "operatingSystem", "operatingSystemVersion", "userAccountControl", "lastLogonTimestamp"), 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Referrals) != 3 {
		t.Errorf("%d continuation references", len(r.Referrals))
	}
	objects := map[string]*ldap.Entry{}
	for _, e := range r.Entries {
		objects[e.GetAttributeValue("cn")] = e
	}
	for _, m := range f.Machines() {
		e := objects[m.Name]
		if e == nil {
			t.Fatalf("%s has no object", m.Name)
		}
		if e.GetAttributeValue("dNSHostName") != m.FQDN || e.DN != "CN="+m.Name+","+m.OU || e.GetAttributeValue("operatingSystem") != m.OS ||
			e.GetAttributeValue("operatingSystemVersion") != fmt.Sprintf("10.0 (%d)", m.Build) || (e.GetAttributeValue("userAccountControl") == "532480") != (m.Class == "dc") {
			t.Errorf("%s: %v", m.Name, e)
		}
		seen := fileTime(t, e.GetAttributeValue("lastLogonTimestamp"))
		if age := time.Since(seen); m.Kind == simfleet.CrashLoop && age > 3*time.Hour {
			t.Errorf("%s crashes again and again, but was last seen %v ago", m.Name, age)
		}
	}
	if len(objects) <= len(f.Machines()) {
		t.Error("the directory holds nothing but the fleet's machines")
	}
}

func fileTime(t *testing.T, text string) time.Time {
	t.Helper()
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return time.Unix(n/10_000_000-11644473600, 0)
}

func TestDirectorySignIn(t *testing.T) {
	f := start(t, simfleet.Options{Machines: 20, Seed: 5})
	_, _, password := f.Account()
	plain, err := ldap.DialURL("ldap://" + f.LDAP())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.Bind("admin@fleet.test", password.Reveal()); !ldap.IsErrorWithCode(err, ldap.LDAPResultStrongAuthRequired) {
		t.Errorf("a password in clear gave %v", err)
	}
	if err := plain.StartTLS(&tls.Config{RootCAs: f.CA(), ServerName: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"admin@fleet.test": "", `FLEET\admin`: "", "CN=admin,CN=Users," + domainBase: "",
		"forgetful@fleet.test": "data 532", "stranger@fleet.test": "data 52e", `OTHER\admin`: "data 52e",
	} {
		secret := password
		if strings.HasPrefix(name, "forgetful") {
			secret, _ = f.DirectoryPassword(simfleet.Forgetful)
		}
		err := plain.Bind(name, secret.Reveal())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if err := ldaps(t, f, "").UnauthenticatedBind(""); err != nil {
		t.Errorf("anonymous: %v", err)
	}
	if _, err := ldaps(t, f, "").Search(query("(objectClass=*)")); !ldap.IsErrorWithCode(err, ldap.LDAPResultOperationsError) {
		t.Errorf("a search without signing in gave %v", err)
	}
	certificate, key, err := f.ClientCertificate()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	external, err := ldap.DialURL("ldaps://"+f.LDAPS(), ldap.DialWithTLSConfig(&tls.Config{RootCAs: f.CA(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}}))
	if err != nil {
		t.Fatal(err)
	}
	defer external.Close()
	if err := external.ExternalBind(); err != nil {
		t.Errorf("client certificate: %v", err)
	}
	if who, err := external.WhoAmI(nil); err != nil || who.AuthzID != `u:FLEET\admin` {
		t.Errorf("who am I: %v %v", who, err)
	}
}

func TestDirectoryRights(t *testing.T) {
	f := start(t, simfleet.Options{Machines: 60, Seed: 5})
	for user, want := range map[string][4]bool{ // machines, keys, recovery passwords, LAPS
		"admin": {true, true, true, true}, simfleet.Lister: {true, true, false, false}, simfleet.HelpDesk: {true, false, false, false}, simfleet.Newcomer: {},
	} {
		c := ldaps(t, f, user)
		for i, filter := range []string{"(objectCategory=computer)", "(objectClass=msFVE-RecoveryInformation)", "(msFVE-RecoveryPassword=*)", "(|(msLAPS-Password=*)(ms-Mcs-AdmPwd=*))"} {
			r, err := c.Search(query(filter, "*", "msLAPS-Password", "msFVE-RecoveryPassword"))
			if err != nil {
				t.Fatal(err)
			}
			if (len(r.Entries) > 0) != want[i] {
				t.Errorf("%s: %s found %d", user, filter, len(r.Entries))
			}
			for _, e := range r.Entries {
				if e.GetAttributeValue("msFVE-RecoveryPassword") != "" && !want[2] || e.GetAttributeValue("msLAPS-Password") != "" && !want[3] {
					t.Fatalf("%s was shown a password", user)
				}
			}
		}
	}
}

func TestRecoveryKeysAreValidAndRepeatable(t *testing.T) {
	o := simfleet.Options{Machines: 200, Seed: 9, Incident: time.Unix(1_700_000_000, 0)}
	f, again := start(t, o), start(t, o)
	none, several := 0, 0
	for _, m := range f.Machines() {
		keys, err := f.RecoveryKeys(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		same, _ := again.RecoveryKeys(m.Name)
		if len(keys) == 0 {
			none++
		} else if len(keys) > 1 {
			several++
		}
		for i, k := range keys {
			if same[i].ID != k.ID || same[i].Password.Reveal() != k.Password.Reveal() {
				t.Fatalf("%s: the same seed gave other keys", m.Name)
			}
			groups := strings.Split(k.Password.Reveal(), "-")
			if len(groups) != 8 {
				t.Fatalf("%s: %d groups", m.Name, len(groups))
			}
			for _, g := range groups {
				var n int
				if _, err := fmt.Sscanf(g, "%06d", &n); err != nil || len(g) != 6 || n%11 != 0 || n/11 > 65535 {
					t.Errorf("%s: group %s", m.Name, g)
				}
			}
		}
	}
	if none == 0 || several == 0 {
		t.Errorf("%d machines without a key, %d with several", none, several)
	}
}

// TestLocalAdministratorSignsIn: the password that LAPS keeps is the one the machine takes, and no other machine does.
func TestLocalAdministratorSignsIn(t *testing.T) {
	f := start(t, simfleet.Options{Machines: 30, Seed: 3, Mix: &simfleet.Mix{}})
	first, other := "", ""
	for _, m := range f.Machines() {
		if form, _, _, err := f.LAPS(m.Name); err != nil || form != simfleet.LAPSClear {
			continue
		}
		if first == "" {
			first = m.Name
		} else if other == "" {
			other = m.Name
		}
	}
	_, user, password, err := f.LAPS(first)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ldaps(t, f, "admin").Search(query("(cn="+first+")", "msLAPS-Password"))
	if err != nil || len(r.Entries) != 1 || !strings.Contains(r.Entries[0].GetAttributeValue("msLAPS-Password"), password.Reveal()) {
		t.Fatalf("the directory keeps another password: %v %v", r, err)
	}
	if status := dial(t, f, first, "http").logon(user, first, password.Reveal(), nil); status != 200 {
		t.Errorf("%s answered %d to its local administrator", first, status)
	}
	if status := dial(t, f, other, "http").logon(user, other, password.Reveal(), nil); status != 401 {
		t.Errorf("%s answered %d to the local administrator of %s", other, status, first)
	}
	if f.Stats().AccountFailures != 0 {
		t.Error("a local sign-in counted against the account of the domain")
	}
}

// TestLdapsearchReadsTheDirectory compares with OpenLDAP's own client.
func TestLdapsearchReadsTheDirectory(t *testing.T) {
	program, err := exec.LookPath("ldapsearch")
	if err != nil {
		t.Skip("skip: ldapsearch is not installed (Debian: ldap-utils)")
	}
	f := start(t, simfleet.Options{Machines: 1200, Seed: 2})
	dir := t.TempDir()
	if err := f.Write(dir); err != nil {
		t.Fatal(err)
	}
	run := func(arguments ...string) string {
		t.Helper()
		cmd := exec.Command(program, append([]string{"-LLL", "-x", "-o", "ldif-wrap=no", "-D", "admin@fleet.test", "-y", filepath.Join(dir, "password"), "-b", domainBase}, arguments...)...)
		cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+filepath.Join(dir, "ca.pem"))
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(string(out), "Size limit exceeded") {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	secure := []string{"-H", "ldaps://" + f.LDAPS()}
	out := run(append(secure, "-E", "pr=500/noprompt", "(&(objectCategory=computer)(servicePrincipalName=WSMAN/*))", "cn")...)
	if n := strings.Count(out, "\ncn: "); n != 1200 {
		t.Errorf("ldapsearch read %d machines in pages", n)
	}
	out = run(append(secure, "(objectCategory=computer)", "cn")...)
	if n := strings.Count(out, "\ncn: "); n != 1000 || !strings.Contains(out, "Size limit exceeded") {
		t.Errorf("ldapsearch read %d machines without pages", n)
	}
	out = run("-ZZ", "-H", "ldap://"+f.LDAP(), "(memberOf:1.2.840.113556.1.4.1941:=CN=Fleet Machines,OU=Groups,DC=fleet,DC=test)", "1.1", "-E", "pr=1000/noprompt")
	if n := strings.Count(out, "dn: "); n != 1200+6 {
		t.Errorf("ldapsearch found %d members, nested, over StartTLS", n)
	}
}

// TestDirectoryMemory holds the directory of 20,000 machines to 5 KB of live memory for each, keys included.
func TestDirectoryMemory(t *testing.T) {
	if os.Getenv("FLEETMEND_LONG") != "1" {
		t.Skip("skip: FLEETMEND_LONG=1 makes a fleet of 20,000 machines")
	}
	var before, after runtime.MemStats
	f, err := simfleet.New(simfleet.Options{Machines: 20_000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	tree, err := f.Contents()
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / 20_000
	t.Logf("%d objects, %d bytes for each machine", tree.Len(), per)
	if per > 5120 {
		t.Errorf("%d bytes for each machine", per)
	}
}
