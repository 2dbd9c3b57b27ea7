package directory

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Tree is the contents of a directory. It is safe for concurrent use; searches run beside each other.
type Tree struct {
	domain string // DN of the domain
	dns    string

	mu      sync.RWMutex
	entries []*entry
	byDN    map[string]int
	usn     int64

	indexing sync.Mutex // guards indexes while mu is held for reading
	indexes  map[attributeID]map[string][]int
	members  map[string][]string // group -> members, both normalised
}

// NewTree makes an empty directory of the domain with that DNS name. The first USN it gives is 12,289, as on a young DC.
func NewTree(dns string) *Tree {
	dns = strings.ToLower(dns)
	return &Tree{domain: DomainDN(dns), dns: dns, byDN: map[string]int{}, usn: 12288, indexes: map[attributeID]map[string][]int{}}
}

// DomainDN is the distinguished name of a domain: DC=fleet,DC=test for fleet.test.
func DomainDN(dns string) string {
	return "DC=" + strings.ReplaceAll(strings.ToLower(dns), ".", ",DC=")
}

func (t *Tree) configuration() string { return "CN=Configuration," + t.domain }
func (t *Tree) schemaDN() string      { return "CN=Schema," + t.configuration() }

// deletedObjects is the container of what was deleted.
func (t *Tree) deletedObjects() string { return "CN=Deleted Objects," + t.domain }

// categoryDN is the value of objectCategory for a class.
func (t *Tree) categoryDN(class string) string {
	if name, ok := categories[strings.ToLower(class)]; ok {
		class = name
	}
	return "CN=" + class + "," + t.schemaDN()
}

// categories are the classes whose objectCategory is not called as they are.
var categories = map[string]string{
	"user": "Person", "person": "Person", "computer": "Computer", "group": "Group", "organizationalunit": "Organizational-Unit",
	"msfve-recoveryinformation": "ms-FVE-RecoveryInformation", "msds-groupmanagedserviceaccount": "ms-DS-Group-Managed-Service-Account", "msds-managedserviceaccount": "ms-DS-Managed-Service-Account",
	"domaindns": "Domain-DNS", "crossref": "Cross-Ref", "attributeschema": "Attribute-Schema",
}

// Add puts objects in.
func (t *Tree) Add(objects ...Object) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range objects {
		if err := t.addLocked(o); err != nil {
			return err
		}
	}
	t.forgetLocked()
	return nil
}

// forgetLocked drops what was derived from the contents.
func (t *Tree) forgetLocked() {
	clear(t.indexes)
	t.members = nil
}

func (t *Tree) addLocked(o Object) error {
	t.usn++
	e, err := newEntry(t.complete(o))
	if err != nil {
		return err
	}
	if _, twice := t.byDN[e.key]; twice {
		return fmt.Errorf("add %s: it exists already", o.DN)
	}
	t.byDN[e.key] = len(t.entries)
	t.entries = append(t.entries, e)
	return nil
}

// complete adds what every object has.
func (t *Tree) complete(o Object) Object {
	rdn := splitDN(o.DN)[0]
	_, name, _ := strings.Cut(rdn, "=")
	usn := strconv.FormatInt(t.usn, 10)
	o.Attributes = slices.Clone(o.Attributes)
	for _, a := range []Attribute{Attr("distinguishedName", o.DN), Attr("name", strings.ReplaceAll(name, `\0A`, "\n")), Attr("instanceType", "4"), Attr("uSNCreated", usn), Attr("uSNChanged", usn)} {
		if !slices.ContainsFunc(o.Attributes, func(b Attribute) bool { return strings.EqualFold(a.Name, b.Name) }) {
			o.Attributes = append(o.Attributes, a)
		}
	}
	return o
}

var errNoObject = errors.New("no such object")

// Set replaces the values of an attribute (none: it is removed), with a new USN and time of change, as a write would.
// It takes any value, also one that AD would not.
func (t *Tree) Set(dn, attribute string, values ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.byDN[normalDN(dn)]
	if !ok {
		return fmt.Errorf("set %s of %s: %w", attribute, dn, errNoObject)
	}
	t.usn++
	o := t.entries[at].object()
	put(&o, attribute, values...)
	put(&o, "uSNChanged", strconv.FormatInt(t.usn, 10))
	put(&o, "whenChanged", Time(time.Now()))
	e, err := newEntry(o)
	if err != nil {
		return err
	}
	t.entries[at] = e
	if id := mustAttribute(attribute); id == attrMember || id == attrMemberOf {
		t.members = nil
	} else {
		delete(t.indexes, id) // the object keeps its place in the others
	}
	return nil
}

func put(o *Object, name string, values ...string) {
	o.Attributes = slices.DeleteFunc(o.Attributes, func(a Attribute) bool { return strings.EqualFold(a.Name, name) })
	if len(values) > 0 {
		o.Attributes = append(o.Attributes, Attr(name, values...))
	}
}

// Delete moves an object and everything below it to the deleted objects, as AD's recycle bin keeps them: with
// lastKnownParent, a name that nothing else can have, and still with their confidential attributes.
func (t *Tree) Delete(dn string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := normalDN(dn)
	if _, ok := t.byDN[key]; !ok {
		return fmt.Errorf("delete %s: %w", dn, errNoObject)
	}
	for at := range t.entries { // what is appended below is deleted already
		e := t.entries[at]
		if e.void || e.deleted || !within(e.key, key) {
			continue
		}
		o := e.object()
		e.void = true
		delete(t.byDN, e.key)
		if err := t.addLocked(t.buried(o)); err != nil {
			return err
		}
	}
	t.forgetLocked()
	return nil
}

