package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Tag adds and removes tags by hand. Added tags stay, and removed ones stay away, whatever the sources say.
func (s *Store) Tag(ctx context.Context, ids, add, remove []string) error {
	for _, tag := range append(append([]string{}, add...), remove...) {
		if tag == "" || strings.ContainsAny(tag, ", \t\n\"'") {
			return hint.Wrap(fmt.Errorf("tag machines: %q is no tag", tag), "a tag is one word without spaces, commas and quotes")
		}
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			id, err := resolve(ctx, tx, id)
			if err != nil {
				return err
			}
			for on, tags := range map[bool][]string{true: add, false: remove} {
				for _, tag := range tags {
					_, err := tx.ExecContext(ctx, `INSERT INTO operator_tags (machine_id, tag, present) VALUES (?, ?, ?)
						ON CONFLICT (machine_id, tag) DO UPDATE SET present = excluded.present`, id, tag, on)
					if err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tag machines: %w", err)
	}
	return nil
}

// SetField sets a field by hand, above what every source says; an empty value takes that back. Fields are those of
// [OperatorFields].
func (s *Store) SetField(ctx context.Context, id, field, value string) error {
	f := recordFieldByName(field)
	switch {
	case f == nil:
		return fmt.Errorf("set field: %w", unknownField(field, OperatorFields()))
	case !f.operator:
		return hint.Wrapf(fmt.Errorf("set field: %q cannot be set by hand", field), "fields to set: %s", strings.Join(OperatorFields(), ", "))
	}
	if value = strings.TrimSpace(value); value != "" {
		var m Machine
		if ok, err := f.set(&m, value); err != nil || !ok {
			return fmt.Errorf("set field: %s %q %w", field, clip(value), errors.Join(err, saysNothing(ok)))
		}
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		id, err := resolve(ctx, tx, id)
		if err != nil {
			return err
		}
		if value == "" {
			_, err = tx.ExecContext(ctx, "DELETE FROM operator_fields WHERE machine_id = ? AND field = ?", id, field)
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO operator_fields (machine_id, field, value, set_at) VALUES (?, ?, ?, ?)
			ON CONFLICT (machine_id, field) DO UPDATE SET value = excluded.value, set_at = excluded.set_at`, id, field, value, s.now().UnixNano())
		return err
	})
	if err != nil {
		return fmt.Errorf("set field %s: %w", field, err)
	}
	return nil
}

func saysNothing(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("says nothing")
}

// SetProbe stores what a probe of a machine found.
func (s *Store) SetProbe(ctx context.Context, id string, result ProbeResult) error {
	return s.setProbes(ctx, map[string]ProbeResult{id: result})
}

// setProbes stores many results in one transaction.
func (s *Store) setProbes(ctx context.Context, results map[string]ProbeResult) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		for id, result := range results {
			id, err := resolve(ctx, tx, id)
			if err != nil {
				return err
			}
			text, err := json.Marshal(result)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO probes (machine_id, result) VALUES (?, ?)
				ON CONFLICT (machine_id) DO UPDATE SET result = excluded.result`, id, string(text))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store probe: %w", err)
	}
	return nil
}

// resolve gives the present ID of a machine.
func resolve(ctx context.Context, tx *sql.Tx, id string) (string, error) {
	var now string
	err := tx.QueryRowContext(ctx, "SELECT id FROM machines WHERE id = ?1 UNION ALL SELECT machine_id FROM aliases WHERE old_id = ?1", id).Scan(&now)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("no machine has the ID %q", id)
	}
	return now, err
}
