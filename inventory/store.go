package inventory

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/fleetmend/fleetmend/internal/hint"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks our files for SQLite: "flmi".
const applicationID = 0x666c6d69

// busyTimeout is how long a writer waits for another process to finish its transaction.
const busyTimeout = 30 * time.Second

// ErrNewerSchema is returned by [Open] for a file that a newer fleetmend has written.
var ErrNewerSchema = errors.New("the inventory was written by a newer fleetmend")

// Store keeps the inventory in one SQLite file. Several processes may read it while one writes; writers wait for each
// other. A Store is safe for use by many goroutines.
type Store struct {
	db   *sql.DB
	path string
	now  func() time.Time

	mu   sync.Mutex // guards snap, and lets one goroutine load it
	snap *snapshot
}

// Open opens the inventory at path, creates it where there is none, and brings its schema up to date. It returns
// [ErrNewerSchema] for a file of a newer version.
func Open(ctx context.Context, path string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open inventory %q: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
		return nil, fmt.Errorf("open inventory %q: %w", path, err)
	}
	// SQLite would create the file readable for everyone.
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open inventory %q: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open inventory %q: %w", path, err)
	}
	db, err := sql.Open("sqlite", dsn(abs))
	if err != nil {
		return nil, fmt.Errorf("open inventory %q: %w", path, err)
	}
	db.SetMaxOpenConns(max(4, runtime.NumCPU()))
	s := &Store{db: db, path: abs, now: time.Now}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open inventory %q: %w", path, err), db.Close())
	}
	return s, nil
}

func dsn(abs string) string {
	p := filepath.ToSlash(abs)
	if filepath.VolumeName(abs) != "" && p[0] != '/' {
		p = "/" + p // file:///C:/...
	}
	return "file://" + (&url.URL{Path: p}).EscapedPath() + fmt.Sprintf("?_txlock=immediate&_pragma=busy_timeout(%d)"+
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)", busyTimeout.Milliseconds())
}

// Close closes the file. Running calls are waited for.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close inventory %q: %w", s.path, err)
	}
	return nil
}

// Schema is the application ID of an inventory file and the version that this program writes.
func Schema() (application, version int) {
	files, _ := fs.Glob(migrations, "migrations/*.sql") //nolint:errcheck // the pattern is right
	return applicationID, len(files)
}

// migrate applies what is missing, each migration in a transaction of its own. Processes that open the file at the
// same time wait for each other and look again.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(files)
	for {
		done, err := s.migrateOne(ctx, files)
		if err != nil || done {
			return err
		}
	}
}

func (s *Store) migrateOne(ctx context.Context, files []string) (done bool, err error) {
	version, err := s.version(ctx, s.db, len(files))
	if err != nil || version == len(files) {
		return true, err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	if version, err = s.version(ctx, tx, len(files)); err != nil || version == len(files) {
		return true, err
	}
	script, err := migrations.ReadFile(files[version])
	if err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return false, fmt.Errorf("bring schema to version %d: %w", version+1, err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", version+1, applicationID)); err != nil {
		return false, err
	}
	return false, tx.Commit()
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// version reads the number of the schema and refuses files that are not ours or too new.
func (s *Store) version(ctx context.Context, q querier, known int) (int, error) {
	var version, app, tables int
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, hint.Wrap(err, "the file is damaged or no inventory; move it away and sync again")
	}
	if err := q.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return 0, err
	}
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return 0, err
	}
	switch {
	case app != applicationID && (tables > 0 || version > 0):
		return 0, hint.Wrap(errors.New("the file is another program's database"), "give the inventory a file of its own")
	case version > known:
		return 0, hint.Wrap(fmt.Errorf("%w: schema %d, this one knows %d", ErrNewerSchema, version, known), "update fleetmend on this computer")
	}
	return version, nil
}

// write runs do in one transaction, which other processes see whole or not at all, and counts the generation up.
func (s *Store) write(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE generation SET n = n + 1"); err != nil {
		return err
	}
	return tx.Commit()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
