package statefolder_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/statefolder"
)

// at makes or changes an SQLite file.
func at(ctx context.Context, path string, statements ...string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	return db.Close()
}

func version(n int) string {
	return fmt.Sprintf("PRAGMA application_id = 77; PRAGMA user_version = %d", n)
}

func two(t *testing.T, dir string, a, b int) []statefolder.File {
	t.Helper()
	migrate := func(ctx context.Context, path string) error {
		return at(ctx, path, "BEGIN", "ALTER TABLE t ADD COLUMN fresh", version(2), "COMMIT")
	}
	files := []statefolder.File{{Name: "a.db", ApplicationID: 77, Version: 2, Migrate: migrate}, {Name: "b.db", ApplicationID: 77, Version: 2, Migrate: migrate}}
	for i, v := range []int{a, b} {
		if err := at(t.Context(), filepath.Join(dir, files[i].Name), "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)", fmt.Sprintf("INSERT INTO t VALUES (%d)", i), version(v)); err != nil {
			t.Fatal(err)
		}
	}
	return append(files, statefolder.File{Name: "absent.db", ApplicationID: 77, Version: 2})
}

func quiet(context.Context) (func() error, error) { return func() error { return nil }, nil }

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func query(t *testing.T, path, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err == nil {
		err = db.QueryRowContext(t.Context(), query).Scan(&n)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(path, err)
	}
	return n
}

func TestAllFilesAreCopiedBeforeOneIsChanged(t *testing.T) {
	dir := t.TempDir()
	files := two(t, dir, 1, 2)
	done, err := statefolder.Upgrade(t.Context(), dir, files, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Files) != 1 || done.Files[0] != "a.db" || done.Copies != filepath.Join(dir, "before-1") {
		t.Errorf("%+v", done)
	}
	for path, want := range map[string]int{"a.db": 2, "b.db": 2, "before-1/a.db": 1, "before-1/b.db": 2} {
		if got := query(t, filepath.Join(dir, path), "PRAGMA user_version"); got != want {
			t.Errorf("%s has version %d, want %d", path, got, want)
		}
	}
	if query(t, filepath.Join(dir, "before-1/a.db"), "SELECT count(*) FROM t") != 1 {
		t.Error("the copy has lost its row")
	}
	if info, err := os.Stat(filepath.Join(dir, "before-1/a.db")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others can read the copy: %v %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "before-1", "*")); len(left) != 2 {
		t.Errorf("in the folder of copies: %v", left)
	}
	if done, err := statefolder.Upgrade(t.Context(), dir, files, nil); err != nil || len(done.Files) != 0 {
		t.Errorf("a second time: %+v %v", done, err)
	}
}

func TestANewerFileIsRefusedAndNothingTouched(t *testing.T) {
	dir := t.TempDir()
	files := two(t, dir, 1, 3)
	before := [][]byte{read(t, filepath.Join(dir, "a.db")), read(t, filepath.Join(dir, "b.db"))}
	_, err := statefolder.Upgrade(t.Context(), dir, files, quiet)
	if !errors.Is(err, statefolder.ErrNewer) || len(hint.Of(err)) == 0 {
		t.Fatalf("%v", err)
	}
	for i, name := range []string{"a.db", "b.db"} {
		if !bytes.Equal(before[i], read(t, filepath.Join(dir, name))) {
			t.Errorf("%s was touched", name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
		t.Errorf("left in the folder: %v", left)
	}
}

// The version may lie in the write-ahead log of a process that is still there, or was killed.
func TestAVersionInTheLogCounts(t *testing.T) {
	dir := t.TempDir()
	files := two(t, dir, 2, 1)
	db, err := sql.Open("sqlite", filepath.Join(dir, "b.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range []string{"PRAGMA wal_autocheckpoint = 0", version(3)} {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := statefolder.Upgrade(t.Context(), dir, files, quiet); !errors.Is(err, statefolder.ErrNewer) {
		t.Errorf("%v", err)
	}
}

func TestAMigrationThatFailsOnTheCopyChangesNothing(t *testing.T) {
	dir := t.TempDir()
	files := two(t, dir, 1, 1)
	boom := errors.New("boom")
	files[1].Migrate = func(context.Context, string) error { return boom }
	if _, err := statefolder.Upgrade(t.Context(), dir, files, quiet); !errors.Is(err, boom) || len(hint.Of(err)) == 0 {
		t.Fatalf("%v", err)
	}
	if query(t, filepath.Join(dir, "a.db"), "PRAGMA user_version") != 1 {
		t.Error("the first file was migrated although the second cannot be")
	}
	files[1].Migrate = files[0].Migrate
	if done, err := statefolder.Upgrade(t.Context(), dir, files, quiet); err != nil || len(done.Files) != 2 || filepath.Base(done.Copies) != "before-1" {
		t.Errorf("the next try: %+v %v", done, err)
	}
}

func TestWhileARunIsAtWorkNothingIsTouched(t *testing.T) {
	dir := t.TempDir()
	files := two(t, dir, 1, 1)
	busy := errors.New("a run is at work")
	if _, err := statefolder.Upgrade(t.Context(), dir, files, func(context.Context) (func() error, error) { return nil, busy }); !errors.Is(err, busy) {
		t.Fatalf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
		t.Errorf("left in the folder: %v", left)
	}
}
