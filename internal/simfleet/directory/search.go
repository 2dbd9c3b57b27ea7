package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// The limits of AD's default query policy (MS-ADTS section 3.1.1.3.4.6).
const (
	maxPageSize = 1000
	maxValues   = 1500 // of one attribute in one answer
)

// query is a search with its controls.
type query struct {
	searchRequest
	rights      Rights
	showDeleted bool
	noReferrals bool
	paged       bool
	pageSize    int
	cookie      []byte
}

// answer is what a search found, encoded.
type answer struct {
	result result
	ops    [][]byte // SearchResultEntry and SearchResultReference, each with its tag
	cookie []byte   // where the next page begins; nil after the last
}

// selection is one attribute to return.
type selection struct {
	id       attributeID
	from, to int // of the values; to is -1 for "as many as there are"
	ranged   bool
}

// Search answers a query on anything but the root.
func (t *Tree) search(q *query) answer {
	t.mu.RLock()
	defer t.mu.RUnlock()
	base := normalDN(q.base)
	if r, ok := t.checkBase(q, base); !ok {
		return answer{result: r}
	}
	start, err := q.start(base)
	if err != nil {
		return answer{result: result{code: resultCriticalExtension, text: "00000057: LdapErr: DSID-0C0907C3, comment: Error processing control, data 0, v4f7c"}}
	}
	chosen, all := selected(q.attributes)
	limit := maxPageSize
	if q.paged {
		limit = min(max(q.pageSize, 0), maxPageSize)
	}
	bounded := q.sizeLimit > 0 && q.sizeLimit <= limit
	if bounded {
		limit = q.sizeLimit
	}
	var a answer
	filter := t.compile(q.filter)
	full := false
	t.scan(q, base, &filter, start, func(place int, e *entry) bool {
		if len(a.ops) == limit {
			full = true
			if q.paged && !bounded {
				a.cookie = q.cookieFor(base, place)
			}
			return false
		}
		a.ops = append(a.ops, e.encode(q.rights, chosen, all, q.typesOnly))
		return true
	})
	if full && (!q.paged || bounded) {
		a.result.code = resultSizeLimitExceeded
	}
	if !full && !q.noReferrals && q.scope == scopeSubtree && base == normalDN(t.domain) {
		a.ops = append(a.ops, t.references()...)
	}
	return a
}

// scan calls found for every object that matches, from a place on, until it returns false.
func (t *Tree) scan(q *query, base string, filter *test, start int, found func(int, *entry) bool) {
	one := func(i int) bool {
		e := t.entries[i]
		if e.void || e.deleted && !q.showDeleted || !within(e.key, base) || !e.visible(q.rights) {
			return true
		}
		if q.scope == scopeOne && (e.key == base || parentDN(e.key) != base) {
			return true
		}
		if filter.match(e, q.rights) != yes {
			return true
		}
		return found(i, e)
	}
	if q.scope == scopeBase {
		if i := t.byDN[base]; i >= start {
			one(i)
		}
		return
	}
	places, all := t.candidates(filter)
	if all {
		for i := start; i < len(t.entries); i++ {
			if !one(i) {
				return
			}
		}
		return
	}
	for _, i := range places[sort.SearchInts(places, start):] {
		if !one(i) {
			return
		}
	}
}

// checkBase says why a search base will not do.
func (t *Tree) checkBase(q *query, base string) (result, bool) {
	if at, ok := t.byDN[base]; ok && t.entries[at].visible(q.rights) && (!t.entries[at].deleted || q.showDeleted) {
		return result{}, true
	}
	if base == "" || !strings.Contains(splitDN(base)[0], "=") {
		return result{code: resultInvalidDNSyntax, text: "0000208F: NameErr: DSID-03100225, problem 2006 (BAD_NAME), data 8350, best match of:\n\t'" + q.base + "'\n"}, false
	}
	if !within(base, normalDN(t.domain)) {
		return result{
			code: resultReferral, text: "0000202B: RefErr: DSID-0310084A, data 0, 1 access points\n\tref 1: '" + domainOf(base) + "'\n",
			referrals: []string{"ldap://" + domainOf(base) + "/" + q.base},
		}, false
	}
	matched := t.domain
	for dn := parentDN(q.base); dn != ""; dn = parentDN(dn) {
		if at, ok := t.byDN[normalDN(dn)]; ok && t.entries[at].visible(q.rights) {
			matched = t.entries[at].dn
			break
		}
	}
	return result{code: resultNoSuchObject, matched: matched, text: "0000208D: NameErr: DSID-0310028B, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'" + matched + "'\n"}, false
}

func domainOf(dn string) string {
	var labels []string
	for _, part := range splitDN(dn) {
		if label, ok := strings.CutPrefix(strings.TrimSpace(part), "dc="); ok {
			labels = append(labels, label)
		}
	}
	if len(labels) == 0 {
		return strings.ReplaceAll(dn, "=", ".")
	}
	return strings.Join(labels, ".")
}

