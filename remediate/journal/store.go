package journal

import (
	"context"
	_ "embed" // a migration
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
	"github.com/fleetmend/fleetmend/internal/statefolder"
)

// Journal is an open journal file. It is safe for concurrent use, and any number of processes may have it open.
type Journal struct {
	db   *sqlitefile.DB
	path string // absolute

	mu       sync.Mutex
	sessions int
	kin      map[string][]string // ID of a machine that was joined with others -> all its IDs; see Joined
}

// Option changes how a journal is opened.
type Option func(*settings)

type settings struct{ maxBytes int64 }

// MaxBytes bounds the size of the journal file. A run that would make it grow further stops as on a full disk.
func MaxBytes(n int64) Option { return func(s *settings) { s.maxBytes = n } }

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
	db, err := sqlitefile.Open(ctx, abs, sqlitefile.Kind{What: "journal", ApplicationID: applicationID, Migrations: migrations, MaxBytes: set.maxBytes,
		Make: makeFile, Place: onThisComputer, Damaged: "move it away and give the journal a file of its own"})
	if err != nil {
		return nil, err
	}
	j := &Journal{db: db, path: abs}
	j.room(0)
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
	makeFile       = sqlitefile.Make
	onThisComputer = statefolder.Local
)

// ErrReadOnly is returned for every change of a journal that lies where nothing can be written.
var ErrReadOnly = sqlitefile.ErrReadOnly

// Close ends the use of the file. A Session is closed before it.
func (j *Journal) Close() error { return j.db.Close() }

// applicationID marks the file as ours: "fmj1".
const applicationID = 0x666d6a31

//go:embed cases.sql
var casesSchema string

//go:embed digest.sql
var digestSchema string

//go:embed signins.sql
var signInsSchema string

//go:embed steps.sql
var stepsSchema string

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
`, casesSchema, `
-- What an incident was opened with, so that the commands which are proposed before its first run can be typed.
ALTER TABLE incidents ADD COLUMN file TEXT NOT NULL DEFAULT '';
ALTER TABLE incidents ADD COLUMN parameters TEXT NOT NULL DEFAULT '';
`, derived + `
-- What runs that were over had still claimed.
DELETE FROM claims WHERE run NOT IN (SELECT n FROM runs WHERE status IN ('running', 'paused', 'waiting', 'interrupted'));
`, digestSchema, signInsSchema, stepsSchema, `
-- Domains in which a sign-in counts no more, though it does elsewhere: JSON, "*" for all but that of its machine. See remediate/signin.
ALTER TABLE signins ADD COLUMN spared TEXT NOT NULL DEFAULT '[]';
`}

// derived makes the cases anew, for a journal that was written when another rule held: what was fixed did not stay fixed.
var derived = "DELETE FROM cases;" + casesOfAll + ";" + strings.NewReplacer("?1", "''", "?2", "'[]'").Replace(markRule) + ";"

// Schema is the application ID of a journal file and the version that this program writes.
func Schema() (application, version int) { return applicationID, len(migrations) }
