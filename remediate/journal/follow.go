package journal

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
)

// followEvery is how often a follower looks for what is new.
const followEvery = 200 * time.Millisecond

// followPage bounds the events that a follower holds at a time.
const followPage = 1000

// Follow calls each with the events of a run after the one numbered after, in order and without gaps, as they are committed. The
// journal keeps them, so that a follower may be as slow as he likes and nothing is dropped or held in memory for him. Follow
// returns the run when it goes on no more: it is over or interrupted, or nobody works on it ([Run.Idle]).
func (j *Journal) Follow(ctx context.Context, id string, after int64, each func([]Event) error) (*Run, error) {
	again := time.NewTicker(followEvery)
	defer again.Stop()
	for {
		goes, err := j.goesOn(ctx, id) // before the events: those that come after it are seen the next time
		if err != nil {
			return nil, err
		}
		for {
			events, err := j.events(ctx, id, after, followPage)
			if err != nil {
				return nil, err
			}
			if len(events) == 0 {
				break
			}
			after = events[len(events)-1].Seq
			if err := each(events); err != nil {
				return nil, err
			}
		}
		if !goes {
			return j.Run(ctx, id)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// goesOn reports whether some process works on a run that is not over.
func (j *Journal) goesOn(ctx context.Context, id string) (bool, error) {
	_, held, err := j.Owner(id)
	if err != nil || !held {
		return false, err
	}
	var status Status
	if err := j.db.QueryRowContext(ctx, "SELECT status FROM runs WHERE id = ?", id).Scan(&status); err != nil {
		return false, fmt.Errorf("read run %s: %w", id, err)
	}
	return status == RunRunning || status == RunPaused || status == RunWaiting, nil
}

// Standing is a moment of a run: all of it at one event number, without its history.
type Standing struct {
	Seq      int64     // of the last event
	Course   []Event   // those about the run and its waves; the others are in Machines
	Machines []Station // that are not skipped, in the order of the plan
}

// Station is where a machine stands.
type Station struct {
	ID      string
	Wave    int
	State   State
	Outcome Outcome
	Ended   time.Time
}

// Standing reads where every machine of a run stands. Following it from Seq gives what comes after, nothing twice.
func (j *Journal) Standing(ctx context.Context, id string) (Standing, error) {
	s, err := j.standing(ctx, id)
	if err != nil {
		return Standing{}, fmt.Errorf("read run %s: %w", id, err)
	}
	return s, nil
}

func (j *Journal) standing(ctx context.Context, id string) (s Standing, err error) {
	tx, err := j.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return s, err
	}
	defer tx.Rollback() //nolint:errcheck // only read
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT n, (SELECT coalesce(max(seq), 0) FROM events WHERE run = n) FROM runs WHERE id = ?", id).Scan(&n, &s.Seq); err != nil {
		return s, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT seq, time, kind, wave, text FROM events INDEXED BY events_course WHERE run = ? AND pos < 0 ORDER BY seq`, n)
	if err != nil {
		return s, err
	}
	s.Course, err = collect(rows, func(rows *sql.Rows) (e Event, err error) {
		var when int64
		err = rows.Scan(&e.Seq, &when, &e.Kind, &e.Wave, &e.Text)
		e.Run, e.Time = id, at(when)
		return e, err
	})
	if err != nil {
		return s, err
	}
	rows, err = tx.QueryContext(ctx, "SELECT id, wave, state, outcome, ended FROM machines WHERE run = ? AND wave > 0 ORDER BY pos", n)
	if err != nil {
		return s, err
	}
	s.Machines, err = collect(rows, func(rows *sql.Rows) (m Station, err error) {
		var ended int64
		err = rows.Scan(&m.ID, &m.Wave, &m.State, &m.Outcome, &ended)
		m.Ended = at(ended)
		return m, err
	})
	return s, err
}

// Watch tells whether anything in the journal was changed, by this process or another. It is closed before the journal.
func (j *Journal) Watch(ctx context.Context) (*sqlitefile.Watch, error) {
	j.room(1) // for good: a watch lasts as long as its window
	return j.db.Watch(ctx)
}
