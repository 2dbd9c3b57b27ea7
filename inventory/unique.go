package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// uniqueKey is a key that proves something only where each source has it once.
type uniqueKey struct {
	words string
	of    func(*rec) string
	// refuse is a further reason against joining, beside different strong keys
	refuse func(m *merger, roots []int) string
}

func (m *merger) joinUnique(key uniqueKey) {
	var holders holders
	for i, r := range m.recs {
		holders.add(key.of(r), i)
	}
	for _, v := range holders.shared() {
		all := m.roots(holders.of(v))
		if len(all) < 2 {
			continue
		}
		show, _, _ := strings.Cut(v, "\x00")
		unique, twice := m.onceEach(holders.of(v))
		if len(unique) > 1 {
			why := m.contradiction(unique, true)
			if why == "" && key.refuse != nil {
				why = key.refuse(m, unique)
			}
			if why != "" {
				m.conflict(unique, fmt.Sprintf("share the %s %s but have %s", key.words, show, why))
			} else {
				m.union(unique)
			}
		}
		if left := m.roots(holders.of(v)); twice != "" && len(left) > 1 && (key.refuse == nil || key.refuse(m, left) == "" || m.sources(left) > 1) {
			m.conflict(left, fmt.Sprintf("share the %s %s, which %s lists more than once", key.words, show, twice))
		}
	}
}

// onceEach gives the groups that some source knows as the only one with the value, and the first source that knows
// several. A record that is gone counts only where its source lists no other with the value.
func (m *merger) onceEach(holders []int) (unique []int, twice string) {
	bySource := map[string][]int{}
	for _, live := range []bool{true, false} {
		for _, i := range holders {
			r := m.recs[i]
			if r.Gone == live {
				continue
			}
			if others := bySource[r.Source]; !live && slices.ContainsFunc(others, func(j int) bool { return !m.recs[j].Gone }) {
				continue
			}
			bySource[r.Source] = append(bySource[r.Source], i)
		}
	}
	for _, source := range slices.Sorted(maps.Keys(bySource)) {
		roots := m.roots(bySource[source])
		if len(roots) == 1 {
			unique = append(unique, roots[0])
		} else if twice == "" {
			twice = source
		}
	}
	slices.Sort(unique)
	return slices.Compact(unique), twice
}

func (m *merger) sources(roots []int) int {
	seen := map[string]bool{}
	for _, root := range roots {
		for _, i := range m.members[root] {
			seen[m.recs[i].Source] = true
		}
	}
	return len(seen)
}

func differentFQDN(m *merger, roots []int) string {
	return m.different(roots, "FQDN", func(r *rec) string { return r.facts.m.FQDN })
}

func differentModel(m *merger, roots []int) string {
	return m.different(roots, "model", func(r *rec) string { return strings.ToLower(r.facts.m.Model) })
}

// different says how two of the groups differ in a field; groups that share a value or have none do not.
func (m *merger) different(roots []int, words string, of func(*rec) string) string {
	var seen []map[string]bool
	values := map[string]bool{}
	for _, root := range roots {
		own := map[string]bool{}
		for _, i := range m.members[root] {
			if v := of(m.recs[i]); v != "" {
				own[v], values[v] = true, true
			}
		}
		for _, other := range seen {
			if len(own) > 0 && len(other) > 0 && !overlap(own, other) {
				return fmt.Sprintf("different values of the %s: %s", words, some(slices.Sorted(maps.Keys(values))))
			}
		}
		seen = append(seen, own)
	}
	return ""
}

// holders are the records of each value of a key, as far as more than one has it: a list for each of 20,000 names that are there
// once would be most of the work.
type holders struct {
	first map[string]int
	more  map[string][]int
}

// add notes that a record has a value; an empty one says nothing.
func (h *holders) add(value string, i int) {
	if value == "" {
		return
	}
	first, found := h.first[value]
	switch {
	case h.first == nil:
		h.first, h.more = map[string]int{value: i}, map[string][]int{}
	case !found:
		h.first[value] = i
	case h.more[value] == nil:
		h.more[value] = []int{first, i}
	default:
		h.more[value] = append(h.more[value], i)
	}
}

// shared gives the values that more than one record has, in alphabetical order.
func (h *holders) shared() []string { return slices.Sorted(maps.Keys(h.more)) }

// of gives the records of a shared value.
func (h *holders) of(value string) []int { return h.more[value] }

func overlap(a, b map[string]bool) bool {
	for v := range a {
		if b[v] {
			return true
		}
	}
	return false
}
