package directory

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/bounded"
	"github.com/fleetmend/fleetmend/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// small is a directory of a few objects.
func small(t testing.TB) *Tree {
	t.Helper()
	tree := NewTree("fleet.test")
	guid := func(n byte) string { return strings.Repeat(string(rune(n)), 16) }
	computer := func(name string, control string, more ...Attribute) Object {
		return Object{DN: "CN=" + name + ",OU=A,DC=fleet,DC=test", Attributes: append([]Attribute{
			Attr("objectClass", "top", "user", "computer"), Attr("objectCategory", "CN=Computer,CN=Schema,CN=Configuration,DC=fleet,DC=test"),
			Attr("cn", name), Attr("sAMAccountName", name+"$"), Attr("userAccountControl", control), Attr("objectGUID", guid(name[len(name)-1])),
		}, more...)}
	}
	err := tree.Add(
		Object{DN: "DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top", "domainDNS")}},
		Object{DN: "CN=Deleted Objects,DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top", "container")}},
		Object{DN: "OU=A,DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top", "organizationalUnit")}},
		computer("WS1", "4096", Attr("operatingSystem", "Windows 11 Enterprise"), Attr("lastLogonTimestamp", "133700000000000000"), Attr("msLAPS-Password", "hidden"), Attr("memberOf", "CN=Inner,DC=fleet,DC=test")),
		computer("WS2", "4098", Attr("operatingSystem", "Windows Server 2022")),
		computer("WS3", "532480", Attr("operatingSystem", "Ubuntu"), Attr("lastLogonTimestamp", "133600000000000000"), Attr("memberOf", "CN=Outer,DC=fleet,DC=test")),
		Object{DN: "CN=Inner,DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top", "group"), Attr("member", "CN=WS1,OU=A,DC=fleet,DC=test", "CN=Outer,DC=fleet,DC=test"), Attr("memberOf", "CN=Outer,DC=fleet,DC=test")}},
		Object{DN: "CN=Outer,DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top", "group"), Attr("member", "CN=WS3,OU=A,DC=fleet,DC=test", "CN=Inner,DC=fleet,DC=test"), Attr("memberOf", "CN=Inner,DC=fleet,DC=test")}}, // a cycle
		Object{DN: "CN=2023{K},CN=WS1,OU=A,DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top", "msFVE-RecoveryInformation"), Attr("msFVE-RecoveryPassword", "000011"), Attr("msFVE-RecoveryGuid", "\x01\x02\x03\x04abcdefghijkl")}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// found returns the common names (or first parts) of what a filter finds, sorted.
func found(t *testing.T, tree *Tree, rights Rights, filter node) []string {
	t.Helper()
	a := tree.search(&query{searchRequest: searchRequest{base: "DC=fleet,DC=test", scope: scopeSubtree, filter: filter}, rights: rights, noReferrals: true})
	if a.result.code != resultSuccess {
		t.Fatalf("result %d %s", a.result.code, a.result.text)
	}
	var out []string
	for _, op := range a.ops {
		e, _, err := next(op)
		if err != nil {
			t.Fatal(err)
		}
		dn, _, err := next(e.data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimPrefix(splitDN(string(dn.data))[0], "CN="))
	}
	slices.Sort(out)
	return out
}

func equal(attr, value string) node { return node{op: filterEqual, attr: attr, value: []byte(value)} }
func present(attr string) node      { return node{op: filterPresent, attr: attr} }
func not(n node) node               { return node{op: filterNot, subs: []node{n}} }
func all(n ...node) node            { return node{op: filterAnd, subs: n} }
func rule(attr, oid, v string) node {
	return node{op: filterExtensible, attr: attr, rule: oid, value: []byte(v)}
}
func order(op byte, a, v string) node { return node{op: op, attr: a, value: []byte(v)} }
func pieces(attr string, first, middle, last string) node {
	n := node{op: filterSubstrings, attr: attr}
	for i, s := range []string{first, middle, last} {
		if s != "" {
			n.parts[i] = [][]byte{[]byte(s)}
		}
	}
	return n
}

