package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/sqlitefile"
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
	err := j.readCases(ctx, l, after, func(packed string) error {
		c, err := l.unpack(packed)
		all = append(all, c)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read cases: %w", err)
	}
	return all, l.number, nil
}

// CaseList are all cases of an incident as of one number of the feed. It is small: a case is taken apart when it is asked
// for. It changes no more, and is safe for concurrent use.
type CaseList struct {
	incident string
	number   int64
	runs     map[int64]string
	rows     map[string]string // machine -> packed row
}

// CaseList returns the cases of an incident.
func (j *Journal) CaseList(ctx context.Context, incident string) (*CaseList, error) {
	l := &CaseList{incident: incident, rows: map[string]string{}}
	err := j.readCases(ctx, l, 0, func(packed string) error {
		c, err := l.unpack(packed)
		l.rows[c.Machine] = packed
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return l, nil
}

// Update takes into a list what changed since, and returns whose cases did, by the IDs of the plans. Nobody may use the list
// meanwhile.
func (j *Journal) Update(ctx context.Context, l *CaseList) (changed []string, err error) {
	err = j.readCases(ctx, l, l.number, func(packed string) error {
		c, err := l.unpack(packed)
		l.rows[c.Machine] = packed
		changed = append(changed, c.Machine)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return changed, nil
}

// Number is the number of the feed that the cases are as of.
func (l *CaseList) Number() int64 { return l.number }

// Len is how many machines have a case.
func (l *CaseList) Len() int { return len(l.rows) }

// Case returns the case of a machine by the ID it had in the plan; false where nobody asked or marked it.
func (l *CaseList) Case(machine string) (Case, bool) {
	packed, found := l.rows[machine]
	if !found {
		return Case{}, false
	}
	c, err := l.unpack(packed)
	return c, err == nil // it was looked at when it was read
}

// packedCase is a row of cases in one text; see unpack.
var packedCase = sqlitefile.Packed([]string{"n", "answer", "answer_run", "answer_at", "answer_n", "tried", "tried_run", "tried_at", "tried_n",
	"class", "attempts", "changed", "mark", "mark_at", "mark_n"}, []string{"machine", "answer_by", "tried_by", "reason", "mark_by", "mark_reason"})

// Whole incidents are read in their order, changes by their number.
var (
	wholeIncident = "SELECT " + packedCase + " FROM cases WHERE incident = ? AND n > ? ORDER BY incident, machine"
	changedCases  = "SELECT " + packedCase + " FROM cases INDEXED BY cases_n WHERE incident = ? AND n > ? ORDER BY incident, machine"
)

func (j *Journal) readCases(ctx context.Context, l *CaseList, after int64, each func(packed string) error) error {
	tx, err := j.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // only read
	if err := tx.QueryRowContext(ctx, "SELECT n FROM feed").Scan(&l.number); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT n, id FROM runs")
	if err != nil {
		return err
	}
	l.runs = map[int64]string{}
	_, err = collect(rows, func(rows *sql.Rows) (n int64, err error) {
		var id string
		err = rows.Scan(&n, &id)
		l.runs[n] = id
		return n, err
	})
	if err != nil {
		return err
	}
	query := wholeIncident
	if after > 0 {
		query = changedCases
	}
	rows, err = tx.QueryContext(ctx, query, l.incident, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var packed string
		if err := rows.Scan(&packed); err != nil {
			return err
		}
		if err := each(packed); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (l *CaseList) unpack(packed string) (Case, error) {
	c := Case{Incident: l.incident}
	row := sqlitefile.Unpack(packed, &c.Machine, &c.Answer.Route, &c.Tried.Route, &c.Tried.Reason, &c.Mark.By, &c.Mark.Reason)
	c.Number = row.Int()
	c.Answer.Word, c.Answer.Run, c.Answer.At, c.Answer.Number = Outcome(row.Word()), l.runs[row.Int()], at(row.Int()), row.Int()
	c.Tried.Word, c.Tried.Run, c.Tried.At, c.Tried.Number = row.Word(), l.runs[row.Int()], at(row.Int()), row.Int()
	c.Tried.Class, c.Tried.Attempts, c.Tried.Changed = route.Class(row.Word()), int(row.Int()), int(row.Int())
	c.Mark.Word, c.Mark.At, c.Mark.Number = Word(row.Word()), at(row.Int()), row.Int()
	return c, row.Err
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
	}{{"DELETE FROM cases", nil}, {casesOfAll, nil}, {markRule, []any{"", "[]"}}} {
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
