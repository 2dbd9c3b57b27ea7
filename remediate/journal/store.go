package journal

import (
	"context"
	"database/sql"
	_ "embed" // a migration
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver, pure Go

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/statefolder"
)

// Journal is an open journal file. It is safe for concurrent use, and any number of processes may have it open.
type Journal struct {
	db       *sql.DB
	path     string
	readOnly bool
	copy     string // folder of the copy that is read instead

	mu       sync.Mutex
	sessions int
}

// Option changes how a journal is opened.
type Option func(*settings)

type settings struct{ maxBytes int64 }

// MaxBytes bounds the size of the journal file. A run that would make it grow further stops as on a full disk.
func MaxBytes(n int64) Option { return func(s *settings) { s.maxBytes = n } }

// pageSize is SQLite's default; the bound in pages follows from it.
const pageSize = 4096

// Open opens the journal at path and makes it, with its folder, when it is not there. A journal that a newer fleetmend
// wrote is refused, and so is a folder on a network file system. Where nothing can be written the journal is read as it lies
// there at this moment, and every change returns [ErrReadOnly].
func Open(ctx context.Context, path string, options ...Option) (*Journal, error) {
	var set settings
	for _, o := range options {
		o(&set)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{path: abs}
	file := abs
	err = makeFile(abs)
	switch {
	case err == nil:
		err = onThisComputer(filepath.Dir(abs))
	case cannotWrite(abs, err):
		j.readOnly = true
		j.copy, err = copyAside(abs)
		file = filepath.Join(j.copy, filepath.Base(abs))
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if j.db, err = sql.Open("sqlite", dsn(file, set)); err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	j.room(0)
	if err := j.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), j.Close())
	}
	return j, nil
}

// room gives each session a connection of its own beside those that read and those that leave wishes.
func (j *Journal) room(more int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sessions += more
	const others = 5
	j.db.SetMaxOpenConns(others + j.sessions)
}

// makeFile and onThisComputer are these, but in tests.
var (
	makeFile       = touch
	onThisComputer = statefolder.Local
)

// touch makes the file before SQLite does, so that only its owner can read what was run where.
func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// dsn names the file as a URI, so that a '?' or '%' in its path is no parameter. synchronous FULL makes a commit durable
// before it returns, in WAL mode too.
func dsn(abs string, set settings) string {
	slashed := filepath.ToSlash(abs)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed
	}
	// mode rw: a file that was deleted in mid-run is not made anew, empty, by the next connection
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(30000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}}
	if set.maxBytes > 0 {
		q.Add("_pragma", fmt.Sprintf("max_page_count(%d)", max(set.maxBytes/pageSize, 1)))
	}
	return (&url.URL{Scheme: "file", Path: slashed, RawQuery: q.Encode()}).String()
}

