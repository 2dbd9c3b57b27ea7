package coverage

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// Gathering judges machines one by one, from keys that come one by one, as [Build] does for its lines; it holds of a key only
// what the verdict needs. Several may take in parts of the keys at the same time, of the same machines.
type Gathering struct {
	index *index
	keys  []gathered
}

type gathered struct {
	machine          int32
	deleted, stale   bool
	id               bitlocker.KeyID
	volume           bitlocker.Volume
	state            bitlocker.State
	created, rotated time.Time
}

// Gather begins with the machines; of about so many keys a part is added to each of the results.
func Gather(machines []Machine, parts, keys int) []*Gathering {
	out, x := make([]*Gathering, parts), newIndex(machines)
	for i := range out {
		out[i] = &Gathering{index: x, keys: make([]gathered, 0, keys/parts+1)}
	}
	return out
}

// Add takes a key in. It keeps nothing of it but its ID.
func (g *Gathering) Add(k *bitlocker.Match) {
	if i, ok := g.index.find(k.Machine); ok {
		g.keys = append(g.keys, gathered{int32(i), k.Deleted, k.Stale, k.ID, k.Volume, k.State, k.Created, k.Rotated})
	}
}

// Lines are the keys of all parts, machine by machine.
type Lines struct {
	machines []Machine
	keys     []*gathered // by machine
	from     []int32     // where those of each begin
}

// Join ends the gathering.
func Join(parts []*Gathering) *Lines {
	l := &Lines{machines: parts[0].index.machines}
	l.from = make([]int32, len(l.machines)+1)
	for _, g := range parts {
		for i := range g.keys {
			l.from[g.keys[i].machine+1]++
		}
	}
	for i := range l.machines {
		l.from[i+1] += l.from[i]
	}
	l.keys = make([]*gathered, l.from[len(l.machines)])
	next := slices.Clone(l.from)
	for _, g := range parts {
		for i := range g.keys {
			k := &g.keys[i]
			l.keys[next[k.machine]] = k
			next[k.machine]++
		}
	}
	return l
}

// Each calls do with the number and the line of every machine from one number up to another that has a key, without Sources, and whether
// the password of its newest key is held with it. do must not keep the line. It may be called for several ranges at the same time.
func (l *Lines) Each(from, to int, do func(machine int, line *Line, sealed bool)) {
	var keys []bitlocker.Match
	var line Line
	for i := from; i < to; i++ {
		own := l.keys[l.from[i]:l.from[i+1]]
		if len(own) == 0 {
			continue
		}
		keys = keys[:0]
		for _, k := range own {
			keys = append(keys, bitlocker.Match{KeyRef: bitlocker.KeyRef{ID: k.id, Volume: k.volume, Created: k.created, Deleted: k.deleted, Stale: k.stale}, State: k.state, Rotated: k.rotated})
		}
		line = judge(&l.machines[i], keys)
		do(i, &line, slices.ContainsFunc(own, func(k *gathered) bool { return k.id == line.Newest && k.state == bitlocker.StateSealed }))
	}
}

// index finds a machine by what a key says of it; several holders of one value are none. What keys never ask for is not
// indexed. It is safe for concurrent use.
type index struct {
	machines []Machine
	by       [kinds]struct {
		made sync.Once
		of   map[string]int32
	}
}

// The kinds of values that tell machines apart, the strongest first.
const (
	byDevice = iota
	byDN
	byFQDN
	bySerial
	byName
	kinds
)

const several = -1

func newIndex(machines []Machine) *index { return &index{machines: machines} }

// holder is the machine that alone has a value.
func (x *index) holder(kind int, value string) (int, bool) {
	if value = strings.ToLower(strings.TrimSpace(value)); value == "" {
		return 0, false
	}
	by := &x.by[kind]
	by.made.Do(func() { by.of = x.make(kind) })
	i, ok := by.of[value]
	return int(i), ok && i != several
}

func (x *index) make(kind int) map[string]int32 {
	by := make(map[string]int32, len(x.machines))
	for i := range x.machines {
		m := &x.machines[i]
		add := func(value string) {
			if value = strings.ToLower(strings.TrimSpace(value)); value == "" {
				return
			}
			if other, ok := by[value]; ok && other != int32(i) {
				by[value] = several
				return
			}
			by[value] = int32(i)
		}
		switch kind {
		case byDevice:
			for _, id := range m.DeviceIDs {
				add(id)
			}
			add(m.GUID)
		case byDN:
			add(m.DN)
		case byFQDN:
			add(m.FQDN)
		case bySerial:
			add(m.Serial)
		case byName:
			add(m.Name)
		}
	}
	return by
}

func (x *index) find(m bitlocker.Machine) (int, bool) {
	another := func(i int) bool {
		return m.GUID != "" && x.machines[i].GUID != "" && !strings.EqualFold(m.GUID, x.machines[i].GUID)
	}
	for _, said := range [...]struct {
		kind  int
		value string
	}{{byDevice, m.GUID}, {byDevice, m.DeviceID}, {byDN, m.DN}, {byFQDN, m.FQDN}, {bySerial, m.Serial}} {
		if i, ok := x.holder(said.kind, said.value); ok && !another(i) {
			return i, true
		}
	}
	// A device ID or FQDN of nobody is somebody else. A DN changes when a machine is moved or deleted; its domain does not.
	if m.DeviceID != "" || m.FQDN != "" {
		return 0, false
	}
	i, ok := x.holder(byName, m.Name)
	if !ok || another(i) || m.DN != "" && x.machines[i].DN != "" && domain(m.DN) != domain(x.machines[i].DN) {
		return 0, false
	}
	return i, true
}

// domain is the part of a distinguished name that names the domain.
func domain(dn string) string {
	dn = strings.ToLower(dn)
	if i := strings.Index(dn, ",dc="); i >= 0 {
		return dn[i:]
	}
	return dn
}