func TestFilters(t *testing.T) {
	tree := small(t)
	computer := equal("objectCategory", "computer")
	for _, c := range []struct {
		name   string
		rights Rights
		filter node
		want   string
	}{
		{"class name for a category", AllRights, computer, "WS1 WS2 WS3"},
		{"category by its name", AllRights, equal("OBJECTCATEGORY", "cn=computer, cn=schema,cn=configuration,dc=fleet,dc=test"), "WS1 WS2 WS3"},
		{"bits set", AllRights, all(computer, rule("userAccountControl", ruleBitAnd, "2")), "WS2"},
		{"bits not set", AllRights, all(computer, not(rule("userAccountControl", ruleBitAnd, "2"))), "WS1 WS3"},
		{"any bit", AllRights, all(computer, rule("userAccountControl", ruleBitOr, "8194")), "WS2 WS3"},
		{"middle of a text, any case", AllRights, all(computer, pieces("operatingSystem", "", "WINDOWS", "")), "WS1 WS2"},
		{"beginning and end", AllRights, pieces("operatingSystem", "windows", "", "2022"), "WS2"},
		{"beginning and end overlap", AllRights, pieces("cn", "WS1", "", "S1"), ""},
		{"numbers are compared as numbers", AllRights, order(filterGreater, "lastLogonTimestamp", "99999999999999999"), "WS1 WS3"},
		{"at least", AllRights, order(filterGreater, "lastLogonTimestamp", "133650000000000000"), "WS1"},
		{"at most", AllRights, order(filterLess, "lastLogonTimestamp", "133650000000000000"), "WS3"},
		{"absent is not equal", AllRights, all(computer, not(present("lastLogonTimestamp"))), "WS2"},
		{"unknown attribute is undefined, and so is its opposite", AllRights, all(computer, not(present("nonsense"))), ""},
		{"octets", AllRights, equal("msFVE-RecoveryGuid", "\x01\x02\x03\x04abcdefghijkl"), "2023{K}"},
		{"octets are not folded", AllRights, equal("msFVE-RecoveryGuid", "\x01\x02\x03\x04ABCDEFGHIJKL"), ""},
		{"beginning of octets", AllRights, pieces("msFVE-RecoveryGuid", "\x01\x02\x03\x04", "", ""), "2023{K}"},
		{"nested groups, and cycles end", AllRights, rule("memberOf", ruleChain, "CN=Outer,DC=fleet,DC=test"), "Inner Outer WS1 WS3"},
		{"groups above", AllRights, rule("member", ruleChain, "CN=WS1,OU=A,DC=fleet,DC=test"), "Inner Outer"},
		{"confidential, allowed", AllRights, present("msLAPS-Password"), "WS1"},
		{"confidential, not allowed", ListMachines | ListKeys, present("msLAPS-Password"), ""},
		{"confidential, and its opposite", ListMachines, all(computer, not(present("msLAPS-Password"))), ""},
		{"keys may not be listed", ListMachines, present("objectClass"), "DC=fleet Deleted Objects Inner OU=A Outer WS1 WS2 WS3"},
		{"no machine for a newcomer", 0, computer, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(found(t, tree, c.rights, c.filter), " "); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func TestPagesCoverEverythingOnce(t *testing.T) {
	tree := NewTree("fleet.test")
	if err := tree.Add(Object{DN: "DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top")}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2500 {
		if err := tree.Add(Object{DN: fmt.Sprintf("CN=c%d,DC=fleet,DC=test", i), Attributes: []Attribute{Attr("objectClass", "computer"), Attr("objectCategory", tree.categoryDN("computer"))}}); err != nil {
			t.Fatal(err)
		}
	}
	q := query{searchRequest: searchRequest{base: "dc=fleet, dc=test", scope: scopeSubtree, filter: equal("objectCategory", "computer")}, rights: AllRights}
	if a := tree.search(&q); a.result.code != resultSizeLimitExceeded || len(a.ops) != maxPageSize {
		t.Fatalf("without pages: result %d with %d objects", a.result.code, len(a.ops))
	}
	q.paged, q.pageSize = true, 5000 // more than the server gives
	seen, pages := map[string]bool{}, 0
	for {
		a := tree.search(&q)
		if a.result.code != resultSuccess {
			t.Fatal(a.result)
		}
		pages++
		for _, op := range a.ops {
			if op[0] == opSearchEntry {
				seen[string(op)] = true
			}
		}
		if q.cookie = a.cookie; a.cookie == nil {
			break
		}
	}
	if len(seen) != 2500 || pages != 3 {
		t.Errorf("%d objects in %d pages", len(seen), pages)
	}
	q.cookie = bytes.Repeat([]byte{0}, 16)
	if a := tree.search(&q); a.result.code != resultCriticalExtension {
		t.Errorf("a cookie of another search gave %d", a.result.code)
	}
}

func TestChangesAndDeletions(t *testing.T) {
	tree := small(t)
	before := tree.usn
	if err := tree.Set("cn=ws1,ou=a,dc=fleet,dc=test", "lastLogonTimestamp", "soon"); err != nil {
		t.Fatal(err)
	}
	if got := found(t, tree, AllRights, order(filterGreater, "uSNChanged", fmt.Sprint(before+1))); len(got) != 1 || got[0] != "WS1" {
		t.Errorf("changed since: %v", got)
	}
	if err := tree.Delete("CN=WS1,OU=A,DC=fleet,DC=test"); err != nil {
		t.Fatal(err)
	}
	if got := found(t, tree, AllRights, equal("cn", "WS1")); len(got) != 0 {
		t.Errorf("after the deletion: %v", got)
	}
	q := query{searchRequest: searchRequest{base: "CN=Deleted Objects,DC=fleet,DC=test", scope: scopeOne, filter: present("objectClass")}, rights: AllRights, showDeleted: true}
	a := tree.search(&q)
	if len(a.ops) != 2 || !bytes.Contains(bytes.Join(a.ops, nil), []byte("000011")) || !bytes.Contains(a.ops[0], []byte("OU=A,DC=fleet,DC=test")) {
		t.Errorf("%d deleted objects: %q", len(a.ops), a.ops)
	}
	if err := tree.Delete("CN=nobody,DC=fleet,DC=test"); err == nil {
		t.Error("deleting what is not there succeeded")
	}
}

func TestRangeRetrieval(t *testing.T) {
	tree := NewTree("fleet.test")
	var members []string
	for i := range 3200 {
		members = append(members, fmt.Sprintf("CN=c%d,DC=fleet,DC=test", i))
	}
	if err := tree.Add(Object{DN: "DC=fleet,DC=test", Attributes: []Attribute{Attr("objectClass", "top"), Attr("member", members...)}}); err != nil {
		t.Fatal(err)
	}
	for ask, want := range map[string]string{
		"member": "member;range=0-1499 1500", "member;range=1500-*": "member;range=1500-2999 1500", "member;range=3000-*": "member;range=3000-* 200",
		"member;range=10-12": "member;range=10-12 3", "member;range=3199-9999": "member;range=3199-* 1", "member;range=5000-*": "",
	} {
		a := tree.search(&query{searchRequest: searchRequest{base: "DC=fleet,DC=test", filter: present("objectClass"), attributes: []string{ask}}})
		if got := lastAttribute(t, a.ops[0]); got != want {
			t.Errorf("%s gave %q, want %q", ask, got, want)
		}
	}
}

// lastAttribute is the name of the last attribute of an entry and how many values it has.
func lastAttribute(t *testing.T, op []byte) string {
	t.Helper()
	e, _, _ := next(op)
	_, list, _ := next(e.data)
	set, _, _ := next(list)
	parts, err := children(set.data, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(parts) == 0 {
		return ""
	}
	pair, _ := children(parts[len(parts)-1].data, 2)
	values, err := children(pair[1].data, 5000)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %d", pair[0].data, len(values))
}

// FuzzRequest feeds the server's parser; whatever parses must be answered without a panic.
func FuzzRequest(f *testing.F) {
	search := []byte("\x30\x37\x02\x01\x02\x63\x32\x04\x10dc=fleet,dc=test\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\xa3\x0c\x04\x02cn\x04\x06ws0001\x30\x00")
	f.Add(search)
	f.Add([]byte("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"))
	f.Add([]byte("\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + oidStartTLS))
	f.Add([]byte("\x30\x84\xff\xff\xff\xff"))
	f.Add([]byte("\x30\x80\x00\x00"))
	tree := small(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		defer bounded.Input(t, len(data))()
		body, err := readMessage(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		m, err := parseMessage(body)
		if err != nil {
			return
		}
		if s, err := parseSearch(m.op.data); err == nil {
			q := query{searchRequest: s, rights: AllRights}
			for _, c := range m.controls {
				_ = q.apply(c)
			}
			tree.search(&q)
		}
		(&session{server: &Server{config: Config{Tree: tree, NetBIOS: "FLEET"}}}).bind(m.op.data)
	})
}
