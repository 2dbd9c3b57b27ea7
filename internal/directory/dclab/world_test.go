package dclab_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/internal/directory"
	"github.com/fleetmend/fleetmend/internal/directory/dclab"
)

// world is what the test changes: some OUs with machines and keys, and groups, beside the machines of the seed.
type world struct {
	t      *testing.T
	l      *ldap.Conn
	rand   *rand.Rand
	serial int
	sid    string // of the reader

	units    []*unit
	machines []*machine
	groups   []*group
	done     []string // since the last sync
	counts   map[string]int
}

type unit struct {
	dn     string
	hidden bool // from the reader
}

type machine struct {
	name string // its common name, as in its DN
	at   *unit
	keys []string // common names
}

func (m *machine) dn() string { return "CN=" + m.name + "," + m.at.dn }

type group struct{ dn string }

// Common names as people give them, as they are written in a distinguished name.
var groupNames = []string{"Tills", `Tills (EU)*\, \#1`, "All Tills", "Domänen-Kassen", `Old\; tills`, `Tills \+ more`}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, l: administrator(t), rand: rand.New(rand.NewPCG(seed, 15)), counts: map[string]int{}}
	conn := lab.Dial(t, lab.Config(t, directory.SimpleLDAPS, reader, readerPW))
	me, err := conn.Get(t.Context(), "CN=bitread,CN=Users,"+dclab.BaseDN, "objectSid")
	if err != nil || me == nil {
		t.Fatal(me, err)
	}
	if w.sid, err = directory.SID(me.Bytes("objectSid")); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		w.addUnit("OU=Fleet," + dclab.BaseDN)
		for range 5 {
			w.addMachine(w.units[i])
		}
	}
	w.addUnit(w.units[0].dn) // one within another
	for _, name := range groupNames {
		w.addGroup(name)
	}
	w.done = nil
	return w
}

func (w *world) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v\nafter %s", what, err, strings.Join(w.done, "\n"))
	}
	w.done = append(w.done, what)
}

func (w *world) addUnit(parent string) {
	w.serial++
	u := &unit{dn: fmt.Sprintf(`OU=Shop %d\, old,%s`, w.serial, parent)}
	add := ldap.NewAddRequest(u.dn, nil)
	add.Attribute("objectClass", []string{"organizationalUnit"})
	w.must("add "+u.dn, w.l.Add(add))
	w.units = append(w.units, u)
}

func (w *world) addGroup(name string) {
	w.serial++
	g := &group{"CN=" + name + ",OU=Fleet," + dclab.BaseDN}
	add := ldap.NewAddRequest(g.dn, nil)
	add.Attribute("objectClass", []string{"group"})
	add.Attribute("sAMAccountName", []string{fmt.Sprintf("grp%d", w.serial)})
	w.must("add "+g.dn, w.l.Add(add))
	w.groups = append(w.groups, g)
}

func (w *world) addMachine(u *unit) {
	w.serial++
	m := &machine{name: fmt.Sprintf("P%05d", w.serial), at: u}
	add := ldap.NewAddRequest(m.dn(), nil)
	add.Attribute("objectClass", []string{"computer"})
	add.Attribute("sAMAccountName", []string{m.name + "$"})
	add.Attribute("userAccountControl", []string{"4096"})
	add.Attribute("operatingSystem", []string{[]string{"Windows 10 Enterprise", "Windows 11 Enterprise", "Ubuntu"}[w.rand.IntN(3)]})
	w.must("add "+m.dn(), w.l.Add(add))
	w.machines = append(w.machines, m)
	w.addKey(m)
}

func (w *world) addKey(m *machine) {
	w.serial++
	id, err := bitlocker.ParseKeyID(fmt.Sprintf("%08X-1F2E-4D3C-9B8A-0123456789AB", w.serial))
	if err != nil {
		w.t.Fatal(err)
	}
	raw, _ := id.GUID()
	cn := fmt.Sprintf("2024-07-19T04:09:00-00:00{%s}", id)
	add := ldap.NewAddRequest("CN="+cn+","+m.dn(), nil)
	add.Attribute("objectClass", []string{"msFVE-RecoveryInformation"})
	add.Attribute("msFVE-RecoveryGuid", []string{string(raw[:])})
	add.Attribute("msFVE-RecoveryPassword", []string{"000011-000022-000033-000044-000055-000066-000077-000088"})
	w.must("add key "+cn+" to "+m.name, w.l.Add(add))
	m.keys = append(m.keys, cn)
}

