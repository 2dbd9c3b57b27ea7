package journal

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fleetmend/fleetmend/remediate/route"
)

// PlanStep records a call that a route is about to make for a machine, or, where machine is empty, for what machines of the run share.
// A step that was planned before is planned anew.
func (s *Session) PlanStep(machine string, step route.Step) error {
	step.State = route.StepPlanned
	return s.step(machine, step, func(b *batch, pos int) error {
		return s.exec(`INSERT INTO route_steps (run, pos, id, seq, act, resource, was, now, state, keep, note, at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
			ON CONFLICT DO UPDATE SET act = excluded.act, resource = excluded.resource, was = excluded.was, now = excluded.now, state = excluded.state,
				keep = excluded.keep, note = excluded.note, at = excluded.at`,
			s.n, pos, step.ID, s.seq+1, string(step.Act), step.On, step.Was, step.Now, string(step.State), step.Keep, step.Note, ms(b.now))
	})
}

// SettleStep records what became of a planned step.
func (s *Session) SettleStep(machine string, step route.Step) error {
	return s.step(machine, step, func(b *batch, pos int) error {
		stmt, err := s.statement("UPDATE route_steps SET state = ?, note = ?, at = ? WHERE run = ? AND pos = ? AND id = ?")
		if err != nil {
			return err
		}
		done, err := stmt.ExecContext(context.Background(), string(step.State), step.Note, ms(b.now), s.n, pos, step.ID)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("step %s: %w", step.ID, route.ErrNoStep)
		}
		return nil
	})
}

func (s *Session) step(machine string, step route.Step, write func(b *batch, pos int) error) error {
	pos := -1
	check := func() error {
		if machine == "" {
			return nil
		}
		at, ok := s.index[machine]
		if !ok {
			return fmt.Errorf("machine %s: %w", machine, errNoMachine)
		}
		pos = at
		return nil
	}
	return s.commit(check, func(b *batch) error {
		if err := write(b, pos); err != nil {
			return err
		}
		e := Event{Kind: RouteStep, Text: fmt.Sprintf("%s %s: %s", step.Act, step.On, step.State)}
		if step.Note != "" {
			e.Text += ", " + step.Note
		}
		if pos >= 0 {
			e.Wave, e.Machine, e.MachineID = s.rows[pos].wave, s.rows[pos].name, machine
		}
		return b.event(pos, e)
	})
}

// Steps returns what routes did for the machines of a run, by machine ID, in the order in which it was planned; under the empty ID
// what machines share.
func (j *Journal) Steps(ctx context.Context, id string) (map[string][]route.Step, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT coalesce(m.id, ''), s.id, s.act, s.resource, s.was, s.now, s.state, s.keep, s.note, s.at
		FROM route_steps s LEFT JOIN machines m ON m.run = s.run AND m.pos = s.pos
		WHERE s.run = (SELECT n FROM runs WHERE id = ?) ORDER BY s.seq`, id)
	if err != nil {
		return nil, fmt.Errorf("read steps of run %s: %w", id, err)
	}
	all := map[string][]route.Step{}
	_, err = collect(rows, func(rows *sql.Rows) (struct{}, error) {
		var machine string
		var s route.Step
		var when int64
		err := rows.Scan(&machine, &s.ID, &s.Act, &s.On, &s.Was, &s.Now, &s.State, &s.Keep, &s.Note, &when)
		s.At = at(when)
		all[machine] = append(all[machine], s)
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read steps of run %s: %w", id, err)
	}
	return all, nil
}
