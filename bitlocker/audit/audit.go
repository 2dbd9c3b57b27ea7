// Package audit is the record of who was shown which recovery password, when and why: an append-only table in which each
// row's hash covers the row before it.
//
// [Log.Append] returns when the entry is on the disk, and [Log.Verify] finds a changed byte, a missing or a moved row,
// and a tail that was cut off, by a head kept in a file of its own (or by one noted elsewhere, see [Log.Head]).
//
// The package never records a password, never changes or removes an entry, and promises no more than a hash chain can:
// someone who may write both files can write a new chain. A head noted on another computer shows that too. A log that is
// broken is never continued: it stays as it is, and [Log.Append] begins a new one beside it, whose first entry says so.
package audit

import (
	"context"
	"crypto/sha256"
	"database/sql"
	_ "embed" // the schema
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/sqlitefile"
	"github.com/fleetmend/fleetmend/internal/textfile"
)

//go:embed audit.sql
var schema string

//go:embed audit2.sql
var schemaRun string

// Action is what was done.
type Action string

// The actions of the key desk. Others may be recorded too.
const (
	Reveal   Action = "reveal"   // a password was shown
	Sheet    Action = "sheet"    // it was printed
	LAPS     Action = "laps"     // the password of a local administrator was read, for a sheet
	Media    Action = "media"    // it was put on a medium
	Fetch    Action = "fetch"    // it was read from its source into the vault
	Export   Action = "export"   // a snapshot of the vault was written
	Import   Action = "import"   // a snapshot was taken in
	Rotate   Action = "rotate"   // it was replaced
	Refused  Action = "refused"  // a reveal that came to nothing, after its entry
	LockKeys Action = "lock-set" // who can unlock the vault was changed
	Begin    Action = "begin"    // the log before this one is broken; Detail says how
)

