package inventory

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

func ulidEntropy() io.Reader { return rand.Reader }

// snapshot is all machines at one generation of the store, sorted by name and ID.
type snapshot struct {
	generation int64
	machines   []Machine
	aliases    map[string]string
	groups     map[string][]string // account name of a group, in lower case -> distinguished names

	index  sync.Once // makes these, when the first name is looked up
	byID   map[string]int
	byName map[string][]int // short name in upper case, FQDN in lower case
}

// snapshot gives the present machines: from memory while nobody, in any process, wrote since.
func (s *Store) snapshot(ctx context.Context) (*snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, err := s.current(ctx)
	if err != nil || held {
		return s.snap, err
	}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	snap, made, err := newSnapshot(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	_ = tx.Rollback() // it has read
	s.keep(ctx, made)
	s.snap = snap
	return snap, nil
}

// current reports whether the snapshot in memory is that of now. It needs the mutex.
func (s *Store) current(ctx context.Context) (bool, error) {
	if s.snap == nil {
		return false, nil
	}
	var generation int64
	if err := s.db.QueryRowContext(ctx, "SELECT n FROM generation").Scan(&generation); err != nil {
		return false, fmt.Errorf("read inventory: %w", err)
	}
	return s.snap.generation == generation, nil
}

func newSnapshot(ctx context.Context, tx *sql.Tx) (*snapshot, *kept, error) {
	c := contents{aliases: map[string]string{}, groups: map[string][]string{}}
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT n, ("+about+") FROM generation").Scan(&c.generation, &n); err != nil {
		return nil, nil, err
	}
	if err := c.loadAliases(ctx, tx); err != nil {
		return nil, nil, err
	}
	if err := c.loadGroups(ctx, tx); err != nil {
		return nil, nil, err
	}
	all := make([]Machine, 0, n)
	made, err := streamIn(ctx, tx, func(m *Machine) error {
		all = append(all, *m)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return &snapshot{generation: c.generation, machines: sorted(all), aliases: c.aliases, groups: c.groups}, made, nil
}

// sorted brings machines into the order of name and ID. Their numbers are sorted, for a machine is large; and it is in order
// already where names were given in the order of IDs.
func sorted(all []Machine) []Machine {
	if slices.IsSortedFunc(all, compareMachines) {
		return all
	}
	order := make([]int32, len(all))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(strings.Compare(all[a].Name, all[b].Name), strings.Compare(all[a].ID, all[b].ID))
	})
	out := make([]Machine, len(all))
	for i, n := range order {
		out[i] = all[n]
	}
	return out
}

// names makes the maps by which machines are found.
func (p *snapshot) names() {
	p.index.Do(func() {
		p.byID, p.byName = make(map[string]int, len(p.machines)), make(map[string][]int, 2*len(p.machines))
		for i := range p.machines {
			m := &p.machines[i]
			p.byID[m.ID] = i
			if m.Name != "" {
				p.byName[m.Name] = append(p.byName[m.Name], i)
			}
			if m.FQDN != "" {
				p.byName[m.FQDN] = append(p.byName[m.FQDN], i)
			}
		}
	})
}

// snapshotMachine makes a machine without Records and Provenance, of an empty one.
func snapshotMachine(m *Machine, id string, recs []*rec, over *overlay, conflicts []string) {
	build(m, id, recs, over, conflicts, false)
	m.Sources = sourcesOf(recs)
}

func compareMachines(a, b Machine) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
}

// sourcesOf lists the sources that know the machine now.
func sourcesOf(recs []*rec) []string {
	var out []string
	for _, r := range recs {
		if !r.Gone && !slices.Contains(out, r.Source) {
			out = append(out, r.Source)
		}
	}
	return out
}

// find gives the machines a name, FQDN, ID, former ID, MAC address or mainboard UUID stands for.
func (p *snapshot) find(name string) []int {
	p.names()
	if found := p.byName[strings.ToUpper(name)]; found != nil {
		return found
	}
	if found := p.byName[strings.ToLower(name)]; found != nil {
		return found
	}
	id := strings.ToUpper(name)
	if to, old := p.aliases[id]; old {
		id = to
	}
	if i, ok := p.byID[id]; ok {
		return []int{i}
	}
	return p.findHardware(name)
}

// findHardware looks for a MAC address or the UUID of a mainboard, by which machines without a name are known.
func (p *snapshot) findHardware(name string) (found []int) {
	mac, notMAC := normalMAC(name)
	id, notUUID := normalGUID(name)
	if notMAC != nil && notUUID != nil {
		return nil
	}
	for i := range p.machines {
		m := &p.machines[i]
		if notMAC == nil && slices.Contains(m.MACs, mac) || notUUID == nil && m.Claims.SMBIOS == id {
			found = append(found, i)
		}
	}
	return found
}

// Machine gives one machine with everything known of it: provenance, records and conflicts. The name is a short name,
// an FQDN, an ID, an ID the machine had before it was joined with another, a MAC address or the UUID of its mainboard. A name of nobody is an
// [*UnknownMachinesError], a name of several an [*AmbiguousNameError].
func (s *Store) Machine(ctx context.Context, nameOrID string) (Machine, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return Machine{}, err
	}
	found := snap.find(strings.TrimSpace(nameOrID))
	if len(found) == 0 {
		return Machine{}, snap.unknown([]string{nameOrID})
	}
	if len(found) > 1 {
		e := &AmbiguousNameError{Name: nameOrID}
		for _, i := range found {
			e.Machines = append(e.Machines, snap.machines[i])
		}
		return Machine{}, e
	}
	return s.full(ctx, &snap.machines[found[0]])
}

// full reads the records of a machine again, which a snapshot leaves out to stay small.
func (s *Store) full(ctx context.Context, m *Machine) (Machine, error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Machine{}, fmt.Errorf("read machine %s: %w", m.Name, err)
	}
	defer func() { _ = tx.Rollback() }()
	c, err := partOf(ctx, tx, m.ID)
	if err != nil {
		return Machine{}, fmt.Errorf("read machine %s: %w", m.Name, err)
	}
	for _, r := range c.recs {
		if err := r.decode(); err != nil {
			return Machine{}, fmt.Errorf("read machine %s: %w", m.Name, err)
		}
	}
	conflicts, ok := c.machines[m.ID]
	if !ok {
		return Machine{}, fmt.Errorf("read machine %s: it was joined with another just now", m.Name)
	}
	var whole Machine
	build(&whole, m.ID, c.byMachine()[m.ID], c.overlays[m.ID], conflicts, true)
	return whole, nil
}

// partOf reads some machines, without aliases and generation.
func partOf(ctx context.Context, q querier, ids ...string) (*contents, error) {
	text, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	c := &contents{machines: map[string][]string{}, overlays: map[string]*overlay{}}
	if err := c.loadConfirmed(ctx, q); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context, querier) error{c.loadMachines, c.loadRecords, c.loadOverlays} {
		if err := part(ctx, only{q, string(text)}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// only narrows the queries of load to some machines: a JSON list of their IDs.
type only struct {
	querier
	ids string
}

// QueryContext adds the condition to a query that has none yet.
func (o only) QueryContext(ctx context.Context, query string, _ ...any) (*sql.Rows, error) {
	column := "machine_id"
	if strings.HasSuffix(query, "FROM machines") {
		column = "id"
	}
	return o.querier.QueryContext(ctx, query+" WHERE "+column+" IN (SELECT value FROM json_each(?))", o.ids)
}
