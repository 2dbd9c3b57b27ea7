package bitlocker

import (
	"context"
	"database/sql"
	_ "embed" // the schema
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/bitlocker/audit"
	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

//go:embed vault.sql
var vaultSchema string

//go:embed vault2.sql
var vaultRotation string

//go:embed vault3.sql
var vaultGUID string

//go:embed vault4.sql
var vaultDigest string

// Auditor records what is done with keys before it is done; [audit.Log] is one.
type Auditor interface {
	Append(ctx context.Context, entries ...audit.Entry) ([]audit.Entry, error)
}

// Options say how a vault works.
type Options struct {
	Audit   Auditor          // required for everything that gives a password away
	Keyring Keyring          // nil: the keyring of the operating system
	Now     func() time.Time // nil: time.Now
	Work    int              // log2 of the cost of a passphrase (age's scrypt work factor); 0: age's default of about a second
}

// Vault keeps key references, and recovery passwords sealed with a data key, in one SQLite file. References are found
// while it is locked; passwords need [Vault.Unlock]. It is safe for use by many goroutines, and several processes may
// use one file.
type Vault struct {
	db      *sqlitefile.DB
	path    string
	audit   Auditor
	keyring Keyring
	now     func() time.Time
	work    int

	mu  sync.RWMutex
	key []byte // data key; nil while locked
}

// OpenVault opens the vault at path or creates it (mode 0600). It is locked; a new one has no data key until
// [Vault.Protect].
func OpenVault(ctx context.Context, path string, o Options) (*Vault, error) {
	db, err := sqlitefile.Open(ctx, path, vaultFile)
	if err != nil {
		return nil, err
	}
	v := &Vault{db: db, path: path, audit: o.Audit, keyring: o.Keyring, now: o.Now, work: o.Work}
	if v.now == nil {
		v.now = time.Now
	}
	if v.keyring == nil {
		v.keyring = systemKeyring{}
	}
	if err := v.repair(ctx); err != nil && ctx.Err() != nil { // without them a search is slower and finds the same
		return nil, errors.Join(fmt.Errorf("open key vault %q: %w", path, err), db.Close())
	}
	return v, nil
}

var vaultFile = sqlitefile.Kind{What: "key vault", ApplicationID: 0x666c6d6b, Migrations: []string{vaultSchema, vaultRotation, vaultGUID, vaultDigest}, Wiped: true, CacheKB: 8_000,
	Damaged: "keep it, move it away and import your last snapshot"}

// Schema is the application ID of a vault file and the version that this program writes.
func Schema() (application, version int) {
	return int(vaultFile.ApplicationID), len(vaultFile.Migrations)
}

// Watch tells whether anything in the vault was changed, by this process or another. It is closed before the vault.
func (v *Vault) Watch(ctx context.Context) (*sqlitefile.Watch, error) { return v.db.Watch(ctx) }

// Close locks the vault and closes the file.
func (v *Vault) Close() error {
	v.Lock()
	return v.db.Close()
}

// Status is what a vault says of itself without being unlocked.
type Status struct {
	ID        string        `json:"id"`
	Unlocked  bool          `json:"unlocked"`
	Slots     []Slot        `json:"slots"` // none: it holds no data key yet
	Refs      int           `json:"refs"`
	Passwords int           `json:"passwords"` // sealed in the vault
	Sources   []SourceState `json:"sources"`
}

// SourceState says what the vault knows of a source.
type SourceState struct {
	Source string    `json:"source"`
	Synced time.Time `json:"synced,omitzero"` // last reading; zero: it came with a snapshot
	Full   time.Time `json:"full,omitzero"`   // last whole reading
	Refs   int       `json:"refs"`
}

// Status reads the status.
func (v *Vault) Status(ctx context.Context) (Status, error) {
	s := Status{Unlocked: v.dataKey() != nil}
	err := v.db.QueryRowContext(ctx, "SELECT id, (SELECT count(*) FROM refs), (SELECT count(*) FROM passwords) FROM vault").Scan(&s.ID, &s.Refs, &s.Passwords)
	if err == nil {
		s.Slots, err = v.slots(ctx)
	}
	if err == nil {
		s.Sources, err = v.Sources(ctx)
	}
	if err != nil {
		return Status{}, fmt.Errorf("read key vault: %w", err)
	}
	return s, nil
}

// Synced gives the time of the last reading of each source that was ever read.
func (v *Vault) Synced(ctx context.Context) (map[string]time.Time, error) {
	rows, err := v.db.QueryContext(ctx, "SELECT source, synced FROM sources")
	if err != nil {
		return nil, fmt.Errorf("read sources of keys: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]time.Time{}
	for rows.Next() {
		var source string
		var synced int64
		if err := rows.Scan(&source, &synced); err != nil {
			return nil, fmt.Errorf("read sources of keys: %w", err)
		}
		out[source] = fromNanos(synced)
	}
	return out, rows.Err()
}

// Sources lists the sources whose keys the vault knows, and counts the keys of each.
func (v *Vault) Sources(ctx context.Context) ([]SourceState, error) {
	rows, err := v.db.QueryContext(ctx, `SELECT n.source, coalesce(s.synced, 0), coalesce(s.full, 0), n.refs FROM
		(SELECT source, sum(refs) AS refs FROM (SELECT source, count(*) AS refs FROM refs GROUP BY source UNION ALL SELECT source, 0 FROM sources) GROUP BY source) n
		LEFT JOIN sources s USING (source) ORDER BY n.source`)
	if err != nil {
		return nil, fmt.Errorf("read sources of keys: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []SourceState
	for rows.Next() {
		var s SourceState
		var synced, full int64
		if err := rows.Scan(&s.Source, &synced, &full, &s.Refs); err != nil {
			return nil, fmt.Errorf("read sources of keys: %w", err)
		}
		s.Synced, s.Full = fromNanos(synced), fromNanos(full)
		out = append(out, s)
	}
	return out, rows.Err()
}

func (v *Vault) write(ctx context.Context, do func(tx *sql.Tx) error) error {
	return write(ctx, v.db, do)
}

// writer begins transactions: the file, or a connection for many of them.
type writer interface {
	Write(ctx context.Context) (*sql.Tx, error)
}

func write(ctx context.Context, to writer, do func(tx *sql.Tx) error) error {
	tx, err := to.Write(ctx)
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
