package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// merger finds out which records speak of the same machine. Its result depends on the set of records only, never on
// the order they came in: keys are tried in the order of their trust, values in alphabetical order, and a key that
// would bring contradicting records together joins none of them.
//
// The rules, in this order:
//  1. Equal strong keys join: SID; object GUID (also with an Entra device ID of the same value, as hybrid join has
//     it); Azure resource ID; Azure VM ID and SMBIOS UUID; Entra device ID; Intune ID; Falcon agent ID.
//  2. Serial number together with model, or else manufacturer, joins where each source has it once. Several records of
//     one source with one serial, model and name are one machine that was installed anew.
//  3. FQDN, then short name, join where each source has it once and nothing contradicts.
//  4. Two different values of a strong key are never joined. Only keys of an enrolment (Entra, Intune, Falcon) may
//     differ, where one source itself lists both for one machine.
//
// Whatever was not joined for a contradiction or an ambiguous value is a conflict, in one sentence for each machine.
type merger struct {
	recs      []*rec
	parent    []int
	members   [][]int // root -> records; nil where the record belongs to another root
	conflicts map[int][]string
	said      map[string]bool
}

// merge gives the groups of records that are one machine each, and the conflicts of each group.
func merge(recs []*rec) (groups [][]*rec, conflicts [][]string) {
	recs = slices.Clone(recs)
	slices.SortFunc(recs, compareRecords)
	m := &merger{recs: recs, parent: make([]int, len(recs)), members: make([][]int, len(recs)),
		conflicts: map[int][]string{}, said: map[string]bool{}}
	alone := make([]int, len(recs))
	for i := range recs {
		m.parent[i], alone[i] = i, i
		m.members[i] = alone[i : i+1 : i+1]
	}
	m.joinClaims(claimSID)
	m.joinClaims(claimGUID, claimEntra)
	m.joinClaims(claimARM)
	m.joinClaims(claimVM, claimSMBIOS)
	m.joinClaims(claimEntra)
	m.joinClaims(claimIntune)
	m.joinClaims(claimFalcon)
	withModel := func(r *rec) string { return hardware(&r.facts, r.facts.m.Model) }
	m.joinReinstalled(withModel)
	m.joinUnique(uniqueKey{"serial number", withModel, nil})
	m.joinUnique(uniqueKey{"serial number", func(r *rec) string { return hardware(&r.facts, makerKey(r.facts.m.Manufacturer)) }, differentModel})
	m.joinUnique(uniqueKey{"FQDN", func(r *rec) string { return r.facts.m.FQDN }, nil})
	m.joinUnique(uniqueKey{"name", func(r *rec) string { return r.facts.m.Name }, differentFQDN})
	for _, members := range m.members {
		if members == nil {
			continue
		}
		group := make([]*rec, 0, len(members))
		var said []string
		for _, i := range members {
			group = append(group, recs[i])
			said = append(said, m.conflicts[i]...)
		}
		slices.Sort(said)
		groups = append(groups, group)
		conflicts = append(conflicts, slices.Compact(said))
	}
	return groups, conflicts
}

func hardware(f *facts, kind string) string {
	serial := serialKey(f.m.Serial)
	if serial == "" || kind == "" {
		return ""
	}
	return serial + "\x00" + strings.ToLower(kind)
}

func (m *merger) root(i int) int {
	for m.parent[i] != i {
		m.parent[i] = m.parent[m.parent[i]]
		i = m.parent[i]
	}
	return i
}

