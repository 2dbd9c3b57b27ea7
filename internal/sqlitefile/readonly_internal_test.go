package sqlitefile

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCopyOfAFileInUse holds a copy to one moment while another process writes, and brings what it wrote from the write-ahead log
// to the file: every transaction gives all rows one value, so that a copy with two values is of two moments.
func TestCopyOfAFileInUse(t *testing.T) {
	temporary(t)
	path := filepath.Join(t.TempDir(), "journal.db")
	kind := Kind{What: "journal", ApplicationID: 7, Hasty: true, Migrations: []string{`CREATE TABLE x (n INTEGER PRIMARY KEY, v INTEGER, pad BLOB);
		WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300) INSERT INTO x SELECT n, 0, zeroblob(2000) FROM c`}}
	db, err := Open(t.Context(), path, kind)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stop, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- func() error {
			conn, err := db.Conn(t.Context())
			if err != nil {
				return err
			}
			defer conn.Close()
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if _, err := conn.ExecContext(t.Context(), "UPDATE x SET v = v + 1"); err != nil {
					return err
				}
				if _, err := conn.ExecContext(t.Context(), "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
					return err
				}
			}
		}()
	}()
	for range 40 {
		copied, err := copyAside(path)
		if errors.Is(err, errInUse) {
			continue
		}
		if err != nil {
			t.Error(err)
			break
		}
		var values int
		var sound string
		read, err := sql.Open("sqlite", kind.dsn(filepath.Join(copied.folder, "journal.db")))
		if err == nil {
			err = read.QueryRowContext(t.Context(), "SELECT count(DISTINCT v), (SELECT integrity_check FROM pragma_integrity_check) FROM x").Scan(&values, &sound)
			err = errors.Join(err, read.Close(), copied.remove())
		}
		if err != nil || values != 1 || sound != "ok" {
			t.Errorf("the copy holds %d values (%s): %v", values, sound, err)
			break
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// temporary gives the test a folder of its own for copies.
func temporary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir) // on Windows: TMP
	t.Setenv("TMP", dir)
	return dir
}

// TestCopiesOfTheKilled takes away the copies of processes that were killed, and of no other.
func TestCopiesOfTheKilled(t *testing.T) {
	dir := temporary(t)
	path := filepath.Join(t.TempDir(), "keys.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := copyAside(path)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, asideName+"1")
	young := filepath.Join(dir, asideName+"2")
	for _, folder := range []string{left, young} {
		for _, name := range []string{"keys.db", ".fleetmend-XYZ.tmp"} {
			if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, name), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{filepath.Join(left, ".fleetmend-XYZ.tmp"), left, read.held.Name(), read.folder} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	again, err := copyAside(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{left: false, young: true, filepath.Join(read.folder, "keys.db"): true, filepath.Join(again.folder, "keys.db"): true} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	if err := errors.Join(read.remove(), again.remove()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(read.folder); err == nil {
		t.Error("a copy stays after its end")
	}
}
