package bitlocker

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// MarkRotated notes that a machine has removed the protectors of these keys from its disk, and returns how many references
// are marked. Only references of the machine with that name are: what one machine says of another's key counts for
// nothing. The password stays, for a copy of the disk that was made before still opens with it.
func (v *Vault) MarkRotated(ctx context.Context, machine string, at time.Time, ids ...KeyID) (int, error) {
	name, _, _ := strings.Cut(machine, ".")
	marked := 0
	err := v.write(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			r, err := tx.ExecContext(ctx, "UPDATE refs SET rotated = ? WHERE key_id = ? AND name = ?", nanos(at), id, strings.ToUpper(name))
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			marked += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("note the rotation of keys of %s: %w", machine, err)
	}
	return marked, nil
}

// MarkRotationAsked notes that somebody else was asked to replace these keys, and will do so or not.
func (v *Vault) MarkRotationAsked(ctx context.Context, at time.Time, refs ...KeyRef) error {
	err := v.write(ctx, func(tx *sql.Tx) error {
		for _, ref := range refs {
			if _, err := tx.ExecContext(ctx, "UPDATE refs SET rotation_asked = ? WHERE source = ? AND source_key = ?", nanos(at), ref.Source, ref.SourceKey); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note that rotation was asked for: %w", err)
	}
	return nil
}
