// Package casefile judges one machine in one incident: is it affected, how is it reached, what is missing, and what comes
// next.
//
// [Judge] is the call that most callers need; [Choose] is the part of it that says how a machine is reached. Both are pure
// functions of [Facts], which internal/desk/cases fills from the stores: nothing here is read or kept, so an opinion is
// never older than what it stands on. No machine is left without a next step. The words of verdicts, routes, keys and
// steps are those of selectors and reports, and stay.
package casefile

import "time"

// Verdict is where a machine stands in an incident.
type Verdict string

// The verdicts.
const (
	Unknown  Verdict = "unknown"  // nothing says that it is affected, and nobody has looked
	Suspect  Verdict = "suspect"  // it looks affected from outside
	Affected Verdict = "affected" // examined: affected, or not to be fixed by the last run
	Undone   Verdict = "undone"   // its fix was taken back: affected again
	Clean    Verdict = "clean"    // examined: not affected
	Fixed    Verdict = "fixed"    // by a run, a medium, or by hand
)

// Verdicts lists them, the worst first.
func Verdicts() []Verdict { return []Verdict{Affected, Undone, Suspect, Unknown, Fixed, Clean} }

// Health is the verdict in the words of the inventory's field health: healthy, affected, suspect or unknown.
func (v Verdict) Health() string {
	switch v {
	case Clean, Fixed:
		return "healthy"
	case Affected, Undone:
		return "affected"
	case Suspect:
		return "suspect"
	case Unknown:
	}
	return "unknown"
}

// Keys is what is known of the recovery keys of a machine's system disk.
type Keys string

// The states of keys.
const (
	NoKey      Keys = "none"    // none is known
	KnownKey   Keys = "known"   // one is listed by a source
	HeldKey    Keys = "held"    // one, and the vault holds its password
	SeveralKey Keys = "several" // the key ID on the recovery screen decides
	DeniedKey  Keys = "denied"  // listed, and we may not read it
	WrongKey   Keys = "wrong"   // what is stored cannot be a recovery password
)

// The ways to a machine. The first five are routes that runs take when they are set up.
const (
	WinRM       = "winrm"
	SMB         = "smb"
	AzureRun    = "azure-run"
	AzureRepair = "azure-repair"
	IntuneRun   = "intune-run"
	Medium      = "medium"
	Hand        = "hand"
)

// Routes lists the ways, the quickest first.
func Routes() []string {
	return []string{WinRM, SMB, AzureRun, IntuneRun, AzureRepair, Medium, Hand}
}

// Verb is what comes next for a machine.
type Verb string

// The steps.
const (
	Fix    Verb = "fix"    // run the cure; it examines first
	Retry  Verb = "retry"  // run it again
	Resume Verb = "resume" // a run that stopped has it in its hands
	Probe  Verb = "probe"  // look whether it answers
	Start  Verb = "medium" // start it from a boot medium
	GetKey Verb = "key"    // find its recovery key first
	Rotate Verb = "rotate" // its key was shown to people: replace it
	Wait   Verb = "wait"   // a run is at work on it
	ByHand Verb = "hand"   // somebody has to look
	Done   Verb = "none"   // nothing
)

// Verbs lists them in the order in which they are done.
func Verbs() []Verb {
	return []Verb{Resume, Fix, Retry, Probe, GetKey, Start, Rotate, ByHand, Wait, Done}
}

// KeyStates lists the states of keys, the best first.
func KeyStates() []Keys { return []Keys{HeldKey, KnownKey, SeveralKey, DeniedKey, WrongKey, NoKey} }

// Window is when the harm of an incident was done. A zero start is not known, a zero end goes on.
type Window struct{ Start, End time.Time }

// Facts are what the stores know of one machine. Zero values are not known.
type Facts struct {
	ID, Name, Site, Class string
	Disabled              bool   // its account
	Gone                  bool   // no source lists it any more
	Encrypted             string // yes, no or empty: its system disk, as a source says
	LastSeen              time.Time
	Said                  string // health in a source's own words, where nobody in the incident has said anything
	SaidReason            string
	Probe                 *Probed // the newest
	Answer                *Answer // the newest of a run or medium of the incident
	Tried                 *Tried  // the newest attempt, whether or not it gave an answer
	Mark                  *Mark   // the newest that stands
	Work                  *Work   // the run that has the machine and is not over
	Keys                  Keys
	Exposed               bool     // somebody was shown its key, and it was not replaced since
	Routes                []string // set up here and open to this machine, in order of preference, of Routes
}

// Probed is what a probe found.
type Probed struct {
	At    time.Time
	Open  bool // the port of WinRM accepts connections
	WinRM bool // and WinRM answers
}

// Answer is what the machine said: clean, affected, fixed, undone or failed.
type Answer struct {
	Word, Run, Route, Reason string
	At                       time.Time
	Number                   int64 // what has the higher one is newer
}

// Tried is an attempt, in the words of a run's outcomes, or rebooting.
type Tried struct {
	Word, Class, Reason, Run, Route string
	At                              time.Time
	Number                          int64
}

// Mark is a judgement by hand: fixed, replaced, excluded or suspect.
type Mark struct {
	Word, Reason, By string
	At               time.Time
	Number           int64
}

// Work is a run that is not over and has not yet done the machine.
type Work struct {
	Run   string
	Live  bool // somebody works on it
	Begun bool // it is in flight there, or was when the run stopped
}

// Route is the way to a machine. OK is false where the way is not set up here; Why then says so.
type Route struct {
	Name, Why string
	OK        bool
}

// Step is what comes next.
type Step struct {
	Verb Verb
	Why  string // one sentence without a full stop
}

// Case is a judged machine.
type Case struct {
	Facts
	Verdict Verdict
	Because string    // one sentence without a full stop
	Since   time.Time // zero: not known
	Out     string    // why the machine does not count: replaced, excluded, gone, disabled; empty: it counts
	Route   Route
	Next    Step
}

// Health is the verdict in the words of the inventory.
func (c *Case) Health() string { return c.Verdict.Health() }

// Judge judges a machine at the time now.
func Judge(w Window, f Facts, now time.Time) Case {
	c := Case{Facts: f}
	c.Verdict, c.Because, c.Since = verdict(w, &f)
	if c.Out = out(&f); f.Mark != nil && c.Out == f.Mark.Word {
		c.Because = withReason("marked as "+f.Mark.Word+" by "+f.Mark.By+" "+stamp(f.Mark.At), f.Mark.Reason)
	}
	c.Route = Choose(f, now)
	c.Next = next(&c, now)
	return c
}

// out says why a machine does not count.
func out(f *Facts) string {
	switch {
	case f.Mark != nil && (f.Mark.Word == "replaced" || f.Mark.Word == "excluded"):
		return f.Mark.Word
	case f.Answer != nil || f.Mark != nil || f.Said != "":
		return ""
	case f.Gone:
		return "gone"
	case f.Disabled:
		return "disabled"
	}
	return ""
}