// change does n things at random.
func (w *world) change(n int) {
	w.t.Helper()
	w.done = nil
	for range n {
		m, u, g := pick(w, w.machines), pick(w, w.units), pick(w, w.groups)
		switch what := []string{"delete", "rename", "move", "join", "leave", "nest", "unnest", "rename OU", "move OU", "rename group", "add", "add key", "delete key",
			"disable", "enable", "install", "revoke", "grant", "give its name to another"}[w.rand.IntN(19)]; what {
		case "delete":
			w.counts[what]++
			w.remove(m)
		case "rename":
			w.counts[what]++
			w.rename(m)
		case "move":
			w.counts[what]++
			to := m.at
			for to == m.at {
				to = pick(w, w.units)
			}
			w.must("move "+m.dn()+" to "+to.dn, w.l.ModifyDN(ldap.NewModifyDNRequest(m.dn(), "CN="+m.name, true, to.dn)))
			m.at = to
		case "join":
			w.member(what, true, g, m.dn())
		case "nest": // cycles come about by themselves
			if inner := pick(w, w.groups); inner != g {
				w.member(what, true, g, inner.dn)
			}
		case "leave", "unnest":
			w.leave(what)
		case "rename OU":
			w.counts[what]++
			w.serial++
			w.moveUnit(u, fmt.Sprintf(`OU=Place %d\, (new)`, w.serial), parent(u.dn))
		case "move OU":
			if to := pick(w, w.units); !strings.HasSuffix(","+to.dn, ","+u.dn) && parent(u.dn) != to.dn {
				w.counts[what]++
				w.moveUnit(u, strings.TrimSuffix(u.dn, ","+parent(u.dn)), to.dn)
			}
		case "rename group":
			w.counts[what]++
			w.serial++
			cn := fmt.Sprintf(`CN=%s %d`, pick(w, groupNames), w.serial)
			w.must("rename "+g.dn+" to "+cn, w.l.ModifyDN(ldap.NewModifyDNRequest(g.dn, cn, true, "")))
			g.dn = cn + "," + parent(g.dn)
		case "add":
			w.counts[what]++
			w.addMachine(u)
		case "add key":
			w.counts[what]++
			w.addKey(m)
		case "delete key":
			if len(m.keys) > 0 {
				w.counts[what]++
				w.must("delete key "+m.keys[0]+" of "+m.name, w.l.Del(ldap.NewDelRequest("CN="+m.keys[0]+","+m.dn(), nil)))
				m.keys = m.keys[1:]
			}
		case "disable":
			w.set(what, m, "userAccountControl", "4098")
		case "enable":
			w.set(what, m, "userAccountControl", "4096")
		case "install":
			w.set(what, m, "operatingSystem", pick(w, []string{"Windows 12 Enterprise", "Windows 10 IoT Enterprise", "Ubuntu"}))
		case "revoke", "grant":
			w.permit(what, u)
		case "give its name to another": // the new one stands where the old one was, with another GUID
			w.counts[what]++
			old := *m
			w.rename(m)
			w.addMachine(m.at)
			fresh := w.machines[len(w.machines)-1]
			w.must("rename "+fresh.name+" to "+old.name, w.l.ModifyDN(ldap.NewModifyDNRequest(fresh.dn(), "CN="+old.name, true, "")))
			fresh.name = old.name
		}
	}
	if len(w.done) == 0 {
		w.rename(pick(w, w.machines))
	}
}

func pick[T any](w *world, from []T) T { return from[w.rand.IntN(len(from))] }

func (w *world) remove(m *machine) {
	w.must("delete "+m.dn(), w.l.Del(ldap.NewDelRequest(m.dn(), []ldap.Control{ldap.NewControlSubtreeDelete()})))
	w.machines = slices.DeleteFunc(w.machines, func(o *machine) bool { return o == m })
	if len(w.machines) < 20 {
		w.addMachine(pick(w, w.units))
	}
}

// rename gives the object another name; the account's follows half the time, as it does when Windows does it.
func (w *world) rename(m *machine) {
	w.serial++
	name := fmt.Sprintf("N%05d", w.serial)
	w.must("rename "+m.dn()+" to "+name, w.l.ModifyDN(ldap.NewModifyDNRequest(m.dn(), "CN="+name, true, "")))
	m.name = name
	if w.rand.IntN(2) == 0 {
		w.set("rename the account", m, "sAMAccountName", name+"$")
	}
}