// Close ends the use of the file. A Session is closed before it.
func (j *Journal) Close() error {
	err := j.db.Close()
	if j.copy != "" {
		err = errors.Join(err, os.RemoveAll(j.copy))
	}
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// applicationID marks the file as ours: "fmj1".
const applicationID = 0x666d6a31

//go:embed cases.sql
var casesSchema string

// migrations lead from one version of the schema to the next; user_version counts those that were applied.
var migrations = []string{`
CREATE TABLE runs (
  n           INTEGER PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  started     INTEGER NOT NULL,           -- all times: milliseconds since 1970, UTC
  ended       INTEGER NOT NULL DEFAULT 0,
  operator    TEXT NOT NULL,
  playbook    TEXT NOT NULL,
  mode        TEXT NOT NULL,
  undoes      TEXT NOT NULL,
  retry_of    TEXT NOT NULL,
  status      TEXT NOT NULL,
  reason      TEXT NOT NULL DEFAULT '',
  waves       INTEGER NOT NULL,
  finished    INTEGER NOT NULL DEFAULT 0, -- waves that are over
  machines    INTEGER NOT NULL,
  control_seq INTEGER NOT NULL DEFAULT 0, -- the last control that was obeyed
  counts      TEXT NOT NULL DEFAULT '',   -- JSON, once the run has ended
  plan        BLOB NOT NULL               -- gzip of the plan file
) STRICT;
CREATE TABLE machines (
  run      INTEGER NOT NULL REFERENCES runs (n),
  pos      INTEGER NOT NULL,              -- order in the plan
  id       TEXT NOT NULL,
  name     TEXT NOT NULL,
  address  TEXT NOT NULL,
  site     TEXT NOT NULL,
  subnet   TEXT NOT NULL,
  class    TEXT NOT NULL,
  priority INTEGER NOT NULL,
  wave     INTEGER NOT NULL,
  route    TEXT NOT NULL,
  state    TEXT NOT NULL,
  outcome  TEXT NOT NULL DEFAULT '',
  error    TEXT NOT NULL DEFAULT '',      -- class of the last error
  reason   TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0,
  changed  INTEGER NOT NULL DEFAULT 0,
  rebooted INTEGER NOT NULL DEFAULT 0,
  started  INTEGER NOT NULL DEFAULT 0,
  fixed_at INTEGER NOT NULL DEFAULT 0,
  ended    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, pos)
) STRICT, WITHOUT ROWID;
CREATE TABLE results (
  run    INTEGER NOT NULL,
  pos    INTEGER NOT NULL,
  result TEXT NOT NULL,                   -- the agent's answer, JSON
  PRIMARY KEY (run, pos)
) STRICT;
CREATE TABLE events (
  run     INTEGER NOT NULL REFERENCES runs (n),
  seq     INTEGER NOT NULL,
  time    INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  wave    INTEGER NOT NULL,
  pos     INTEGER NOT NULL,               -- -1: not about one machine
  state   TEXT NOT NULL,
  outcome TEXT NOT NULL,
  class   TEXT NOT NULL,
  text    TEXT NOT NULL,
  PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE controls (
  seq  INTEGER PRIMARY KEY AUTOINCREMENT,
  run  INTEGER NOT NULL REFERENCES runs (n),
  kind TEXT NOT NULL,
  who  TEXT NOT NULL,
  time INTEGER NOT NULL
) STRICT;
CREATE INDEX controls_run ON controls (run, seq);
`, `
CREATE TABLE collected (                  -- results that boot media brought back
  run    INTEGER NOT NULL REFERENCES runs (n),
  pos    INTEGER NOT NULL,
  digest TEXT NOT NULL,                   -- SHA-256 of the result's file
  time   INTEGER NOT NULL,
  PRIMARY KEY (run, pos, digest)
) STRICT, WITHOUT ROWID;
`, casesSchema}

// Schema is the application ID of a journal file and the version that this program writes.
func Schema() (application, version int) { return applicationID, len(migrations) }

func (j *Journal) migrate(ctx context.Context) error {
	tx, err := j.db.BeginTx(ctx, nil)
	if err != nil {
		return notOurs(err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var version, app, tables int
	if err := tx.QueryRowContext(ctx, "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)").Scan(&version, &app, &tables); err != nil {
		return notOurs(err)
	}
	switch {
	case app != applicationID && (app != 0 || tables > 0):
		return hint.Wrap(errors.New("this is another program's SQLite file"), "give the journal a file of its own")
	case version > len(migrations):
		return hint.Wrap(fmt.Errorf("it has schema version %d, this program knows %d", version, len(migrations)),
			"a newer fleetmend wrote this journal: use that one, or another journal file")
	case version == len(migrations):
		return nil
	}
	for _, m := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, m); err != nil {
			return fmt.Errorf("migrate schema: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", len(migrations), applicationID)); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

func notOurs(err error) error {
	if err != nil && strings.Contains(err.Error(), "not a database") {
		return hint.Wrap(err, "the file is damaged or no journal; move it away and give the journal a file of its own")
	}
	return err
}
