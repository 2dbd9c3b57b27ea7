package inventory

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// UnknownMachinesError names what no machine answers to.
type UnknownMachinesError struct {
	Names   []string
	Nearest map[string]string // name -> a machine with a similar one, where there is one
}

func (e *UnknownMachinesError) Error() string {
	var parts []string
	for i, n := range e.Names {
		if i == 5 && len(e.Names) > 6 {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Names)-i))
			break
		}
		if near := e.Nearest[n]; near != "" {
			parts = append(parts, fmt.Sprintf("%s (did you mean %s?)", n, near))
		} else {
			parts = append(parts, n)
		}
	}
	if len(e.Names) == 1 {
		return "unknown machine " + parts[0]
	}
	return fmt.Sprintf("%d unknown machines: %s", len(e.Names), strings.Join(parts, ", "))
}

// AmbiguousNameError is a name that several machines answer to.
type AmbiguousNameError struct {
	Name     string
	Machines []Machine
}

func (e *AmbiguousNameError) Error() string {
	var which []string
	for _, m := range e.Machines {
		name := m.FQDN
		if name == "" {
			name = m.Name
		}
		which = append(which, name+" ("+m.ID+")")
	}
	return fmt.Sprintf("%s stands for %d machines: %s; name one by its ID", e.Name, len(e.Machines), strings.Join(which, ", "))
}

// unknown makes the error for names nobody has. Suggestions are looked for only for the first few.
func (p *snapshot) unknown(names []string) error {
	e := &UnknownMachinesError{Names: names, Nearest: map[string]string{}}
	p.names()
	var known []string
	for name := range p.byName {
		known = append(known, name)
	}
	slices.Sort(known)
	for _, n := range names[:min(len(names), 6)] {
		if near := hint.Nearest(n, known); near != "" {
			e.Nearest[n] = near
		}
	}
	return hint.Wrap(e, "`fleetmend inventory list` shows the machines known; import or sync what is missing")
}

// Select gives the machines a selector picks, sorted by name. Names that nobody has are an [*UnknownMachinesError], a
// name that several machines have picks all of them. The machines come without Records and Provenance, which
// [Store.Machine] gives; their lists are shared between callers and must not be changed in place. A selector over
// case.* is a mistake here: see [Store.SelectWith].
func (s *Store) Select(ctx context.Context, sel Selector) ([]Machine, error) {
	return s.SelectWith(ctx, sel, nil)
}

// SelectWith is [Store.Select] with an overlay: the machines have their cases, and the selector may ask for them.
func (s *Store) SelectWith(ctx context.Context, sel Selector, over Overlay) ([]Machine, error) {
	snap, picked, err := s.pick(ctx, sel, over, nil)
	if err != nil {
		return nil, err
	}
	return snap.collect(picked, over), nil
}

// Left are the names of a list that pick no machine.
type Left struct {
	Unknown []string // nobody's
	Several []string // of several machines
}

// SelectKnown is [Store.SelectWith] for lists that people keep: names of nobody are no error, and a name of several
// machines picks none of them. They are given back.
func (s *Store) SelectKnown(ctx context.Context, sel Selector, over Overlay) ([]Machine, Left, error) {
	var left Left
	snap, picked, err := s.pick(ctx, sel, over, &left)
	if err != nil {
		return nil, left, err
	}
	return snap.collect(picked, over), left, nil
}

// collect gives the machines picked (nil: all), with their cases.
func (p *snapshot) collect(picked []bool, over Overlay) []Machine {
	n := len(p.machines)
	if picked != nil {
		n = 0
		for _, is := range picked {
			if is {
				n++
			}
		}
	}
	out := make([]Machine, 0, n)
	for i := range p.machines {
		if picked == nil || picked[i] {
			out = append(out, p.machines[i])
			if over != nil {
				out[len(out)-1].Take(over.Case(&p.machines[i]))
			}
		}
	}
	return out
}

