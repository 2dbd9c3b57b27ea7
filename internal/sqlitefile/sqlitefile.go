// Package sqlitefile opens the SQLite files of a state folder: private to their owner, in WAL mode, brought up to date.
//
// [Open] opens one, [DB.Write] begins what changes it. The package never opens another program's file, nor one of a newer version.
// Where nothing can be written it reads a copy, for SQLite reads no write-ahead log without writing beside it.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
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

// Kind describes a file: its application ID for SQLite, and the scripts that bring it from one version to the next, each in a
// transaction of its own unless there is nothing in the file.
type Kind struct {
	What          string // "key vault"
	ApplicationID int32
	Migrations    []string
	Damaged       string                    // what to do with a file that is broken
	Hasty         bool                      // what is committed may be lost with the power, and nothing else (synchronous NORMAL)
	Wiped         bool                      // what is deleted is overwritten
	CacheKB       int                       // of the file, that a connection may keep in memory: many rows are written faster; 0: as usual
	MaxBytes      int64                     // 0: no bound
	Make          func(path string) error   // nil: [Make]
	Place         func(folder string) error // what it must be, beyond being writable; nil: nothing
}

// DB is an open file. It is safe for concurrent use.
type DB struct {
	*sql.DB
	what, path string
	copy       *aside // what is read instead; nil: nothing
}

// Open opens the file at path, creates it (mode 0600) where there is none, and brings its schema up to date. What is
// committed has reached the disk. Where the file, or the folder, may only be read, it is read as it lies there at this moment, and
// one that is not there is empty.
func Open(ctx context.Context, path string, kind Kind) (*DB, error) {
	db, err := open(ctx, path, kind)
	if err != nil {
		return nil, fmt.Errorf("open %s %q: %w", kind.What, path, Explain(err))
	}
	return db, nil
}

// ReadOnly reports whether the file can only be read.
func (db *DB) ReadOnly() bool { return db.copy != nil }

// Write begins a transaction that changes the file, with SQLite's write lock taken; [ErrReadOnly] where it can only be read.
func (db *DB) Write(ctx context.Context) (*sql.Tx, error) {
	if err := db.Writable(); err != nil {
		return nil, err
	}
	return db.BeginTx(ctx, nil)
}

// Close ends the use of the file. Running calls are waited for.
func (db *DB) Close() error {
	err := errors.Join(db.DB.Close(), db.copy.remove())
	if err != nil {
		return fmt.Errorf("close %s %q: %w", db.what, db.path, err)
	}
	return nil
}

// Explain adds what to do to an error of SQLite, or of a file beside it, that is no fault of the file: a full disk, a
// folder that may not be written. Other errors come back as they are.
func Explain(err error) error {
	for _, full := range diskFull {
		if errors.Is(err, full) {
			return noRoom(err)
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return hint.Wrap(err, "the files of a state folder are private to the account that made them: work as that account, or give a folder of your own with --state-dir")
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

func open(ctx context.Context, path string, kind Kind) (*DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	make := kind.Make
	if make == nil {
		make = Make
	}
	db := &DB{what: kind.What, path: abs}
	file := abs
	switch err := make(abs); {
	case err == nil && kind.Place != nil:
		if err := kind.Place(filepath.Dir(abs)); err != nil {
			return nil, err
		}
	case err == nil:
	case readOnlyPlace(abs, err):
		if db.copy, err = copyAside(abs); err != nil {
			return nil, err
		}
		file = filepath.Join(db.copy.folder, filepath.Base(abs))
	default:
		return nil, err
	}
	if db.DB, err = sql.Open("sqlite", kind.dsn(file)); err != nil {
		return nil, errors.Join(err, db.copy.remove())
	}
	db.SetMaxOpenConns(max(4, runtime.NumCPU()))
	for {
		done, err := migrateOne(ctx, db.DB, kind)
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if done {
			return db, nil
		}
	}
}

// Make makes a file before SQLite does, which would make it readable for everyone and gives its log the mode of the file; and the
// folder, readable by its owner alone.
func Make(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// dsn is the file with what SQLite has to know of it. mode rw: a file that was deleted meanwhile is not
// made anew, empty, by the next connection.
func (k *Kind) dsn(abs string) string {
	synchronous := "synchronous(FULL)"
	if k.Hasty {
		synchronous = "synchronous(NORMAL)"
	}
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", synchronous, "foreign_keys(1)",
	}}
	if k.Wiped {
		q.Add("_pragma", "secure_delete(1)")
	}
	if k.CacheKB > 0 {
		q.Add("_pragma", fmt.Sprintf("cache_size(-%d)", k.CacheKB))
	}
	if k.MaxBytes > 0 {
		q.Add("_pragma", fmt.Sprintf("max_page_count(%d)", max(k.MaxBytes/pageSize, 1)))
	}
	return uri(abs, q)
}

// pageSize is SQLite's default; the bound in pages follows from it.
const pageSize = 4096

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
	for empty := version == 0; ; { // an empty file gets all of them at once
		if _, err := tx.ExecContext(ctx, kind.Migrations[version]); err != nil {
			return false, fmt.Errorf("bring schema to version %d: %w", version+1, err)
		}
		if version++; !empty || version == len(kind.Migrations) {
			break
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", version, kind.ApplicationID)); err != nil {
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
		return 0, hint.Wrapf(err, "the file is damaged or no %s; %s", kind.What, kind.Damaged)
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
