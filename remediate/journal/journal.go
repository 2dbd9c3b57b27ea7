// Package journal records what happens in runs; it is the only truth about them. SQLite (WAL), every state change is
// committed before it is acted on.
//
// [Open] opens the file, [Journal.Machines] gives the state of every machine of a run. A run's engine is its only writer,
// through a [Session] that holds the run's lock; the engines of several runs may be at work at once, in one process or in
// many, and a machine belongs to one run at a time ([Claim]). Reports, the command line and the TUI read, in any number of
// processes, and may leave a [Control] for an engine. The package knows no transport and prints nothing.
package journal

import (
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/outcome"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// How a machine stands and how it ended; see package outcome.
type (
	// State is how a machine stands.
	State = outcome.State
	// Outcome is how it ended, in a word.
	Outcome = outcome.Outcome
	// End is how it ended, whole.
	End = outcome.End
)

// The states and outcomes of package outcome.
const (
	Pending   = outcome.Pending
	Leased    = outcome.Leased
	Running   = outcome.Running
	Rebooting = outcome.Rebooting
	Done      = outcome.Done

	Clean       = outcome.Clean
	Affected    = outcome.Affected
	Fixed       = outcome.Fixed
	Undone      = outcome.Undone
	Failed      = outcome.Failed
	Unreachable = outcome.Unreachable
	Unknown     = outcome.Unknown
	Held        = outcome.Held
	Skipped     = outcome.Skipped
)

// Status is where a run stands.
type Status string

// The statuses of a run.
const (
	RunRunning     Status = "running"     // or interrupted by a crash, when it is idle
	RunPaused      Status = "paused"      //
	RunWaiting     Status = "waiting"     // for approval
	RunDone        Status = "done"        //
	RunGated       Status = "gated"       // a gate stopped it
	RunCancelled   Status = "cancelled"   //
	RunAuth        Status = "auth"        // stopped on rejected credentials
	RunTimeout     Status = "timeout"     // its time was over; the rest was held
	RunInterrupted Status = "interrupted" // by the operator; can be resumed
)

// Final reports whether the run is over for good. What a final run left undone is for a new run (retry) to do; every
// other run can be resumed.
func (s Status) Final() bool {
	switch s {
	case RunDone, RunGated, RunCancelled, RunAuth, RunTimeout:
		return true
	}
	return false
}

// Run is one run as a whole.
type Run struct {
	ID       string          `json:"id"`
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended,omitzero"`
	Operator string          `json:"operator"`
	Playbook string          `json:"playbook"`
	Mode     agent.Mode      `json:"mode"`
	Undoes   string          `json:"undoes,omitempty"`
	RetryOf  string          `json:"retry_of,omitempty"`
	Incident string          `json:"incident,omitempty"` // whose cases its outcomes belong to
	Detect   string          `json:"detect,omitempty"`   // digest of its detect part; empty: it examines nothing
	Status   Status          `json:"status"`
	Reason   string          `json:"reason,omitempty"` // why it stopped, one line
	Waves    int             `json:"waves"`
	Finished int             `json:"waves_finished"`  // waves that are over, gate, soak and approval included
	Machines int             `json:"machines"`        // without the skipped ones
	Counts   map[Outcome]int `json:"counts"`          // of the machines that are done, skipped ones included
	Owner    *Owner          `json:"owner,omitempty"` // who works on it now
}

// Idle reports whether nobody works on a run that is not over: it can be resumed.
func (r *Run) Idle() bool { return r.Owner == nil && !r.Status.Final() }

// Machine is the row of one machine in a run.
type Machine struct {
	Target   route.Target  `json:"target"`
	Wave     int           `json:"wave"` // 1-based; 0 for a skipped one
	Route    string        `json:"route"`
	State    State         `json:"state"`
	Outcome  Outcome       `json:"outcome,omitempty"`
	Class    route.Class   `json:"class,omitempty"`  // of the last error
	Reason   string        `json:"reason,omitempty"` // one line for people
	Attempts int           `json:"attempts"`
	Changed  int           `json:"changed"`
	Rebooted bool          `json:"rebooted"`
	Started  time.Time     `json:"started,omitzero"`  // first request
	FixedAt  time.Time     `json:"fixed_at,omitzero"` // when the answer came that announced a restart
	Ended    time.Time     `json:"ended,omitzero"`
	Result   *agent.Result `json:"result,omitempty"`
}

// Event is one line of a run's history. Events of a run are numbered from 1 without gaps; the number, not the time, says
// what came first.
type Event struct {
	Run       string      `json:"run"`
	Seq       int64       `json:"seq"`
	Time      time.Time   `json:"time"`
	Kind      Kind        `json:"kind"`
	Wave      int         `json:"wave,omitempty"`
	Machine   string      `json:"machine,omitempty"`    // name
	MachineID string      `json:"machine_id,omitempty"` //
	State     State       `json:"state,omitempty"`
	Outcome   Outcome     `json:"outcome,omitempty"`
	Class     route.Class `json:"class,omitempty"`
	Text      string      `json:"text,omitempty"`
}

// Kind says what an event is about.
type Kind string

// The kinds of event.
const (
	RunStarted   Kind = "run-started"
	RunResumed   Kind = "run-resumed" // after an interruption or a crash
	RunEnded     Kind = "run-ended"   // Text: status and reason
	WaveStarted  Kind = "wave-started"
	WaveSoaking  Kind = "soak"       // the pause before the second verify has begun
	WaveGated    Kind = "gate"       // Text: why
	WaveUnproved Kind = "unproved"   // it is over and reached nobody; Text says so. The run goes on as it would
	WaveEnded    Kind = "wave-ended" //
	Approval     Kind = "approval"   // awaited
	Approved     Kind = "approved"   // Text says by whom
	Paused       Kind = "paused"     //
	Unpaused     Kind = "unpaused"   //
	Stopping     Kind = "stopping"   // no new machines; Text: why
	Ignored      Kind = "ignored"    // a wish that does nothing; Text: which, and why
	MachineMove  Kind = "machine"    // State and Outcome say where to
	RouteStep    Kind = "step"       // a route is about to do something outside of a machine, or did it; Text: what
)