// roots gives the present groups of some records, sorted, without repetition.
func (m *merger) roots(recs []int) []int {
	out := make([]int, len(recs))
	for i, r := range recs {
		out[i] = m.root(r)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (m *merger) union(roots []int) {
	for _, r := range roots[1:] {
		m.parent[r] = roots[0]
		m.members[roots[0]] = append(m.members[roots[0]], m.members[r]...)
		m.members[r] = nil
	}
	slices.Sort(m.members[roots[0]])
}

// joinClaims joins all groups that share a value of one of the keys. Groups that hang together by such values are
// joined all or, where any two of them contradict each other, not at all: a cloned UUID must not decide by chance.
func (m *merger) joinClaims(keys ...claim) {
	var holders holders
	for i, r := range m.recs {
		for _, k := range keys {
			holders.add(r.facts.claim[k], i)
		}
	}
	// Which groups hang together, found in a union-find of its own.
	link := map[int]int{}
	find := func(i int) int {
		for {
			p, ok := link[i]
			if !ok || p == i {
				return i
			}
			i = p
		}
	}
	via := map[int][]string{} // root of the component -> values that join
	var values []string
	for _, v := range holders.shared() {
		roots := m.roots(holders.of(v))
		if len(roots) < 2 {
			continue
		}
		values = append(values, v)
		for _, r := range roots[1:] {
			a, b := find(roots[0]), find(r)
			link[max(a, b)] = min(a, b)
		}
	}
	for _, v := range values {
		c := find(m.root(holders.of(v)[0]))
		via[c] = append(via[c], v)
	}
	for _, c := range slices.Sorted(maps.Keys(via)) {
		var all []int
		for _, v := range via[c] {
			all = append(all, holders.of(v)...)
		}
		roots := m.roots(all)
		why := m.contradiction(roots, false)
		if why == "" && slices.Contains(keys, claimSMBIOS) && m.enrolments(roots) > 1 {
			// Cloned machines share the UUID and have an enrolment each; one that was installed anew has its name.
			why = m.different(roots, "name", func(r *rec) string { return r.facts.m.Name })
		}
		if why != "" {
			m.conflict(roots, fmt.Sprintf("share the %s %s but have %s", m.words(all, keys), some(via[c]), why))
			continue
		}
		m.union(roots)
	}
}

// contradiction says which strong key forbids that the groups are one machine. With strict also the keys of an
// enrolment must agree, as names are no proof that a machine was installed anew.
func (m *merger) contradiction(roots []int, strict bool) string {
	for k := range claims {
		sources := map[string][]string{} // value -> sources that say it
		for _, root := range roots {
			for _, i := range m.members[root] {
				if v := m.recs[i].facts.claim[k]; v != "" && !slices.Contains(sources[v], m.recs[i].Source) {
					sources[v] = append(sources[v], m.recs[i].Source)
				}
			}
		}
		if len(sources) < 2 || claimInfo[k].reissued && !strict && chained(sources) ||
			claimInfo[k].reissued && strict && m.agree(roots, k) {
			continue
		}
		return fmt.Sprintf("different values of the %s: %s", claimInfo[k].words, some(slices.Sorted(maps.Keys(sources))))
	}
	return ""
}

// agree reports whether at most one of the groups has values of the key that others do not share: a machine that has
// several by itself, for being installed anew, may meet one that has none of them.
func (m *merger) agree(roots []int, k claim) bool {
	var seen map[string]bool
	for _, root := range roots {
		own := map[string]bool{}
		for _, i := range m.members[root] {
			if v := m.recs[i].facts.claim[k]; v != "" {
				own[v] = true
			}
		}
		if len(own) == 0 {
			continue
		}
		if seen != nil {
			return false
		}
		seen = own
	}
	return true
}

// chained reports whether the values hang together by sources that list several of them.
func chained(sources map[string][]string) bool {
	values := slices.Sorted(maps.Keys(sources))
	reached := map[string]bool{values[0]: true}
	for grown := true; grown; {
		grown = false
		for _, v := range values {
			if reached[v] {
				continue
			}
			for w := range reached {
				if slices.ContainsFunc(sources[v], func(s string) bool { return slices.Contains(sources[w], s) }) {
					reached[v], grown = true, true
					break
				}
			}
		}
	}
	return len(reached) == len(values)
}

// words names the key that most plainly joins the records: the first that one of them has.
func (m *merger) words(recs []int, keys []claim) string {
	for _, k := range keys {
		if slices.ContainsFunc(recs, func(i int) bool { return m.recs[i].facts.claim[k] != "" }) {
			return claimInfo[k].words
		}
	}
	return claimInfo[keys[0]].words
}

// enrolments counts the values of that key of an enrolment of which the groups have most.
func (m *merger) enrolments(roots []int) (most int) {
	for k := range claims {
		values := map[string]bool{}
		for _, root := range roots {
			for _, i := range m.members[root] {
				if v := m.recs[i].facts.claim[k]; v != "" && claimInfo[k].reissued {
					values[v] = true
				}
			}
		}
		most = max(most, len(values))
	}
	return most
}

// joinReinstalled joins records of one source with the same hardware and the same name.
func (m *merger) joinReinstalled(key func(*rec) string) {
	var holders holders
	for i, r := range m.recs {
		if v := key(r); v != "" && r.facts.m.Name != "" {
			holders.add(r.Source+"\x00"+v+"\x00"+r.facts.m.Name, i)
		}
	}
	for _, v := range holders.shared() {
		roots := m.roots(holders.of(v))
		if len(roots) < 2 {
			continue
		}
		if why := m.contradiction(roots, false); why != "" {
			m.conflict(roots, "share a serial number and a name but have "+why)
			continue
		}
		m.union(roots)
	}
}

// conflict writes one sentence to each of the groups. It is kept on records, because groups may still grow.
func (m *merger) conflict(roots []int, what string) {
	var names []string
	for _, root := range roots {
		names = append(names, m.title(root))
	}
	slices.Sort(names)
	sentence := fmt.Sprintf("%s %s; they were kept apart.", and(names), what)
	if m.said[sentence] {
		return
	}
	m.said[sentence] = true
	for _, root := range roots {
		i := m.members[root][0]
		m.conflicts[i] = append(m.conflicts[i], sentence)
	}
}

// title names a group in a sentence: its name and where it was found.
func (m *merger) title(root int) string {
	r := m.recs[m.members[root][0]]
	name := r.facts.m.Name
	if name == "" {
		name = "a machine without name"
	}
	return fmt.Sprintf("%s (%s, %s)", name, r.Source, clip(r.SourceKey))
}

// and writes up to four names with "and", the rest as a number.
func and(names []string) string {
	if len(names) > 4 {
		names = append(slices.Clone(names[:3]), fmt.Sprintf("%d others", len(names)-3))
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func some(values []string) string {
	if len(values) > 3 {
		return fmt.Sprintf("%s and %d others", strings.Join(values[:3], ", "), len(values)-3)
	}
	return strings.Join(values, ", ")
}
