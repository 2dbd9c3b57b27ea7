package bitlocker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// An empty vault is filled without the indexes that only searches need, and they are made at the end, which takes half the
// time. Whoever searches meanwhile finds the same, more slowly.

// indexes are the statements that make them, from the schema, for a file that may have some of them.
func indexes() []string {
	var out []string
	for _, script := range vaultFile.Migrations {
		for line := range strings.Lines(script) {
			if strings.HasPrefix(line, createIndex) {
				out = append(out, "CREATE INDEX IF NOT EXISTS refs_"+strings.TrimPrefix(line, createIndex))
			}
		}
	}
	return out
}

const createIndex = "CREATE INDEX refs_"

// unindex takes the indexes away where there is no reference yet, and reports whether it did.
func unindex(ctx context.Context, tx *sql.Tx) (empty bool, err error) {
	if err := tx.QueryRowContext(ctx, "SELECT NOT EXISTS (SELECT 1 FROM refs)").Scan(&empty); err != nil || !empty {
		return false, err
	}
	for _, statement := range indexes() {
		name, _, _ := strings.Cut(strings.TrimPrefix(statement, "CREATE INDEX IF NOT EXISTS "), " ")
		if _, err := tx.ExecContext(ctx, "DROP INDEX IF EXISTS "+name); err != nil {
			return false, err
		}
	}
	return true, nil
}

// How many kilobytes of the file are kept in memory while the indexes are made, each of which is read out of all rows. SQLite sorts beside
// it, and an import of 100,000 keys, with its table and passwords, has 150 MB in all; a reading of references has nothing else.
const (
	fillCache = 4_000
	readCache = 32_000
)

// reindex makes the indexes that are not there.
func reindex(ctx context.Context, tx *sql.Tx, kilobytes int) error {
	if err := cache(ctx, tx, kilobytes); err != nil {
		return err
	}
	for _, statement := range indexes() {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return cache(ctx, tx, vaultFile.CacheKB)
}

func cache(ctx context.Context, tx *sql.Tx, kilobytes int) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA cache_size = -%d", kilobytes))
	return err
}

// repair makes the indexes where a program that filled the vault was killed before it did.
func (v *Vault) repair(ctx context.Context) error {
	var n int
	err := v.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'refs' AND sql IS NOT NULL").Scan(&n)
	if err != nil || n >= len(indexes()) {
		return err
	}
	return v.write(ctx, func(tx *sql.Tx) error { return reindex(ctx, tx, fillCache) })
}

// filling runs do, which fills the vault, and where the vault was empty makes the indexes afterwards, whatever came of it.
func filling(ctx context.Context, to writer, do func() error) error {
	empty := false
	err := write(ctx, to, func(tx *sql.Tx) (err error) {
		empty, err = unindex(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	err = do()
	if empty {
		made := write(context.WithoutCancel(ctx), to, func(tx *sql.Tx) error { return reindex(context.WithoutCancel(ctx), tx, readCache) })
		err = errors.Join(err, made)
	}
	return err
}
