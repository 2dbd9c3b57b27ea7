package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// RouteMedium is the route of machines that are started from a boot medium.
const RouteMedium = "medium"

// awaitsMedium is the reason of a machine that is held for its medium.
const awaitsMedium = "awaits its boot medium"

// mediumBuilt is the first event of a run that boot media carry out.
const mediumBuilt = "a boot medium was built"

// NewRunID makes the ID of a run that [Journal.CreateForMedium] records once its medium is built.
func NewRunID() string { return newID(time.Now()) }

// CreateForMedium records a run that boot media carry out: its machines, which have the route medium, are held until
// [Journal.RecordByMedium] brings what became of them.
func (j *Journal) CreateForMedium(ctx context.Context, id string, p *plan.Plan) error {
	err := j.createForMedium(ctx, id, p)
	if err != nil {
		return fmt.Errorf("record the run of a medium: %w", explain(err))
	}
	return nil
}

func (j *Journal) createForMedium(ctx context.Context, id string, p *plan.Plan) error {
	tx, err := j.write(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	now := time.Now()
	s := &Session{journal: j, id: id, plan: p, index: map[string]int{}}
	if err := s.insertIn(ctx, tx, p, now); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE machines SET state = 'done', outcome = 'held', reason = ?, ended = ? WHERE run = ? AND wave > 0", awaitsMedium, ms(now), s.n); err != nil {
		return err
	}
	for pos := 0; s.incident != "" && pos < len(s.rows); pos++ {
		if err := (&mediumTx{tx: tx, n: s.n}).newCase(ctx, pos); err != nil {
			return err
		}
	}
	tally, err := countOutcomes(ctx, tx, s.n)
	if err != nil {
		return err
	}
	counts, err := encode(tally)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE runs SET status = ?, counts = ?, ended = ?, finished = waves WHERE n = ?", RunDone, counts, ms(now), s.n); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO events (run, seq, time, kind, wave, pos, state, outcome, class, text) VALUES (?,1,?,?,0,-1,'','','',?)",
		s.n, ms(now), string(RunStarted), mediumBuilt); err != nil {
		return err
	}
	return tx.Commit()
}

// ByMedium is what became of one machine of a run, as a boot medium brought it back.
type ByMedium struct {
	Machine string       // ID
	Digest  string       // SHA-256 of the result's file: what makes it the same file when it is read again
	Result  agent.Result // outcome clean, fixed or failed
	Text    string       // one line for people
}

// Recorded says what [Journal.RecordByMedium] did.
type Recorded struct {
	New     bool    // this file had not been recorded for this machine
	Counted bool    // it decided the machine's outcome
	Before  Outcome // of the machine
	Now     Outcome
}

// RecordByMedium records outcomes that came back by hand, in one transaction and each exactly once per machine and file.
// A machine that the run could not repair or reach gets the outcome of the medium; one that was fixed or taken back keeps
// its own, and so does a clean one unless the medium fixed it. It works on runs in any status, but not while a process works
// on this one: then it returns a *LockedError. The result has one element for each given.
func (j *Journal) RecordByMedium(ctx context.Context, run string, list []ByMedium) ([]Recorded, error) {
	if _, err := j.Run(ctx, run); err != nil {
		return nil, fmt.Errorf("record results of run %s: %w", run, err)
	}
	lock, err := j.lockRun(ctx, run)
	if err != nil {
		return nil, err
	}
	out, err := j.recordByMedium(ctx, run, list)
	if err = errors.Join(err, lock.release()); err != nil {
		return nil, fmt.Errorf("record results of run %s: %w", run, err)
	}
	return out, nil
}

