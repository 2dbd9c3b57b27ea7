package coverage

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker"
)

// Gathering judges machines one by one, from keys that come one by one, as [Build] does for its lines; it holds of a key only
// what the verdict needs.
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

// Gather begins with the machines.
func Gather(machines []Machine) *Gathering {
	return &Gathering{index: newIndex(machines), keys: make([]gathered, 0, len(machines))}
}

// Add takes a key in. It keeps nothing of it but its ID.
func (g *Gathering) Add(k *bitlocker.Match) {
	if i, ok := g.index.find(k.Machine); ok {
		g.keys = append(g.keys, gathered{int32(i), k.Deleted, k.Stale, k.ID, k.Volume, k.State, k.Created, k.Rotated})
	}
}

// Each calls do with the line of every machine that has a key, without Sources. do must not keep it.
func (g *Gathering) Each(do func(*Line)) {
	slices.SortStableFunc(g.keys, func(a, b gathered) int { return cmp.Compare(a.machine, b.machine) })
	var keys []bitlocker.Match
	for from := 0; from < len(g.keys); {
		i := g.keys[from].machine
		for keys = keys[:0]; from < len(g.keys) && g.keys[from].machine == i; from++ {
			k := &g.keys[from]
			keys = append(keys, bitlocker.Match{KeyRef: bitlocker.KeyRef{ID: k.id, Volume: k.volume, Created: k.created, Deleted: k.deleted, Stale: k.stale}, State: k.state, Rotated: k.rotated})
		}
		line := judge(&g.index.machines[i], keys)
		do(&line)
	}
}

// index finds a machine by what a key says of it; several holders of one value are none. What keys never ask for is not
// indexed.
type index struct {
	machines []Machine
	by       [kinds]map[string]int32
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
	if x.by[kind] == nil {
		x.make(kind)
	}
	i, ok := x.by[kind][value]
	return int(i), ok && i != several
}

func (x *index) make(kind int) {
	by := make(map[string]int32, len(x.machines))
	x.by[kind] = by
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
