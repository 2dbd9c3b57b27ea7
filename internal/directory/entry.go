package directory

import (
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Entry is one object. Its attribute names are compared without regard to case.
type Entry struct {
	DN   string
	attr []*ldap.EntryAttribute
}

// NewEntry makes an entry, for tests of callers.
func NewEntry(dn string, attributes map[string][]string) *Entry {
	return &Entry{dn, ldap.NewEntry(dn, attributes).Attributes}
}

// Values gives the values of an attribute as they came; nil where it is absent or not readable.
func (e *Entry) Values(name string) [][]byte {
	for _, a := range e.attr { // as it was asked for, in nearly every answer
		if a.Name == name {
			return a.ByteValues
		}
	}
	for _, a := range e.attr {
		if strings.EqualFold(a.Name, name) {
			return a.ByteValues
		}
	}
	return nil
}

// Texts gives the values of an attribute as text.
func (e *Entry) Texts(name string) []string {
	var out []string
	for _, v := range e.Values(name) {
		out = append(out, string(v))
	}
	return out
}

// Text gives the first value of an attribute, empty where there is none.
func (e *Entry) Text(name string) string {
	if v := e.Values(name); len(v) > 0 {
		return string(v[0])
	}
	return ""
}

// Bytes gives the first value of an attribute, nil where there is none.
func (e *Entry) Bytes(name string) []byte {
	if v := e.Values(name); len(v) > 0 {
		return v[0]
	}
	return nil
}

// Partial reports whether the entry holds a range of the values of an attribute only.
func (e *Entry) Partial(attribute string) bool {
	_, _, done := ranged(e, attribute)
	return !done
}

// ranged finds attribute or attribute;range=low-high in e. done: these were the last values.
func ranged(e *Entry, attribute string) (values [][]byte, last int, done bool) {
	for _, a := range e.attr {
		name, option, found := strings.Cut(a.Name, ";")
		if !strings.EqualFold(name, attribute) {
			continue
		}
		if !found && len(a.ByteValues) == 0 {
			continue // beside the ranged name AD gives the plain one, empty
		}
		span, ok := strings.CutPrefix(strings.ToLower(option), "range=")
		if !ok {
			return a.ByteValues, 0, true
		}
		_, high, _ := strings.Cut(span, "-")
		n, err := strconv.Atoi(high)
		return a.ByteValues, n, high == "*" || err != nil
	}
	return nil, 0, true
}
