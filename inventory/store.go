package inventory

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks our files for SQLite: "flmi".
const applicationID = 0x666c6d69

// ErrNewerSchema is returned by [Open] for a file that a newer fleetmend has written.
var ErrNewerSchema = sqlitefile.ErrNewer

// Store keeps the inventory in one SQLite file. Several processes may read it while one writes; writers wait for each
// other. A Store is safe for use by many goroutines.
type Store struct {
	db   *sqlitefile.DB
	path string
	now  func() time.Time

	mu   sync.Mutex // guards snap, and lets one goroutine load it
	snap *snapshot
}

// Open opens the inventory at path, creates it where there is none, and brings its schema up to date. It returns
// [ErrNewerSchema] for a file of a newer version. Where nothing can be written it is read as it lies there at this moment.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := sqlitefile.Open(ctx, path, storeFile)
	if err != nil {
		return nil, err
	}
	return &Store{db: db, path: path, now: time.Now}, nil
}

// storeFile is what an inventory is to SQLite. What is lost with the power is read again from the sources.
var storeFile = sqlitefile.Kind{What: "inventory", ApplicationID: applicationID, Migrations: scripts(), Hasty: true, Damaged: "move it away and sync again"}

// scripts are the migrations in their order.
func scripts() []string {
	files, _ := fs.Glob(migrations, "migrations/*.sql") //nolint:errcheck // the pattern is right
	slices.Sort(files)
	all := make([]string, len(files))
	for i, name := range files {
		text, _ := migrations.ReadFile(name) //nolint:errcheck // it is embedded
		all[i] = string(text)
	}
	return all
}

// Close closes the file. Running calls are waited for.
func (s *Store) Close() error {
	return s.db.Close()
}

// Schema is the application ID of an inventory file and the version that this program writes.
func Schema() (application, version int) { return applicationID, len(storeFile.Migrations) }

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// write runs do in one transaction, which other processes see whole or not at all, and counts the generation up.
func (s *Store) write(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.db.Write(ctx)
	if err != nil {
		return sqlitefile.Explain(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return sqlitefile.Explain(err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE generation SET n = n + 1"); err != nil {
		return sqlitefile.Explain(err)
	}
	return sqlitefile.Explain(tx.Commit())
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
