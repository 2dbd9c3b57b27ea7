package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Control is a wish of an operator to a run that another process executes.
type Control struct {
	Seq  int64       `json:"seq"`
	Kind ControlKind `json:"kind"`
	Wave int         `json:"wave,omitempty"` // of an approval: the wave that may begin; of a cancel: the one that was refused, 0 for none
	Who  string      `json:"who"`
	Time time.Time   `json:"time"`
}

// ControlKind is what is wished.
type ControlKind string

// The wishes. Pause starts no new machines until Resume; Cancel ends the run for good and holds the rest; Approve lets one
// wave begin. Stop starts no new machines, lets those in flight end and leaves the run to be resumed; StopNow ends it at once,
// and what became of the machines in flight is asked when it is resumed.
const (
	Pause   ControlKind = "pause"
	Resume  ControlKind = "resume"
	Cancel  ControlKind = "cancel"
	Approve ControlKind = "approve"
	Stop    ControlKind = "stop"
	StopNow ControlKind = "stop-now"
)

// EndedError says that a run is over and takes no more wishes, nor can it be resumed.
type EndedError struct {
	Run    string
	Status Status
}

func (e *EndedError) Error() string { return fmt.Sprintf("run %s is over (%s)", e.Run, e.Status) }

// Over is the *EndedError of a run that is final, with advice where it left something undone.
func (r *Run) Over() error {
	err := &EndedError{Run: r.ID, Status: r.Status}
	for _, o := range []Outcome{Failed, Unreachable, Unknown, Held} {
		if r.Counts[o] > 0 {
			return hint.Wrapf(err, "what it left undone is done by `fleetmend runs retry %s`", r.ID)
		}
	}
	return err
}

// IdleError says that nobody works on a run, so that nobody can pause or stop.
type IdleError struct{ Run string }

func (e *IdleError) Error() string { return fmt.Sprintf("nobody works on run %s", e.Run) }

// NotAwaitedError says that a run does not wait for the approval that was given, which therefore does nothing.
type NotAwaitedError struct {
	Run     string
	Status  Status
	Wave    int // approved
	Awaited int // the wave whose approval is awaited; 0: none
}

func (e *NotAwaitedError) Error() string {
	switch {
	case e.Awaited > 0:
		return fmt.Sprintf("run %s waits for the approval of wave %d, not of wave %d: nothing was approved", e.Run, e.Awaited, e.Wave)
	case e.Wave > 0:
		return fmt.Sprintf("run %s does not wait for the approval of wave %d (it is %s): nothing was approved", e.Run, e.Wave, e.Status)
	}
	return fmt.Sprintf("run %s does not wait for approval (it is %s): nothing was approved", e.Run, e.Status)
}

// Control leaves a wish for the engine of a run, which obeys within about a second. Where nobody works on the run, Cancel and
// Approve are obeyed when it is resumed, and Pause, Stop and StopNow return an *IdleError. A run that is over gives an
// *EndedError. Approve is [Journal.Approve] of the wave that waits now.
func (j *Journal) Control(ctx context.Context, id string, kind ControlKind, who string) error {
	if kind == Approve {
		_, err := j.Approve(ctx, id, 0, who)
		return err
	}
	return j.wish(ctx, id, string(kind), func(_ *sql.Tx, run *Run) (Control, error) {
		if run.Owner == nil && (kind == Pause || kind == Stop || kind == StopNow) {
			return Control{}, hint.Wrapf(&IdleError{Run: id}, "`fleetmend runs resume %s` goes on with it, `fleetmend runs cancel %s` ends it", id, id)
		}
		return Control{Kind: kind, Who: who}, nil
	})
}

// Approve lets a wave of a run begin, and returns its number: that of the one which waits where wave is 0. The approval of a
// wave that does not wait is a *NotAwaitedError and does nothing, now and later.
func (j *Journal) Approve(ctx context.Context, id string, wave int, who string) (int, error) {
	return j.answer(ctx, id, wave, who, Approve)
}

// Refuse ends a run for good, as Cancel does, instead of letting a wave begin. Where that wave does not wait, because somebody
// else has approved it, it is a *NotAwaitedError and does nothing, now and later.
func (j *Journal) Refuse(ctx context.Context, id string, wave int, who string) error {
	_, err := j.answer(ctx, id, wave, who, Cancel)
	return err
}

