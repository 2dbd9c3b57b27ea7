package directory

import (
	"fmt"
	"strings"
)

// Rights are what an account may see. Every account may see the structure: domain, units, groups, configuration.
type Rights uint8

// The rights.
const (
	ListMachines Rights = 1 << iota // computer objects
	ListKeys                        // recovery information below them
	ReadKeys                        // recovery passwords and key packages (control access)
	ReadLAPS                        // passwords of local administrators (control access)

	AllRights = ListMachines | ListKeys | ReadKeys | ReadLAPS
)

// Object is something to put into a [Tree].
type Object struct {
	DN         string
	Attributes []Attribute // objectClass last class first; distinguishedName, name and the USNs are added
	Deleted    bool        // shown only with the show-deleted control
}

// Attribute is an attribute with its values.
type Attribute struct {
	Name   string
	Values []string
}

// Attr is shorthand for an [Attribute].
func Attr(name string, values ...string) Attribute { return Attribute{name, values} }

type entryKind uint8

const (
	structure entryKind = iota
	machine
	recoveryKey
	policies // of single accounts, which administrators alone may see
)

// entry is an object in the form it is sent in: its attributes are encoded once, and an answer is put together from
// pieces of that.
type entry struct {
	dn, key string // as it is written, and normalised
	blob    []byte // PartialAttributes, one behind the other
	attrs   []span
	kind    entryKind
	deleted bool
	void    bool // was replaced or removed; keeps its place so that the others keep theirs
}

// span is where an attribute lies in the blob; its values begin at values.
type span struct {
	id              attributeID
	at, values, end uint32
}

func newEntry(o Object) (*entry, error) {
	e := &entry{dn: o.DN, key: normalDN(o.DN), deleted: o.Deleted, attrs: make([]span, 0, len(o.Attributes))}
	var set []byte
	size := 0
	for _, a := range o.Attributes {
		size += len(a.Name) + 12
		for _, v := range a.Values {
			size += len(v) + headSize(len(v))
		}
	}
	e.blob = make([]byte, 0, size)
	for _, a := range o.Attributes {
		if len(a.Values) == 0 {
			continue
		}
		id, ok := attributeByName[strings.ToLower(a.Name)]
		if !ok {
			return nil, fmt.Errorf("add %s: attribute %q is not in the schema", o.DN, a.Name)
		}
		set = set[:0]
		for _, v := range a.Values {
			set = appendOctets(set, tagOctets, v)
		}
		at := len(e.blob)
		e.blob = appendAttribute(e.blob, schema[id].name, set)
		e.attrs = append(e.attrs, span{id, uint32(at), uint32(len(e.blob) - len(set)), uint32(len(e.blob))})
		if strings.EqualFold(a.Name, "objectClass") {
			e.kind = kindOf(a.Values)
		}
	}
	return e, nil
}

func kindOf(classes []string) entryKind {
	for _, c := range classes {
		switch strings.ToLower(c) {
		case "computer":
			return machine
		case "msfve-recoveryinformation":
			return recoveryKey
		case "msds-passwordsettingscontainer", "msds-passwordsettings":
			return policies
		}
	}
	return structure
}

// appendAttribute appends a PartialAttribute whose values are encoded already.
func appendAttribute(dst []byte, name string, set []byte) []byte {
	inner := headSize(len(name)) + len(name) + headSize(len(set)) + len(set)
	dst = appendHead(dst, tagSequence, inner)
	dst = appendOctets(dst, tagOctets, name)
	return append(appendHead(dst, tagSet, len(set)), set...)
}

func (e *entry) find(id attributeID) (span, bool) {
	for _, s := range e.attrs {
		if s.id == id {
			return s, true
		}
	}
	return span{}, false
}

// has reports whether a value of the attribute fits.
func (e *entry) has(id attributeID, fits func([]byte) bool) bool {
	s, ok := e.find(id)
	if !ok {
		return false
	}
	for b := e.blob[s.values:s.end]; len(b) > 0; {
		v, rest, err := next(b)
		if err != nil {
			return false
		}
		if fits(v.data) {
			return true
		}
		b = rest
	}
	return false
}

// values returns the values of an attribute.
func (e *entry) values(id attributeID) []string {
	var out []string
	e.has(id, func(v []byte) bool { out = append(out, string(v)); return false })
	return out
}

// visible reports whether the object exists for somebody with these rights.
func (e *entry) visible(rights Rights) bool {
	switch e.kind {
	case machine:
		return rights&ListMachines != 0
	case recoveryKey:
		return rights&ListKeys != 0
	case policies:
		return rights == AllRights
	}
	return true
}

// readable reports whether the attribute exists for somebody with these rights.
func (e *entry) readable(id attributeID, rights Rights) bool {
	if !schema[id].confidential {
		return true
	}
	if e.kind == recoveryKey {
		return rights&ReadKeys != 0
	}
	return rights&ReadLAPS != 0
}

// object is the opposite of newEntry.
func (e *entry) object() Object {
	o := Object{DN: e.dn, Deleted: e.deleted}
	for _, s := range e.attrs {
		o.Attributes = append(o.Attributes, Attribute{schema[s.id].name, e.values(s.id)})
	}
	return o
}