// references are the continuation references of a search over the whole domain: its other partitions.
func (t *Tree) references() [][]byte {
	var out [][]byte
	for _, url := range []string{
		"ldap://ForestDnsZones." + t.dns + "/DC=ForestDnsZones," + t.domain,
		"ldap://DomainDnsZones." + t.dns + "/DC=DomainDnsZones," + t.domain,
		"ldap://" + t.dns + "/" + t.configuration(),
	} {
		out = append(out, wrap(opSearchReference, appendOctets(nil, tagOctets, url)))
	}
	return out
}

// A cookie is a place in the directory and a sum over the search it belongs to, so that it cannot be used for another.
func (q *query) cookieFor(base string, place int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(place)), q.sum(base)...)
}

func (q *query) sum(base string) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %q", base, q.scope, q.rights, q.rawFilter)
	return h.Sum(nil)[:12]
}

func (q *query) start(base string) (int, error) {
	if len(q.cookie) == 0 {
		return 0, nil
	}
	if len(q.cookie) != 16 || string(q.cookie[4:]) != string(q.sum(base)) {
		return 0, fmt.Errorf("cookie of another search")
	}
	return int(binary.BigEndian.Uint32(q.cookie) & 0x7fffffff), nil
}

// selected reads the list of attributes; all stands for every ordinary one.
func selected(names []string) (chosen []selection, all bool) {
	all = len(names) == 0
	for _, name := range names {
		switch name {
		case "*":
			all = true
			continue
		case "1.1", "+":
			continue
		}
		name, option, _ := strings.Cut(strings.ToLower(name), ";")
		id, ok := attributeByName[name]
		if !ok {
			continue
		}
		s := selection{id: id, to: -1}
		if bounds, ok := strings.CutPrefix(option, "range="); ok {
			from, to, _ := strings.Cut(bounds, "-")
			low, err := strconv.Atoi(from)
			if err != nil || low < 0 {
				continue
			}
			s.from, s.ranged = low, true
			if to != "*" {
				if s.to, err = strconv.Atoi(to); err != nil || s.to < low {
					continue
				}
			}
		}
		chosen = append(chosen, s)
	}
	return chosen, all
}

// encode makes the SearchResultEntry.
func (e *entry) encode(rights Rights, chosen []selection, all, typesOnly bool) []byte {
	attributes := make([]byte, 0, 512)
	if all {
		for _, s := range e.attrs {
			attributes = e.appendSpan(attributes, s, selection{id: s.id, to: -1}, rights, typesOnly)
		}
	} else {
		for _, c := range chosen {
			if s, ok := e.find(c.id); ok {
				attributes = e.appendSpan(attributes, s, c, rights, typesOnly)
			}
		}
	}
	inner := headSize(len(e.dn)) + len(e.dn) + headSize(len(attributes)) + len(attributes)
	out := appendHead(make([]byte, 0, inner+6), opSearchEntry, inner)
	out = appendOctets(out, tagOctets, e.dn)
	out = appendHead(out, tagSequence, len(attributes))
	return append(out, attributes...)
}

func (e *entry) appendSpan(dst []byte, s span, c selection, rights Rights, typesOnly bool) []byte {
	if !e.readable(s.id, rights) {
		return dst
	}
	if typesOnly {
		return appendAttribute(dst, schema[s.id].name, nil)
	}
	if !c.ranged && (s.id != attrMember || s.end-s.values <= maxValues*20) {
		return append(dst, e.blob[s.at:s.end]...)
	}
	return e.appendRange(dst, s, c)
}

// appendRange is range retrieval (MS-ADTS section 3.1.1.3.1.3.3): a piece of the values, and in the name which piece.
func (e *entry) appendRange(dst []byte, s span, c selection) []byte {
	set := e.blob[s.values:s.end]
	total, from, to := 0, -1, len(set)
	last := c.from + maxValues - 1
	if c.to >= 0 {
		last = min(last, c.to)
	}
	for at := 0; at < len(set); total++ {
		if total == c.from {
			from = at
		}
		if total == last+1 {
			to = at
		}
		_, rest, err := next(set[at:])
		if err != nil {
			return dst
		}
		at = len(set) - len(rest)
	}
	name := schema[s.id].name
	switch {
	case from < 0:
		return dst
	case !c.ranged && total <= maxValues:
		return append(dst, e.blob[s.at:s.end]...)
	case last >= total-1:
		name += ";range=" + strconv.Itoa(c.from) + "-*"
	default:
		name += ";range=" + strconv.Itoa(c.from) + "-" + strconv.Itoa(last)
	}
	if !c.ranged { // AD says by an empty attribute of the plain name that there are more
		dst = appendAttribute(dst, schema[s.id].name, nil)
	}
	return appendAttribute(dst, name, set[from:to])
}
