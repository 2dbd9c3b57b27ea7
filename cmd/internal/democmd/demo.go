// Package democmd are the commands around simulated fleets: demo, which shows the main job on one, and sim, which serves one.
//
// [New] and [NewSim] make them. Nothing outside this computer is contacted.
package democmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/runscmd"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
	"github.com/fleetmend/fleetmend/remediate/casefile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/report"
)

const (
	demoPlaybook = "crowdstrike-channel-file-291"
	// demoSelector leaves out what the directory knows and the table does not: machines that were retired long ago.
	demoSelector = `address != ""`
)

// demoSummary is what demo --headless prints.
type demoSummary struct {
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

// New makes the command demo. What has to happen after a run comes with c.
func New(c *runscmd.Commands) *cobra.Command {
	var s SimFlags
	var headless, withMedia bool
	var dir string
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Repair a simulated fleet: the whole main job in a minute, no Windows needed",
		GroupID: "start",
		Long: `Start a simulated fleet on this computer, in which a faulty update has broken many machines, and do the main job on it with
the real parts: read the machines, see who is affected, fix them over WinRM in waves, verify, report.

Nothing outside this computer is contacted. Inventory, journal and report stay in a folder that is named at the end.`,
		Example: "fleetmend demo\nfleetmend demo --media\nfleetmend demo --headless --machines 200 --seed 7 -o json",
		Args:    command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return (&demo{c}).show(cmd.Context(), s, dir, headless, withMedia)
		},
	}
	s.add(cmd, 200)
	cmd.Flags().BoolVar(&headless, "headless", false, "only print the result")
	cmd.Flags().BoolVar(&withMedia, "media", false, "build a USB image for the machines that stayed unreachable, at the end (asked for at a terminal)")
	cmd.Flags().StringVar(&dir, "dir", "", "folder for inventory, journal and report (default: a new temporary one)")
	command.Exits(cmd, command.ExitGate, command.ExitInterrupted)
	return command.Formats(cmd, terminal.OneFormats...)
}

// demo tells the story with the commands' own parts.
type demo struct{ *runscmd.Commands }

// report tells what a run did.
func (c *demo) report(ctx context.Context, id string) (*journal.Run, *report.Report, error) {
	d, err := c.Desk()
	if err != nil {
		return nil, nil, err
	}
	return runs.Report(ctx, d, id)
}

// tell prints one step of the story, unless nobody listens.
type tell func(format string, args ...any)

func (c *demo) show(ctx context.Context, s SimFlags, dir string, headless, withMedia bool) error {
	began := time.Now()
	story := tell(func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		gap := text[:len(text)-len(strings.TrimLeft(text, "\n"))]
		fmt.Fprintln(c.Out, gap+prose.Wrapped(strings.TrimLeft(text, "\n"), c.Width))
	})
	if headless || c.Output.Format == terminal.JSON || c.JSONLines {
		story, c.Quiet = func(string, ...any) {}, true
	}
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "fleetmend-demo-"); err != nil {
			return err
		}
	}
	story("1. A fleet of %s starts on this computer. Each one speaks real WinRM and has a small Windows of its own.", prose.Machines(s.Machines))
	story("   At 04:09 UTC a faulty content file reached many of them; some are down, some crash again and again.")
	fleet, err := s.fleet()
	if err != nil {
		return command.Coded(command.ExitUsage, err)
	}
	if err := fleet.Start(ctx); err != nil {
		return err
	}
	defer fleet.Close()
	if err := fleet.Write(dir); err != nil {
		return err
	}
	c.Use(filepath.Join(dir, "fleetmend.yaml"))
	if err := c.demoInventory(ctx, dir, fleet.Incident(), story); err != nil {
		return err
	}
	return c.demoRun(ctx, dir, story, began, withMedia)
}

// demoInventory reads the machines from the directory of the fleet, and from a table where each of them is reached: the
// simulated machines share one computer, so their names are in no DNS.
func (c *demo) demoInventory(ctx context.Context, dir string, harm time.Time, story tell) error {
	d, err := c.Desk()
	if err != nil {
		return err
	}
	read, err := machines.Sync(ctx, d, nil, true)
	if err != nil {
		return err
	}
	report, err := machines.Import(ctx, d, filepath.Join(dir, "machines.csv"), nil, csv.Options{})
	if err != nil {
		return err
	}
	incident, err := cases.Open(ctx, d, cases.Opening{Playbook: demoPlaybook, Start: harm, End: harm.Add(90 * time.Minute)})
	if err != nil {
		return err
	}
	status, err := cases.Take(ctx, d, incident.ID, inventory.Selector{})
	if err != nil {
		return err
	}
	story("\n2. The machines are read from Active Directory, over LDAP: %s, %d of them of the fleet; the others were retired long ago and are still listed there.", prose.Machines(read.New), report.Rows)
	story("   A table of the fleet's %d adds addresses and serial numbers: %s that the directory had not, %s. By their last sign-in %d are suspect: they were on when it happened.", report.Rows, prose.Machines(report.New),
		prose.Counted(len(report.Conflicts), "conflict", "conflicts"), status.Verdicts[casefile.Suspect])
	return nil
}

