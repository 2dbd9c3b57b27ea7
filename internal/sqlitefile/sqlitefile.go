// Package sqlitefile opens the SQLite files of the key desk: private to their owner, in WAL mode, brought up to date.
//
// [Open] is the only call. It never opens another program's file, nor one of a newer version.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"modernc.org/sqlite" // the driver "sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// ErrNewer is returned for a file that a newer fleetmend has written.
var ErrNewer = errors.New("the file was written by a newer fleetmend")

// busyTimeout is how long a writer waits for another process to finish its transaction.
const busyTimeout = 30 * time.Second

// cacheKB bounds what a connection may keep of the file in memory: a writer of many rows would fetch the pages of their
// indexes again and again.
const cacheKB = 8_000

// Kind describes a file: its application ID for SQLite, and the scripts that bring it from one version to the next.
type Kind struct {
	What          string // "key vault"
	ApplicationID int32
	Migrations    []string
}

// Open opens the file at path, creates it (mode 0600) where there is none, and brings its schema up to date. What is
// committed has reached the disk; what is deleted is overwritten.
func Open(ctx context.Context, path string, kind Kind) (*sql.DB, error) {
	db, err := open(ctx, path, kind)
	if err != nil {
		return nil, fmt.Errorf("open %s %q: %w", kind.What, path, Explain(err))
	}
	return db, nil
}

// Explain adds what to do to an error of SQLite, or of a file beside it, that is no fault of the file: a full disk, a
// folder that may not be written. Other errors come back as they are.
func Explain(err error) error {
	for _, full := range diskFull {
		if errors.Is(err, full) {
			return noRoom(err)
		}
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_FULL:
		return noRoom(err)
	case lib.SQLITE_IOERR:
		return hint.Wrap(fmt.Errorf("the disk does not read or write: %w", err), "see whether it is full or failing; keep a copy of the file before anything else")
	case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM:
		return hint.Wrap(fmt.Errorf("the file cannot be written: %w", err), "see whether its folder is read-only, or belongs to another user")
	}
	return err
}

func noRoom(err error) error {
	return hint.Wrap(fmt.Errorf("the disk is full: %w", err), "make room on it and try again; what was written before is sound")
}

// damaged reports whether SQLite says of the file itself that it is none of its own, or broken.
func damaged(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == lib.SQLITE_CORRUPT || e.Code()&0xff == lib.SQLITE_NOTADB)
}

func open(ctx context.Context, path string, kind Kind) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
		return nil, err
	}
	// SQLite would create the file readable for everyone, and gives its WAL the mode of the file.
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(abs))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(max(4, runtime.NumCPU()))
	for {
		done, err := migrateOne(ctx, db, kind)
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if done {
			return db, nil
		}
	}
}

func dsn(abs string) string {
	p := filepath.ToSlash(abs)
	if filepath.VolumeName(abs) != "" && p[0] != '/' {
		p = "/" + p // file:///C:/...
	}
	return "file://" + (&url.URL{Path: p}).EscapedPath() + fmt.Sprintf("?_txlock=immediate&_pragma=busy_timeout(%d)"+
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=secure_delete(1)&_pragma=cache_size(-%d)", busyTimeout.Milliseconds(), cacheKB)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func migrateOne(ctx context.Context, db *sql.DB, kind Kind) (done bool, err error) {
	version, err := schema(ctx, db, kind)
	if err != nil || version == len(kind.Migrations) {
		return true, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	if version, err = schema(ctx, tx, kind); err != nil || version == len(kind.Migrations) {
		return true, err
	}
	if _, err := tx.ExecContext(ctx, kind.Migrations[version]); err != nil {
		return false, fmt.Errorf("bring schema to version %d: %w", version+1, err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", version+1, kind.ApplicationID)); err != nil {
		return false, err
	}
	return false, tx.Commit()
}

func schema(ctx context.Context, q querier, kind Kind) (int, error) {
	var version, tables int
	var app int32
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		if !damaged(err) {
			return 0, err
		}
		return 0, hint.Wrapf(err, "the file is damaged or no %s; keep it, move it away and import your last snapshot", kind.What)
	}
	if err := q.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return 0, err
	}
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return 0, err
	}
	switch {
	case app != kind.ApplicationID && (tables > 0 || version > 0):
		return 0, hint.Wrapf(errors.New("the file is another program's database"), "give the %s a file of its own", kind.What)
	case version > len(kind.Migrations):
		return 0, hint.Wrap(fmt.Errorf("%w: schema %d, this one knows %d", ErrNewer, version, len(kind.Migrations)), "update fleetmend on this computer")
	}
	return version, nil
}
