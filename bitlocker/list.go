package bitlocker

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// KeyList are all references, with what says whose key it is and whether it can be of use. It is small: a reference is taken
// apart when it is looked at. It changes no more.
type KeyList struct{ rows []string }

// staleKeys is how many references may have changed before the digest of them is made anew.
const staleKeys = 1000

// KeyList reads all references, in no order: those that changed from their rows, the others from the digest, where there is one. What
// changes a reference notes it in digest_log, by triggers of the file itself (vault4.sql), so that no writer can forget it.
func (v *Vault) KeyList(ctx context.Context) (*KeyList, error) {
	tx, err := v.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // only read
	l, made := &KeyList{}, sqlitefile.Digest{}
	var generation int64
	changed, found, err := l.digested(ctx, tx, &made.Number, &generation)
	if err == nil && (!found || len(changed) > 0) {
		err = l.read(ctx, tx, changed, found)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	_ = tx.Rollback() // it has read
	if found && len(changed) <= staleKeys {
		return l, nil
	}
	for _, row := range l.rows {
		made.Add([]byte(row))
	}
	v.db.KeepDigest(ctx, "", &made, sqlitefile.Keeping{Forget: "DELETE FROM digest_log WHERE n <= ?", Unchanged: func(ctx context.Context, tx *sql.Tx) (same bool, err error) {
		err = tx.QueryRowContext(ctx, "SELECT n = ? FROM generation", generation).Scan(&same)
		return same, err
	}})
	return l, nil
}

// digested takes what the digest holds and did not change since.
func (l *KeyList) digested(ctx context.Context, tx *sql.Tx, number, generation *int64) (changed []int64, found bool, err error) {
	err = tx.QueryRowContext(ctx, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'digest_log'), 0), (SELECT n FROM generation)").Scan(number, generation)
	if err != nil {
		return nil, false, err
	}
	is := map[int64]bool{}
	found, err = sqlitefile.ReadDigest(ctx, tx, "", func(number int64, n int) error {
		l.rows = make([]string, 0, n)
		rows, err := tx.QueryContext(ctx, "SELECT DISTINCT id FROM digest_log WHERE n > ?", number)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return err
			}
			changed, is[id] = append(changed, id), true
		}
		return rows.Err()
	}, func(packed string) error {
		if len(is) > 0 {
			var m Match
			row := unpackBrief(packed, &m)
			if id := row.Int(); row.Err != nil || is[id] {
				return row.Err
			}
		}
		l.rows = append(l.rows, packed)
		return nil
	})
	return changed, found, err
}

// read reads references from their rows: those that changed where there is a digest, else all.
func (l *KeyList) read(ctx context.Context, tx *sql.Tx, changed []int64, found bool) error {
	query, args := briefMatches, []any(nil)
	if found {
		list, err := json.Marshal(changed)
		if err != nil {
			return err
		}
		query, args = briefMatches+" WHERE id IN (SELECT value FROM json_each(?))", []any{string(list)}
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var packed string
		if err := rows.Scan(&packed); err != nil {
			return err
		}
		l.rows = append(l.rows, packed)
	}
	return rows.Err()
}

// Len is how many references there are.
func (l *KeyList) Len() int { return len(l.rows) }

// Parts cuts the list into so many, about equally long.
func (l *KeyList) Parts(n int) []*KeyList {
	out := make([]*KeyList, n)
	for i := range out {
		out[i] = &KeyList{rows: l.rows[i*len(l.rows)/n : (i+1)*len(l.rows)/n]}
	}
	return out
}

// Each calls do with every reference: its ID, volume, machine, creation, state, and whether it is deleted, stale or rotated. do must
// not keep the match.
func (l *KeyList) Each(do func(*Match) error) error {
	var m Match
	for _, packed := range l.rows {
		row := unpackBrief(packed, &m)
		_ = row.Int() // of its row
		m.Volume, m.State, m.Created = Volume(row.Word()), State(row.Word()), fromNanos(row.Int())
		m.Deleted, m.Stale, m.Rotated = row.Int() != 0, row.Int() != 0, fromNanos(row.Int())
		if row.Err != nil {
			return fmt.Errorf("read key %s: %w", m.ID, row.Err)
		}
		if err := do(&m); err != nil {
			return err
		}
	}
	return nil
}

// briefMatch is a row of refs in one text; see [KeyList.Each]. The triggers of vault4.sql know its columns.
var (
	briefMatch = sqlitefile.Packed([]string{"id", "volume", "state", "created", "deleted", "stale", "rotated"},
		[]string{"key_id", "name", "fqdn", "serial", "device_id", "dn", "guid"})
	briefMatches = "SELECT " + briefMatch + " FROM refs"
)

// unpackBrief fills the texts; the words follow.
func unpackBrief(packed string, m *Match) sqlitefile.Row {
	o := &m.Machine
	return sqlitefile.Unpack(packed, (*string)(&m.ID), &o.Name, &o.FQDN, &o.Serial, &o.DeviceID, &o.DN, &o.GUID)
}
