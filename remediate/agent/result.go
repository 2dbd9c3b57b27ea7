// Package agent carries a playbook to a machine and its answer back: the embedded agent.ps1 with its bootstrap, the
// envelope they read on stdin, and the result they write.
//
// A route needs two calls: [Encode] for what goes to stdin, and [Decode] for what came back on stdout. The package never
// opens a connection and never builds a script from user values: the agent is one static text, the playbook is data.
package agent

import (
	"slices"

	"github.com/fleetmend/fleetmend/remediate/playbook"
)

// Mode is what the agent is asked to do.
type Mode string

// The modes. Detect and Verify change nothing and are answered afresh each time; Fix and Undo act once per run ID and
// are answered from the machine's own record ever after (Result.Repeated).
const (
	Detect Mode = "detect" // outcome affected or clean
	Fix    Mode = "fix"    // outcome fixed or clean, or failed
	Verify Mode = "verify" // outcome fixed when verify holds, else failed
	Undo   Mode = "undo"   // outcome undone, or failed
)

// Request is one question to one machine. Its JSON form is the envelope's body.
type Request struct {
	Run      string            `json:"run"`   // ^[0-9A-Za-z-]{1,64}$; for Undo the run to take back
	Nonce    string            `json:"nonce"` // echoed in every result line; fresh per request
	Mode     Mode              `json:"mode"`
	Root     string            `json:"root"` // "" for the running system, else the volume of an offline one
	Playbook playbook.Playbook `json:"playbook"`
	Record   string            `json:"record,omitempty"` // for Undo: Result.Record of the fix, where it is known; other records are refused
	Room     int               `json:"room,omitempty"`   // bytes of result lines that the way back carries; 0: no limit
	Kept     bool              `json:"-"`                // the machine's last answer said that it has kept this agent, as far as the asker knows; it does not travel
}

// Result is the agent's answer, the same from agent.ps1 and from the Go interpreter.
type Result struct {
	V        int        `json:"v"` // ResultVersion; 0 from agents before 2
	Run      string     `json:"run"`
	Outcome  string     `json:"outcome"` // affected, clean, fixed, undone or failed
	Changed  int        `json:"changed"` // how many things were changed (files moved, values set, ...)
	Message  string     `json:"message"` // why it failed; else empty or a remark
	Repeated bool       `json:"repeated"`
	Reboot   string     `json:"reboot"` // "" none wanted, "scheduled" a restart is under way or will be within seconds
	Uptime   int64      `json:"uptime"` // seconds since the machine started, -1 where it cannot be known
	Steps    []StepDone `json:"steps,omitempty"`
	PS       string     `json:"ps"`                // version of PowerShell, or "go"
	Language string     `json:"language"`          // FullLanguage, ConstrainedLanguage, or "go"
	Record   string     `json:"record,omitempty"`  // of a fix: SHA-256 over "name LF sha256 LF" of manifest.json and each undo record; "" unknown
	Clipped  bool       `json:"clipped,omitempty"` // something was left out to fit Request.Room
	Kept     string     `json:"kept,omitempty"`    // hash of the agent that the machine has kept: the next request may name it
	Note     string     `json:"note,omitempty"`    // why it could not be kept; nothing else of the answer depends on that
}

// ResultVersion is the form of a [Result] that this build makes.
const ResultVersion = 2

// Within leaves out what is told least until the result's lines fit into the room of the request.
func (r Result) Within(q Request) Result {
	for stage := 0; stage < 3 && q.Room > 0 && size(Lines(q.Nonce, r)) > q.Room; stage++ {
		r.Clipped = true
		switch stage {
		case 0:
			r.Steps = slices.Clone(r.Steps)
			for i := range r.Steps {
				r.Steps[i].Note = ""
			}
			r.Note = ""
		case 1:
			r.Steps, r.Kept = nil, ""
		case 2:
			r.Message = string([]rune(r.Message)[:min(200, len([]rune(r.Message)))])
		}
	}
	return r
}

func size(lines []string) (n int) {
	for _, line := range lines {
		n += len(line) + len("\r\n")
	}
	return n
}

// StepDone says what one action did.
type StepDone struct {
	Action  string `json:"action"` // one of playbook.ActionKinds
	Target  string `json:"target"`
	Changed int    `json:"changed"`
	Note    string `json:"note,omitempty"`   // bounded to 2,000 characters; output of a script, or why an optional step failed
	Failed  bool   `json:"failed,omitempty"` // an optional step that failed; the others are only told where the fix ended with them
}

// The outcomes of a Result.
const (
	Affected = "affected"
	Clean    = "clean"
	Fixed    = "fixed"
	Undone   = "undone"
	Failed   = "failed"
	Busy     = "busy" // another request of the run is at work there; [Decode] makes it [ErrBusy]
)
