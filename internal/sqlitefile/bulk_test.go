package sqlitefile_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// TestABulkWaitsForNoDiskAndGivesItsConnectionBack: only its own transactions are hasty. What is written afterwards, on whichever
// connection, waits for the disk as it does in this file.
func TestABulkWaitsForNoDiskAndGivesItsConnectionBack(t *testing.T) {
	ctx := t.Context()
	for _, hasty := range []bool{false, true} {
		db, err := sqlitefile.Open(ctx, filepath.Join(t.TempDir(), "x.db"), sqlitefile.Kind{What: "table", ApplicationID: 7, Hasty: hasty, Migrations: []string{"CREATE TABLE t (a)"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() }) //nolint:errcheck // the folder goes as well
		db.SetMaxOpenConns(1)
		pragmas := func(tx *sql.Tx) (synchronous, log int64) {
			t.Helper()
			if err := errors.Join(tx.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous), tx.QueryRowContext(ctx, "PRAGMA wal_autocheckpoint").Scan(&log)); err != nil {
				t.Fatal(err)
			}
			return synchronous, log
		}
		within := func(begin func() (*sql.Tx, error), commit bool) (synchronous, log int64) {
			t.Helper()
			tx, err := begin()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO t VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			synchronous, log = pragmas(tx)
			end := tx.Rollback
			if commit {
				end = tx.Commit
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			return synchronous, log
		}
		own := func() (*sql.Tx, error) { return db.Write(ctx) }
		before, log := within(own, true)
		if want := map[bool]int64{false: 2, true: 1}[hasty]; before != want || log != 1000 {
			t.Fatalf("hasty %v: synchronous %d, log %d", hasty, before, log)
		}
		bulk, err := db.Bulk(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, commit := range []bool{true, false, true} {
			if synchronous, log := within(func() (*sql.Tx, error) { return bulk.Write(ctx) }, commit); synchronous != 1 || log <= 1000 {
				t.Errorf("hasty %v, in bulk: synchronous %d, log %d", hasty, synchronous, log)
			}
		}
		if err := bulk.Close(); err != nil {
			t.Fatal(err)
		}
		if synchronous, log := within(own, true); synchronous != before || log != 1000 {
			t.Errorf("hasty %v, afterwards: synchronous %d, log %d", hasty, synchronous, log)
		}
		var n int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != 4 {
			t.Errorf("%d rows, %v", n, err)
		}
	}
}
