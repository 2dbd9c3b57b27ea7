package run

import (
	"cmp"
	"slices"

	"github.com/fleetmend/fleetmend/remediate/run/errand"
)

// A machine is at risk from the moment it is asked to do something until it is known to have come through it: one that
// restarts is, until its verify holds. There are never more of them than the gate could bear to lose, so a wave begins
// with few and grows as they come through (gate.room). Meanwhile the next ones are looked for, so that no machine that is
// switched off holds such a place for as long as it takes to see that; not while there are many places and nobody was
// silent, for a look costs a connection. Everything here belongs to the owner of the wave.

// lobbySize is how many machines are looked for at least.
const lobbySize = 8

// ahead is how many machines are looked for, or found and waiting, while there is room for so many.
func ahead(room int) int { return max(2*room, lobbySize) }

// foundFirst puts a task that was found before those that nobody has looked for.
const foundFirst = 1 << 39

// fallBack gives a task its place in the order of the plan again.
func (t *task) fallBack() {
	if t.ahead {
		t.ahead = false
		t.order += foundFirst
	}
}

// first puts a task before all that are not at risk.
const first = 1 << 40

// risk gives a place to a task, and its next attempts precedence.
func (w *wave) risk(t *task) {
	t.fallBack()
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
	if t.placed {
		t.placed = false
		w.places--
	}
	if delete(w.silent, t); v.What == errand.Again && t.Silent() {
		w.silent[t] = true
	}
	if t.risked && (v.What == errand.Ended || !t.Begun()) {
		t.risked = false
		t.order += first
		w.risked--
	}
}

// lookers is how many machines are looked for at once. That is no place among the forks: whoever is silent holds none of those who
// answer.
func lookers(forks int) int { return 2*forks + 64 }

// looksFirst reports whether a machine is looked for before it gets a place: where one was silent, and where places are dear and taken.
func (x *execution) looksFirst(w *wave, t *task, room int) bool {
	return !t.there && (x.crew.Silences() > 0 || room < dear && w.risked >= room)
}

const dear = 40

// nextTask takes the next task that may go to a worker now; nil: none.
func (x *execution) nextTask(w *wave) *task {
	free := w.places < x.rules.Forks
	room := x.gate.room()
	if x.halt == nil && free && w.risked < room && len(w.parked) > 0 {
		t := w.parked[0]
		w.parked = w.parked[1:]
		t.ahead = true
		t.order -= foundFirst
		w.queue.add(t)
	}
	t := w.queue.next()
	switch {
	case t == nil:
		return nil
	case x.halt != nil, t.risked, t.second: // with a halt: what is left may have been changed, and is only asked
	case x.looksFirst(w, t, room):
		if w.passing || w.scouting >= lookers(x.rules.Forks) || len(w.parked) >= ahead(min(room, x.rules.Forks)) {
			return w.putBack(t)
		}
		w.queue.giveBack(t) // nor a place in its site
		t.scouts = true
		w.scouting++
		return t
	case t.there && w.risked >= room:
		w.queue.giveBack(t)
		w.park(t)
		return nil
	case w.risked >= room:
		return w.putBack(t)
	case free:
		t.there = false
		w.risk(t)
	}
	if !free {
		return w.putBack(t)
	}
	t.placed = true
	w.places++
	return t
}

// park lets a machine wait that was found, in the order of the plan; one that comes and goes waits in front.
func (w *wave) park(t *task) {
	t.fallBack()
	at, _ := slices.BinarySearchFunc(w.parked, t, func(a, b *task) int {
		if a.Flaps() != b.Flaps() {
			return map[bool]int{true: -1, false: 1}[a.Flaps()]
		}
		return cmp.Compare(a.order, b.order)
	})
	w.parked = slices.Insert(w.parked, at, t)
}

// putBack returns a task to its place in the order.
func (w *wave) putBack(t *task) *task {
	w.queue.giveBack(t)
	w.queue.add(t)
	return nil
}

// onlySilent reports whether all that is left of a wave is machines that are silent.
func (w *wave) onlySilent() bool {
	return len(w.silent) > 0 && w.queue.size()+w.out+len(w.parked) == len(w.silent)
}

// mayPass reports whether the next wave may begin while silent machines of this one are still knocked at: where somebody answered, and no
// gate has to know how many are silent.
func (x *execution) mayPass(w *wave) bool {
	return x.halt == nil && !x.rules.MaxUnreach.Set && w.number < len(x.plan.Waves) && x.gate.wave.answered() > 0
}

// carry takes the silent machines of a wave along to the next one.
func (x *execution) carry(w *wave) {
	x.carried = append(x.carried, w.queue.remove(func(*task) bool { return true })...)
}