// pick says which machines of the snapshot a selector picks; nil is all of them. Where left is not nil, it takes the names
// that do not stand for one machine.
func (s *Store) pick(ctx context.Context, sel Selector, over Overlay, left *Left) (*snapshot, []bool, error) {
	if over == nil {
		if err := sel.noOverlay(); err != nil {
			return nil, nil, err
		}
	}
	snap, err := s.snapshot(ctx)
	if err != nil || sel.text == "" {
		return snap, nil, err
	}
	var picked []bool
	if len(sel.terms) > 0 {
		picked, err = snap.match(sel.terms, left)
	} else {
		picked, err = snap.evaluate(ctx, sel.text, s.now(), over)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("selector %q: %w", clip(sel.text), err)
	}
	return snap, picked, nil
}

// Canonical gives the present IDs of machines that were joined with others since: former ID -> present one. What is not
// in it is called as ever.
func (s *Store) Canonical(ctx context.Context) (map[string]string, error) {
	c := contents{aliases: map[string]string{}}
	if err := c.loadAliases(ctx, s.db); err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	return c.aliases, nil
}

func (p *snapshot) match(terms []term, left *Left) ([]bool, error) {
	picked := make([]bool, len(p.machines))
	var unknown []string
	byAddress := map[string][]int{}
	for _, t := range terms {
		t.groups = p.groups[strings.ToLower(t.text)]
		if t.kind != 'n' {
			for i := range p.machines {
				picked[i] = picked[i] || t.fits(&p.machines[i])
			}
			continue
		}
		found := p.find(t.text)
		if found == nil {
			if len(byAddress) == 0 {
				for i := range p.machines {
					a := p.machines[i].Address
					byAddress[a] = append(byAddress[a], i)
					if h := hostOf(a); h != a {
						byAddress[h] = append(byAddress[h], i)
					}
				}
			}
			found = byAddress[strings.ToLower(t.text)]
		}
		switch {
		case found == nil:
			unknown = append(unknown, t.text)
		case len(found) > 1 && left != nil:
			left.Several = append(left.Several, t.text)
			continue
		}
		for _, i := range found {
			picked[i] = true
		}
	}
	if left != nil {
		left.Unknown = unknown
	} else if len(unknown) > 0 {
		return nil, p.unknown(unknown)
	}
	return picked, nil
}

func (t term) fits(m *Machine) bool {
	switch t.kind {
	case 'a':
		return true
	case 't':
		return slices.ContainsFunc(m.Tags, func(tag string) bool { return strings.EqualFold(tag, t.text) })
	case 'r':
		return slices.ContainsFunc(m.Groups, t.group) || slices.ContainsFunc(m.NestedGroups, t.group)
	}
	return glob(t.text, m.Name) || glob(t.text, m.FQDN) || glob(t.text, m.Address)
}

// group reports whether the term names a group: by its distinguished name, its common name or its account name.
func (t term) group(dn string) bool {
	return strings.EqualFold(dn, t.text) || strings.EqualFold(commonName(dn), t.text) ||
		slices.ContainsFunc(t.groups, func(g string) bool { return strings.EqualFold(g, dn) })
}

// commonName gives "Tills, old" for CN=Tills\, old,OU=... (RFC 4514 2.4)
func commonName(dn string) string {
	if len(dn) < 3 || !strings.EqualFold(dn[:3], "cn=") {
		return ""
	}
	out := make([]byte, 0, len(dn))
	for i := 3; i < len(dn) && dn[i] != ','; i++ {
		if dn[i] == '\\' && i+1 < len(dn) {
			i++
			if b, err := hex.DecodeString(dn[i:min(i+2, len(dn))]); err == nil && len(b) == 1 {
				out = append(out, b[0])
				i++
				continue
			}
		}
		out = append(out, dn[i])
	}
	return string(out)
}

// glob matches * and ? without regard to case; the pattern is in lower case.
func glob(pattern, s string) bool {
	if s == "" {
		return false
	}
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
			continue
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == c):
			p++
		case star >= 0:
			mark++
			p, i = star+1, mark
			continue
		default:
			return false
		}
		i++
	}
	return strings.Trim(pattern[p:], "*") == ""
}
