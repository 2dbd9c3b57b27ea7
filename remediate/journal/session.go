package journal

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// Session is the right to write one run: it holds the run's lock and the one goroutine that commits. Sessions of other runs
// may be open at the same time, in this process and in others. Its methods are safe for concurrent use, and each returns only after its change is durably on disk; changes that come while a commit
// is under way share the next one. A commit cannot be cancelled, so the methods that make one take no context.
//
// After the first error of the disk or database the session is broken: every later change returns a *WriteError, so
// that nothing is done that cannot be recorded.
type Session struct {
	journal *Journal
	lock    *runLock
	turn    *turn
	file    os.FileInfo // of the journal, as it was when the session was opened
	conn    *sql.Conn
	prepare map[string]*sql.Stmt
	observe func(Event)

	id       string
	n        int64
	plan     *plan.Plan
	incident string // of the run; empty: its outcomes belong to no case

	kin  map[string][]string // as it was when the session was opened
	mine map[string]string   // an ID of such a machine -> that of the row which has it claimed; owned by the writer goroutine

	rows    []row          // by position, owned by the writer goroutine
	index   map[string]int // machine ID -> position; never written after begin
	seq     int64
	control int64
	earlier int64 // the last wish to an earlier life of the run

	ops    chan op
	closed chan struct{} // Close was called
	ended  chan struct{} // the writer has returned
	once   sync.Once
	err    error // of closing
}

// row is what the writer must know of a machine to judge a transition.
type row struct {
	state   State
	outcome Outcome
	wave    int
	name    string
}

// WriteError says that a change could not be recorded. The run must stop.
type WriteError struct {
	Run string
	Err error
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("the journal of run %s cannot be written: %v", e.Run, e.Err)
}

// Unwrap returns the error of the database.
func (e *WriteError) Unwrap() error { return e.Err }

// ErrClosed is returned by a session after Close.
var ErrClosed = errors.New("the journal session is closed")

// Create records a new run of the plan, every machine pending, and opens its session. Observe, if not nil, is called in
// order with every event after it was committed, from the one writing goroutine: it must be quick and must not call the
// session. While the journal is brought to a new version, a *LockedError says so.
func (j *Journal) Create(ctx context.Context, p *plan.Plan, observe func(Event)) (*Session, error) {
	now := time.Now()
	s, err := j.open(ctx, newID(now), observe)
	if err != nil {
		return nil, err
	}
	s.plan = p
	if err := s.insert(ctx, p, now); err != nil {
		return nil, errors.Join(fmt.Errorf("create run: %w", explain(err)), s.abandon())
	}
	s.launch()
	return s, nil
}

// Resume opens a session for a run that is not over, with its machines as they were left. Errors are those of Create, a
// *LockedError that names the process that works on it, *NotFoundError, and *EndedError for a run that is final.
func (j *Journal) Resume(ctx context.Context, id string, observe func(Event)) (*Session, error) {
	if _, err := j.Run(ctx, id); err != nil {
		return nil, err
	}
	s, err := j.open(ctx, id, observe)
	if err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	s.launch()
	return s, nil
}

func (j *Journal) open(ctx context.Context, id string, observe func(Event)) (*Session, error) {
	if err := j.db.Writable(); err != nil {
		return nil, err
	}
	lock, err := j.lockRun(ctx, id)
	if err != nil {
		return nil, err
	}
	file, err := os.Stat(j.path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal session: %w", err), lock.release())
	}
	turn, err := j.openTurn()
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	j.room(1)
	conn, err := j.db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "PRAGMA busy_timeout = 300000") // a run does not end because another process was slow
	}
	if err != nil {
		j.room(-1)
		return nil, errors.Join(fmt.Errorf("open journal session: %w", err), turn.close(), lock.release())
	}
	if observe == nil {
		observe = func(Event) {}
	}
	j.mu.Lock()
	kin := j.kin
	j.mu.Unlock()
	return &Session{kin: kin, mine: map[string]string{}, journal: j, lock: lock, turn: turn, file: file, conn: conn, observe: observe, id: id,
		prepare: map[string]*sql.Stmt{}, index: map[string]int{},
		ops: make(chan op, maxBatch), closed: make(chan struct{}), ended: make(chan struct{})}, nil
}

func (s *Session) abandon() error {
	var errs []error
	for _, stmt := range s.prepare {
		errs = append(errs, stmt.Close())
	}
	errs = append(errs, s.conn.Close(), s.turn.close(), s.lock.release())
	s.journal.room(-1)
	return errors.Join(errs...)
}

// ID is the run's ID.
func (s *Session) ID() string { return s.id }

// Plan is the frozen plan of the run; nobody changes it.
func (s *Session) Plan() *plan.Plan { return s.plan }

// ControlSeq is the number of the last wish that was obeyed when the session was opened.
func (s *Session) ControlSeq() int64 { return s.control }

