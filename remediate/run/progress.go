package run

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// Progress is an Observer that folds events into numbers for a progress line or a screen. It never blocks the engine for
// longer than a few map operations. A process that only watches feeds it from journal.Events.
type Progress struct {
	mu       sync.Mutex
	now      Snapshot
	machines map[string]standing // of each machine that moved, by ID
	pace     [paceSeconds]int    // machines done, by second
	awaited  string              // the approval that is awaited
	paceAt   int64               // the second that pace is written for
}

// standing is where a machine stands.
type standing struct {
	state   journal.State
	outcome journal.Outcome
}

// Snapshot is a moment of a run. It belongs to the caller.
type Snapshot struct {
	Run      string
	Status   journal.Status
	Reason   string    // what the run waits for, or why it ended
	Started  time.Time // of this life of the run
	Seq      int64     // last event folded
	Wave     int       // under way, from 1; 0 before the first
	Waves    []WaveCount
	Machines int // in all waves
	Done     int
	Outcomes map[journal.Outcome]int
	States   map[journal.State]int
	Rate     float64         // machines per second, over the last half minute or since the start
	ETA      time.Duration   // until the last machine, soaks and approvals not counted; 0: cannot be told
	Last     []journal.Event // the newest, oldest first
}

// WaveCount is one wave in numbers.
type WaveCount struct {
	Name     string
	Machines int
	Done     int
	Outcomes map[journal.Outcome]int
	Ended    bool
}

const (
	paceSeconds = 30
	keepEvents  = 200
)

// NewProgress makes a Progress for a run of the plan.
func NewProgress(p *plan.Plan) *Progress {
	g := &Progress{machines: make(map[string]standing, p.Machines())}
	g.now = Snapshot{Machines: p.Machines(), Outcomes: map[journal.Outcome]int{}, States: map[journal.State]int{journal.Pending: p.Machines()}}
	for _, w := range p.Waves {
		g.now.Waves = append(g.now.Waves, WaveCount{Name: w.Name, Machines: len(w.Entries), Outcomes: map[journal.Outcome]int{}})
	}
	return g
}

// Stand makes the numbers those of a moment of the run: as if every event up to it had been folded, without reading them.
func (g *Progress) Stand(at journal.Standing) {
	for _, e := range at.Course {
		g.Observe(e)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now.Seq = at.Seq
	var newest int64
	for _, m := range at.Machines {
		newest = max(newest, m.Ended.Unix())
	}
	for _, m := range at.Machines {
		if m.State != journal.Pending {
			g.move(journal.Event{MachineID: m.ID, Wave: m.Wave, State: m.State, Outcome: m.Outcome, Time: m.Ended})
		}
	}
	g.pace, g.paceAt = [paceSeconds]int{}, newest
	for _, m := range at.Machines {
		if second := m.Ended.Unix(); m.State == journal.Done && m.Outcome != journal.Held && newest-second < paceSeconds {
			g.pace[second%paceSeconds]++
		}
	}
}

// Observe implements Observer. Events already folded are ignored, so that a history may be fed twice.
func (g *Progress) Observe(e journal.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.now
	if e.Seq <= s.Seq {
		return
	}
	s.Run, s.Seq = e.Run, e.Seq
	switch e.Kind {
	case journal.RunStarted, journal.RunResumed:
		s.Status, s.Started, s.Reason, g.awaited = journal.RunRunning, e.Time, "", ""
	case journal.RunEnded:
		s.Status, s.Reason = endOf(e.Text)
	case journal.WaveStarted:
		s.Wave = e.Wave
	case journal.WaveEnded:
		if e.Wave >= 1 && e.Wave <= len(s.Waves) {
			s.Waves[e.Wave-1].Ended = true
		}
	case journal.Paused:
		s.Status, s.Reason = journal.RunPaused, e.Text
	case journal.Unpaused:
		s.Status, s.Reason = journal.RunRunning, ""
		if g.awaited != "" {
			s.Status, s.Reason = journal.RunWaiting, g.awaited
		}
	case journal.Approval:
		g.awaited = e.Text
		s.Status, s.Reason = journal.RunWaiting, e.Text
	case journal.Approved:
		g.awaited = ""
		s.Status, s.Reason = journal.RunRunning, ""
	case journal.WaveSoaking, journal.WaveGated, journal.Stopping:
		s.Reason = e.Text
	case journal.MachineMove:
		g.move(e)
	}
	if e.Kind != journal.MachineMove || e.State == journal.Done || e.State == journal.Rebooting || e.Text != "" {
		if len(s.Last) == keepEvents {
			s.Last = slices.Delete(s.Last, 0, keepEvents/4)
		}
		s.Last = append(s.Last, e)
	}
}

func (g *Progress) move(e journal.Event) {
	s := &g.now
	before, known := g.machines[e.MachineID]
	if !known {
		before.state = journal.Pending
	}
	g.machines[e.MachineID] = standing{e.State, e.Outcome}
	s.States[before.state]--
	s.States[e.State]++
	var w *WaveCount
	if e.Wave >= 1 && e.Wave <= len(s.Waves) {
		w = &s.Waves[e.Wave-1]
	} else {
		w = &WaveCount{Outcomes: map[journal.Outcome]int{}}
	}
	if before.state == journal.Done {
		s.Done--
		w.Done--
		s.Outcomes[before.outcome]--
		w.Outcomes[before.outcome]--
	}
	if e.State == journal.Done {
		s.Done++
		w.Done++
		s.Outcomes[e.Outcome]++
		w.Outcomes[e.Outcome]++
		if before.state != journal.Done && e.Outcome != journal.Held {
			g.tick(e.Time.Unix())
			g.pace[g.paceAt%paceSeconds]++
		}
	}
}

// tick moves the pace window to a second; a clock that goes back changes nothing.
func (g *Progress) tick(second int64) {
	if second-g.paceAt >= paceSeconds {
		g.pace = [paceSeconds]int{}
		g.paceAt = second
	}
	for g.paceAt < second {
		g.paceAt++
		g.pace[g.paceAt%paceSeconds] = 0
	}
}

// Snapshot returns the numbers as they are at the time now.
func (g *Progress) Snapshot(now time.Time) Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.now
	s.Outcomes, s.States, s.Last = maps.Clone(s.Outcomes), maps.Clone(s.States), slices.Clone(s.Last)
	s.Waves = slices.Clone(s.Waves)
	for i := range s.Waves {
		s.Waves[i].Outcomes = maps.Clone(s.Waves[i].Outcomes)
	}
	if s.Started.IsZero() {
		return s
	}
	g.tick(now.Unix())
	total := 0
	for _, n := range g.pace {
		total += n
	}
	window := min(max(now.Sub(s.Started).Seconds(), 1), paceSeconds)
	s.Rate = float64(total) / window
	if left := s.Machines - s.Done; left > 0 && s.Rate > 0 && s.Status == journal.RunRunning {
		s.ETA = time.Duration(float64(left) / s.Rate * float64(time.Second)).Round(time.Second)
	}
	return s
}

// endOf splits the text of a run-ended event into the status and the reason.
func endOf(text string) (journal.Status, string) {
	status, reason, _ := strings.Cut(text, ": ")
	return journal.Status(status), reason
}
