package runs

import (
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// The words in which a face speaks of runs. They are those of the journal and of the engine, which no face knows.

type (
	// Run is a run as it is recorded.
	Run = journal.Run
	// Event is something that happened in a run.
	Event = journal.Event
	// Machine is one machine of a run.
	Machine = journal.Machine
	// Outcome is what a machine came to.
	Outcome = journal.Outcome
	// ControlKind is a wish of somebody for a run at work.
	ControlKind = journal.ControlKind
	// Progress folds the events of a run into numbers.
	Progress = run.Progress
	// Snapshot is a moment of a run in numbers.
	Snapshot = run.Snapshot
)

// What machines came to.
const (
	Fixed       = journal.Fixed
	Undone      = journal.Undone
	Clean       = journal.Clean
	Affected    = journal.Affected
	Failed      = journal.Failed
	Unreachable = journal.Unreachable
	Unknown     = journal.Unknown
	Held        = journal.Held
)

// What runs are, and how they ended.
const (
	Running     = journal.RunRunning
	Paused      = journal.RunPaused
	Waiting     = journal.RunWaiting
	Rejected    = journal.RunAuth
	Gated       = journal.RunGated
	Interrupted = journal.RunInterrupted
	Cancelled   = journal.RunCancelled
)

// What may be wished of a run at work.
const (
	ToPause   = journal.Pause
	ToResume  = journal.Resume
	ToCancel  = journal.Cancel
	ToStop    = journal.Stop
	ToStopNow = journal.StopNow
)

// Awaited is the kind of event that asks for the approval of a wave.
const Awaited = journal.Approval

type (
	// AmbiguousError says that the beginning of a name fits several runs.
	AmbiguousError = journal.AmbiguousError
	// EndedError says that a run is over.
	EndedError = journal.EndedError
	// IdleError says that nobody works on a run.
	IdleError = journal.IdleError
	// GoneError says that the journal of a run was deleted, and where a copy of it lies.
	GoneError = journal.GoneError
	// LockedError says who works on a run.
	LockedError = journal.LockedError
	// NotAwaitedError says that a wave does not wait.
	NotAwaitedError = journal.NotAwaitedError
	// NotFoundError says that there is no such run.
	NotFoundError = journal.NotFoundError
)

// NewProgress folds the events of a run into numbers.
var NewProgress = run.NewProgress
