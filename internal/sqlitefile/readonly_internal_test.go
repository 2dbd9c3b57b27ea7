package sqlitefile

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestCopyOfAFileInUse holds a copy to one moment while another process writes, and brings what it wrote from the write-ahead log
// to the file: every transaction gives all rows one value, so that a copy with two values is of two moments.
func TestCopyOfAFileInUse(t *testing.T) {
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
		folder, err := copyAside(path)
		if errors.Is(err, errInUse) {
			continue
		}
		if err != nil {
			t.Error(err)
			break
		}
		var values int
		var sound string
		copied, err := sql.Open("sqlite", kind.dsn(filepath.Join(folder, "journal.db")))
		if err == nil {
			err = copied.QueryRowContext(t.Context(), "SELECT count(DISTINCT v), (SELECT integrity_check FROM pragma_integrity_check) FROM x").Scan(&values, &sound)
			err = errors.Join(err, copied.Close(), os.RemoveAll(folder))
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
