package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// contents is what the store holds, as far as somebody needs it in memory.
type contents struct {
	generation int64
	recs       []*rec
	confirmed  map[string]time.Time // source -> when it said its records again
	machines   map[string][]string  // ID -> conflicts
	overlays   map[string]*overlay
	aliases    map[string]string
	groups     map[string][]string // account name of a group, in lower case -> distinguished names
}

// load reads all records and the machines they belong to, which is what an import needs. Within a transaction it is one
// consistent state.
func load(ctx context.Context, q querier) (*contents, error) {
	c := &contents{machines: map[string][]string{}, aliases: map[string]string{}}
	if err := q.QueryRowContext(ctx, "SELECT n FROM generation").Scan(&c.generation); err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	for _, part := range []func(context.Context, querier) error{c.loadConflicts, c.loadConfirmed, c.loadRecords} {
		if err := part(ctx, q); err != nil {
			return nil, fmt.Errorf("read inventory: %w", err)
		}
	}
	for _, r := range c.recs {
		if _, known := c.machines[r.machine]; !known {
			c.machines[r.machine] = nil
		}
	}
	return c, nil
}

// each runs a query and calls row for each row of its answer.
func each(ctx context.Context, q querier, query string, row func(scan func(...any) error) error, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c *contents) loadMachines(ctx context.Context, q querier) error {
	return c.loadConflictsOf(ctx, q, "SELECT id, conflicts FROM machines")
}

// loadConflicts reads the machines that have conflicts, and no others.
func (c *contents) loadConflicts(ctx context.Context, q querier) error {
	return c.loadConflictsOf(ctx, q, "SELECT id, conflicts FROM machines WHERE conflicts != '[]'")
}

func (c *contents) loadConflictsOf(ctx context.Context, q querier, query string) error {
	return each(ctx, q, query, func(scan func(...any) error) error {
		var id, text string
		if err := scan(&id, &text); err != nil {
			return err
		}
		var conflicts []string
		if text != "[]" {
			if err := json.Unmarshal([]byte(text), &conflicts); err != nil {
				return fmt.Errorf("conflicts of %s: %w", id, err)
			}
		}
		c.machines[id] = conflicts
		return nil
	})
}

// loadConfirmed reads what loadRecords wants to know of the sources.
func (c *contents) loadConfirmed(ctx context.Context, q querier) error {
	c.confirmed = map[string]time.Time{}
	return each(ctx, q, "SELECT source, confirmed_at FROM sources WHERE confirmed_at > 0", func(scan func(...any) error) error {
		var source string
		var at int64
		err := scan(&source, &at)
		c.confirmed[source] = fromNanos(at)
		return err
	})
}

func (c *contents) loadRecords(ctx context.Context, q querier) error {
	var packed []string
	err := each(ctx, q, "SELECT "+packedRecord+" FROM records", func(scan func(...any) error) error {
		var one string
		err := scan(&one)
		packed = append(packed, one)
		return err
	})
	if err != nil {
		return err
	}
	recs, errs := make([]rec, len(packed)), make([]error, len(packed))
	together(len(packed), func(i int) { errs[i] = c.unpack(&recs[i], packed[i]) })
	c.recs = make([]*rec, len(packed))
	for i := range recs {
		c.recs[i] = &recs[i]
	}
	return errors.Join(errs...)
}

// decode fills Fields.
func (r *rec) decode() error {
	if err := json.Unmarshal([]byte(r.raw), &r.Fields); err != nil {
		return fmt.Errorf("record %s of %s: %w", r.SourceKey, r.Source, err)
	}
	return nil
}

func (c *contents) over(id string) *overlay {
	o := c.overlays[id]
	if o == nil {
		o = &overlay{}
		c.overlays[id] = o
	}
	return o
}

func (c *contents) loadOverlays(ctx context.Context, q querier) error {
	if err := c.loadOperator(ctx, q); err != nil {
		return err
	}
	return each(ctx, q, "SELECT machine_id, result FROM probes", func(scan func(...any) error) error {
		var id string
		var text []byte
		if err := scan(&id, &text); err != nil {
			return err
		}
		p := &ProbeResult{}
		if err := json.Unmarshal(text, p); err != nil {
			return fmt.Errorf("probe of %s: %w", id, err)
		}
		c.over(id).probe = p
		return nil
	})
}

// loadOperator reads what people said.
func (c *contents) loadOperator(ctx context.Context, q querier) error {
	err := each(ctx, q, "SELECT machine_id, field, value, set_at FROM operator_fields", func(scan func(...any) error) error {
		var id string
		var at int64
		var f opField
		if err := scan(&id, &f.field, &f.value, &at); err != nil {
			return err
		}
		f.at = fromNanos(at)
		c.over(id).fields = append(c.over(id).fields, f)
		return nil
	})
	if err != nil {
		return err
	}
	return each(ctx, q, "SELECT machine_id, tag, present FROM operator_tags", func(scan func(...any) error) error {
		var id, tag string
		var present bool
		if err := scan(&id, &tag, &present); err != nil {
			return err
		}
		if c.over(id).tags == nil {
			c.over(id).tags = map[string]bool{}
		}
		c.over(id).tags[tag] = present
		return nil
	})
}

func (c *contents) loadAliases(ctx context.Context, q querier) error {
	return each(ctx, q, "SELECT old_id, machine_id FROM aliases", func(scan func(...any) error) error {
		var old, id string
		if err := scan(&old, &id); err != nil {
			return err
		}
		c.aliases[old] = id
		return nil
	})
}

func (c *contents) loadGroups(ctx context.Context, q querier) error {
	return each(ctx, q, "SELECT name, dn FROM group_names", func(scan func(...any) error) error {
		var name, dn string
		err := scan(&name, &dn)
		name = strings.ToLower(name)
		c.groups[name] = append(c.groups[name], dn)
		return err
	})
}

// byMachine groups the records by the machine they belong to, each group in the order of source and key.
func (c *contents) byMachine() map[string][]*rec {
	groups := make(map[string][]*rec, len(c.machines))
	for _, r := range c.recs {
		groups[r.machine] = append(groups[r.machine], r)
	}
	for _, g := range groups {
		sortRecords(g)
	}
	return groups
}

// sortRecords brings the records of a machine into the order of source and key.
func sortRecords(g []*rec) {
	if len(g) > 1 {
		slices.SortFunc(g, compareRecords)
	}
}
