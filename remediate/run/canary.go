package run

import (
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// moreCanaries is how many machines of later waves are tried, one after the other, where a wave proved nothing and nobody is
// there to be asked.
const moreCanaries = 3

// doubtful reports whether nothing speaks yet for the waves to come: not the one that is over, and none before it.
func (x *execution) doubtful() bool {
	return x.plan.Mode == agent.Fix && x.rules.MaxFail.Set && x.gate.all.good == 0 && x.gate.unproved() != ""
}

// anotherCanary says of a wave that it tells nothing about those to come, and has one machine more go ahead of them where that
// may help. That all of them fail is the gate's business; where they are silent or clean, the next wave begins with few
// machines at risk.
func (x *execution) anotherCanary(w *wave) (bool, error) {
	text := x.gate.unproved()
	if text == "" || w.number == len(x.plan.Waves) {
		return false, nil
	}
	text = x.gate.name + ": " + text + ": this wave proved nothing"
	if !x.doubtful() || x.rules.Attended || w.canaries == moreCanaries {
		return false, x.journal.Note(journal.WaveUnproved, w.number, text)
	}
	for number := w.number + 1; number <= len(x.plan.Waves); number++ {
		entries := x.plan.Waves[number-1].Entries
		for i := range entries {
			if m := &x.left[number][i]; m.State == journal.Pending && !x.drawn[m.Target.ID] {
				x.drawn[m.Target.ID] = true
				w.canaries++
				x.put(w, &entries[i], m, len(w.spec.Entries)+w.canaries)
				return true, x.journal.Note(journal.WaveUnproved, w.number, text+"; "+m.Target.Name+" goes first of those to come")
			}
		}
	}
	return false, x.journal.Note(journal.WaveUnproved, w.number, text)
}

// refill takes the canaries of a wave that an earlier life of the run drew from later ones.
func (x *execution) refill(w *wave) {
	for number := w.number + 1; number <= len(x.plan.Waves); number++ {
		for i := range x.left[number] {
			m := &x.left[number][i]
			if m.State == journal.Pending || x.drawn[m.Target.ID] || m.Outcome == journal.Held || m.Outcome == journal.Skipped {
				continue
			}
			x.drawn[m.Target.ID] = true
			w.canaries++
			x.put(w, &x.plan.Waves[number-1].Entries[i], m, len(w.spec.Entries)+w.canaries)
		}
	}
}
