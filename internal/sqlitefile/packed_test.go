package sqlitefile_test

import (
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

func TestAPackedRowHoldsWhatItsColumnsHold(t *testing.T) {
	ctx := t.Context()
	db, err := sqlitefile.Open(ctx, filepath.Join(t.TempDir(), "x.db"), sqlitefile.Kind{What: "table", ApplicationID: 7, Migrations: []string{"CREATE TABLE t (a TEXT, b TEXT, n INTEGER, w TEXT)"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	texts := []string{"", " ", "1 2", "a\x1fb\nc", "Zürich ≠ 7", "\xff\xfe", "12 "}
	for _, a := range texts {
		for _, b := range texts {
			for _, w := range []string{"", "word"} {
				if _, err := db.ExecContext(ctx, "DELETE FROM t; INSERT INTO t VALUES (?, ?, ?, ?)", a, b, -42, w); err != nil {
					t.Fatal(err)
				}
				var packed, gotA, gotB string
				if err := db.QueryRowContext(ctx, "SELECT "+sqlitefile.Packed([]string{"n", "w"}, []string{"a", "b"})+" FROM t").Scan(&packed); err != nil {
					t.Fatal(err)
				}
				row := sqlitefile.Unpack(packed, &gotA, &gotB)
				if n, word := row.Int(), row.Word(); gotA != a || gotB != b || n != -42 || word != w || row.Err != nil {
					t.Errorf("%q, %q, %q came back as %q, %q, %d, %q (%v)", a, b, w, gotA, gotB, n, word, row.Err)
				}
				if row.Word(); row.Err == nil {
					t.Error("a word after the last one is no mistake")
				}
			}
		}
	}
	var text string
	for _, broken := range []string{"", "x", "5 abc", "-1 ", "9999999999999999999 a"} {
		if row := sqlitefile.Unpack(broken, &text); row.Err == nil {
			t.Errorf("%q is taken apart", broken)
		}
	}
}
