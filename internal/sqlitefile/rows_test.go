package sqlitefile_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// TestRowsAreWrittenAsTheyAre: whichever of their values say nothing, and however many there are.
func TestRowsAreWrittenAsTheyAre(t *testing.T) {
	ctx := t.Context()
	db, err := sqlitefile.Open(ctx, filepath.Join(t.TempDir(), "x.db"), sqlitefile.Kind{What: "table", ApplicationID: 7,
		Migrations: []string{"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, n INTEGER, f INTEGER)"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		some := func(blank, value any) any {
			if rng.IntN(int(seed)+2) > 0 {
				return blank
			}
			return value
		}
		tx, err := db.Write(ctx)
		if err != nil {
			t.Fatal(err)
		}
		put := sqlitefile.NewStatements(ctx, tx)
		rows := put.Rows("INSERT OR IGNORE", "t", "id", "a", "b", "n", "f")
		var want []string
		n := []int{0, 1, sqlitefile.RowsAtOnce, 3*sqlitefile.RowsAtOnce + 5}[seed%4]
		for i := range n {
			row := []any{int64(i), some("", "ä'?"), some(nil, "b"), some(int64(0), int64(-7)), some(false, true)}
			if err := rows.Add(row...); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint(row...))
		}
		if err := rows.Flush(); err != nil || rows.Written() != int64(n) {
			t.Fatalf("seed %d: %d written, %v", seed, rows.Written(), err)
		}
		if err := rows.Add(int64(0), "again", nil, int64(1), true); err != nil {
			t.Fatal(err)
		}
		if err := rows.Flush(); err != nil || rows.Written() != int64(max(n, 1)) {
			t.Fatalf("seed %d: one that is there was counted: %d, %v", seed, rows.Written(), err)
		}
		if n == 0 {
			want = []string{fmt.Sprint(int64(0), "again", nil, int64(1), true)}
		}
		stored, err := tx.QueryContext(ctx, "SELECT id, a, b, n, f FROM t ORDER BY id")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for stored.Next() {
			var id, number int64
			var a, b any
			var flag bool
			if err := stored.Scan(&id, &a, &b, &number, &flag); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(id, a, b, number, flag))
		}
		if err := stored.Err(); err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v\n%q\nwant\n%q", seed, err, got, want)
		}
		if err := put.Close(nil); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStatementsEndWithTheirContext: a program that was told to stop does not write on.
func TestStatementsEndWithTheirContext(t *testing.T) {
	db, err := sqlitefile.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), sqlitefile.Kind{What: "table", ApplicationID: 7, Migrations: []string{"CREATE TABLE t (a)"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing is kept
	ctx, stop := context.WithCancel(t.Context())
	put := sqlitefile.NewStatements(ctx, tx)
	if err := put.Exec("INSERT INTO t VALUES (?)", 1); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := put.Exec("INSERT INTO t VALUES (?)", 2); err == nil {
		t.Error("it was written")
	}
	if err := put.Close(nil); err != nil {
		t.Error(err)
	}
}