func (w *world) set(what string, m *machine, attribute, value string) {
	w.counts[what]++
	change := ldap.NewModifyRequest(m.dn(), nil)
	change.Replace(attribute, []string{value})
	w.must("set "+attribute+" of "+m.dn()+" to "+value, w.l.Modify(change))
}

func (w *world) member(what string, in bool, g *group, dn string) {
	change := ldap.NewModifyRequest(g.dn, nil)
	if in {
		change.Add("member", []string{dn})
	} else {
		change.Delete("member", []string{dn})
	}
	err := w.l.Modify(change)
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultEntryAlreadyExists, ldap.LDAPResultAttributeOrValueExists, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultNoSuchAttribute) {
		return // it was so already
	}
	w.counts[what]++
	w.must(fmt.Sprintf("%s %s in %s", what, dn, g.dn), err)
}

// leave takes a computer, or a group, out of a group that it is in.
func (w *world) leave(what string) {
	filter := map[string]string{"leave": "(&(objectCategory=computer)(memberOf=*))", "unnest": "(&(objectCategory=group)(memberOf=*)(sAMAccountName=grp*))"}[what]
	found, err := w.l.Search(ldap.NewSearchRequest(dclab.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, []string{"memberOf"}, nil))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(found.Entries) > 0 {
		e := pick(w, found.Entries)
		w.member(what, false, &group{pick(w, e.GetAttributeValues("memberOf"))}, e.DN)
	}
}

func (w *world) moveUnit(u *unit, rdn, to string) {
	old := u.dn
	w.must("move "+old+" to "+rdn+","+to, w.l.ModifyDN(ldap.NewModifyDNRequest(old, rdn, true, to)))
	for _, o := range w.units {
		if o == u || strings.HasSuffix(o.dn, ","+old) {
			o.dn = strings.TrimSuffix(o.dn, old) + rdn + "," + to
		}
	}
}

// permit hides an OU's contents from the reader, or shows them again, without a change of any computer.
func (w *world) permit(what string, u *unit) {
	if u.hidden == (what == "revoke") {
		return
	}
	w.counts[what]++
	err := w.changeACL(u.dn, what == "revoke")
	w.must(what+" the listing of "+u.dn, err)
	u.hidden = what == "revoke"
}

// changeACL puts an entry in front of an object's list that denies the reader, and inherits to all containers, to list what
// lies within (MS-DTYP 2.4.4.4, MS-ADTS 5.1.3.2), or takes it out again.
func (w *world) changeACL(dn string, deny bool) error {
	sid, err := sidBytes(w.sid)
	if err != nil {
		return err
	}
	entry := append([]byte{1, 2, byte(8 + len(sid)), 0, 4, 0, 0, 0}, sid...)
	flags := ldap.NewControlString("1.2.840.113556.1.4.801", true, "\x30\x03\x02\x01\x04") // the list alone
	found, err := w.l.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"nTSecurityDescriptor"}, []ldap.Control{flags}))
	if err != nil {
		return err
	}
	sd := found.Entries[0].GetRawAttributeValue("nTSecurityDescriptor")
	at := binary.LittleEndian.Uint32(sd[16:])
	acl := sd[at:]
	size, count := binary.LittleEndian.Uint16(acl[2:]), binary.LittleEndian.Uint16(acl[4:])
	if deny {
		acl = slices.Concat(acl[:8], entry, acl[8:])
		size, count = size+uint16(len(entry)), count+1
	} else {
		i := bytes.Index(acl, entry)
		if i < 0 {
			return errors.New("the entry is not there any more")
		}
		acl = slices.Concat(acl[:i], acl[i+len(entry):])
		size, count = size-uint16(len(entry)), count-1
	}
	binary.LittleEndian.PutUint16(acl[2:], size)
	binary.LittleEndian.PutUint16(acl[4:], count)
	change := ldap.NewModifyRequest(dn, []ldap.Control{flags})
	change.Replace("nTSecurityDescriptor", []string{string(slices.Concat(sd[:at], acl))})
	return w.l.Modify(change)
}

func sidBytes(text string) ([]byte, error) {
	var n [8]uint64
	var count int
	for i, part := range strings.Split(text, "-")[3:] { // after S-1-5
		v, err := strconv.ParseUint(part, 10, 32)
		if err != nil || i == len(n) {
			return nil, fmt.Errorf("%q is no SID", text)
		}
		n[i], count = v, i+1
	}
	out := []byte{1, byte(count), 0, 0, 0, 0, 0, 5}
	for _, v := range n[:count] {
		out = binary.LittleEndian.AppendUint32(out, uint32(v))
	}
	return out, nil
}
