package ad

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/inventory"
)

const guidBytes = "\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"

func collect(entries ...*directory.Entry) (Result, []inventory.Record) {
	var out []inventory.Record
	r := &reading{Source: &Source{}, emit: func(rec inventory.Record) error { out = append(out, rec); return nil }, objects: map[string]*object{},
		Result: Result{Full: true, LeftOut: map[string]int{}, left: map[string]inventory.LeftOut{}, at: time.Date(2024, 7, 20, 0, 0, 0, 0, time.UTC)}}
	d := &domain{reading: r, name: "fleet.test", members: map[string]*membership{}}
	for _, e := range entries {
		d.take(e, true)
	}
	_ = r.conclude()
	return r.Result, out
}

func TestMalformedValuesKeepTheMachine(t *testing.T) {
	res, got := collect(directory.NewEntry(`CN=A\,B,OU=X,DC=Fleet,DC=test`, map[string][]string{
		"objectGUID": {"short"}, "objectSid": {"\x01\x05"}, "sAMAccountName": {"AB$"}, "operatingSystem": {"Windows 10"}, "dNSHostName": {"-- not a host --"},
		"lastLogonTimestamp": {"yesterday"}, "pwdLastSet": {"133600000000000000"}, "userAccountControl": {"x"}}))
	if len(got) != 1 || got[0].Fields["name"] != "AB" || got[0].Fields["ou"] != "OU=X,DC=Fleet,DC=test" || got[0].Fields["domain"] != "fleet.test" ||
		got[0].Fields["last_seen"] != "2024-05-12T15:06:40Z" || got[0].SourceKey == "" {
		t.Fatalf("%+v", got)
	}
	for _, attribute := range []string{"objectGUID", "objectSid", "fqdn", "lastLogonTimestamp", "userAccountControl"} {
		if !strings.Contains(strings.Join(res.Problems, "\n"), attribute) {
			t.Errorf("%s is not reported: %q", attribute, res.Problems)
		}
	}
}

func TestClassesAndWhatIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		attr  map[string][]string
		class string
		out   string
	}{
		{"workstation", map[string][]string{"operatingSystem": {"Windows 11 Enterprise"}}, "workstation", ""},
		{"server", map[string][]string{"operatingSystem": {"Windows Server 2022 Datacenter"}}, "server", ""},
		{"domain controller", map[string][]string{"operatingSystem": {"Windows Server 2022"}, "userAccountControl": {"532480"}}, "dc", ""},
		{"read-only one", map[string][]string{"operatingSystem": {"Windows Server 2022"}, "primaryGroupID": {"521"}}, "dc", ""},
		{"nameless domain controller", map[string][]string{"userAccountControl": {"532480"}}, "dc", ""},
		{"cluster", map[string][]string{"operatingSystem": {"Windows Server 2022"}, "servicePrincipalName": {"HOST/c", "MSClusterVirtualServer/c"}}, "", "cluster name"},
		{"disabled", map[string][]string{"operatingSystem": {"Windows 10"}, "userAccountControl": {"4098"}}, "", "disabled"},
		{"Linux", map[string][]string{"operatingSystem": {"Ubuntu"}}, "", "not Windows"},
	} {
		c.attr["objectGUID"], c.attr["sAMAccountName"] = []string{guidBytes}, []string{"M1$"}
		res, got := collect(directory.NewEntry("CN=M1,DC=fleet,DC=test", c.attr))
		switch {
		case c.out != "":
			if len(got) != 0 || res.LeftOut[c.out] != 1 {
				t.Errorf("%s: %v %v", c.name, got, res.LeftOut)
			}
		case len(got) != 1 || got[0].Fields["class"] != c.class || got[0].SourceKey != "00112233-4455-6677-8899-aabbccddeeff":
			t.Errorf("%s: %v %v", c.name, got, res.LeftOut)
		}
	}
}

func TestFormsOfLAPS(t *testing.T) {
	entry := func(kv ...string) *directory.Entry {
		m := map[string][]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = []string{kv[i+1]}
		}
		return directory.NewEntry("CN=M", m)
	}
	if a, err := localAdmin(entry("ms-Mcs-AdmPwd", "pw-legacy", "ms-Mcs-AdmPwdExpirationTime", "133600000000000000")); err != nil || !a.Legacy || a.Password.Reveal() != "pw-legacy" || a.Expires.IsZero() {
		t.Error(a, err)
	}
	if a, err := localAdmin(entry("ms-Mcs-AdmPwd", "old", "msLAPS-Password", `{"n":"adm","t":"1da9e0c3b1a2c3d","p":"new"}`)); err != nil || a.Password.Reveal() != "new" || a.Account != "adm" {
		t.Error(a, err)
	}
	for want, e := range map[error]*directory.Entry{ErrEncrypted: entry("msLAPS-EncryptedPassword", "x"), ErrNoRight: entry("msLAPS-PasswordExpirationTime", "1"), ErrNoLAPS: entry()} {
		if _, err := localAdmin(e); !errors.Is(err, want) {
			t.Error(want, err)
		}
	}
	if _, err := localAdmin(entry("msLAPS-Password", `{"p":"planted"`)); !errors.Is(err, ErrMalformed) || !IsAnswer(err) || strings.Contains(err.Error(), "planted") {
		t.Error(err)
	}
}