// Earlier is the number of the last wish that was left before the session was opened: it was meant for an earlier life of the run.
func (s *Session) Earlier() int64 { return s.earlier }

// newID makes IDs that sort by time: 20240719-041233-k3f9x2.
func newID(now time.Time) string {
	const letters = "abcdefghjkmnpqrstuvwxyz23456789"
	var b [6]byte
	_, _ = rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return now.UTC().Format("20060102-150405-") + string(b[:])
}

func (s *Session) insert(ctx context.Context, p *plan.Plan, now time.Time) error {
	if err := s.turn.wait(ctx); err != nil {
		return err
	}
	tx, err := s.conn.BeginTx(ctx, nil)
	if err = errors.Join(err, s.turn.leave()); err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if err := s.insertIn(ctx, tx, p, now); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *Session) insertIn(ctx context.Context, tx *sql.Tx, p *plan.Plan, now time.Time) error {
	packed, err := pack(p)
	if err != nil {
		return err
	}
	detect := p.Playbook.DetectDigest()
	if s.incident, err = incidentOf(ctx, tx, p, detect, now); err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO runs (id, started, operator, playbook, mode, undoes, retry_of, status, waves, machines, plan, incident, detect)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`, s.id, ms(now), p.Operator, p.Playbook.Name, p.Mode, p.Undoes, p.RetryOf, RunRunning, len(p.Waves), p.Machines(), packed, s.incident, detect)
	if err != nil {
		return err
	}
	if s.n, err = result.LastInsertId(); err != nil {
		return err
	}
	return s.insertMachines(ctx, tx, p, now)
}

func (s *Session) insertMachines(ctx context.Context, tx *sql.Tx, p *plan.Plan, now time.Time) error {
	add, err := tx.PrepareContext(ctx, `INSERT INTO machines (run, pos, id, name, address, site, subnet, class, priority, wave, route, state, outcome, reason, ended)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`)
	if err != nil {
		return err
	}
	defer add.Close() //nolint:errcheck // the transaction ends it
	for w := range p.Waves {
		for i := range p.Waves[w].Entries {
			e := &p.Waves[w].Entries[i]
			if _, err := add.ExecContext(ctx, s.n, len(s.rows), e.ID, e.Name, e.Address, e.Site, e.Subnet, e.Class, e.Priority, w+1, e.Route, Pending, "", "", 0); err != nil {
				return err
			}
			s.index[e.ID] = len(s.rows)
			s.rows = append(s.rows, row{state: Pending, wave: w + 1, name: e.Name})
		}
	}
	for i, skip := range p.Skipped {
		if _, err := add.ExecContext(ctx, s.n, len(s.rows)+i, skip.ID, skip.Name, "", "", "", "", 0, 0, "", Done, Skipped, skip.Reason, ms(now)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) load(ctx context.Context) error {
	var status Status
	err := s.conn.QueryRowContext(ctx, `SELECT n, incident, status, control_seq, (SELECT coalesce(max(seq), 0) FROM events WHERE run = n),
		(SELECT coalesce(max(seq), 0) FROM controls WHERE run = n) FROM runs WHERE id = ?`, s.id).
		Scan(&s.n, &s.incident, &status, &s.control, &s.seq, &s.earlier)
	if errors.Is(err, sql.ErrNoRows) {
		return hint.Wrap(&NotFoundError{ID: s.id}, "see the runs with `fleetmend runs list`")
	}
	if err != nil {
		return fmt.Errorf("read run %s: %w", s.id, err)
	}
	if status.Final() {
		return hint.Wrapf(&EndedError{Run: s.id, Status: status}, "what it left undone is done by `fleetmend runs retry %s`", s.id)
	}
	if s.plan, err = s.journal.Plan(ctx, s.id); err != nil {
		return err
	}
	rows, err := s.conn.QueryContext(ctx, "SELECT id, name, wave, state, outcome FROM machines WHERE run = ? AND wave > 0 ORDER BY pos", s.n)
	if err != nil {
		return fmt.Errorf("read machines of run %s: %w", s.id, err)
	}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var id string
		var r row
		err := rows.Scan(&id, &r.name, &r.wave, &r.state, &r.outcome)
		s.index[id] = len(s.rows)
		s.rows = append(s.rows, r)
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("read machines of run %s: %w", s.id, err)
	}
	return s.reclaim(ctx)
}

func (s *Session) launch() { go s.write() }

// Close waits for the changes under way and gives the lock back. Where the file of the journal is gone, it writes a copy of what
// it held, and the error, [ErrGone], says where that lies. It may be called more than once.
func (s *Session) Close() error {
	s.once.Do(func() {
		close(s.closed)
		<-s.ended
		if !s.inPlace() {
			s.err = s.rescue()
		}
		if err := s.abandon(); err != nil && s.err == nil {
			s.err = fmt.Errorf("close journal session: %w", err)
		}
	})
	<-s.ended
	return s.err
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
