package directory

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Tags of a Filter (RFC 4511 section 4.5.1.7).
const (
	filterAnd        = 0xa0
	filterOr         = 0xa1
	filterNot        = 0xa2
	filterEqual      = 0xa3
	filterSubstrings = 0xa4
	filterGreater    = 0xa5
	filterLess       = 0xa6
	filterPresent    = 0x87
	filterApprox     = 0xa8
	filterExtensible = 0xa9
)

// Matching rules of AD (MS-ADTS section 3.1.1.3.4.4).
const (
	ruleBitAnd = "1.2.840.113556.1.4.803"
	ruleBitOr  = "1.2.840.113556.1.4.804"
	ruleChain  = "1.2.840.113556.1.4.1941"
)

const (
	maxFilterDepth = 40
	maxFilterParts = 2000
)

// node is a filter as it was sent.
type node struct {
	op    byte
	subs  []node
	attr  string
	rule  string
	value []byte
	parts [3][][]byte // substrings: initial, any, final
}

func parseFilter(e element, depth int) (node, error) {
	if depth > maxFilterDepth {
		return node{}, fmt.Errorf("%w: filter is nested too deeply", errBER)
	}
	n := node{op: e.tag}
	switch e.tag {
	case filterAnd, filterOr, filterNot:
		return parseCombination(n, e, depth)
	case filterPresent:
		n.attr = string(e.data)
		return n, nil
	case filterSubstrings:
		return parseSubstrings(n, e)
	case filterExtensible:
		return parseExtensible(n, e)
	case filterEqual, filterGreater, filterLess, filterApprox:
		parts, err := children(e.data, 2)
		if err != nil || len(parts) != 2 || parts[0].tag != tagOctets || parts[1].tag != tagOctets {
			return node{}, fmt.Errorf("%w: filter", errBER)
		}
		n.attr, n.value = string(parts[0].data), parts[1].data
		return n, nil
	}
	return node{}, fmt.Errorf("%w: filter of tag %#x", errBER, e.tag)
}

func parseCombination(n node, e element, depth int) (node, error) {
	list, err := children(e.data, maxFilterParts)
	if err != nil || n.op == filterNot && len(list) != 1 {
		return node{}, fmt.Errorf("%w: filter", errBER)
	}
	for _, c := range list {
		sub, err := parseFilter(c, depth+1)
		if err != nil {
			return node{}, err
		}
		n.subs = append(n.subs, sub)
	}
	return n, nil
}

func parseSubstrings(n node, e element) (node, error) {
	parts, err := children(e.data, 2)
	if err != nil || len(parts) != 2 || parts[0].tag != tagOctets || parts[1].tag != tagSequence {
		return node{}, fmt.Errorf("%w: substrings", errBER)
	}
	n.attr = string(parts[0].data)
	pieces, err := children(parts[1].data, 100)
	if err != nil || len(pieces) == 0 {
		return node{}, fmt.Errorf("%w: substrings", errBER)
	}
	for i, p := range pieces {
		kind := int(p.tag) - 0x80
		if kind < 0 || kind > 2 || kind == 0 && i > 0 || kind == 2 && i < len(pieces)-1 {
			return node{}, fmt.Errorf("%w: substrings", errBER)
		}
		n.parts[kind] = append(n.parts[kind], p.data)
	}
	return n, nil
}

func parseExtensible(n node, e element) (node, error) {
	parts, err := children(e.data, 4)
	if err != nil {
		return node{}, err
	}
	for _, p := range parts {
		switch p.tag {
		case 0x81:
			n.rule = string(p.data)
		case 0x82:
			n.attr = string(p.data)
		case 0x83:
			n.value = p.data
		case 0x84: // dnAttributes: AD ignores it
		default:
			return node{}, fmt.Errorf("%w: extensible filter", errBER)
		}
	}
	return n, nil
}

// truth is the three-valued logic of filters.
type truth int8

const (
	no truth = iota
	yes
	undefined
)

// test is a filter made ready to be compared with many objects.
type test struct {
	op     byte
	subs   []test
	attr   attributeID
	known  bool // the attribute exists and the value can be one of it
	syntax syntax
	rule   string
	value  []byte
	number int64
	parts  [3][][]byte
	chain  map[string]bool // names that the rule in chain reaches
}

