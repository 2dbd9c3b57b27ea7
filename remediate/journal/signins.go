package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/signin"
)

// ElseDone ends the reason of a run that left machines out because an account was not accepted there, and went on with all others.
const ElseDone = "; all else is done"

// AskedLater ends the reason of a run that was interrupted because an account was not accepted, while machines may have been changed.
const AskedLater = " asked when the run is resumed"

// SignIns is the book of sign-ins of a state folder: all its runs share it. It implements [signin.Book], and is safe for
// concurrent use.
type SignIns struct {
	journal *Journal

	mu    sync.Mutex
	queue []signInChange
	busy  bool // somebody commits, for all who came meanwhile
}

type signInChange struct {
	apply func(*sql.Tx) error
	done  chan error
}

var _ signin.Book = (*SignIns)(nil)

// SignIns opens the book of sign-ins.
func (j *Journal) SignIns() *SignIns { return &SignIns{journal: j} }

// signInLock is the right of one process to sign in with an account. The file's first bytes are the mark.
type signInLock struct {
	f    *os.File
	mark int64
}

// Lock implements [signin.Book].
func (s *SignIns) Lock(ctx context.Context, account string) (signin.Lock, error) {
	sum := sha256.Sum256([]byte(account))
	path := filepath.Join(s.journal.locks(), "signin-"+hex.EncodeToString(sum[:8]))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = makeLocks(s.journal.locks()); err == nil {
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for err = tryLock(f, true); errors.Is(err, errHeld); err = tryLock(f, true) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &signInLock{f: f}
	var b [8]byte
	if n, _ := f.ReadAt(b[:], 0); n == len(b) { //nolint:errcheck // an empty file is one that nobody had
		l.mark = int64(binary.LittleEndian.Uint64(b[:])) //nolint:gosec // a number that goes round is one as well
	}
	return l, nil
}

// Mark implements [signin.Lock].
func (l *signInLock) Mark() int64 { return l.mark }

// Note implements [signin.Lock].
func (l *signInLock) Note(mark int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(mark)) //nolint:gosec // see above
	_, err := l.f.WriteAt(b[:], 0)
	return err
}

// Release implements [signin.Lock]. The file stays: who waits for it has it open.
func (l *signInLock) Release() error { return errors.Join(unlock(l.f), l.f.Close()) }

// change commits a change, together with those that come meanwhile.
func (s *SignIns) change(ctx context.Context, apply func(*sql.Tx) error) error {
	mine := signInChange{apply, make(chan error, 1)}
	s.mu.Lock()
	s.queue = append(s.queue, mine)
	lead := !s.busy
	s.busy = true
	s.mu.Unlock()
	for lead {
		s.mu.Lock()
		changes := s.queue
		s.queue = nil
		lead = len(changes) > 0
		s.busy = lead
		s.mu.Unlock()
		if lead {
			err := s.commit(context.WithoutCancel(ctx), changes)
			for _, c := range changes {
				c.done <- err
			}
		}
	}
	return <-mine.done
}

func (s *SignIns) commit(ctx context.Context, changes []signInChange) error {
	tx, err := s.journal.write(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	for _, c := range changes {
		if err := c.apply(tx); err != nil {
			return explain(err)
		}
	}
	return explain(tx.Commit())
}

// Add implements [signin.Book].
func (s *SignIns) Add(ctx context.Context, e signin.Entry) (n int64, _ error) {
	target, err := encode(e.Target)
	if err != nil {
		return 0, err
	}
	err = s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "INSERT INTO signins (account, domain, machine, target, time, state) VALUES (?,?,?,?,?,?)",
			e.Account, e.Domain, e.Target.ID, target, ms(e.Time), string(e.State))
		if err == nil {
			n, err = result.LastInsertId()
		}
		return err
	})
	return n, err
}

// Settle implements [signin.Book].
func (s *SignIns) Settle(ctx context.Context, state signin.State, numbers ...int64) error {
	list, err := encode(numbers)
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE signins SET state = ? WHERE n IN (SELECT value FROM json_each(?))", string(state), list)
		return err
	})
}

// Spare implements [signin.Book].
func (s *SignIns) Spare(ctx context.Context, domain string, numbers ...int64) error {
	list, err := encode(numbers)
	if err != nil {
		return err
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE signins SET spared = json_insert(spared, '$[#]', ?) WHERE n IN (SELECT value FROM json_each(?))", domain, list)
		return err
	})
}

// Against implements [signin.Book].
func (s *SignIns) Against(ctx context.Context, account string, since time.Time) ([]signin.Entry, error) {
	rows, err := s.journal.db.QueryContext(ctx, "SELECT n, domain, target, time, state, spared FROM signins WHERE account = ? AND time > ? AND state IN (?,?,?) ORDER BY n",
		account, ms(since), string(signin.Sent), string(signin.Refused), string(signin.Unanswered))
	if err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", err)
	}
	return collect(rows, func(rows *sql.Rows) (signin.Entry, error) {
		e := signin.Entry{Account: account}
		var target, spared string
		var at int64
		if err := rows.Scan(&e.N, &e.Domain, &target, &at, &e.State, &spared); err != nil {
			return e, err
		}
		e.Time = time.UnixMilli(at)
		return e, errors.Join(json.Unmarshal([]byte(target), &e.Target), json.Unmarshal([]byte(spared), &e.Spared))
	})
}

// Took implements [signin.Book].
func (s *SignIns) Took(ctx context.Context, account, domain string, most int) ([]route.Target, error) {
	rows, err := s.journal.db.QueryContext(ctx, `SELECT target FROM signins WHERE n IN (SELECT max(n) FROM signins WHERE account = ? AND domain = ? GROUP BY machine)
		AND state = ? ORDER BY n DESC LIMIT ?`, account, domain, string(signin.Accepted), most)
	if err != nil {
		return nil, fmt.Errorf("read who took an account: %w", err)
	}
	return collect(rows, func(rows *sql.Rows) (t route.Target, err error) {
		var text string
		if err = rows.Scan(&text); err == nil {
			err = json.Unmarshal([]byte(text), &t)
		}
		return t, err
	})
}