// buried is an object as it is among the deleted ones.
func (t *Tree) buried(o Object) Object {
	parent, rdn := parentDN(o.DN), splitDN(o.DN)[0]
	guid := ""
	for _, a := range o.Attributes {
		if a.Name == "objectGUID" && len(a.Values) == 1 {
			guid = guidText([]byte(a.Values[0]))
		}
	}
	put(&o, "isDeleted", "TRUE")
	put(&o, "lastKnownParent", parent)
	for _, name := range []string{"distinguishedName", "name", "objectCategory", "uSNChanged", "whenChanged"} {
		put(&o, name)
	}
	put(&o, "whenChanged", Time(time.Now()))
	o.DN, o.Deleted = rdn+`\0ADEL:`+guid+","+t.deletedObjects(), true
	return o
}

// guidText is a GUID as it is written; its first three fields are little-endian (MS-DTYP section 2.3.4.2).
func guidText(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8:10], b[10:])
}

// Time is a point in time as the directory writes it: GeneralizedTime.
func Time(at time.Time) string { return at.UTC().Format("20060102150405") + ".0Z" }

// FileTime is a point in time as the directory writes large integers: 100 ns since 1601.
func FileTime(at time.Time) string {
	const epoch = 11644473600 // seconds from 1601 to 1970
	return strconv.FormatInt((at.Unix()+epoch)*10_000_000+int64(at.Nanosecond())/100, 10)
}

// Len is how many objects there are, the deleted ones among them.
func (t *Tree) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byDN)
}

// index returns where the objects with each value of an attribute are; t.mu is held for reading.
func (t *Tree) index(id attributeID) map[string][]int {
	t.indexing.Lock()
	defer t.indexing.Unlock()
	if index, ok := t.indexes[id]; ok {
		return index
	}
	index := map[string][]int{}
	for i, e := range t.entries {
		if e.void {
			continue
		}
		e.has(id, func(v []byte) bool {
			k := indexKey(id, v)
			index[k] = append(index[k], i)
			return false
		})
	}
	t.indexes[id] = index
	return index
}

func indexKey(id attributeID, v []byte) string {
	if s := schema[id].syntax; s == octetSyntax || s == sidSyntax {
		return string(v)
	}
	return strings.ToLower(string(v))
}

// candidates returns the places of all objects that can match, in order, or all = true for every object.
func (t *Tree) candidates(c *test) (places []int, all bool) {
	switch c.op {
	case filterEqual:
		if c.known && schema[c.attr].indexed {
			return t.index(c.attr)[indexKey(c.attr, c.value)], false
		}
	case filterAnd:
		best, all := []int(nil), true
		for i := range c.subs {
			if p, every := t.candidates(&c.subs[i]); !every && (all || len(p) < len(best)) {
				best, all = p, false
			}
		}
		return best, all
	case filterOr:
		var union []int
		for i := range c.subs {
			p, every := t.candidates(&c.subs[i])
			if every {
				return nil, true
			}
			union = append(union, p...)
		}
		slices.Sort(union)
		return slices.Compact(union), false
	}
	return nil, true
}

// chain returns every name that the rule in chain reaches from dn: for memberOf all groups that lie inside dn and dn
// itself, for member everything that dn is in. It ends with cyclic groups as well.
func (t *Tree) chain(id attributeID, dn string) map[string]bool {
	reached := map[string]bool{dn: true}
	if id != attrMember && id != attrMemberOf {
		return reached
	}
	members := t.membership()
	if id == attrMemberOf {
		for todo := []string{dn}; len(todo) > 0; {
			group := todo[0]
			todo = todo[1:]
			for _, m := range members[group] {
				if _, isGroup := members[m]; isGroup && !reached[m] {
					reached[m] = true
					todo = append(todo, m)
				}
			}
		}
		return reached
	}
	for grown := true; grown; {
		grown = false
		for group, list := range members {
			if !reached[group] && slices.ContainsFunc(list, func(m string) bool { return reached[m] }) {
				reached[group], grown = true, true
			}
		}
	}
	return reached
}

// membership returns the members of each group; t.mu is held for reading.
func (t *Tree) membership() map[string][]string {
	t.indexing.Lock()
	defer t.indexing.Unlock()
	if t.members == nil {
		t.members = map[string][]string{}
		for _, e := range t.entries {
			if _, ok := e.find(attrMember); !ok || e.void {
				continue
			}
			for _, v := range e.values(attrMember) {
				t.members[e.key] = append(t.members[e.key], normalDN(v))
			}
		}
	}
	return t.members
}

// GUID is the text of a GUID in the byte order of the directory.
func GUID(b [16]byte) string { return guidText(b[:]) }

// SettingsDN is the name of the NTDS Settings object of a domain controller, which holds its invocationId.
func (t *Tree) SettingsDN(host, site string) string {
	name, _, _ := strings.Cut(host, ".")
	return "CN=NTDS Settings," + "CN=" + strings.ToUpper(name) + ",CN=Servers,CN=" + site + ",CN=Sites," + t.configuration()
}
