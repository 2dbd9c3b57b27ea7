package journal

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
)

// Control is a wish of an operator to a run that another process executes.
type Control struct {
	Seq  int64       `json:"seq"`
	Kind ControlKind `json:"kind"`
	Who  string      `json:"who"`
	Time time.Time   `json:"time"`
}

// ControlKind is what is wished.
type ControlKind string

// The wishes. Pause starts no new machines until Resume; Cancel ends the run and holds the rest; Approve lets the run go
// on to the wave it waits with, and only that one.
const (
	Pause   ControlKind = "pause"
	Resume  ControlKind = "resume"
	Cancel  ControlKind = "cancel"
	Approve ControlKind = "approve"
)

// EndedError says that a run is over and takes no more wishes, nor can it be resumed.
type EndedError struct {
	Run    string
	Status Status
}

func (e *EndedError) Error() string { return fmt.Sprintf("run %s is over (%s)", e.Run, e.Status) }

// Control leaves a wish for the engine of a run, which obeys within about two seconds. Where no engine is at work (see
// Owner), it obeys when the run is resumed. A run that is over gives an *EndedError.
func (j *Journal) Control(ctx context.Context, id string, kind ControlKind, who string) error {
	run, err := j.Run(ctx, id)
	if err != nil {
		return err
	}
	if run.Status.Final() {
		return hint.Wrap(&EndedError{Run: id, Status: run.Status}, "what it left undone is done by `fleetmend runs retry`")
	}
	if kind == Approve && run.Status != RunWaiting && run.Status != RunPaused {
		return fmt.Errorf("approve run %s: it does not wait for approval, it is %s", id, run.Status)
	}
	tx, err := j.write(ctx)
	if err != nil {
		return fmt.Errorf("%s run %s: %w", kind, id, err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	_, err = tx.ExecContext(ctx, "INSERT INTO controls (run, kind, who, time) SELECT n, ?, ?, ? FROM runs WHERE id = ?",
		kind, who, ms(time.Now()), id)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("%s run %s: %w", kind, id, explain(err))
	}
	return nil
}

// Controls returns the wishes to this session's run numbered after seq, oldest first.
func (s *Session) Controls(ctx context.Context, seq int64) ([]Control, error) {
	rows, err := s.journal.db.QueryContext(ctx, "SELECT seq, kind, who, time FROM controls WHERE run = ? AND seq > ? ORDER BY seq", s.n, seq)
	if err != nil {
		return nil, fmt.Errorf("read controls of run %s: %w", s.id, err)
	}
	controls, err := collect(rows, func(rows *sql.Rows) (c Control, err error) {
		var when int64
		err = rows.Scan(&c.Seq, &c.Kind, &c.Who, &when)
		c.Time = at(when)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("read controls of run %s: %w", s.id, err)
	}
	return controls, nil
}
