package ad_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/directory/dclab"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/ad"
)

var lab = &dclab.Lab{}

func TestMain(m *testing.M) { os.Exit(dclab.Run(m, lab)) }

// seed is the directory as Samba's own tool shows it: enabled Windows computers, by name.
func seed(t *testing.T) map[string]map[string]string {
	t.Helper()
	out, err := exec.Command("ldbsearch", "-H", filepath.Join(lab.Dir, "private", "sam.ldb"), "--configfile="+filepath.Join(lab.Dir, "smb.conf"),
		"(objectClass=computer)", "cn", "objectGUID", "objectSid", "operatingSystem", "userAccountControl", "dNSHostName", "lastLogonTimestamp").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{}
	for block := range strings.SplitSeq(string(out), "\n\n") {
		e := map[string]string{}
		for line := range strings.SplitSeq(block, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				e[name] = value
			}
		}
		if strings.Contains(e["operatingSystem"], "Windows") && e["userAccountControl"] == "4096" {
			want[e["cn"]] = e
		}
	}
	return want
}

func read(t *testing.T, s *ad.Source) (map[string]inventory.Record, ad.Result) {
	t.Helper()
	got := map[string]inventory.Record{}
	res, err := s.Read(t.Context(), inventory.Before{}, func(r inventory.Record) error { got[r.Fields["name"]] = r; return nil })
	if err != nil {
		t.Fatal(err, hint.Of(err))
	}
	return got, res
}

func TestExactlyTheEnabledWindowsComputersByEveryMethod(t *testing.T) {
	lab.Need(t)
	want := seed(t)
	if len(want) < 400 {
		t.Fatalf("the seed has %d", len(want))
	}
	for _, method := range directory.Methods() {
		t.Run(string(method), func(t *testing.T) {
			got, res := read(t, &ad.Source{Config: lab.Config(t, method, dclab.Admin, dclab.AdminPW)})
			if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
				t.Fatalf("%d machines, the seed has %d", len(a), len(b))
			}
			if !res.Full || res.LeftOut["not Windows"] == 0 || len(res.Problems) > 0 || len(res.Referrals) == 0 || res.Cursor == "" {
				t.Errorf("%+v", res)
			}
			for name, w := range want {
				f, r := got[name].Fields, got[name]
				seen, err := directory.Filetime(w["lastLogonTimestamp"])
				if err != nil {
					t.Fatal(err)
				}
				class := "workstation"
				if strings.Contains(w["operatingSystem"], "Server") {
					class = "server"
				}
				for field, value := range map[string]string{"claims.object_guid": w["objectGUID"], "claims.sid": w["objectSid"], "os.name": w["operatingSystem"],
					"fqdn": w["dNSHostName"], "os.version": "10.0 (19045)", "domain": dclab.Domain, "class": class, "enabled": "true"} {
					if f[field] != value {
						t.Errorf("%s: %s is %q, not %q", name, field, f[field], value)
					}
				}
				// The seed's computers never set a password of their own before it ran; the newer witness counts.
				if r.SourceKey != w["objectGUID"] || f["last_seen"] < seen.Format("2006-01-02T15:04:05Z") || !strings.HasSuffix(f["ou"], ",OU=Fleet,"+dclab.BaseDN) {
					t.Errorf("%s: %v", name, r)
				}
			}
		})
	}
}

