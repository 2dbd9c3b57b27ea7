// Package report tells what a run did: one [Report] made from the journal, written for the terminal, for people who were
// not there (HTML), for spreadsheets (CSV), for programs (JSON) and for pipelines (JUnit).
//
// [Build] makes the report, [Report.WriteHTML] and [Report.WriteText] are what most callers write. The package reads
// nothing but its arguments, opens no file and no connection, and its HTML loads nothing from anywhere.
package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Version is the "v" of the JSON form. It grows only when a field changes its meaning or goes away.
const Version = 1

// Report is a run as people and programs want to read it. It is not changed after [Build], so its methods may be called
// concurrently.
type Report struct {
	V         int         `json:"v"`
	Run       journal.Run `json:"run"`
	AsOf      time.Time   `json:"as_of,omitzero"`      // end of the run, or the newest time the journal knows of one that is still going
	Summary   string      `json:"summary"`             // plain sentences
	Permanent []string    `json:"permanent,omitempty"` // steps of a fix that nothing takes back, with the reason
	Stays     []Stay      `json:"stays,omitempty"`     // of an undo: what it did not take back where it came to its end
	Totals    []Count     `json:"totals"`              // in the order of the outcomes, without zeros
	Waves     []Wave      `json:"waves"`
	Reasons   []Reason    `json:"reasons"` // what went wrong, most frequent first
	Next      []Command   `json:"next"`    // what to type now
	Burndown  []Point     `json:"burndown"`
	Durations Durations   `json:"durations"`
	Timeline  []Event     `json:"timeline"` // of the run; single machines are in Machines
	Machines  []Machine   `json:"machines"` // by wave, then name
}

// Status is how a machine stands in the report: its outcome or, while it has none, "running" or "waiting".
type Status string

// The statuses of machines without an outcome.
const (
	Running Status = "running"
	Waiting Status = "waiting"
)

// Count is how many machines have a status.
type Count struct {
	Status   Status `json:"status"`
	Machines int    `json:"machines"`
}

// Stay is a step that an undo did not take back, because nothing can.
type Stay struct {
	Step     string `json:"step"`     // with the reason
	Machines int    `json:"machines"` // that are back but for it
}

// Wave is one wave. Number 0 are the machines that were left out of all waves.
type Wave struct {
	Number   int       `json:"number"`
	Machines int       `json:"machines"`
	Counts   []Count   `json:"counts"`
	Started  time.Time `json:"started,omitzero"` // of its first machine
	Ended    time.Time `json:"ended,omitzero"`   // of its last machine
}

// Reason is a group of machines with the same trouble.
type Reason struct {
	Status   Status      `json:"status"`
	Class    route.Class `json:"class,omitempty"`
	Text     string      `json:"text"`     // as the journal says it; of several machines without what differs from one to the other
	Advice   string      `json:"advice"`   // what to do about it
	Machines []string    `json:"machines"` // names, sorted
}

// Command is something to type, with what it is for.
type Command struct {
	For  string `json:"for"`
	Line string `json:"line"`
}

// Point says how many machines of the waves were not finished at a time.
type Point struct {
	Time time.Time `json:"time"`
	Left int       `json:"left"`
}

// Durations tells how long machines took, of those that were started and have finished.
type Durations struct {
	Median time.Duration `json:"median_ns"`
	P95    time.Duration `json:"p95_ns"`
	Bins   []Bin         `json:"bins"` // adjoining; the last one may be open (To is 0)
}

// Bin counts the machines that took at least From and less than To.
type Bin struct {
	From     time.Duration `json:"from_ns"`
	To       time.Duration `json:"to_ns,omitempty"`
	Machines int           `json:"machines"`
}

// Event is one line of the run's history.
type Event struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"`
	Wave int       `json:"wave,omitempty"`
	Text string    `json:"text,omitempty"`
}

// Machine is one machine of the run.
type Machine struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"`
	Address  string           `json:"address,omitempty"`
	Site     string           `json:"site,omitempty"`
	Subnet   string           `json:"subnet,omitempty"`
	Class    string           `json:"class,omitempty"`
	Wave     int              `json:"wave"`
	Route    string           `json:"route,omitempty"`
	Status   Status           `json:"status"`
	Error    route.Class      `json:"error_class,omitempty"`
	Reason   string           `json:"reason,omitempty"`
	Attempts int              `json:"attempts"`
	Changed  int              `json:"changed"`
	Rebooted bool             `json:"rebooted"`
	Started  time.Time        `json:"started,omitzero"`
	Ended    time.Time        `json:"ended,omitzero"`
	Took     time.Duration    `json:"took_ns,omitempty"` // 0 where it was not started or is not finished
	Steps    []agent.StepDone `json:"steps,omitempty"`
	Stays    []string         `json:"stays,omitempty"` // where an undo came to its end: what of the fix is still so
}

