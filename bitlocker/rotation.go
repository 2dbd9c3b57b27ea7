package bitlocker

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// Rotated says that a machine has removed the protectors of keys from its disk.
type Rotated struct {
	Machine string // its name; what follows the first dot does not count
	At      time.Time
	Keys    []KeyID
}

// Fold notes what a run says about keys, and that its events were read up to the one numbered seq, in one transaction: a
// process that is killed has told the vault everything up to a number or nothing, and reads on from there. It returns how
// many references are marked. Only references of the machine with that name are: what one machine says of another's key
// counts for nothing. The password stays, for a copy of the disk that was made before still opens with it.
func (v *Vault) Fold(ctx context.Context, run string, seq int64, said ...Rotated) (marked int, err error) {
	err = v.write(ctx, func(tx *sql.Tx) error {
		marked = 0
		for _, r := range said {
			name, _, _ := strings.Cut(r.Machine, ".")
			for _, id := range r.Keys {
				done, err := tx.ExecContext(ctx, "UPDATE refs SET rotated = ? WHERE key_id = ? AND name = ?", nanos(r.At), id, strings.ToUpper(name))
				if err != nil {
					return err
				}
				n, err := done.RowsAffected()
				if err != nil {
					return err
				}
				marked += int(n)
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO folded (run, seq) VALUES (?1, ?2) ON CONFLICT (run) DO UPDATE SET seq = max(seq, ?2)", run, seq)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("note what run %s says about keys: %w", run, err)
	}
	return marked, nil
}

// Folded says for each run up to which event it was read.
func (v *Vault) Folded(ctx context.Context) (map[string]int64, error) {
	rows, err := v.db.QueryContext(ctx, "SELECT run, seq FROM folded")
	if err != nil {
		return nil, fmt.Errorf("read which runs were read: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]int64{}
	for rows.Next() {
		var run string
		var seq int64
		if err := rows.Scan(&run, &seq); err != nil {
			return nil, fmt.Errorf("read which runs were read: %w", err)
		}
		out[run] = seq
	}
	return out, rows.Err()
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