func TestScopes(t *testing.T) {
	lab.Need(t)
	conf := lab.Config(t, directory.KerberosSeal, dclab.Admin, dclab.AdminPW)
	hq := "OU=HQ,OU=Fleet," + dclab.BaseDN
	got, res := read(t, &ad.Source{Config: conf, Bases: []string{hq, "OU=Fleet," + dclab.BaseDN, hq}})
	if len(got) != len(seed(t)) || res.Machines != len(got) {
		t.Errorf("overlapping OUs: %d", len(got))
	}
	if got, _ := read(t, &ad.Source{Config: conf, Bases: []string{hq}}); len(got) != 5 {
		t.Errorf("one OU: %d", len(got))
	}
	if got, res := read(t, &ad.Source{Config: conf, Disabled: true}); len(got) <= len(seed(t)) || res.LeftOut["disabled"] != 0 {
		t.Errorf("with disabled: %d", len(got))
	}
	if got, _ := read(t, &ad.Source{Config: conf, Forest: true}); len(got) != len(seed(t)) {
		t.Errorf("forest: %d", len(got))
	}
	l := admin(t)
	inner, outer := "CN=Tills (inner),OU=Fleet,"+dclab.BaseDN, "CN=Tills,OU=Fleet,"+dclab.BaseDN
	for i, g := range []string{inner, outer} {
		add := ldap.NewAddRequest(g, nil)
		add.Attribute("objectClass", []string{"group"})
		add.Attribute("sAMAccountName", []string{fmt.Sprintf("tills%d", i)})
		add.Attribute("member", []string{[]string{"CN=HQ-02," + hq, inner}[i]})
		if err := l.Add(add); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := read(t, &ad.Source{Config: conf, Groups: []string{outer}}); len(got) != 1 ||
		got["HQ-02"].Fields["groups"] != "CN=Domain Computers,CN=Users,"+dclab.BaseDN+";"+inner+";" || got["HQ-02"].Fields["nested_groups"] != outer+";" {
		t.Errorf("nested group: %v", got)
	}
	missing := ad.Source{Config: conf, Groups: []string{"CN=None," + dclab.BaseDN}}
	if _, err := missing.Read(t.Context(), inventory.Before{}, nil); err == nil || !strings.Contains(err.Error(), "no group") {
		t.Error(err)
	}
	nowhere := ad.Source{Config: conf, Bases: []string{"OU=None," + dclab.BaseDN}}
	if _, err := nowhere.Read(t.Context(), inventory.Before{}, nil); directory.KindOf(err) != directory.NoSuchBase {
		t.Error(err)
	}
}

// TestNamesWithMarks: brackets, stars, commas and hashes in the names of OUs and groups are letters, wherever they are asked for.
func TestNamesWithMarks(t *testing.T) {
	lab.Need(t)
	conf := lab.Config(t, directory.KerberosSeal, dclab.Admin, dclab.AdminPW)
	l := admin(t)
	ou := `OU=Lon\, UK (HQ) \#1,OU=Fleet,` + dclab.BaseDN
	group := `CN=Tills (EU)*\, \#1,OU=Fleet,` + dclab.BaseDN
	var made []string
	t.Cleanup(func() {
		for _, dn := range slices.Backward(made) {
			if err := l.Del(ldap.NewDelRequest(dn, nil)); err != nil {
				t.Error(err)
			}
		}
	})
	add := func(dn, class string, attributes map[string][]string) {
		t.Helper()
		r := ldap.NewAddRequest(dn, nil)
		r.Attribute("objectClass", []string{class})
		for name, values := range attributes {
			r.Attribute(name, values)
		}
		if err := l.Add(r); err != nil {
			t.Fatal(dn, err)
		}
		made = append(made, dn)
	}
	add(ou, "organizationalUnit", nil)
	for name, more := range map[string]string{"TILL-01": "HOST/till-01", "TILL-02": "MSClusterVirtualServer/till-02.fleet.test"} {
		add("CN="+name+","+ou, "computer", map[string][]string{"sAMAccountName": {name + "$"}, "userAccountControl": {"4096"}, "operatingSystem": {"Windows 10 IoT Enterprise"},
			"servicePrincipalName": {more}})
	}
	add(group, "group", map[string][]string{"sAMAccountName": {"Tills-EU"}, "member": {"CN=TILL-01," + ou, "CN=TILL-02," + ou}})
	for what, s := range map[string]*ad.Source{
		"OU": {Bases: []string{ou}}, "group by its distinguished name": {Groups: []string{group}}, "by its name": {Groups: []string{"Tills (EU)*, #1"}}, "by its account": {Groups: []string{"Tills-EU"}},
	} {
		s.Config = conf
		got, res := read(t, s)
		if len(got) != 1 || got["TILL-01"].Fields["ou"] != ou || !strings.Contains(got["TILL-01"].Fields["groups"], group+";") || res.LeftOut["cluster name"] != 1 {
			t.Errorf("%s: %v, %+v", what, got, res)
		}
	}
	none := ad.Source{Config: conf, Groups: []string{"Tills*"}} // which is a name, and no pattern
	if _, err := none.Read(t.Context(), inventory.Before{}, nil); err == nil || !strings.Contains(err.Error(), "no group") {
		t.Error(err)
	}
}

func TestThreeUsersGetThreeAnswers(t *testing.T) {
	lab.Need(t)
	for user, want := range map[string][3]ad.Answer{"helpdesk:Passw0rd!Help": {ad.Unclear, ad.Unclear, ad.No}, "bitlist:Passw0rd!List": {ad.Yes, ad.No, ad.No},
		"bitread:Passw0rd!Bit": {ad.Yes, ad.Yes, ad.No}, "Administrator:" + dclab.AdminPW: {ad.Yes, ad.Yes, ad.Yes}} {
		name, password, _ := strings.Cut(user, ":")
		r, err := ad.Rights(t.Context(), lab.Dial(t, lab.Config(t, directory.KerberosSeal, name, password)))
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]ad.Answer{r.ListKeys.Answer, r.ReadKeys.Answer, r.ReadLAPS.Answer}; got != want || r.ListMachines.Answer != ad.Yes {
			t.Errorf("%s: %v, %+v", name, got, r)
		}
		for _, a := range []ad.Right{r.ListMachines, r.ListKeys, r.ReadKeys, r.ReadLAPS} {
			if a.Means == "" || (a.Do == "") != (a.Answer == ad.Yes) {
				t.Errorf("%s: %+v", name, a)
			}
		}
	}
}