func (j *Journal) answer(ctx context.Context, id string, wave int, who string, kind ControlKind) (int, error) {
	var answered int
	err := j.wish(ctx, id, "answer", func(tx *sql.Tx, run *Run) (Control, error) {
		awaited, err := awaits(ctx, tx, run)
		if err != nil {
			return Control{}, err
		}
		if awaited == 0 || wave != 0 && wave != awaited {
			return Control{}, &NotAwaitedError{Run: id, Status: run.Status, Wave: wave, Awaited: awaited}
		}
		answered = awaited
		return Control{Kind: kind, Wave: awaited, Who: who}, nil
	})
	return answered, err
}

// awaits is the wave whose approval a run waits for, 0 where it waits for none.
func awaits(ctx context.Context, tx *sql.Tx, run *Run) (int, error) {
	if run.Status != RunWaiting && run.Status != RunPaused {
		return 0, nil
	}
	var kind Kind
	var over int
	err := tx.QueryRowContext(ctx, `SELECT kind, wave FROM events INDEXED BY events_course WHERE run = (SELECT n FROM runs WHERE id = ?) AND pos < 0
		AND kind IN ('approval', 'approved', 'wave-started', 'run-started', 'run-resumed', 'run-ended') ORDER BY seq DESC LIMIT 1`, run.ID).Scan(&kind, &over)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if kind != Approval {
		return 0, nil
	}
	return over + 1, nil
}

// wish leaves what make makes of a run that is not over.
func (j *Journal) wish(ctx context.Context, id, verb string, make func(*sql.Tx, *Run) (Control, error)) error {
	run, err := j.Run(ctx, id)
	if err != nil {
		return err
	}
	if run.Status.Final() {
		return run.Over()
	}
	tx, err := j.write(ctx)
	if err != nil {
		return fmt.Errorf("%s run %s: %w", verb, id, err)
	}
	defer tx.Rollback()                                                                                           //nolint:errcheck // after a commit there is nothing to roll back
	if err := tx.QueryRowContext(ctx, "SELECT status FROM runs WHERE id = ?", id).Scan(&run.Status); err != nil { // as it is by now
		return fmt.Errorf("%s run %s: %w", verb, id, err)
	}
	c, err := make(tx, run)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO controls (run, kind, wave, who, time) SELECT n, ?, ?, ?, ? FROM runs WHERE id = ?",
		c.Kind, c.Wave, c.Who, ms(time.Now()), id)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("%s run %s: %w", verb, id, explain(err))
	}
	return nil
}

// Controls returns the wishes to this session's run numbered after seq, oldest first. A journal whose file was deleted or moved
// away gives a *WriteError: nobody would find what is recorded from now on.
func (s *Session) Controls(ctx context.Context, seq int64) ([]Control, error) {
	if !s.inPlace() {
		return nil, &WriteError{Run: s.id, Err: fmt.Errorf("%w: %s", ErrGone, s.journal.path)}
	}
	rows, err := s.journal.db.QueryContext(ctx, "SELECT seq, kind, wave, who, time FROM controls WHERE run = ? AND seq > ? ORDER BY seq", s.n, seq)
	if err != nil {
		return nil, fmt.Errorf("read controls of run %s: %w", s.id, err)
	}
	controls, err := collect(rows, func(rows *sql.Rows) (c Control, err error) {
		var when int64
		err = rows.Scan(&c.Seq, &c.Kind, &c.Wave, &c.Who, &when)
		c.Time = at(when)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("read controls of run %s: %w", s.id, err)
	}
	return controls, nil
}

// Abandon ends a run that nobody works on, as cancelled: what was not begun is held, and what may have been changed is unknown.
// No machine is asked. Errors are those of [Journal.Resume].
func (j *Journal) Abandon(ctx context.Context, id, who string) (err error) {
	s, err := j.Resume(ctx, id, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	reason := "cancelled by " + who
	var held []string
	for machine, pos := range s.index {
		switch s.rows[pos].state {
		case Pending, Leased:
			held = append(held, machine)
		case Running, Rebooting:
			if err := s.Finish(machine, End{Outcome: Unknown, Reason: "was not asked what became of it: the run was " + reason + " while nobody worked on it"}); err != nil {
				return err
			}
		}
	}
	const atOnce = 2000
	for len(held) > 0 {
		n := min(len(held), atOnce)
		if err := s.Hold(held[:n], "not started: "+reason); err != nil {
			return err
		}
		held = held[n:]
	}
	return s.End(RunCancelled, reason)
}
