// Package collect brings the results of boot media into the journal.
//
// [Into] reads what machines left on a medium and records it in the runs it belongs to, each file once per machine
// however often the medium is read. It changes nothing on the medium.
package collect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/media/aboard"
)

// Journal is where results go.
type Journal interface {
	Machines(ctx context.Context, run string) ([]journal.Machine, error)
	RecordByMedium(ctx context.Context, run string, list []journal.ByMedium) ([]journal.Recorded, error)
}

// Options change how results find their machine.
type Options struct {
	Run string // instead of the run that the medium was built for
	// Find gives the ID of the machine that has this UUID or serial number; "" if none has, or several. It goes before the name, which
	// machines of two domains share. Nil: nobody knows.
	Find func(aboard.Machine) string
	// Joined gives the ID that a machine has now for one that it had before. Nil: they are the same.
	Joined func(id string) string
}

// Line is what became of one result file.
type Line struct {
	File    string           `json:"file"`
	Run     string           `json:"run"`
	Machine string           `json:"machine"` // name, as the journal has it where it was found
	Outcome string           `json:"outcome"`
	Message string           `json:"message"`
	New     bool             `json:"new"`     // it was not recorded before
	Counted bool             `json:"counted"` // it decided the machine's outcome in the run
	Problem string           `json:"problem,omitempty"`
	ID      string           `json:"machine_id,omitempty"`
	record  journal.ByMedium //
}

// ErrNoResults means that no machine left anything on the medium.
var ErrNoResults = errors.New("there are no results on the medium")

// Into records all results of a medium. A file that cannot be used has a Problem and does not keep the others from being
// recorded; the error says that medium or journal failed.
func Into(ctx context.Context, j Journal, root fs.FS, o Options) ([]Line, error) {
	files, err := aboard.ReadResults(root)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, ErrNoResults
	}
	lines := make([]Line, len(files))
	byRun := map[string][]int{}
	known := map[string][]journal.Machine{}
	for i, f := range files {
		l := &lines[i]
		*l = Line{File: f.Name, Run: f.Result.Run, Machine: f.Result.Machine.Name, Outcome: f.Result.Outcome, Message: f.Result.Message}
		if f.Err != nil {
			l.Problem = f.Err.Error()
			continue
		}
		if o.Run != "" {
			l.Run = o.Run
		} else if strings.HasPrefix(l.Run, "medium-") {
			l.Problem = "the medium was built for no run; say which with --run"
			continue
		}
		machines, ok := known[l.Run]
		if !ok {
			machines, err = j.Machines(ctx, l.Run)
			if missing := (*journal.NotFoundError)(nil); err != nil && !errors.As(err, &missing) {
				return lines, err
			}
			known[l.Run] = machines
		}
		if len(machines) == 0 {
			l.Problem = "run " + l.Run + " is not in this journal"
			continue
		}
		if l.Problem = l.find(machines, f.Result.Machine, o); l.Problem != "" {
			continue
		}
		sum := sha256.Sum256(f.Raw)
		l.record = journal.ByMedium{Machine: l.ID, Digest: hex.EncodeToString(sum[:]), Result: together(f.Result), Text: f.Result.Message}
		byRun[l.Run] = append(byRun[l.Run], i)
	}
	for run, list := range byRun {
		var records []journal.ByMedium
		for _, i := range list {
			records = append(records, lines[i].record)
		}
		done, err := j.RecordByMedium(ctx, run, records)
		if err != nil {
			return lines, err
		}
		for k, i := range list {
			lines[i].New, lines[i].Counted = done[k].New, done[k].Counted
		}
	}
	return lines, ctx.Err()
}

// find looks which machine of the run the result is of, and says why it cannot be told. What the machine itself is known by, UUID and
// serial number, decides; a name does only where nobody knows them, and where it is the name of one.
func (l *Line) find(machines []journal.Machine, m aboard.Machine, o Options) (problem string) {
	id := ""
	if o.Find != nil {
		id = o.Find(m)
	}
	joined := func(id string) string {
		if o.Joined != nil {
			return o.Joined(id)
		}
		return id
	}
	var same []journal.Machine
	for _, row := range machines {
		switch {
		case id != "" && joined(row.Target.ID) == joined(id):
			l.ID, l.Machine = row.Target.ID, row.Target.Name
			return ""
		case m.Name != "" && strings.EqualFold(row.Target.Name, m.Name):
			same = append(same, row)
		}
	}
	switch {
	case id != "" && len(same) > 0:
		return fmt.Sprintf("by its serial number or UUID it is not the %s of run %s, but a machine that this run does not have", same[0].Target.Name, l.Run)
	case len(same) > 1:
		return fmt.Sprintf("%d machines of run %s are called %s, and neither serial number nor UUID tells which of them it is", len(same), l.Run, same[0].Target.Name)
	case len(same) == 1:
		l.ID, l.Machine = same[0].Target.ID, same[0].Target.Name
		return ""
	}
	return "no machine of run " + l.Run + " has this name, serial number or UUID"
}

// together makes one answer out of those of several playbooks and volumes.
func together(r aboard.Result) agent.Result {
	out := agent.Result{Run: r.Run, Outcome: r.Outcome, Uptime: -1, PS: "go", Language: "go", Reboot: ""}
	if r.Outcome == agent.Failed {
		out.Message = r.Message
	}
	for _, d := range r.Playbooks {
		out.Changed += d.Result.Changed
		for _, s := range d.Result.Steps {
			if len(r.Playbooks) > 1 {
				s.Note = strings.TrimSpace(fmt.Sprintf("%s on %s. %s", d.Playbook, d.Volume, s.Note))
			}
			out.Steps = append(out.Steps, s)
		}
	}
	return out
}
