// Package plan freezes what a run will do: which machines, in which waves, by which route, with which playbook and
// under which gate. A plan is a file with a digest and an expiry.
//
// [New] makes one, [Load] reads one back and refuses what was edited or has expired. The package touches no machine and
// no store; it is a pure function of what it is given. The digest finds accidents and hasty edits; it is no signature.
package plan

import (
	"cmp"
	"time"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/route"
)

// Version is the format of plan files that this program writes and reads.
const Version = 1

// Plan is the frozen work. Its JSON form is the plan file.
type Plan struct {
	Version        int               `json:"version"` // 1
	Created        time.Time         `json:"created"`
	Expires        time.Time         `json:"expires"`
	Operator       string            `json:"operator"` // OS user
	Selector       string            `json:"selector,omitempty"`
	Exclude        string            `json:"exclude,omitempty"`  // selector of what was left out
	Mode           agent.Mode        `json:"mode"`               // fix; detect for a dry run; undo
	Undoes         string            `json:"undoes,omitempty"`   // run ID, with mode undo
	RetryOf        string            `json:"retry_of,omitempty"` // run ID this one repeats
	Incident       string            `json:"incident,omitempty"` // whose cases the outcomes belong to
	Asks           bool              `json:"asks,omitempty"`     // that incident asks what this plan asks; it is opened where it is not there
	Playbook       playbook.Playbook `json:"playbook"`           // bound: no parameters left
	Parameters     map[string]string `json:"parameters,omitempty"`
	PlaybookFile   string            `json:"playbook_file,omitempty"` // where its source was read, absolute; empty for a built-in one
	PlaybookDigest string            `json:"playbook_digest"`         // of the source it was bound from; apply compares
	Waves          []Wave            `json:"waves"`
	Skipped        []Skip            `json:"skipped,omitempty"`
	Options        Options           `json:"options"`
	Digest         string            `json:"digest"` // sha256 over everything else
}

// Wave is a batch of machines that one gate stands behind.
type Wave struct {
	Name    string  `json:"name"` // "1", "10", "10%", "100%" as asked for
	Entries []Entry `json:"entries"`
}

// Entry is one machine with the way to it.
type Entry struct {
	route.Target
	Route  string `json:"route"`
	Reason string `json:"reason"`           // why this route
	Canary bool   `json:"canary,omitempty"` // goes first, before any priority
	Record string `json:"record,omitempty"` // with mode undo: agent.Result.Record of the fix, where its answer came; other records are refused

	Stays []string `json:"stays,omitempty"` // with mode undo: what the fix did there and nothing takes back, as playbook.Permanent has it
}

// Skip is a machine that was selected and left out, with the reason.
type Skip struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Options are the rules of the run, frozen with the plan.
type Options struct {
	Forks      int           `json:"forks"`                    // machines in flight at once
	PerSite    int           `json:"per_site,omitempty"`       // 0: no limit
	PerSubnet  int           `json:"per_subnet,omitempty"`     // 0: no limit
	Timeout    time.Duration `json:"timeout"`                  // one machine, all attempts; the verify after a restart has its own
	RebootWait time.Duration `json:"reboot_wait"`              // how long a restart may take
	Retries    int           `json:"retries"`                  // attempts after the first, where nothing ran
	Backoff    time.Duration `json:"backoff"`                  // first pause, doubled each time, with jitter; a silent machine is knocked at for as long
	Soak       time.Duration `json:"soak,omitempty"`           // pause after a wave before its second verify
	Approval   bool          `json:"approval,omitempty"`       // wait for approval between waves
	Chase      bool          `json:"chase,omitempty"`          // keep knocking until Timeout on machines that are up for seconds
	MaxFail    Limit         `json:"max_fail,omitzero"`        // failed and unknown machines, of the treated
	MaxUnreach Limit         `json:"max_unreachable,omitzero"` // unreachable machines
	MaxDenied  Limit         `json:"max_denied,omitzero"`      // machines that refuse us
	Attended   bool          `json:"attended,omitempty"`       // somebody is there to be asked when a wave proved nothing
	MinSample  int           `json:"min_sample"`               // of older plans, whose digest it is part of: obeyed no more
	RunTimeout time.Duration `json:"run_timeout,omitempty"`    // whole run; 0: none
	SignIns    int           `json:"sign_ins,omitempty"`       // of an account, not accepted or under way; 0: what locks hardly an account anywhere

	SignInsSaid  bool          `json:"sign_ins_said,omitempty"`  // somebody gave that number, else it follows from what the domain says
	SignInsWhy   string        `json:"sign_ins_why,omitempty"`   // where it comes from, in words
	SignInWindow time.Duration `json:"sign_in_window,omitempty"` // how long they count after the last of them; 0: as long as Windows does unless told otherwise

	ByRoute map[string]route.Limits `json:"by_route,omitempty"` // of routes that need others
}

// For are the limits of the machines that go by a route; Forks 0: no other than those of the run.
func (o *Options) For(name string) route.Limits {
	l := o.ByRoute[name]
	return route.Limits{Timeout: cmp.Or(l.Timeout, o.Timeout), RebootWait: cmp.Or(l.RebootWait, o.RebootWait), Forks: l.Forks}
}
