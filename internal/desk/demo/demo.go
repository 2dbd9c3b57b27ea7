// Package demo does the main job on a simulated fleet with the desk's own use cases, and tells it as a story.
//
// [Show] is the demonstration, [Serve] serves a fleet for rehearsals. Nothing outside this computer is contacted, and no machine
// but the simulated ones is touched.
package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/report"
)

// Playbook is the cure that is shown.
const Playbook = "crowdstrike-channel-file-291"

// selector leaves out what the directory knows and the table does not: machines that were retired long ago.
const selector = `address != ""`

// Face shows the story.
type Face interface {
	// Desk gives the desk at a file of settings.
	Desk(config string) (*desk.Desk, error)
	// Tell says one step of the story; a line break at its beginning is a gap.
	Tell(text string)
	// Carry carries a plan out, shows how it goes, and returns when it has ended.
	Carry(ctx context.Context, d *desk.Desk, p *plan.Plan) (*journal.Run, error)
	// Result shows what the run did.
	Result(r *report.Report) error
}

// Request says what is shown.
type Request struct {
	Fleet
	Dir    string // for inventory, journal and report; "": a new temporary one
	Medium bool   // build a medium for what stayed unreachable
	Ask    bool   // else ask whether one is wanted
}

// Summary is what came of it.
type Summary struct {
	Machines    int    `json:"machines"`
	Affected    int    `json:"affected"`
	Clean       int    `json:"clean"`
	Fixed       int    `json:"fixed"`
	Failed      int    `json:"failed"`
	Unreachable int    `json:"unreachable"`
	Unknown     int    `json:"unknown"`
	Held        int    `json:"held"`
	Skipped     int    `json:"skipped"`
	Waves       int    `json:"waves"`
	DurationMS  int64  `json:"duration_ms"`
	Report      string `json:"report"`
	Run         string `json:"run"`
	Dir         string `json:"dir"`
	Medium      string `json:"medium,omitempty"`
}

// Text is the summary in two lines, three with a medium.
func (s Summary) Text() string {
	text := fmt.Sprintf("%s: %d affected, %d clean, %d fixed, %d failed, %d unreachable, %d unknown, %d held, %d skipped, in %d waves and %s\nreport: %s\n",
		prose.Machines(s.Machines), s.Affected, s.Clean, s.Fixed, s.Failed, s.Unreachable, s.Unknown, s.Held, s.Skipped, s.Waves,
		prose.Span(time.Duration(s.DurationMS)*time.Millisecond), s.Report)
	if s.Medium != "" {
		text += "medium: " + s.Medium + "\n"
	}
	return text
}

// story is one demonstration.
type story struct {
	Request
	face  Face
	began time.Time
	desk  *desk.Desk
}

func (s *story) tell(format string, args ...any) { s.face.Tell(fmt.Sprintf(format, args...)) }

// Show does the main job on a fleet of its own and returns the run with a summary. There is no run where it did not come to one.
func Show(ctx context.Context, r Request, face Face) (run *journal.Run, sum Summary, err error) {
	s := &story{Request: r, face: face, began: time.Now()}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "fleetmend-demo-"); err != nil {
			return nil, sum, err
		}
	}
	s.tell("1. A fleet of %s starts on this computer. Each one speaks real WinRM and has a small Windows of its own.", prose.Machines(s.Machines))
	s.tell("   At 04:09 UTC a faulty content file reached many of them; some are down, some crash again and again.")
	options, err := s.Options()
	if err != nil {
		return nil, sum, err
	}
	fleet, err := start(ctx, options, s.Dir)
	if err != nil {
		return nil, sum, err
	}
	defer fleet.Close()
	if s.desk, err = face.Desk(filepath.Join(s.Dir, "fleetmend.yaml")); err != nil {
		return nil, sum, err
	}
	if err := s.inventory(ctx, fleet.Incident()); err != nil {
		return nil, sum, err
	}
	p, err := s.plan(ctx)
	if err != nil {
		return nil, sum, err
	}
	s.tell("\n4. The run. Every step is written to the journal before it is taken.")
	ended, err := face.Carry(ctx, s.desk, p)
	if err != nil {
		return nil, sum, err
	}
	return s.end(context.WithoutCancel(ctx), ended.ID)
}