func (j *Journal) recordByMedium(ctx context.Context, run string, list []ByMedium) ([]Recorded, error) {
	tx, err := j.write(ctx)
	if err != nil {
		return nil, explain(err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	m := mediumTx{tx: tx, now: time.Now()}
	var counts string
	err = tx.QueryRowContext(ctx, "SELECT n, incident, counts, (SELECT coalesce(max(seq), 0) FROM events WHERE run = n) FROM runs WHERE id = ?", run).Scan(&m.n, &m.incident, &counts, &m.seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, hint.Wrap(&NotFoundError{ID: run}, "see the runs with `fleetmend runs list`")
	}
	if err != nil {
		return nil, err
	}
	out := make([]Recorded, len(list))
	for i, one := range list {
		if out[i], err = m.record(ctx, one); err != nil {
			return nil, explain(err)
		}
	}
	if counts != "" { // the run has ended: its counts are kept with it
		tally, err := countOutcomes(ctx, tx, m.n)
		if err != nil {
			return nil, err
		}
		text, err := encode(tally)
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE runs SET counts = ? WHERE n = ?", text, m.n); err != nil {
			return nil, explain(err)
		}
	}
	return out, explain(tx.Commit())
}

type mediumTx struct {
	tx  *sql.Tx
	n   int64
	seq int64
	now time.Time

	incident string
}

func (m *mediumTx) record(ctx context.Context, one ByMedium) (Recorded, error) {
	var pos, wave int
	var state State
	var r Recorded
	err := m.tx.QueryRowContext(ctx, "SELECT pos, wave, state, outcome FROM machines WHERE run = ? AND id = ?", m.n, one.Machine).Scan(&pos, &wave, &state, &r.Before)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fmt.Errorf("machine %s: %w", one.Machine, errNoMachine)
	}
	if err != nil {
		return r, err
	}
	r.Now = r.Before
	done, err := m.tx.ExecContext(ctx, "INSERT INTO collected (run, pos, digest, time) VALUES (?,?,?,?) ON CONFLICT DO NOTHING", m.n, pos, one.Digest, ms(m.now))
	if err != nil {
		return r, err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return r, err
	}
	r.New = true
	outcome := Outcome(one.Result.Outcome)
	switch outcome {
	case Clean, Fixed, Failed:
	default:
		return r, fmt.Errorf("machine %s: a medium cannot report the outcome %q", one.Machine, outcome)
	}
	switch {
	case r.Before == Fixed, r.Before == Undone, r.Before == Clean && outcome != Fixed:
		outcome = r.Before // known better
	default:
		r.Counted, r.Now = true, outcome
		if err := m.decide(ctx, pos, one, outcome); err != nil {
			return r, err
		}
	}
	m.seq++
	_, err = m.tx.ExecContext(ctx, "INSERT INTO events (run, seq, time, kind, wave, pos, state, outcome, class, text) VALUES (?,?,?,?,?,?,?,?,'',?)",
		m.n, m.seq, ms(m.now), string(MachineMove), wave, pos, string(Done), string(outcome), "by medium: "+one.Text)
	return r, err
}

func (m *mediumTx) decide(ctx context.Context, pos int, one ByMedium, outcome Outcome) error {
	reason := ""
	if outcome == Failed {
		reason = one.Text
	}
	text, err := encode(one.Result)
	if err != nil {
		return err
	}
	if _, err := m.tx.ExecContext(ctx, `UPDATE machines SET state = 'done', outcome = ?, error = '', reason = ?, route = 'medium', changed = ?,
		started = iif(started = 0, ?, started), ended = ? WHERE run = ? AND pos = ?`, string(outcome), reason, one.Result.Changed, ms(m.now), ms(m.now), m.n, pos); err != nil {
		return err
	}
	for _, free := range []struct {
		query string
		args  []any
	}{{freeOne, []any{one.Machine, m.n}}, {freeAll, []any{m.n}}} {
		if _, err := m.tx.ExecContext(ctx, free.query, free.args...); err != nil {
			return err
		}
	}
	if _, err := m.tx.ExecContext(ctx, "INSERT INTO results (run, pos, result) VALUES (?,?,?) ON CONFLICT DO UPDATE SET result = excluded.result", m.n, pos, text); err != nil || m.incident == "" {
		return err
	}
	return m.changeCase(ctx, pos, one.Machine)
}

// newCase takes the row of a machine, which had none, into its case.
func (m *mediumTx) newCase(ctx context.Context, pos int) error {
	return m.change(ctx, pos, step{caseOfRow, []any{m.n, pos}})
}

// changeCase makes the case of a machine anew, from all its rows and marks.
func (m *mediumTx) changeCase(ctx context.Context, pos int, machine string) error {
	names, err := encode([]string{machine})
	if err != nil {
		return err
	}
	return m.change(ctx, pos, step{"DELETE FROM cases WHERE incident = ? AND machine = ?", []any{m.incident, machine}},
		step{caseOfOne, []any{m.incident, machine}}, step{markRule, []any{m.incident, names}})
}

type step struct {
	query string
	args  []any
}

// change gives the row of a machine the next number of the feed, and then takes steps.
func (m *mediumTx) change(ctx context.Context, pos int, steps ...step) error {
	for _, s := range append([]step{{nextNumber, nil}, {numberRow, []any{m.n, pos}}}, steps...) {
		if _, err := m.tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return err
		}
	}
	return nil
}
