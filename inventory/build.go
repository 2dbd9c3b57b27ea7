package inventory

import (
	"math/bits"
	"slices"
	"strings"
	"time"
)

// Operator is the source of what a person set by hand.
const Operator = "operator"

// rec is a record in memory, with the machine it belongs to.
type rec struct {
	Record         // Fields only where somebody needs them
	raw     string // Fields as they are stored
	facts   facts
	by      *columns // kept where a source was just read
	machine string
}

// overlay is what people and probes said of a machine; it lies over what the sources say.
type overlay struct {
	fields []opField
	tags   map[string]bool // true: added by hand, false: taken away by hand
	probe  *ProbeResult
}

type opField struct {
	field, value string
	at           time.Time
}

// build makes a machine of its records; m is empty. Each field is taken from the first record that has it, in the order of
// [precedence]; what the operator set stands above all. With full, provenance and the records themselves are kept.
func build(m *Machine, id string, recs []*rec, over *overlay, conflicts []string, full bool) {
	m.ID, m.Enabled, m.Health, m.Gone, m.Conflicts = id, true, HealthUnknown, true, conflicts
	recs = precedence(recs)
	for _, r := range recs {
		m.Gone = m.Gone && r.Gone
	}
	var done uint64
	var from map[string]Origin // with full only
	if full {
		from = map[string]Origin{}
	}
	note := func(field string, r *rec) {
		if full {
			from[field] = r.origin()
		}
	}
	for _, r := range recs {
		fresh := r.facts.has &^ done
		done |= fresh
		f := &r.facts.m
		for left := fresh; left != 0; left &= left - 1 {
			field := &recordFields[bits.TrailingZeros64(left)]
			if field.copy != nil {
				field.copy(m, f)
			}
			note(field.name, r)
		}
		if f.LastSeen.After(m.LastSeen) {
			m.LastSeen = f.LastSeen
			note("last_seen", r)
		}
		if f.Installed.After(m.Installed) {
			m.Installed = f.Installed
			note("installed", r)
		}
		if !r.Gone || m.Gone {
			m.Tags = append(m.Tags, f.Tags...)
			m.Groups = append(m.Groups, f.Groups...)
			m.NestedGroups = append(m.NestedGroups, f.NestedGroups...)
		}
		for k := range claims {
			if c := m.Claims.field(k); *c == "" {
				*c = r.facts.claim[k]
			}
		}
		if full {
			m.Records = append(m.Records, r.Record)
		}
	}
	if over != nil {
		done |= m.lay(over, from)
	}
	sortSet(&m.Tags)
	sortSet(&m.Groups)
	sortSet(&m.NestedGroups)
	if done&(1<<recordFieldIndex["priority"]) == 0 {
		m.Priority = DefaultPriority
		if m.Class == DomainController {
			m.Priority = DCPriority
		}
	}
	if full {
		m.Provenance = from
	}
}

// lay puts the overlay on top and says which fields it set; from, where it is not nil, learns who said them.
func (m *Machine) lay(over *overlay, from map[string]Origin) (set uint64) {
	for _, op := range over.fields {
		f := recordFieldByName(op.field)
		if f == nil {
			continue
		}
		if op.field == "groups" {
			m.Groups, m.NestedGroups = nil, nil
		}
		if _, err := f.set(m, op.value); err != nil {
			continue
		}
		set |= 1 << recordFieldIndex[op.field]
		if from != nil {
			from[op.field] = Origin{Source: Operator, SeenAt: op.at}
		}
	}
	for tag, on := range over.tags {
		m.Tags = slices.DeleteFunc(m.Tags, func(t string) bool { return t == tag })
		if on {
			m.Tags = append(m.Tags, tag)
		}
	}
	if m.Probe = over.probe; m.Probe != nil && m.Probe.WinRM && m.Probe.At.After(m.LastSeen) {
		m.LastSeen = m.Probe.At
		if from != nil {
			from["last_seen"] = Origin{Source: "probe", SeenAt: m.Probe.At}
		}
	}
	return set
}

func (r *rec) origin() Origin {
	return Origin{Source: r.Source, SourceKey: r.SourceKey, SeenAt: r.SeenAt}
}

func sortSet(s *[]string) {
	if len(*s) > 1 {
		*s = slices.Clone(*s)
		slices.Sort(*s)
		*s = slices.Compact(*s)
	}
}

// precedence sorts a machine's records, the one that speaks first in front.
func precedence(recs []*rec) []*rec {
	if len(recs) == 1 {
		return recs
	}
	recs = slices.Clone(recs)
	current := map[string]*rec{}
	for _, r := range recs {
		c := current[r.Source]
		if c == nil || c.Gone && !r.Gone || c.Gone == r.Gone && (r.alive().After(c.alive()) || r.alive().Equal(c.alive()) && r.SourceKey < c.SourceKey) {
			current[r.Source] = r
		}
	}
	slices.SortFunc(recs, func(a, b *rec) int {
		for _, before := range [][2]bool{{!a.Gone, !b.Gone}, {current[a.Source] == a, current[b.Source] == b}} {
			if before[0] != before[1] {
				if before[0] {
					return -1
				}
				return 1
			}
		}
		if c := b.SeenAt.Compare(a.SeenAt); c != 0 {
			return c
		}
		if c := b.alive().Compare(a.alive()); c != 0 {
			return c
		}
		return compareRecords(a, b)
	})
	return recs
}

// alive is when the machine behind a record was last known alive, as far as its source says.
func (r *rec) alive() time.Time {
	if !r.facts.m.LastSeen.IsZero() {
		return r.facts.m.LastSeen
	}
	return r.SeenAt
}

func compareRecords(a, b *rec) int {
	if c := strings.Compare(a.Source, b.Source); c != 0 {
		return c
	}
	return strings.Compare(a.SourceKey, b.SourceKey)
}
