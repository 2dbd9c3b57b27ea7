package runscmd

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

func newRuns(c *Commands) *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "What was done: list, show, resume, retry, undo, report", GroupID: "work", Args: command.NoArgs,
		Long: "Every run is in the journal. RUN is a run's ID, the beginning of one, or last.",
	}
	cmd.AddCommand(
		newList(c), newShow(c), newWatch(c), newResume(c), newRetry(c), newUndo(c), newReport(c),
		newControl(c, runs.ToPause, "pause", "Start no further machine until it is continued", "run RUN is pausing; `fleetmend runs resume RUN` goes on"),
		newApprove(c), newStop(c),
		newCancel(c),
	)
	return cmd
}

// named makes a command of its words that works on one run.
func named(c *Commands, cmd *cobra.Command, do func(ctx context.Context, d *desk.Desk, r *runs.Run) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = command.Exactly(1, "a run"), command.First(c.Offering(runs.IDs))
	cmd.RunE = c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
		r, err := runs.Find(ctx, d, args[0])
		if err != nil {
			return err
		}
		return do(ctx, d, r)
	})
	return cmd
}

func newList(c *Commands) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "list", Short: "List the runs, newest first", Args: command.NoArgs,
		Example: "fleetmend runs list\nfleetmend runs list -o json",
		RunE: command.Listed(c.Context, runColumns, func(ctx context.Context, d *desk.Desk, _ []string) ([]runs.Run, error) {
			all, err := runs.All(ctx, d)
			for i := range all {
				if runs.Stopped(&all[i]) {
					c.Say("nobody works on run %s; `fleetmend runs resume %s` goes on with it", all[i].ID, all[i].ID)
				}
			}
			return all, err
		}),
	}, terminal.ListFormats...)
}

// outcomes counts machines of a run.
func outcomes(words ...runs.Outcome) func(runs.Run) string {
	return func(r runs.Run) string {
		n := 0
		for _, o := range words {
			n += r.Counts[o]
		}
		return prose.Number(n)
	}
}

var runColumns = []terminal.Column[runs.Run]{
	terminal.Col("run", func(r runs.Run) string { return r.ID }),
	terminal.Col("playbook", func(r runs.Run) string { return r.Playbook }),
	terminal.Col("mode", func(r runs.Run) string { return string(r.Mode) }),
	terminal.Col("status", runs.StatusText),
	terminal.Col("machines", func(r runs.Run) string { return strconv.Itoa(r.Machines) }),
	terminal.Col("fixed", outcomes(runs.Fixed, runs.Undone)),
	terminal.Col("clean", outcomes(runs.Clean)),
	terminal.WideCol("affected", outcomes(runs.Affected)),
	terminal.Col("failed", outcomes(runs.Failed)),
	terminal.Col("not reached", outcomes(runs.Unreachable, runs.Unknown)),
	terminal.Col("held", outcomes(runs.Held)),
	terminal.Col("started", func(r runs.Run) string { return prose.Ago(r.Started, time.Now()) }),
	terminal.WideCol("worked on by", func(r runs.Run) string {
		if r.Owner == nil {
			return ""
		}
		return r.Owner.String()
	}),
	terminal.WideCol("operator", func(r runs.Run) string { return r.Operator }),
	terminal.WideCol("reason", func(r runs.Run) string { return r.Reason }),
}

