package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Case is what the journal knows of one machine in one incident. Nothing in it is an opinion.
type Case struct {
	Machine  string // the inventory's ID, as it was in the plan
	Number   int64  // in the feed, of its last change
	Answer   Answer // the newest; without a Word: none yet
	Tried    Tried  // the newest attempt, whether or not it gave an answer; without a Word: none
	Mark     Mark   // the newest that stands; without a Word: none
	Incident string
}

// Answer is what a machine said to the question of the incident: clean, affected, fixed, undone or failed.
type Answer struct {
	Word   Outcome
	Run    string
	Route  string
	At     time.Time
	Number int64
}

// Tried is the newest attempt: its outcome, or rebooting.
type Tried struct {
	Word     string
	Run      string
	Route    string
	At       time.Time
	Number   int64
	Class    route.Class
	Reason   string
	Attempts int
	Changed  int
}

// Mark is what somebody judged by hand.
type Mark struct {
	Word   Word
	At     time.Time
	Number int64
	By     string
	Reason string
}

// Cases returns the cases of an incident that changed after a number of the feed (0: all of them), in the order of the
// machines' IDs, and the number of the feed that they are as of. A machine that nobody asked or marked has no case.
func (j *Journal) Cases(ctx context.Context, incident string, after int64) ([]Case, int64, error) {
	var all []Case
	l := &CaseList{incident: incident}
	err := j.readCases(ctx, l, after, nil, func(packed string) error {
		c, err := l.unpack(packed)
		all = append(all, c)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read cases: %w", err)
	}
	return all, l.number, nil
}

// RebuildCases derives all cases anew from the machines of the runs and the marks. They are what they were: the cases
// hold nothing of their own.
func (j *Journal) RebuildCases(ctx context.Context) error {
	tx, err := j.write(ctx)
	if err != nil {
		return fmt.Errorf("rebuild cases: %w", explain(err))
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	for _, step := range []struct {
		query string
		args  []any
	}{{"DELETE FROM digest", nil}, {"DELETE FROM cases", nil}, {casesOfAll, nil}, {markRule, []any{"", "[]"}}} {
		if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
			return fmt.Errorf("rebuild cases: %w", explain(err))
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("rebuild cases: %w", explain(err))
	}
	return nil
}

// Asked returns the plan, without its machines, of the newest run that asked the question of an incident: which playbook, from which
// file, with which parameters. Runs of boot media do not count. Nil: none has.
func (j *Journal) Asked(ctx context.Context, i *Incident) (*plan.Plan, error) {
	var packed []byte
	err := j.db.QueryRowContext(ctx, `SELECT plan FROM runs r WHERE incident = ? AND detect = ? AND NOT EXISTS
		(SELECT 1 FROM events e INDEXED BY events_course WHERE e.run = r.n AND e.pos < 0 AND e.seq = 1 AND e.text = ?) ORDER BY n DESC LIMIT 1`,
		i.ID, i.Digest, mediumBuilt).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // as said
	}
	if err != nil {
		return nil, fmt.Errorf("read who asked in incident %s: %w", i.ID, err)
	}
	p, err := unpackHead(packed)
	if err != nil {
		return nil, fmt.Errorf("read who asked in incident %s: %w", i.ID, err)
	}
	return p, nil
}

// Visit is one run's row of a machine.
type Visit struct {
	Run      string    `json:"run"`
	Incident string    `json:"incident,omitempty"`
	Playbook string    `json:"playbook"`
	Mode     string    `json:"mode"`
	Machine  Machine   `json:"machine"`
	Started  time.Time `json:"started"` // of the run
}

// History returns every run that had the machine, newest first. A machine that others were merged into has several IDs.
func (j *Journal) History(ctx context.Context, machine ...string) ([]Visit, error) {
	list, err := encode(machine)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	rows, err := j.db.QueryContext(ctx, `
		SELECT u.id, u.incident, u.playbook, u.mode, u.started, `+machineColumns+`
		FROM machines m JOIN runs u ON u.n = m.run LEFT JOIN results r ON r.run = m.run AND r.pos = m.pos
		WHERE m.id IN (SELECT value FROM json_each(?)) ORDER BY m.run DESC`, list)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	visits, err := collect(rows, func(rows *sql.Rows) (v Visit, err error) {
		var started int64
		v.Machine, err = scanMachineAfter(rows, &v.Run, &v.Incident, &v.Playbook, &v.Mode, &started)
		v.Started = at(started)
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return visits, nil
}

// Unfinished is a machine that a run has and is not done with.
type Unfinished struct {
	Machine string
	Run     string
	Live    bool // somebody works on the run
	Begun   bool // it is in flight, or was when the run stopped
}

// Unfinished returns the machines that the runs of an incident have and are not done with.
func (j *Journal) Unfinished(ctx context.Context, incident string) ([]Unfinished, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT m.id, r.id, m.state != 'pending' FROM runs r JOIN machines m ON m.run = r.n
		WHERE r.incident = ? AND r.status IN ('running', 'paused', 'waiting', 'interrupted') AND m.state != 'done'`, incident)
	if err != nil {
		return nil, fmt.Errorf("read unfinished machines: %w", err)
	}
	all, err := collect(rows, func(rows *sql.Rows) (u Unfinished, err error) {
		err = rows.Scan(&u.Machine, &u.Run, &u.Begun)
		return u, err
	})
	if err != nil {
		return nil, fmt.Errorf("read unfinished machines: %w", err)
	}
	live := map[string]bool{}
	for i := range all {
		run := all[i].Run
		if _, known := live[run]; !known {
			if _, live[run], err = j.Owner(run); err != nil {
				return nil, fmt.Errorf("read unfinished machines: %w", err)
			}
		}
		all[i].Live = live[run]
	}
	return all, nil
}
