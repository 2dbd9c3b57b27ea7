package journal

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// maxBatch bounds the changes that share one commit: enough for a thousand workers, short enough that a reader or an
// operator's wish gets its turn.
const maxBatch = 1024

// gather is how long a batch waits for more where the one before it had several: then many are at work, and a commit costs the processor
// as much as dozens of events. Who works alone waits for nothing.
const gather = 10 * time.Millisecond

// op is one change on its way to the writer. check judges it against the rows as they are by then, apply writes it.
type op struct {
	check func() error
	apply func(*batch) error
	lease func() []string // machines to claim; one that another run has refuses the op; nil: none
	done  chan error
}

// batch is the transaction that several ops share. Background is the right context: half a batch is worth nothing.
type batch struct {
	s      *Session
	now    time.Time
	events []Event
	leaves []string // machines whose claim may be over
}

// commit hands a change to the writer and waits until it is durable.
func (s *Session) commit(check func() error, apply func(*batch) error) error {
	return s.hand(op{check: check, apply: apply})
}

func (s *Session) hand(o op) error {
	o.done = make(chan error, 1)
	select {
	case <-s.closed:
		return ErrClosed
	case s.ops <- o:
	}
	select {
	case err := <-o.done:
		return err
	case <-s.ended:
		select {
		case err := <-o.done:
			return err
		default:
			return ErrClosed
		}
	}
}

// write is the session's one writing goroutine.
func (s *Session) write() {
	defer close(s.ended)
	var broken error
	several := false
	for {
		var ops []op
		select {
		case o := <-s.ops:
			ops = append(ops, o)
		case <-s.closed:
			select {
			case o := <-s.ops:
				ops = append(ops, o)
			default:
				return
			}
		}
		if several {
			select {
			case <-time.After(gather):
			case <-s.closed:
			}
		}
		for more := true; more && len(ops) < maxBatch; {
			select {
			case o := <-s.ops:
				ops = append(ops, o)
			default:
				more = false
			}
		}
		several = len(ops) > 1
		if broken != nil {
			for _, o := range ops {
				o.done <- broken
			}
		} else {
			broken = s.writeBatch(ops)
		}
	}
}

// writeBatch commits ops together and answers them. A change that the state machine refuses is answered alone; an error
// of the database breaks the session.
func (s *Session) writeBatch(ops []op) error {
	b := &batch{s: s, now: time.Now()}
	refused := make([]error, len(ops))
	err := s.start()
	if err == nil {
		if err = b.apply(ops, refused); err == nil {
			err = s.exec("COMMIT")
		}
		if err != nil {
			_ = s.exec("ROLLBACK") //nolint:errcheck // the first error is the one to tell; a full disk may have rolled back already
		}
	}
	if err != nil {
		broken := &WriteError{Run: s.id, Err: explain(err)}
		for _, o := range ops {
			o.done <- broken
		}
		return broken
	}
	for _, e := range b.events {
		s.observe(e)
	}
	for i, o := range ops {
		o.done <- refused[i]
	}
	return nil
}

// start begins a transaction, when it is the session's turn.
func (s *Session) start() error {
	if err := s.turn.wait(context.Background()); err != nil {
		return err
	}
	return errors.Join(s.exec("BEGIN IMMEDIATE"), s.turn.leave())
}

// apply writes the ops and says which of them were refused.
func (b *batch) apply(ops []op, refused []error) error {
	leases, taken, err := b.s.claim(ops)
	if err != nil {
		return err
	}
	for i, o := range ops {
		if refused[i] = o.check(); refused[i] == nil {
			refused[i] = b.s.barred(leases[i], taken)
		}
		if refused[i] != nil {
			b.leaves = append(b.leaves, leases[i]...)
			continue
		}
		if err := o.apply(b); err != nil {
			return err
		}
	}
	return b.free()
}

// exec runs a statement on the session's connection, prepared once.
func (s *Session) exec(query string, args ...any) error {
	stmt, err := s.statement(query)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(context.Background(), args...)
	return err
}

