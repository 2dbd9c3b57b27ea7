package journal

import (
	"fmt"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// TransitionError says that a machine cannot go from one state to another. It is a mistake of the engine, never of a
// machine or a user.
type TransitionError struct {
	Machine  string
	From, To State
	Outcome  Outcome // asked for, with To done
	Why      string
}

func (e *TransitionError) Error() string {
	text := fmt.Sprintf("machine %s cannot go from %s to %s", e.Machine, e.From, e.To)
	if e.Outcome != "" {
		text += " (" + string(e.Outcome) + ")"
	}
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// Lease marks machines as taken by the engine and claims them for the run, in one transaction; nothing has been sent. A
// machine that another run has claimed gives a *ClaimedError, and then none is leased. The claim is held until the machine is
// done or released, whatever becomes of the process.
func (s *Session) Lease(ids ...string) error { return s.move(ids, Leased, "", nil) }

// Release puts leased machines back, to be taken up again by a resumed run. Until then other runs may have them.
func (s *Session) Release(ids ...string) error { return s.move(ids, Pending, "", nil) }

// Begin marks a machine as running: from now on a request may reach it. Attempt counts from 1. One that is not leased yet is taken
// and claimed in the same step, as Lease does it.
func (s *Session) Begin(id string, attempt int) error {
	return s.hand(s.moves([]string{id}, Running, Event{}, func(b *batch, pos int) error {
		return s.exec("UPDATE machines SET state = 'running', attempts = ?, started = iif(started = 0, ?, started) WHERE run = ? AND pos = ?",
			attempt, ms(b.now), s.n, pos)
	}))
}

// BackOff puts a running machine back to leased: the error guarantees that nothing ran, and it will be tried again.
func (s *Session) BackOff(id string, class route.Class, reason string) error {
	if !class.NothingRan() {
		return &TransitionError{Machine: id, From: Running, To: Leased, Why: "with an error of class " + string(class) + " something may have run"}
	}
	return s.moveWith([]string{id}, Leased, Event{Class: class, Text: reason}, func(_ *batch, pos int) error {
		return s.exec("UPDATE machines SET state = 'leased', error = ?, reason = ? WHERE run = ? AND pos = ?", string(class), reason, s.n, pos)
	})
}

// Reboot records the answer of a machine that was changed and restarts now.
func (s *Session) Reboot(id string, result agent.Result) error {
	text, err := encode(result)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return s.moveWith([]string{id}, Rebooting, Event{}, func(b *batch, pos int) error {
		if err := s.exec("UPDATE machines SET state = 'rebooting', changed = ?, fixed_at = ?, error = '', reason = '' WHERE run = ? AND pos = ?",
			result.Changed, ms(b.now), s.n, pos); err != nil {
			return err
		}
		return s.keep(pos, text)
	})
}

// Finish records the outcome of a machine.
func (s *Session) Finish(id string, end End) error {
	text := ""
	if end.Result != nil {
		var err error
		if text, err = encode(end.Result); err != nil {
			return fmt.Errorf("encode result: %w", err)
		}
	}
	event := Event{Outcome: end.Outcome, Class: end.Class, Text: end.Reason}
	return s.moveWith([]string{id}, Done, event, func(b *batch, pos int) error {
		changed := -1 // stays
		if end.Result != nil {
			changed = end.Result.Changed
		}
		if err := s.exec("UPDATE machines SET state = 'done', outcome = ?, error = ?, reason = ?, rebooted = max(rebooted, ?), changed = iif(?5 < 0, changed, ?5), ended = ? WHERE run = ? AND pos = ?",
			string(end.Outcome), string(end.Class), end.Reason, end.Rebooted, changed, ms(b.now), s.n, pos); err != nil || text == "" {
			return err
		}
		return s.keep(pos, text)
	})
}

// Hold ends machines that nothing was sent to, because the run stops.
func (s *Session) Hold(ids []string, reason string) error {
	return s.moveWith(ids, Done, Event{Outcome: Held, Text: reason}, func(b *batch, pos int) error {
		return s.exec("UPDATE machines SET state = 'done', outcome = 'held', error = '', reason = ?, ended = ? WHERE run = ? AND pos = ?", reason, ms(b.now), s.n, pos)
	})
}

func (s *Session) keep(pos int, result string) error {
	return s.exec("INSERT INTO results (run, pos, result) VALUES (?,?,?) ON CONFLICT DO UPDATE SET result = excluded.result", s.n, pos, result)
}

func (s *Session) move(ids []string, to State, outcome Outcome, update func(*batch, int) error) error {
	if update == nil {
		update = func(_ *batch, pos int) error {
			return s.exec("UPDATE machines SET state = ? WHERE run = ? AND pos = ?", string(to), s.n, pos)
		}
	}
	return s.moveWith(ids, to, Event{Outcome: outcome}, update)
}

// changeCase takes the row of a machine into its case, in the transaction that changed the row.
func (s *Session) changeCase(pos int) error {
	if s.incident == "" {
		return nil
	}
	if err := s.exec(nextNumber); err != nil {
		return err
	}
	if err := s.exec(numberRow, s.n, pos); err != nil {
		return err
	}
	return s.exec(caseOfRow, s.n, pos)
}

// moveWith takes machines to a state, all of them or none, and records an event for each.
func (s *Session) moveWith(ids []string, to State, event Event, update func(*batch, int) error) error {
	if len(ids) == 0 {
		return nil
	}
	return s.hand(s.moves(ids, to, event, update))
}

// moves is the change that takes machines to a state. A pending one that is to run is leased on the way: nothing has been sent before
// both are on disk.
func (s *Session) moves(ids []string, to State, event Event, update func(*batch, int) error) op {
	var o op
	o.lease = func() []string {
		if pos, known := s.index[ids[0]]; to == Leased || to == Running && known && s.rows[pos].state == Pending {
			return ids
		}
		return nil
	}
	o.check = func() error {
		for _, id := range ids {
			pos, ok := s.index[id]
			if !ok {
				return fmt.Errorf("machine %s: %w", id, errNoMachine)
			}
			r := &s.rows[pos]
			from := r.state
			if from == Pending && to == Running {
				from = Leased
			}
			if !outcome.Allowed(from, r.outcome, to, event.Outcome) {
				return &TransitionError{Machine: r.name, From: r.state, To: to, Outcome: event.Outcome}
			}
		}
		return nil
	}
	o.apply = func(b *batch) error {
		for _, id := range ids {
			pos := s.index[id]
			r := &s.rows[pos]
			if claims(r.state) && !claims(to) {
				b.leaves = append(b.leaves, id)
			}
			known := changesCase(r.state) || changesCase(to)
			r.state, r.outcome = to, event.Outcome
			if err := update(b, pos); err != nil {
				return err
			}
			if known {
				if err := s.changeCase(pos); err != nil {
					return err
				}
			}
			e := event
			e.Kind, e.Wave, e.Machine, e.MachineID, e.State = MachineMove, r.wave, r.name, id, to
			if err := b.event(pos, e); err != nil {
				return err
			}
		}
		return nil
	}
	return o
}
