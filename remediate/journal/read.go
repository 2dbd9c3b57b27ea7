package journal

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// NotFoundError says that no run has this ID or prefix.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("no run %q in the journal", e.ID) }

// AmbiguousError says that more than one run begins like this. Matches holds at most ten of them, newest first.
type AmbiguousError struct {
	Prefix  string
	Matches []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("run %q is ambiguous: %s", e.Prefix, strings.Join(e.Matches, ", "))
}

// Resolve gives the full ID for an ID, an unambiguous beginning of one, or "last" for the newest run.
func (j *Journal) Resolve(ctx context.Context, prefix string) (string, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT id FROM runs
		WHERE iif(?1 = 'last', n = (SELECT max(n) FROM runs), substr(id, 1, length(?1)) = ?1) ORDER BY n DESC LIMIT 10`, prefix)
	if err != nil {
		return "", fmt.Errorf("find run %q: %w", prefix, err)
	}
	ids, err := collect(rows, func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) })
	if err != nil {
		return "", fmt.Errorf("find run %q: %w", prefix, err)
	}
	for _, id := range ids {
		if id == prefix || len(ids) == 1 && prefix != "" {
			return id, nil
		}
	}
	if len(ids) == 0 || prefix == "" {
		return "", hint.Wrap(&NotFoundError{ID: prefix}, "see the runs with `fleetmend runs list`")
	}
	return "", hint.Wrap(&AmbiguousError{Prefix: prefix, Matches: ids}, "give more of its ID")
}

// Run returns one run by its full ID; a *NotFoundError when there is none.
func (j *Journal) Run(ctx context.Context, id string) (*Run, error) {
	runs, err := j.runs(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	if len(runs) == 0 {
		return nil, hint.Wrap(&NotFoundError{ID: id}, "see the runs with `fleetmend runs list`")
	}
	return &runs[0], nil
}

// Runs returns all runs, newest first.
func (j *Journal) Runs(ctx context.Context) ([]Run, error) {
	runs, err := j.runs(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return runs, nil
}

// runs reads the run with an ID, or all of them when it is nil.
func (j *Journal) runs(ctx context.Context, id any) ([]Run, error) {
	rows, err := j.db.QueryContext(ctx, `
		SELECT n, id, started, ended, operator, playbook, mode, undoes, retry_of, status, reason, waves, finished, machines, counts, incident, detect
		FROM runs WHERE ?1 IS NULL OR id = ?1 ORDER BY n DESC`, id)
	if err != nil {
		return nil, err
	}
	type row struct {
		Run
		n      int64
		counts string
	}
	found, err := collect(rows, func(rows *sql.Rows) (r row, err error) {
		var started, ended int64
		err = rows.Scan(&r.n, &r.ID, &started, &ended, &r.Operator, &r.Playbook, &r.Mode, &r.Undoes, &r.RetryOf,
			&r.Status, &r.Reason, &r.Waves, &r.Finished, &r.Machines, &r.counts, &r.Incident, &r.Detect)
		r.Started, r.Ended = at(started), at(ended)
		return r, err
	})
	if err != nil {
		return nil, err
	}
	runs := make([]Run, 0, len(found))
	for _, r := range found {
		if r.counts != "" {
			err = json.Unmarshal([]byte(r.counts), &r.Counts)
		} else {
			r.Counts, err = countOutcomes(ctx, j.db, r.n)
		}
		if err != nil {
			return nil, err
		}
		if !r.Status.Final() {
			if r.Owner, err = j.owner(r.ID); err != nil {
				return nil, err
			}
		}
		runs = append(runs, r.Run)
	}
	return runs, nil
}

// querier is a database or one connection of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func countOutcomes(ctx context.Context, q querier, n int64) (map[Outcome]int, error) {
	rows, err := q.QueryContext(ctx, "SELECT outcome, count(*) FROM machines WHERE run = ? AND state = 'done' GROUP BY outcome", n)
	if err != nil {
		return nil, err
	}
	counts := map[Outcome]int{}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var outcome Outcome
		var count int
		err := rows.Scan(&outcome, &count)
		counts[outcome] = count
		return struct{}{}, err
	})
	return counts, err
}

// Machines returns every machine of a run with its state now, in the order of the plan, skipped ones last.
func (j *Journal) Machines(ctx context.Context, id string) ([]Machine, error) {
	return j.machines(ctx, id, "")
}

// Left is [Journal.Machines] for going on with a run: only a machine whose restart is awaited comes with its result.
func (j *Journal) Left(ctx context.Context, id string) ([]Machine, error) {
	return j.machines(ctx, id, " AND m.state = '"+string(Rebooting)+"'")
}

func (j *Journal) machines(ctx context.Context, id, withResult string) ([]Machine, error) {
	rows, err := j.db.QueryContext(ctx, `
		SELECT `+machineColumns+`
		FROM machines m LEFT JOIN results r ON r.run = m.run AND r.pos = m.pos`+withResult+`
		WHERE m.run = (SELECT n FROM runs WHERE id = ?) ORDER BY m.pos`, id)
	if err != nil {
		return nil, fmt.Errorf("read machines of run %s: %w", id, err)
	}
	machines, err := collect(rows, scanMachine)
	if err != nil {
		return nil, fmt.Errorf("read machines of run %s: %w", id, err)
	}
	if len(machines) == 0 {
		if _, err := j.Run(ctx, id); err != nil {
			return nil, err
		}
	}
	return machines, nil
}

// Ended is how a run ended for one machine.
type Ended struct {
	Outcome Outcome
	At      time.Time
}

// Answers returns, by machine ID, how a run ended for those machines that gave an answer: neither silent nor held back.
func (j *Journal) Answers(ctx context.Context, id string) (map[string]Ended, error) {
	rows, err := j.db.QueryContext(ctx, `
		SELECT m.id, m.outcome, m.ended FROM machines m
		WHERE m.run = (SELECT n FROM runs WHERE id = ?) AND m.state = 'done' AND m.outcome IN ('clean', 'affected', 'fixed', 'undone', 'failed')`, id)
	if err != nil {
		return nil, fmt.Errorf("read answers of run %s: %w", id, err)
	}
	answers := map[string]Ended{}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var machine string
		var e Ended
		var ended int64
		err := rows.Scan(&machine, &e.Outcome, &ended)
		e.At = at(ended)
		answers[machine] = e
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read answers of run %s: %w", id, err)
	}
	return answers, nil
}

// machineColumns are what scanMachine reads, from machines m and results r.
const machineColumns = `m.id, m.name, m.address, m.site, m.subnet, m.class, m.priority, m.wave, m.route, m.state, m.outcome, m.error,
		       m.reason, m.attempts, m.changed, m.rebooted, m.started, m.fixed_at, m.ended, coalesce(r.result, '')`

func scanMachine(rows *sql.Rows) (Machine, error) { return scanMachineAfter(rows) }

// scanMachineAfter reads a machine that stands behind other columns.
func scanMachineAfter(rows *sql.Rows, before ...any) (m Machine, err error) {
	var started, fixed, ended int64
	var result string
	t := &m.Target
	err = rows.Scan(append(before, &t.ID, &t.Name, &t.Address, &t.Site, &t.Subnet, &t.Class, &t.Priority, &m.Wave, &m.Route, &m.State, &m.Outcome,
		&m.Class, &m.Reason, &m.Attempts, &m.Changed, &m.Rebooted, &started, &fixed, &ended, &result)...)
	m.Started, m.FixedAt, m.Ended = at(started), at(fixed), at(ended)
	if err == nil && result != "" {
		m.Result = &agent.Result{}
		err = json.Unmarshal([]byte(result), m.Result)
	}
	return m, err
}

// Events returns the history of a run after the event numbered afterSeq (0: from the beginning), in order.
func (j *Journal) Events(ctx context.Context, id string, afterSeq int64) ([]Event, error) {
	return j.events(ctx, id, afterSeq, -1)
}

// events reads at most so many, all of them where most is negative.
func (j *Journal) events(ctx context.Context, id string, afterSeq int64, most int) ([]Event, error) {
	rows, err := j.db.QueryContext(ctx, `
		SELECT e.seq, e.time, e.kind, e.wave, coalesce(m.name, ''), coalesce(m.id, ''), e.state, e.outcome, e.class, e.text
		FROM events e LEFT JOIN machines m ON m.run = e.run AND m.pos = e.pos
		WHERE e.run = (SELECT n FROM runs WHERE id = ?) AND e.seq > ? ORDER BY e.seq LIMIT ?`, id, afterSeq, most)
	if err != nil {
		return nil, fmt.Errorf("read events of run %s: %w", id, err)
	}
	events, err := collect(rows, func(rows *sql.Rows) (e Event, err error) {
		var when int64
		err = rows.Scan(&e.Seq, &when, &e.Kind, &e.Wave, &e.Machine, &e.MachineID, &e.State, &e.Outcome, &e.Class, &e.Text)
		e.Run, e.Time = id, at(when)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read events of run %s: %w", id, err)
	}
	return events, nil
}

// Plan returns the frozen plan of a run.
func (j *Journal) Plan(ctx context.Context, id string) (*plan.Plan, error) {
	var packed []byte
	err := j.db.QueryRowContext(ctx, "SELECT plan FROM runs WHERE id = ?", id).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, hint.Wrap(&NotFoundError{ID: id}, "see the runs with `fleetmend runs list`")
	}
	if err != nil {
		return nil, fmt.Errorf("read plan of run %s: %w", id, err)
	}
	p, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("read plan of run %s: %w", id, err)
	}
	return p, nil
}

func unpack(packed []byte) (*plan.Plan, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	return plan.Decode(data)
}

// unpackHead reads what stands before the machines, which are most of a plan.
func unpackHead(packed []byte) (*plan.Plan, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	var p plan.Plan
	in := json.NewDecoder(z)
	if _, err := in.Token(); err != nil { // {
		return nil, err
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, err
		}
		var into any = new(json.RawMessage)
		switch name {
		case "playbook":
			into = &p.Playbook
		case "parameters":
			into = &p.Parameters
		case "playbook_file":
			into = &p.PlaybookFile
		case "waves":
			return &p, nil
		}
		if err := in.Decode(into); err != nil {
			return nil, err
		}
	}
	return &p, nil
}

func pack(p *plan.Plan) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(z).Encode(p); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) ([]T, error) {
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