func (s *Session) statement(query string) (*sql.Stmt, error) {
	stmt := s.prepare[query]
	if stmt == nil {
		var err error
		if stmt, err = s.conn.PrepareContext(context.Background(), query); err != nil {
			return nil, err
		}
		s.prepare[query] = stmt
	}
	return stmt, nil
}

// event records a line of history in the batch.
func (b *batch) event(pos int, e Event) error {
	b.s.seq++
	e.Run, e.Seq, e.Time = b.s.id, b.s.seq, b.now.UTC().Truncate(time.Millisecond)
	b.events = append(b.events, e)
	return b.s.exec("INSERT INTO events (run, seq, time, kind, wave, pos, state, outcome, class, text) VALUES (?,?,?,?,?,?,?,?,?,?)",
		b.s.n, e.Seq, ms(b.now), string(e.Kind), e.Wave, pos, string(e.State), string(e.Outcome), string(e.Class), e.Text)
}

// explain adds what to do about a full disk or a failing one.
func explain(err error) error {
	var text string
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "is full"):
		text = "free some space where the journal lies"
	case strings.Contains(err.Error(), "I/O error"):
		text = "the disk of the journal is failing or full: look at it before anything else"
	case strings.Contains(err.Error(), "readonly"):
		text = "the journal must be writable for the one who runs fleetmend"
	default:
		return err
	}
	return hint.Wrap(err, text)
}

// SetStatus records that the run is running, paused or waiting for approval, with an event that says so.
func (s *Session) SetStatus(status Status, kind Kind, wave int, text string) error {
	return s.commit(nop, func(b *batch) error {
		if err := s.exec("UPDATE runs SET status = ?, reason = '', ended = 0 WHERE n = ?", string(status), s.n); err != nil {
			return err
		}
		return b.event(-1, Event{Kind: kind, Wave: wave, Text: text})
	})
}

// Note records an event about the run or a wave.
func (s *Session) Note(kind Kind, wave int, text string) error {
	return s.commit(nop, func(b *batch) error { return b.event(-1, Event{Kind: kind, Wave: wave, Text: text}) })
}

// FinishWave records that a wave is over, soak and gate included; a resumed run begins after it.
func (s *Session) FinishWave(wave int) error {
	return s.commit(nop, func(b *batch) error {
		if err := s.exec("UPDATE runs SET finished = ? WHERE n = ?", wave, s.n); err != nil {
			return err
		}
		return b.event(-1, Event{Kind: WaveEnded, Wave: wave})
	})
}

// Obeyed records the number of the last wish that was obeyed.
func (s *Session) Obeyed(control int64) error {
	return s.commit(nop, func(*batch) error {
		return s.exec("UPDATE runs SET control_seq = ? WHERE n = ?", control, s.n)
	})
}

// End records how the run ended. A final status is refused while a machine is not done.
func (s *Session) End(status Status, reason string) error {
	check := func() error {
		if !status.Final() {
			return nil
		}
		for i := range s.rows {
			if s.rows[i].state != Done {
				return &TransitionError{Machine: s.rows[i].name, From: s.rows[i].state, To: Done, Why: "the run would end without it"}
			}
		}
		return nil
	}
	return s.commit(check, func(b *batch) error {
		counts := ""
		if status.Final() {
			tally, err := countOutcomes(context.Background(), s.conn, s.n)
			if err != nil {
				return err
			}
			if counts, err = encode(tally); err != nil {
				return err
			}
			if err := s.exec(freeAll, s.n); err != nil {
				return err
			}
		}
		if err := s.exec("UPDATE runs SET status = ?, reason = ?, counts = ?, ended = ? WHERE n = ?", string(status), reason, counts, ms(b.now), s.n); err != nil {
			return err
		}
		text := string(status)
		if reason != "" {
			text += ": " + reason
		}
		return b.event(-1, Event{Kind: RunEnded, Text: text})
	})
}

func nop() error { return nil }

var _ querier = (*sql.Conn)(nil)

var errNoMachine = errors.New("no such machine in this run")