func newShow(c *Commands) *cobra.Command {
	var words []string
	var events bool
	cmd := named(c, &cobra.Command{
		Use: "show RUN", Short: "Show the machines of a run, or its history",
		Example: "fleetmend runs show last\nfleetmend runs show last --outcome failed,unreachable -o csv\nfleetmend runs show last --events",
	}, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		machines, err := runs.Machines(ctx, d, r.ID, words)
		switch {
		case err != nil:
			return err
		case events:
			all, err := runs.Events(ctx, d, r.ID)
			if err != nil {
				return err
			}
			return command.List(c.Context, all, eventColumns)
		case c.Output.Format == terminal.JSON, c.Output.Format == terminal.YAML:
			return c.Page(map[string]any{"run": r, "machines": machines}, "")
		}
		return command.List(c.Context, machines, machineColumns)
	})
	cmd.Flags().StringSliceVar(&words, "outcome", nil, "only machines with these outcomes")
	cmd.Flags().BoolVar(&events, "events", false, "the history of the run instead of its machines")
	command.Complete(cmd, "outcome", runs.States()...)
	return command.Formats(cmd, terminal.ListFormats...)
}

var eventColumns = []terminal.Column[runs.Event]{
	terminal.Col("time", func(e runs.Event) string { return prose.Second(e.Time) }),
	terminal.Col("kind", func(e runs.Event) string { return string(e.Kind) }),
	terminal.Col("wave", func(e runs.Event) string { return prose.Number(e.Wave) }),
	terminal.Col("machine", func(e runs.Event) string { return e.Machine }),
	terminal.Col("state", func(e runs.Event) string { return string(e.State) }),
	terminal.Col("outcome", func(e runs.Event) string { return string(e.Outcome) }),
	terminal.Col("text", func(e runs.Event) string { return e.Text }),
}

var machineColumns = []terminal.Column[runs.Machine]{
	terminal.Col("machine", func(m runs.Machine) string { return m.Target.Name }),
	terminal.Col("wave", func(m runs.Machine) string { return prose.Number(m.Wave) }),
	terminal.Col("state", runs.StateText),
	terminal.Col("changed", func(m runs.Machine) string { return prose.Number(m.Changed) }),
	terminal.Col("last step", runs.FailedStep),
	terminal.WideCol("attempts", func(m runs.Machine) string { return prose.Number(m.Attempts) }),
	terminal.WideCol("restarted", func(m runs.Machine) string { return prose.Yes(m.Rebooted) }),
	terminal.WideCol("site", func(m runs.Machine) string { return m.Target.Site }),
	terminal.WideCol("route", func(m runs.Machine) string { return m.Route }),
	terminal.Col("time", runs.TookText),
	terminal.Col("reason", func(m runs.Machine) string { return m.Reason }),
}

func newRetry(c *Commands) *cobra.Command {
	return newFollowUp(c, runs.Retry, &cobra.Command{
		Use: "retry RUN", Short: "Run again on the machines that failed, were not reached, are unknown or were held",
		Example: "fleetmend runs retry last\nfleetmend runs retry last --waves 5,100% --yes",
	})
}

func newUndo(c *Commands) *cobra.Command {
	return newFollowUp(c, runs.Undo, &cobra.Command{
		Use: "undo RUN", Short: "Take back what a run changed, on every machine it changed",
		Long: `Bring every quarantined file back to its place with its times, and every changed value to what it was. A machine
refuses where something else has changed the thing since, and says so.`,
		Example: "fleetmend runs undo last\nfleetmend runs undo 20240719-0612 --waves 100% --yes",
	})
}

// newFollowUp makes a command of its words: it plans on the machines of an earlier run and carries the plan out.
func newFollowUp(c *Commands, make func(context.Context, *desk.Desk, string, runs.Rules) (*plan.Plan, error), cmd *cobra.Command) *cobra.Command {
	var f CarryFlags
	var rules runs.Rules
	cmd = named(c, cmd, func(ctx context.Context, d *desk.Desk, r *runs.Run) error {
		rules.Attended = !f.Yes && c.CanAsk()
		next, err := make(ctx, d, r.ID, rules)
		if err != nil {
			return err
		}
		return c.carryOut(ctx, d, next, f)
	})
	cmd.Flags().StringVar(&rules.Waves, "waves", "", "sizes of the waves (default: as in the run)")
	gateFlags(cmd, &rules, "as in the run; none with undo")
	f.Add(cmd)
	return cmd
}