// Entry is one act. The caller gives Action, Machine, KeyID, Source, Reason and Detail; [Log.Append] adds the rest.
type Entry struct {
	Seq      int64     `json:"seq"` // from 1, without gaps
	Time     time.Time `json:"time"`
	Action   Action    `json:"action"`
	OSUser   string    `json:"os_user"`            // who is logged on to the operating system
	Identity string    `json:"identity,omitempty"` // who the directory was asked as: "helpdesk@fleet.test"
	Host     string    `json:"host,omitempty"`     // the computer where it was done
	Machine  string    `json:"machine,omitempty"`
	KeyID    string    `json:"key_id,omitempty"`
	Source   string    `json:"source,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Run      string    `json:"run,omitempty"` // the run of fleetmend that it tells of
	Previous string    `json:"previous"`      // hash of the entry before, hexadecimal
	Hash     string    `json:"hash"`
}

// Operator is who acts. OSUser is required.
type Operator struct {
	OSUser   string
	Identity string
	Host     string
}

// Log is an audit log. It is safe for use by many goroutines, and by several processes on one computer.
type Log struct {
	first    string // path of the log that all others follow
	operator Operator
	now      func() time.Time

	mu   sync.RWMutex // guards what follows; its writer is the one writer of the head file in this process
	db   *sqlitefile.DB
	path string
	tell func(string)
}

var file = sqlitefile.Kind{What: "audit", ApplicationID: 0x666c6d75, Migrations: []string{schema, schemaRun}, Wiped: true, CacheKB: 8_000, Damaged: "keep it, move it away and import your last snapshot"}

// Schema is the application ID of an audit file and the version that this program writes.
func Schema() (application, version int) { return int(file.ApplicationID), len(file.Migrations) }

// Open opens the log at path or creates it. Its head is kept beside it in path + ".head". Where that log was found broken
// and another one was begun (path-2), the last of them is opened.
func Open(ctx context.Context, path string, operator Operator) (*Log, error) {
	if operator.OSUser == "" {
		return nil, fmt.Errorf("open audit %q: nobody is named who acts", path)
	}
	l := &Log{first: path, operator: operator, now: time.Now, tell: func(string) {}}
	if err := l.open(ctx, Current(path)); err != nil {
		return nil, err
	}
	return l, nil
}

// Current is the path of the log that [Open] opens for a path: the last that follows on it, or itself.
func Current(path string) string {
	last := path
	for n := 2; exists(successor(path, n)); n++ {
		last = successor(path, n)
	}
	return last
}

func (l *Log) open(ctx context.Context, path string) error {
	fresh := !exists(path)
	db, err := sqlitefile.Open(ctx, path, file)
	if err != nil {
		return err
	}
	// An empty log has a head too, so that a head that is missing later was taken away.
	head, err := lastOf(ctx, db)
	if err == nil && head.Seq == 0 && !db.ReadOnly() && (fresh || !exists(path+".head")) {
		err = writeHead(path+".head", head)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open audit %q: %w", path, err), db.Close())
	}
	if l.db != nil {
		err = l.db.Close()
	}
	l.db, l.path = db, path
	return err
}

// Tell says who hears it when a log is found broken and a new one is begun: one sentence for people. It is called during
// [Log.Append].
func (l *Log) Tell(tell func(string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell = tell
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.db.Close()
}

// Append records entries, all or none, and returns them complete when they are on the disk.
func (l *Log) Append(ctx context.Context, entries ...Entry) ([]Entry, error) {
	return l.add(ctx, entries, false)
}

// AppendNew is [Log.Append] for what is told again after a crash: an entry whose run, action, machine, key ID and detail
// stand in the log already is left out. It returns those that were written. Every entry must name a run. Versions before
// wrote the run into the reason alone ("run ID"); those entries count as well.
func (l *Log) AppendNew(ctx context.Context, entries ...Entry) ([]Entry, error) {
	for _, e := range entries {
		if e.Run == "" {
			return nil, errors.New("write audit: an entry that is to be written once names no run")
		}
	}
	return l.add(ctx, entries, true)
}

func (l *Log) add(ctx context.Context, entries []Entry, once bool) ([]Entry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out, err := l.append(ctx, entries, once)
	var broken *BrokenError
	if errors.As(err, &broken) {
		if err = l.succeed(ctx, broken); err == nil {
			out, err = l.append(ctx, entries, once)
		}
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("write audit: %w", sqlitefile.Explain(err)), "no key is shown without its entry in the audit; see whether the disk is full or the file read-only")
	}
	return out, nil
}

func (l *Log) append(ctx context.Context, entries []Entry, once bool) ([]Entry, error) {
	tx, err := l.db.Write(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	head, err := l.sound(ctx, tx)
	if err != nil {
		return nil, err
	}
	written := map[Entry]bool{}
	out := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if once {
			if err := l.writtenOf(ctx, tx, e.Run, written); err != nil {
				return nil, err
			}
			known := e.identity()
			if written[known] {
				continue
			}
			written[known] = true
		}
		e.Seq, e.Time = head.Seq+1, l.now().UTC()
		e.OSUser, e.Host = l.operator.OSUser, l.operator.Host
		if e.Identity == "" {
			e.Identity = l.operator.Identity
		}
		e.Previous = head.Hash
		e.clean()
		sum := e.sum()
		e.Hash = hex.EncodeToString(sum[:])
		previous, err := hex.DecodeString(e.Previous)
		if err != nil {
			return nil, fmt.Errorf("hash of entry %d: %w", head.Seq, err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO entries ("+columns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", e.Seq, e.Time.Format(time.RFC3339Nano),
			e.Action, e.OSUser, e.Identity, e.Host, e.Machine, e.KeyID, e.Source, e.Reason, e.Detail, e.Run, previous, sum[:]); err != nil {
			return nil, err
		}
		head = Head{e.Seq, e.Hash}
		out = append(out, e)
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return out, writeHead(l.path+".head", head)
}

// clean keeps what is recorded on one line and valid UTF-8, and of bounded length.
func (e *Entry) clean() {
	for _, s := range []*string{&e.OSUser, &e.Identity, &e.Host, &e.Machine, &e.KeyID, &e.Source, &e.Reason, &e.Detail, &e.Run} {
		*s = prose.OneLine(strings.ToValidUTF8(strings.TrimSpace(*s), "\ufffd"))
		if r := []rune(*s); len(r) > 2000 {
			*s = string(r[:2000])
		}
	}
}

// sum is the SHA-256 over the previous hash and every field, each with its length before it (8 bytes, big endian), so that
// nothing can be moved from one field to the next. Run came later and counts only where it is filled, so that entries of
// before keep their hash.
func (e *Entry) sum() [sha256.Size]byte {
	h := sha256.New()
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	field([]byte("fleetmend audit 1"))
	field([]byte(e.Previous))
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(e.Seq))
	field(n[:])
	for _, s := range []string{e.Time.UTC().Format(time.RFC3339Nano), string(e.Action), e.OSUser, e.Identity, e.Host, e.Machine, e.KeyID, e.Source, e.Reason, e.Detail} {
		field([]byte(s))
	}
	if e.Run != "" {
		field([]byte(e.Run))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Head is the last entry of a log. Noted elsewhere, it proves later that nothing before it was changed or removed.
type Head struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// String is the form [ParseHead] reads: "17:3fa1...".
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// ParseHead reads what [Head.String] gives.
func ParseHead(s string) (Head, error) {
	var h Head
	number, hash, ok := strings.Cut(strings.TrimSpace(s), ":")
	if _, err := fmt.Sscanf(number, "%d", &h.Seq); err != nil || !ok || h.Seq < 0 || fmt.Sprint(h.Seq) != number {
		return Head{}, fmt.Errorf("audit head: want NUMBER:HASH")
	}
	if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size && h.Seq > 0 {
		return Head{}, fmt.Errorf("audit head: the hash is not 64 hexadecimal digits")
	}
	h.Hash = strings.ToLower(hash)
	return h, nil
}

// Head returns the last entry's number and hash. An empty log has the zero Head.
func (l *Log) Head(ctx context.Context) (Head, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	h, err := lastOf(ctx, l.db)
	if err != nil {
		return Head{}, fmt.Errorf("read audit: %w", err)
	}
	return h, nil
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func lastOf(ctx context.Context, q querier) (Head, error) {
	var h Head
	var hash []byte
	err := q.QueryRowContext(ctx, "SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").Scan(&h.Seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return Head{}, nil
	}
	h.Hash = hex.EncodeToString(hash)
	return h, err
}

func readHead(path string) (Head, bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Head{}, false, nil
	}
	if err != nil {
		return Head{}, false, err
	}
	h, err := ParseHead(string(data))
	if err != nil {
		return Head{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return h, true, nil
}

// writeHead replaces the head file in one step. It lags behind for an instant after a commit, which Verify allows; it is
// never ahead, and an older head never replaces a newer one within this process.
func writeHead(path string, h Head) error {
	if kept, ok, err := readHead(path); err == nil && ok && kept.Seq >= h.Seq {
		return nil // another process went on meanwhile
	}
	err := textfile.Write(path, textfile.Private, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, h)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep head: %w", err)
	}
	return nil
}
