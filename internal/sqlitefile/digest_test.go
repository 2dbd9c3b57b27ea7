package sqlitefile_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// A digest that is not as it was written is none: not cut, not changed by a bit, not one part short, not of another number. It is made
// again where it can be.
func TestADamagedDigestIsNone(t *testing.T) {
	ctx := t.Context()
	kind := sqlitefile.Kind{What: "list of digests", ApplicationID: 8, Migrations: []string{`CREATE TABLE digest (scope TEXT NOT NULL, part INTEGER NOT NULL, n INTEGER NOT NULL, rows INTEGER NOT NULL,
		maker TEXT NOT NULL, packed BLOB NOT NULL, PRIMARY KEY (scope, part))`}}
	db := open(t, filepath.Join(t.TempDir(), "test.db"), kind)
	defer db.Close()
	keep := func() {
		d := sqlitefile.Digest{Number: 7}
		for i := range 40_000 {
			d.Add(fmt.Appendf(nil, "row %d of many", i))
		}
		db.KeepDigest(ctx, "all", &d, sqlitefile.Keeping{})
	}
	read := func() (found bool, rows int) {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback() //nolint:errcheck // it was only read
		found, err = sqlitefile.ReadDigest(ctx, tx, "all", func(number int64, _ int) error {
			if number != 7 {
				t.Errorf("number %d", number)
			}
			return nil
		}, func(row string) error {
			if row != fmt.Sprintf("row %d of many", rows) {
				return fmt.Errorf("row %d is %q", rows, row)
			}
			rows++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return found, rows
	}
	for _, damage := range []string{
		"", "UPDATE digest SET packed = substr(packed, 1, length(packed) - 1) WHERE part = 1", "UPDATE digest SET packed = x'' WHERE part = 0", "DELETE FROM digest WHERE part = 2",
		"UPDATE digest SET packed = CAST(substr(packed, 1, 999) || x'01' || substr(packed, 1001) AS BLOB) WHERE part = 1", "UPDATE digest SET n = 8", "UPDATE digest SET rows = rows - 1",
		"UPDATE digest SET maker = maker || '.'", "DELETE FROM digest",
	} {
		keep()
		if found, rows := read(); !found || rows != 40_000 {
			t.Fatalf("before %q: %v, %d rows", damage, found, rows)
		}
		if damage == "" {
			continue
		}
		if _, err := db.ExecContext(context.WithoutCancel(ctx), damage); err != nil {
			t.Fatal(err)
		}
		if found, rows := read(); found || rows != 0 {
			t.Errorf("after %q: %v, %d rows", damage, found, rows)
		}
	}
}
