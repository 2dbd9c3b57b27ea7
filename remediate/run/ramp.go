package run

// A machine is at risk from the moment it is asked to do something until it is known to have come through it: one that
// restarts is, until its verify holds. There are never more of them than the gate could bear to lose, so a wave begins
// with few and grows as they come through (gate.room). Meanwhile the next ones are looked for, so that no machine that is
// switched off holds such a place for as long as it takes to see that; not before one was silent, for a look costs a connection. Everything here belongs to the owner of the wave.

// lobbySize is how many machines are looked for at least.
const lobbySize = 8

// ahead is how many machines are looked for, or found and waiting, while there is room for so many.
func ahead(room int) int { return max(2*room, lobbySize) }

// first puts a task before all that are not at risk.
const first = 1 << 40

// risk gives a place to a task, and its next attempts precedence.
func (w *wave) risk(t *task) {
	t.risked = true
	t.order -= first
	w.risked++
}

// settle takes back what the worker of a verdict held.
func (w *wave) settle(v *verdict) {
	t := v.task
	if t.scouts {
		t.scouts = false
		w.scouting--
	}
	if t.risked && (v.what == finished || !t.running && !t.maybe && t.fixed == nil) {
		t.risked = false
		t.order += first
		w.risked--
	}
}

// nextTask takes the next task that may go to a worker now; nil: none.
func (x *execution) nextTask(w *wave) *task {
	room := x.gate.room()
	if x.halt != nil { // what is left may have been changed, and is only asked
		return w.queue.next()
	}
	if w.risked < room && len(w.parked) > 0 {
		w.queue.add(w.parked[0])
		w.parked = w.parked[1:]
	}
	t := w.queue.next()
	switch {
	case t == nil, t.risked, t.second:
	case w.risked < room:
		t.there = false
		w.risk(t)
	case t.there:
		w.queue.giveBack(t)
		w.parked = append(w.parked, t)
		return nil
	case x.silence.Load() && len(w.parked)+w.scouting < ahead(room):
		t.scouts = true
		w.scouting++
	default:
		w.queue.giveBack(t)
		w.queue.add(t)
		return nil
	}
	return t
}
