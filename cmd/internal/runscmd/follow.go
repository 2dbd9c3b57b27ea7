package runscmd

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

func newWatch(c *Commands) *cobra.Command {
	return named(c, &cobra.Command{
		Use: "watch RUN", Short: "Follow a run that goes on elsewhere until it ends",
		Example: "fleetmend runs watch last",
	}, c.watch)
}

// watch prints the run's events as they are committed. It ends with the run, or when nobody works on the run any more.
func (c *Commands) watch(ctx context.Context, d *desk.Desk, r *runs.Run) error {
	var f face = &plainFace{w: c.Out}
	if c.JSONLines {
		f = &jsonFace{w: c.Out}
	}
	last, err := runs.Follow(ctx, d, r.ID, 0, func(events []runs.Event) error {
		for _, e := range events {
			f.event(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.Say("%s", strings.TrimSpace(fmt.Sprintf("run %s: %s %s", last.ID, runs.StatusText(*last), last.Reason)))
	if last.Idle() {
		c.Say("`fleetmend runs resume %s` goes on with it", last.ID)
	}
	return command.Silently(Code(last, false))
}

// follow shows a run of a plan from an event on, until it goes on no more, and asks for approvals where a person can be asked.
func (c *Commands) follow(ctx context.Context, d *desk.Desk, p *plan.Plan, id string, after int64) error {
	shown := newProgress(c.Context, p)
	if after > 0 { // what was before is counted, not told
		if err := runs.CatchUp(ctx, d, id, shown.fold); err != nil {
			return err
		}
	}
	asking := runs.Approvals{Desk: d}
	var printing sync.WaitGroup
	printing.Go(shown.show)
	_, err := runs.Follow(ctx, d, id, after, func(events []runs.Event) error {
		for _, e := range events {
			asking.Take(ctx, e)
			shown.take(e)
		}
		return nil
	})
	asking.End()
	close(shown.events)
	printing.Wait()
	return err
}

func newResume(c *Commands) *cobra.Command {
	var f CarryFlags
	var rules runs.Rules
	cmd := named(c, &cobra.Command{
		Use: "resume RUN", Short: "Go on with a run that was paused, interrupted or killed",
		Long: `Go on where a run stopped. Machines that had been asked are asked again under the same run ID: they answer from their
own record and do nothing twice. A paused run goes on where it is being carried out.`,
		Example: "fleetmend runs resume last",
	}, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		if r.Status == runs.Paused && r.Owner != nil {
			if err := runs.Control(ctx, d, r.ID, runs.ToResume); err != nil {
				return err
			}
			c.Say("run %s goes on; `fleetmend runs watch %s` follows it", r.ID, r.ID)
			return nil
		}
		frozen, err := runs.PlanOf(ctx, d, r.ID)
		if err != nil {
			return err
		}
		return c.carry(ctx, d, frozen, f, func(ctx context.Context, o runs.Options) (*runs.Run, error) {
			o.Rules = rules
			return runs.Resume(ctx, d, r.ID, o)
		})
	})
	gateFlags(cmd, &rules, "as in the run")
	f.Add(cmd)
	return cmd
}

func newReport(c *Commands) *cobra.Command {
	var html, csvFile, junit, jsonFile string
	cmd := named(c, &cobra.Command{
		Use: "report RUN", Short: "Write the report of a run: terminal, HTML, CSV, JSON, JUnit",
		Example: "fleetmend runs report last\nfleetmend runs report last --html report.html --csv report.csv",
	}, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		_, rep, err := runs.Report(ctx, d, r.ID)
		if err != nil {
			return err
		}
		for _, out := range []struct {
			file  string
			write func(io.Writer) error
		}{{html, rep.WriteHTML}, {csvFile, table.Marked(rep.WriteCSV)}, {junit, rep.WriteJUnit}, {jsonFile, rep.WriteJSON}} {
			if err := c.WriteFile("report", out.file, out.write); err != nil {
				return err
			}
		}
		if html+csvFile+junit+jsonFile != "" {
			return nil
		}
		return c.writeReport(rep)
	})
	f := cmd.Flags()
	f.StringVar(&html, "html", "", "one self-contained HTML file")
	f.StringVar(&csvFile, "csv", "", "CSV file")
	f.StringVar(&junit, "junit", "", "JUnit XML file")
	f.StringVar(&jsonFile, "json-file", "", "JSON file")
	return command.Formats(cmd, Formats...)
}

func newControl(c *Commands, control runs.ControlKind, verb, short, said string) *cobra.Command {
	return named(c, &cobra.Command{
		Use: verb + " RUN", Short: short,
		Example: "fleetmend runs " + verb + " last",
	}, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		if err := runs.Control(ctx, d, r.ID, control); err != nil {
			return err
		}
		c.Say("%s", strings.ReplaceAll(said, "RUN", r.ID))
		return nil
	})
}

func newCancel(c *Commands) *cobra.Command {
	var yes bool
	cmd := named(c, &cobra.Command{
		Use: "cancel RUN", Short: "End a run for good: those in flight end, the rest is held",
		Long: `End a run for good: the machines in flight end, the rest is held, for runs retry. A cancelled run is not resumed; runs stop ends one
that is.`,
		Example: "fleetmend runs cancel last\nfleetmend runs cancel last --yes",
	}, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		if open := runs.Open(r); open > 0 && !r.Status.Final() {
			c.Say("run %s (%s): %s have no outcome yet; `fleetmend runs stop %[1]s` ends it so that it can be resumed", r.ID, r.Playbook, prose.Machines(open))
			if err := c.Confirm(ctx, yes, "A cancelled run is not resumed.", strconv.Itoa(open)); err != nil {
				return err
			}
		}
		if err := runs.Control(ctx, d, r.ID, runs.ToCancel); err != nil {
			return err
		}
		if r.Idle() {
			c.Say("run %s is cancelled; nobody worked on it: what was in flight is unknown, and `fleetmend runs retry %s` asks it", r.ID, r.ID)
			return nil
		}
		c.Say("run %s is stopping", r.ID)
		return nil
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for confirmation")
	return cmd
}

func newApprove(c *Commands) *cobra.Command {
	var wave int
	cmd := named(c, &cobra.Command{
		Use: "approve RUN", Short: "Let a run that waits go on with its next wave",
		Long: `Let the next wave of a run begin. With --wave the approval is for that wave alone: where another one waits it does nothing and
says so.`,
		Example: "fleetmend runs approve last\nfleetmend runs approve last --wave 3",
	}, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		if wave < 0 {
			return command.Usage(fmt.Errorf("--wave %d is no wave", wave), "waves are counted from 1; without --wave it is the one that waits")
		}
		approved, err := runs.Approve(ctx, d, r.ID, wave)
		if err != nil {
			return err
		}
		c.Say("run %s may go on with wave %d", r.ID, approved)
		return nil
	})
	cmd.Flags().IntVar(&wave, "wave", 0, "the wave that may begin (0: the one that waits)")
	return cmd
}

func newStop(c *Commands) *cobra.Command {
	var now bool
	cmd := named(c, &cobra.Command{
		Use: "stop RUN", Short: "Stop a run so that it can be resumed: those in flight end",
		Long: `Start no further machine, let those in flight end, and leave the run to be resumed: what Ctrl-C does in the terminal of the
run. With --now everything ends at once, and what became of the machines in flight is asked when the run is resumed.`,
		Example: "fleetmend runs stop last\nfleetmend runs stop last --now",
	}, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		kind := runs.ToStop
		if now {
			kind = runs.ToStopNow
		}
		if err := runs.Control(ctx, d, r.ID, kind); err != nil {
			return err
		}
		c.Say("run %s is stopping; `fleetmend runs resume %s` goes on with it", r.ID, r.ID)
		return nil
	})
	cmd.Flags().BoolVar(&now, "now", false, "at once, with machines in flight")
	return cmd
}