// inventory reads the machines from the directory of the fleet, and from a table where each of them is reached: the
// simulated machines share one computer, so their names are in no DNS.
func (s *story) inventory(ctx context.Context, harm time.Time) error {
	read, err := machines.Sync(ctx, s.desk, nil, true)
	if err != nil {
		return err
	}
	table, err := machines.Import(ctx, s.desk, filepath.Join(s.Dir, "machines.csv"), nil, csv.Options{})
	if err != nil {
		return err
	}
	incident, err := cases.Open(ctx, s.desk, cases.Opening{Playbook: Playbook, Start: harm, End: harm.Add(90 * time.Minute)})
	if err != nil {
		return err
	}
	status, err := cases.Take(ctx, s.desk, incident.ID, inventory.Selector{})
	if err != nil {
		return err
	}
	s.tell("\n2. The machines are read from Active Directory, over LDAP: %s, %d of them of the fleet; the others were retired long ago and are still listed there.", prose.Machines(read.New), table.Rows)
	s.tell("   A table of the fleet's %d adds addresses and serial numbers: %s that the directory had not, %s. By their last sign-in %d are suspect: they were on when it happened.", table.Rows, prose.Machines(table.New),
		prose.Counted(len(table.Conflicts), "conflict", "conflicts"), status.Verdicts[casefile.Suspect])
	return nil
}

// plan freezes the cure with rules that are patient enough for machines that are up for seconds, and quick otherwise.
func (s *story) plan(ctx context.Context) (*plan.Plan, error) {
	backoff, machine, reboot := 200*time.Millisecond, 12*time.Second, 30*time.Second
	frozen, err := runs.Freeze(ctx, s.desk, runs.Request{Playbook: Playbook, On: selector, TTL: time.Hour,
		Rules: runs.Rules{MaxFail: "20%", Chase: true, Backoff: &backoff, MachineTimeout: &machine, RebootWait: &reboot}}, nil)
	if err != nil {
		return nil, err
	}
	s.tell("\n3. A plan is frozen: the playbook %s,", Playbook)
	for _, line := range playbook.Describe(frozen.Plan.Playbook) {
		s.tell("      %s", line)
	}
	s.tell("   in waves, so that a mistake meets few machines first:")
	for i, wave := range frozen.Plan.Waves {
		s.tell("      wave %d (%s): %s", i+1, wave.Name, prose.Machines(len(wave.Entries)))
	}
	s.tell("   and a gate behind each: %s.", runs.GateText(frozen.Plan.Options))
	return frozen.Plan, nil
}

// end tells what came of the run.
func (s *story) end(ctx context.Context, id string) (*journal.Run, Summary, error) {
	took := time.Since(s.began)
	r, rep, err := runs.Report(ctx, s.desk, id)
	if err != nil {
		return nil, Summary{}, err
	}
	html := filepath.Join(s.Dir, "report.html")
	if err := textfile.Write(html, textfile.Shared, rep.WriteHTML); err != nil {
		return nil, Summary{}, err
	}
	n := r.Counts
	sum := Summary{
		Machines: r.Machines, Clean: n[journal.Clean], Fixed: n[journal.Fixed], Failed: n[journal.Failed],
		Unreachable: n[journal.Unreachable], Unknown: n[journal.Unknown], Held: n[journal.Held], Skipped: n[journal.Skipped],
		Affected: affected(rep), Waves: r.Waves, DurationMS: took.Milliseconds(), Report: html, Run: r.ID, Dir: s.Dir,
	}
	s.tell("\n5. The result.\n")
	if err := s.face.Result(rep); err != nil {
		return r, sum, err
	}
	s.tell("\nThe report for others: %s", html)
	if left := sum.Unreachable + sum.Unknown + sum.Failed + sum.Held; left > 0 && (s.Medium || s.Ask && s.wanted(ctx, left)) {
		if sum.Medium, err = s.medium(ctx, r, left); err != nil {
			return r, sum, err
		}
	}
	s.tell("The simulated machines end with this program. The commands above that only look work as they stand; those that reach machines need a fleet that runs.")
	s.tell("Rehearse with the commands themselves: `fleetmend sim --dir drill --machines 200` serves a fleet in one terminal; `fleetmend sim --help` says what to type in the other.")
	return r, sum, nil
}

// affected counts the machines whose agent found the trouble: those it fixed and those it could not fix.
func affected(rep *report.Report) int {
	n := 0
	for _, m := range rep.Machines {
		if m.Status == report.Status(journal.Fixed) || m.Status == report.Status(journal.Failed) {
			n++
		}
	}
	return n
}

// wanted asks at the end whether a medium is wanted; where nobody can be asked none is.
func (s *story) wanted(ctx context.Context, left int) bool {
	_, err := s.desk.Ask.Ask(ctx, question.Question{ID: "demo.medium", Kind: question.YesNo, Text: fmt.Sprintf("%s could not be repaired over the network. Build a USB image for them?", prose.Machines(left))})
	return err == nil
}