// Build makes the report of a run from what the journal holds. The order of machines and events does not matter. Without the plan
// nothing is said of what cannot be undone.
func Build(run journal.Run, machines []journal.Machine, events []journal.Event, p *plan.Plan) *Report {
	r := &Report{V: Version, Run: run, Machines: make([]Machine, 0, len(machines))}
	for _, m := range machines {
		r.Machines = append(r.Machines, machineOf(m))
	}
	r.permanent(p)
	slices.SortStableFunc(r.Machines, func(a, b Machine) int {
		return cmp.Or(cmp.Compare(waveOrder(a.Wave), waveOrder(b.Wave)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	r.Timeline = timelineOf(events)
	r.AsOf = asOf(run, r.Machines, r.Timeline)
	r.Totals = countsOf(r.Machines)
	if r.Run.Counts == nil {
		r.Run.Counts = map[journal.Outcome]int{}
		for _, c := range r.Totals {
			if c.Status != Running && c.Status != Waiting {
				r.Run.Counts[journal.Outcome(c.Status)] = c.Machines
			}
		}
	}
	r.Waves = wavesOf(r.Machines)
	undoable := p == nil || p.Playbook.Undoable()
	r.Reasons = reasonsOf(r.Machines, run, undoable)
	r.Burndown = burndownOf(run, r.Machines, r.AsOf)
	r.Durations = durationsOf(r.Machines)
	r.Next = nextOf(r, undoable)
	r.Summary = summaryOf(r)
	return r
}

// permanent fills in what the plan says of steps that nothing takes back.
func (r *Report) permanent(p *plan.Plan) {
	switch {
	case p == nil:
	case r.Run.Mode == agent.Fix:
		r.Permanent = p.Playbook.Permanent()
	case r.Run.Mode == agent.Undo:
		stays, count := map[string][]string{}, map[string]int{}
		for _, w := range p.Waves {
			for i := range w.Entries {
				stays[w.Entries[i].ID] = w.Entries[i].Stays
			}
		}
		for i := range r.Machines {
			if m := &r.Machines[i]; m.Status == Status(journal.Undone) {
				m.Stays = stays[m.ID]
				for _, step := range m.Stays {
					count[step]++
				}
			}
		}
		for _, step := range p.Playbook.Permanent() {
			if n := count[step]; n > 0 {
				r.Stays = append(r.Stays, Stay{step, n})
			}
		}
	}
}

// partly counts the machines of an undo that are back but for what nothing takes back.
func (r *Report) partly() (n int) {
	for i := range r.Machines {
		if len(r.Machines[i].Stays) > 0 {
			n++
		}
	}
	return n
}

// optional counts the machines that were fixed though an optional step failed.
func (r *Report) optional() (n int) {
	for i := range r.Machines {
		if m := &r.Machines[i]; m.Status == Status(journal.Fixed) && slices.ContainsFunc(m.Steps, func(s agent.StepDone) bool { return s.Failed }) {
			n++
		}
	}
	return n
}

// Total returns how many machines have one of the statuses.
func (r *Report) Total(statuses ...Status) int {
	n := 0
	for _, c := range r.Totals {
		if slices.Contains(statuses, c.Status) {
			n += c.Machines
		}
	}
	return n
}

func machineOf(m journal.Machine) Machine {
	out := Machine{
		ID: m.Target.ID, Name: m.Target.Name, Address: m.Target.Address, Site: m.Target.Site, Subnet: m.Target.Subnet,
		Class: m.Target.Class, Wave: m.Wave, Route: m.Route, Error: m.Class, Reason: m.Reason, Attempts: m.Attempts,
		Changed: m.Changed, Rebooted: m.Rebooted, Started: m.Started, Ended: m.Ended, Status: Running,
	}
	switch m.State {
	case journal.Done:
		out.Status = Status(m.Outcome)
	case journal.Pending:
		out.Status = Waiting
	}
	if out.Name == "" {
		out.Name = out.ID
	}
	if m.Result != nil {
		out.Steps = m.Result.Steps
		if out.Reason == "" && needsAttention(out.Status) {
			out.Reason = m.Result.Message
		}
	}
	if !out.Started.IsZero() && out.Ended.After(out.Started) {
		out.Took = out.Ended.Sub(out.Started)
	}
	return out
}

// waveOrder puts the machines outside of all waves last.
func waveOrder(wave int) int {
	if wave == 0 {
		return 1 << 30
	}
	return wave
}

func timelineOf(events []journal.Event) []Event {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b journal.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	timeline := []Event{}
	for _, e := range sorted {
		if e.Machine != "" || e.Kind == "machine" {
			continue
		}
		timeline = append(timeline, Event{Time: e.Time, Kind: string(e.Kind), Wave: e.Wave, Text: e.Text})
	}
	return timeline
}

func asOf(run journal.Run, machines []Machine, timeline []Event) time.Time {
	if !run.Ended.IsZero() {
		return run.Ended
	}
	newest := run.Started
	for _, m := range machines {
		newest = later(newest, later(m.Started, m.Ended))
	}
	for _, e := range timeline {
		newest = later(newest, e.Time)
	}
	return newest
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func countsOf(machines []Machine) []Count {
	count := map[Status]int{}
	for _, m := range machines {
		count[m.Status]++
	}
	counts := make([]Count, 0, len(count))
	for status, n := range count {
		counts = append(counts, Count{status, n})
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(faceOf(a.Status).order, faceOf(b.Status).order), cmp.Compare(a.Status, b.Status))
	})
	return counts
}

// wavesOf expects the machines sorted by wave.
func wavesOf(machines []Machine) []Wave {
	waves := []Wave{}
	for begin := 0; begin < len(machines); {
		end := begin
		wave := Wave{Number: machines[begin].Wave}
		for end < len(machines) && machines[end].Wave == wave.Number {
			m := machines[end]
			if !m.Started.IsZero() && (wave.Started.IsZero() || m.Started.Before(wave.Started)) {
				wave.Started = m.Started
			}
			if !m.Started.IsZero() {
				wave.Ended = later(wave.Ended, m.Ended)
			}
			end++
		}
		wave.Machines = end - begin
		wave.Counts = countsOf(machines[begin:end])
		waves = append(waves, wave)
		begin = end
	}
	return waves
}