// compile resolves names once. The tree is locked for reading.
func (t *Tree) compile(n node) test {
	c := test{op: n.op, rule: n.rule, value: n.value}
	for _, sub := range n.subs {
		c.subs = append(c.subs, t.compile(sub))
	}
	if len(n.subs) > 0 || n.attr == "" {
		return c
	}
	c.attr, c.known = attributeByName[strings.ToLower(n.attr)]
	if !c.known {
		return c
	}
	c.syntax = schema[c.attr].syntax
	c.parts = n.parts
	switch {
	case n.op == filterPresent || n.op == filterSubstrings:
		return c
	case n.rule == ruleChain:
		c.chain = t.chain(c.attr, normalDN(string(n.value)))
		return c
	}
	c.assert(t)
	return c
}

// assert brings the value of an assertion into the form that values are compared in.
func (c *test) assert(t *Tree) {
	text := string(c.value)
	switch {
	case c.attr == attrCategory && !strings.Contains(text, "="):
		c.value = []byte(normalDN(t.categoryDN(text))) // AD takes the name of a class here
	case c.syntax == dnSyntax:
		c.value = []byte(normalDN(text))
	case c.syntax == numberSyntax:
		n, err := strconv.ParseInt(text, 10, 64)
		c.number, c.known = n, err == nil
	case c.syntax == sidSyntax && len(text) > 2 && (text[0] == 'S' || text[0] == 's') && text[1] == '-':
		b, err := SID(text)
		c.value, c.known = b, err == nil
	}
}

// match compares an object with the filter, seen with the rights of who asks.
func (c *test) match(e *entry, rights Rights) truth {
	switch c.op {
	case filterAnd:
		out := yes
		for i := range c.subs {
			switch c.subs[i].match(e, rights) {
			case no:
				return no
			case undefined:
				out = undefined
			}
		}
		return out
	case filterOr:
		out := no
		for i := range c.subs {
			switch c.subs[i].match(e, rights) {
			case yes:
				return yes
			case undefined:
				out = undefined
			}
		}
		return out
	case filterNot:
		switch c.subs[0].match(e, rights) {
		case yes:
			return no
		case no:
			return yes
		}
		return undefined
	}
	if !c.known || !e.readable(c.attr, rights) {
		return undefined
	}
	if e.has(c.attr, c.fits) {
		return yes
	}
	return no
}

// fits compares one value.
func (c *test) fits(v []byte) bool {
	switch c.op {
	case filterPresent:
		return true
	case filterSubstrings:
		return c.contains(v)
	case filterGreater, filterLess:
		order := 0
		if c.syntax == numberSyntax {
			n, err := strconv.ParseInt(string(v), 10, 64)
			if err != nil {
				return false
			}
			order = compareNumbers(n, c.number)
		} else {
			order = compareFold(v, c.value)
		}
		return order == 0 || (order > 0) == (c.op == filterGreater)
	case filterExtensible:
		return c.fitsRule(v)
	}
	return c.equal(v)
}

func (c *test) equal(v []byte) bool {
	switch c.syntax {
	case octetSyntax, sidSyntax:
		return bytes.Equal(v, c.value)
	case dnSyntax:
		return bytes.EqualFold(v, c.value)
	case numberSyntax:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return err == nil && n == c.number
	}
	return bytes.EqualFold(v, c.value)
}

func (c *test) fitsRule(v []byte) bool {
	switch c.rule {
	case ruleBitAnd, ruleBitOr:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || c.syntax != numberSyntax {
			return false
		}
		return c.rule == ruleBitAnd && n&c.number == c.number || c.rule == ruleBitOr && n&c.number != 0
	case ruleChain:
		return c.chain[strings.ToLower(string(v))]
	case "":
		return c.equal(v)
	}
	return false
}

// contains is the substrings filter.
func (c *test) contains(v []byte) bool {
	exact := c.syntax == octetSyntax || c.syntax == sidSyntax
	for _, p := range c.parts[0] {
		if len(v) < len(p) || !sameBytes(v[:len(p)], p, exact) {
			return false
		}
		v = v[len(p):]
	}
	for _, p := range c.parts[2] {
		if len(v) < len(p) || !sameBytes(v[len(v)-len(p):], p, exact) {
			return false
		}
		v = v[:len(v)-len(p)]
	}
	for _, p := range c.parts[1] {
		at := 0
		for at+len(p) <= len(v) && !sameBytes(v[at:at+len(p)], p, exact) {
			at++
		}
		if at+len(p) > len(v) {
			return false
		}
		v = v[at+len(p):]
	}
	return true
}

func sameBytes(a, b []byte, exact bool) bool {
	if exact {
		return bytes.Equal(a, b)
	}
	for i := range a {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func compareNumbers(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareFold(a, b []byte) int {
	return strings.Compare(strings.ToLower(string(a)), strings.ToLower(string(b)))
}