func (c *demo) demoRun(ctx context.Context, dir string, story tell, began time.Time, withMedia bool) error {
	frozen, err := c.demoPlan(ctx)
	if err != nil {
		return err
	}
	story("\n3. A plan is frozen: the playbook %s,", demoPlaybook)
	for _, line := range playbook.Describe(frozen.Playbook) {
		story("      %s", line)
	}
	story("   in waves, so that a mistake meets few machines first:")
	for i, wave := range frozen.Waves {
		story("      wave %d (%s): %s", i+1, wave.Name, prose.Machines(len(wave.Entries)))
	}
	story("   and a gate behind each: %s.", runs.GateText(frozen.Options))
	story("\n4. The run. Every step is written to the journal before it is taken.")
	d, err := c.Desk()
	if err != nil {
		return err
	}
	j, err := d.Journal(ctx)
	if err != nil {
		return err
	}
	result, err := c.Commands.Drive(ctx, d, frozen, runscmd.CarryFlags{Foreground: true}, func(ctx context.Context, o runs.Options) (*journal.Run, error) { return runs.Start(ctx, d, frozen, o) })
	if err != nil {
		return err
	}
	return c.demoEnd(context.WithoutCancel(ctx), j, result.ID, dir, story, time.Since(began), withMedia)
}

func (c *demo) demoPlan(ctx context.Context) (*plan.Plan, error) {
	d, err := c.Desk()
	if err != nil {
		return nil, err
	}
	frozen, err := runs.Freeze(ctx, d, runs.Request{Playbook: demoPlaybook, On: demoSelector, TTL: time.Hour, Rules: demoRules()}, nil)
	return frozen.Plan, err
}

// demoRules are those of the demonstration: patient enough for machines that are up for seconds, and quick otherwise.
func demoRules() runs.Rules {
	backoff, machine, reboot := 200*time.Millisecond, 12*time.Second, 30*time.Second
	return runs.Rules{MaxFail: "20%", Chase: true, Backoff: &backoff, MachineTimeout: &machine, RebootWait: &reboot}
}

func (c *demo) demoEnd(ctx context.Context, j *journal.Journal, id, dir string, story tell, took time.Duration, withMedia bool) error {
	r, rep, err := c.report(ctx, id)
	if err != nil {
		return err
	}
	html := filepath.Join(dir, "report.html")
	if err := textfile.Write(html, textfile.Shared, rep.WriteHTML); err != nil {
		return err
	}
	n := r.Counts
	summary := demoSummary{
		Machines: r.Machines, Clean: n[journal.Clean], Fixed: n[journal.Fixed], Failed: n[journal.Failed],
		Unreachable: n[journal.Unreachable], Unknown: n[journal.Unknown], Held: n[journal.Held], Skipped: n[journal.Skipped],
		Affected: affected(rep), Waves: r.Waves, DurationMS: took.Milliseconds(), Report: html, Run: r.ID, Dir: dir,
	}
	left := n[journal.Unreachable] + n[journal.Unknown] + n[journal.Failed] + n[journal.Held]
	if c.Quiet {
		if withMedia && left > 0 {
			if summary.Medium, err = c.demoMedium(ctx, j, r, left, dir, story); err != nil {
				return err
			}
		}
		err = c.One(summary, summary.write)
	} else {
		story("\n5. The result.\n")
		err = rep.WriteText(c.Out, report.TextOptions{Width: c.Width, Color: c.Color()})
		story("\nThe report for others: %s", html)
		if left > 0 && err == nil && (withMedia || c.wantsMedium(ctx, left)) {
			_, err = c.demoMedium(ctx, j, r, left, dir, story)
		}
		story("The simulated machines end with this program. The commands above that only look work as they stand; those that reach machines need a fleet that runs.")
		story("Rehearse with the commands themselves: fleetmend sim --dir drill --machines 200 serves a fleet in one terminal; fleetmend sim --help says what to type in the other.")
	}
	return errors.Join(err, command.Silently(demoCode(r)))
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

func (s demoSummary) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s: %d affected, %d clean, %d fixed, %d failed, %d unreachable, %d unknown, %d held, %d skipped, in %d waves and %s\nreport: %s\n",
		prose.Machines(s.Machines), s.Affected, s.Clean, s.Fixed, s.Failed, s.Unreachable, s.Unknown, s.Held, s.Skipped, s.Waves,
		prose.Span(time.Duration(s.DurationMS)*time.Millisecond), s.Report)
	if err == nil && s.Medium != "" {
		_, err = fmt.Fprintf(w, "medium: %s\n", s.Medium)
	}
	return err
}

// demoCode is 0 for a demonstration that came to its end: that some of its machines cannot be fixed is part of the story.
func demoCode(r *journal.Run) int {
	if code := runscmd.Code(r, false); code != command.ExitSomeFailed {
		return code
	}
	return command.ExitOK
}
