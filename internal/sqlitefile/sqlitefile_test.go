package sqlitefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

var things = sqlitefile.Kind{What: "list of things", ApplicationID: 7, Migrations: []string{"CREATE TABLE t (a TEXT)", "ALTER TABLE t ADD COLUMN b TEXT NOT NULL DEFAULT 'new'"}}

func open(t *testing.T, path string, kind sqlitefile.Kind) *sqlitefile.DB {
	t.Helper()
	db, err := sqlitefile.Open(t.Context(), path, kind)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func refused(path string) error { return &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission} }

// A file of an older version that lies where nothing can be written is read as one of this version, and stays as it is; one that is
// not there is empty.
func TestWhatCanOnlyBeReadIsReadFromACopy(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	path := filepath.Join(dir, "x.db")
	older := things
	older.Migrations = things.Migrations[:1]
	writer := open(t, path, older)
	defer writer.Close()
	if _, err := writer.ExecContext(ctx, "INSERT INTO t VALUES ('in the log')"); err != nil {
		t.Fatal(err)
	}
	before := content(t, path) + content(t, path+"-wal")
	t.Setenv("TMPDIR", t.TempDir())
	kind := things
	kind.Make = refused
	db := open(t, path, kind)
	var a, b string
	if err := db.QueryRowContext(ctx, "SELECT a, b FROM t").Scan(&a, &b); err != nil || a != "in the log" || b != "new" || !db.ReadOnly() {
		t.Errorf("%q %q, read-only %v: %v", a, b, db.ReadOnly(), err)
	}
	if _, err := db.Write(ctx); !errors.Is(err, sqlitefile.ErrReadOnly) || len(hint.Of(err)) == 0 || !strings.Contains(err.Error(), path) {
		t.Errorf("a change: %v", err)
	}
	none := open(t, filepath.Join(dir, "none.db"), kind)
	if err := none.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&a); err != nil || a != "0" {
		t.Errorf("one that is not there: %q %v", a, err)
	}
	if err := errors.Join(db.Close(), none.Close()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if content(t, path)+content(t, path+"-wal") != before {
		t.Error("the file was changed")
	}
	if _, err := sqlitefile.Open(ctx, filepath.Join(dir, "no-folder", "x.db"), kind); !errors.Is(err, fs.ErrPermission) || len(hint.Of(err)) == 0 {
		t.Errorf("a folder that is not there and cannot be made: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "x.db")
	if err := open(t, path, things).Close(); err != nil {
		t.Fatal(err)
	}
	older, other := things, things
	older.Migrations, other.ApplicationID = things.Migrations[:1], 8
	if _, err := sqlitefile.Open(ctx, path, older); !errors.Is(err, sqlitefile.ErrNewer) || len(hint.Of(err)) == 0 {
		t.Errorf("a newer file: %v", err)
	}
	if _, err := sqlitefile.Open(ctx, path, other); err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("another program's file: %v", err)
	}
	placed := things
	placed.Place = func(folder string) error { return errors.New("not in " + filepath.Base(folder)) }
	if _, err := sqlitefile.Open(ctx, path, placed); err == nil || !strings.Contains(err.Error(), "not in "+filepath.Base(filepath.Dir(path))) {
		t.Errorf("a place that will not do: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no file of SQLite's ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := things
	damaged.Damaged = "throw it away"
	if _, err := sqlitefile.Open(ctx, path, damaged); err == nil || !strings.Contains(strings.Join(hint.Of(err), " "), "throw it away") {
		t.Errorf("a damaged file: %v", err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