func TestLAPS(t *testing.T) {
	lab.Need(t)
	machines, _ := read(t, &ad.Source{Config: lab.Config(t, directory.SimpleLDAPS, dclab.Admin, dclab.AdminPW), Bases: []string{"OU=HQ,OU=Fleet," + dclab.BaseDN}})
	byGUID := &inventory.Machine{Name: "HQ-01", Claims: inventory.Claims{ObjectGUID: machines["HQ-01"].Fields["claims.object_guid"]}}
	bySID := &inventory.Machine{Name: "HQ-01", Claims: inventory.Claims{SID: machines["HQ-01"].Fields["claims.sid"]}}
	byName := &inventory.Machine{Name: "HQ-01", FQDN: "hq-01.fleet.test"}
	c := lab.Dial(t, lab.Config(t, directory.KerberosSeal, dclab.Admin, dclab.AdminPW))
	for _, m := range []*inventory.Machine{byGUID, bySID, byName} {
		a, err := ad.Password(t.Context(), c, m)
		if err != nil || a.Account != "Administrator" || a.Password.Reveal() != "Lab-Only-1!" || a.Legacy || a.Expires.Year() != 2024 || a.Changed.IsZero() {
			t.Fatalf("%+v %v", a, err)
		}
		text, err := json.Marshal(a)
		if err != nil || strings.Contains(fmt.Sprintf("%+v %#v", a, a)+string(text), "Lab-Only") {
			t.Fatalf("the password shows: %s", text)
		}
	}
	if _, err := ad.Password(t.Context(), c, &inventory.Machine{Name: "HQ-02", FQDN: "hq-02.fleet.test"}); !errors.Is(err, ad.ErrNoLAPS) {
		t.Error(err)
	}
	if _, err := ad.Password(t.Context(), c, &inventory.Machine{Name: "X", FQDN: "x.fleet.test"}); !errors.Is(err, ad.ErrNoMachine) {
		t.Error(err)
	}
	low := lab.Dial(t, lab.Config(t, directory.KerberosSeal, "helpdesk", "Passw0rd!Help"))
	if _, err := ad.Password(t.Context(), low, byGUID); !errors.Is(err, ad.ErrNoRight) || len(hint.Of(err)) == 0 {
		t.Error(err)
	}
}

// TestSyncOfChanges changes the directory, so it comes last.
func TestSyncOfChanges(t *testing.T) {
	lab.Need(t)
	store, err := inventory.Open(t.Context(), filepath.Join(t.TempDir(), "inventory.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	s := &ad.Source{Config: lab.Config(t, directory.KerberosSeal, dclab.Admin, dclab.AdminPW)}
	sync := func(full bool) (ad.Result, inventory.ImportReport) {
		t.Helper()
		res, report, err := s.Sync(t.Context(), store, full)
		if err != nil {
			t.Fatal(err, hint.Of(err))
		}
		return res, report
	}
	all := len(seed(t))
	if res, report := sync(false); !res.Full || report.Added != all || report.MachinesAfter != all || len(report.Problems) > 0 {
		t.Fatalf("%+v %+v", res, report)
	}
	if res, report := sync(false); res.Full || res.Machines != 0 || report.Gone != 0 {
		t.Fatalf("nothing changed, but %+v %+v", res, report)
	}
	l := admin(t)
	bulk := ",OU=Bulk,OU=Fleet," + dclab.BaseDN
	disable := ldap.NewModifyRequest("CN=WS00001"+bulk, nil)
	disable.Replace("userAccountControl", []string{"4098"})
	upgrade := ldap.NewModifyRequest("CN=WS00003"+bulk, nil)
	upgrade.Replace("operatingSystem", []string{"Windows 12 Enterprise"})
	remove := ldap.NewDelRequest("CN=WS00002"+bulk, []ldap.Control{ldap.NewControlSubtreeDelete()})
	if err := errors.Join(l.Modify(disable), l.Modify(upgrade), l.Del(remove)); err != nil {
		t.Fatal(err)
	}
	res, report := sync(false)
	if res.Full || report.Updated != 1 || report.Gone != 2 {
		t.Fatalf("%+v %+v", res, report)
	}
	if res, report := sync(true); !res.Full || report.Given != all-2 || report.Gone != 0 || report.Updated != 0 {
		t.Fatalf("a full reading finds something else: %+v %+v", res, report)
	}
	s.Disabled = true
	if res, report := sync(false); !res.Full || !strings.Contains(res.Why, "scope") || report.Given <= all {
		t.Fatalf("%+v %+v", res, report)
	}
}

func admin(t *testing.T) *ldap.Conn {
	t.Helper()
	conf := lab.Config(t, directory.SimpleLDAPS, "", "")
	l, err := ldap.DialURL("ldaps://"+lab.Address, ldap.DialWithTLSConfig(dclab.TLS(conf)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := l.Bind(dclab.Admin, dclab.AdminPW); err != nil {
		t.Fatal(err)
	}
	return l
}
