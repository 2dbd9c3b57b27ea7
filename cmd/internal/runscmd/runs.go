package runscmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

func newRuns(c *Commands) *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "What was done: list, show, resume, retry, undo, report", GroupID: "work", Args: command.NoArgs,
		Long: "Every run is in the journal. RUN is a run's ID, the beginning of one, or last.",
	}
	cmd.AddCommand(
		newList(c), newShow(c), newWatch(c), newResume(c), newRetry(c), newUndo(c), newReport(c),
		newControl(c, journal.Pause, "pause", "Start no further machine until it is continued", "run %s is pausing; fleetmend runs resume goes on"),
		newApprove(c), newStop(c),
		newControl(c, journal.Cancel, "cancel", "End a run for good: those in flight end, the rest is held", "run %s is stopping"),
	)
	return cmd
}

// named makes a command of its words that works on one run.
func named(c *Commands, cmd *cobra.Command, do func(ctx context.Context, d *desk.Desk, r *journal.Run) error) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = command.Exactly(1, "a run"), command.First(command.Completing(c.RunIDs))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := c.Desk()
		if err != nil {
			return err
		}
		r, err := runs.Find(cmd.Context(), d, args[0])
		if err != nil {
			return err
		}
		return do(cmd.Context(), d, r)
	}
	return cmd
}

func newList(c *Commands) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "list", Short: "List the runs, newest first", Args: command.NoArgs,
		Example: "fleetmend runs list\nfleetmend runs list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			j, err := d.Journal(cmd.Context())
			if err != nil {
				return err
			}
			all, err := j.Runs(cmd.Context())
			if err != nil {
				return err
			}
			for i := range all {
				if all[i].Idle() && !runs.Over(all[i].Status) {
					c.Say("nobody works on run %s; next: %s", all[i].ID, commandline.Line("runs", "resume", all[i].ID))
				}
			}
			return command.List(c.Context, all, runColumns())
		},
	}, terminal.ListFormats...)
}

func runColumns() []terminal.Column[journal.Run] {
	count := func(outcomes ...journal.Outcome) func(journal.Run) string {
		return func(r journal.Run) string {
			n := 0
			for _, o := range outcomes {
				n += r.Counts[o]
			}
			return number(n)
		}
	}
	return []terminal.Column[journal.Run]{
		terminal.Col("run", func(r journal.Run) string { return r.ID }),
		terminal.Col("playbook", func(r journal.Run) string { return r.Playbook }),
		terminal.Col("mode", func(r journal.Run) string { return string(r.Mode) }),
		terminal.Col("status", statusWord),
		terminal.Col("machines", func(r journal.Run) string { return strconv.Itoa(r.Machines) }),
		terminal.Col("fixed", count(journal.Fixed, journal.Undone)),
		terminal.Col("clean", count(journal.Clean)),
		terminal.WideCol("affected", count(journal.Affected)),
		terminal.Col("failed", count(journal.Failed)),
		terminal.Col("not reached", count(journal.Unreachable, journal.Unknown)),
		terminal.Col("held", count(journal.Held)),
		terminal.Col("started", func(r journal.Run) string { return prose.Ago(r.Started, time.Now()) }),
		terminal.WideCol("worked on by", func(r journal.Run) string {
			if r.Owner == nil {
				return ""
			}
			return r.Owner.String()
		}),
		terminal.WideCol("operator", func(r journal.Run) string { return r.Operator }),
		terminal.WideCol("reason", func(r journal.Run) string { return r.Reason }),
	}
}

// statusWord is the status of a run; one that is not over and that nobody works on can be resumed.
func statusWord(r journal.Run) string {
	if r.Idle() && !runs.Over(r.Status) {
		return string(r.Status) + ", nobody works on it"
	}
	return string(r.Status)
}

func newShow(c *Commands) *cobra.Command {
	var outcomes []string
	var events bool
	cmd := named(c, &cobra.Command{
		Use: "show RUN", Short: "Show the machines of a run, or its history",
		Example: "fleetmend runs show last\nfleetmend runs show last --outcome failed,unreachable -o csv\nfleetmend runs show last --events",
	}, func(ctx context.Context, d *desk.Desk, r *journal.Run) error {
		if err := knownWords(outcomes); err != nil {
			return err
		}
		j, err := d.Journal(ctx)
		if err != nil {
			return err
		}
		if events {
			return c.showEvents(ctx, j, r.ID)
		}
		machines, err := j.Machines(ctx, r.ID)
		if err != nil {
			return err
		}
		machines = withOutcome(machines, outcomes)
		if c.Output.Format == terminal.JSON || c.Output.Format == terminal.YAML {
			return c.One(map[string]any{"run": r, "machines": machines}, nil)
		}
		return command.List(c.Context, machines, machineColumns)
	})
	cmd.Flags().StringSliceVar(&outcomes, "outcome", nil, "only machines with these outcomes")
	cmd.Flags().BoolVar(&events, "events", false, "the history of the run instead of its machines")
	command.Complete(cmd, "outcome", stateWords()...)
	return command.Formats(cmd, terminal.ListFormats...)
}

var machineColumns = []terminal.Column[journal.Machine]{
	terminal.Col("machine", func(m journal.Machine) string { return m.Target.Name }),
	terminal.Col("wave", func(m journal.Machine) string { return number(m.Wave) }),
	terminal.Col("state", stateWord),
	terminal.Col("changed", func(m journal.Machine) string { return number(m.Changed) }),
	terminal.WideCol("attempts", func(m journal.Machine) string { return number(m.Attempts) }),
	terminal.WideCol("restarted", func(m journal.Machine) string { return yes(m.Rebooted) }),
	terminal.WideCol("site", func(m journal.Machine) string { return m.Target.Site }),
	terminal.WideCol("route", func(m journal.Machine) string { return m.Route }),
	terminal.Col("time", took),
	terminal.Col("reason", func(m journal.Machine) string { return m.Reason }),
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func stateWord(m journal.Machine) string {
	if m.State == journal.Done {
		return string(m.Outcome)
	}
	return string(m.State)
}

func took(m journal.Machine) string {
	if m.Started.IsZero() || m.Ended.IsZero() {
		return ""
	}
	return prose.Span(m.Ended.Sub(m.Started))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// stateWords are those of [stateWord].
func stateWords() []string {
	var words []string
	for _, o := range runs.Outcomes {
		words = append(words, string(o))
	}
	for _, s := range []journal.State{journal.Pending, journal.Leased, journal.Running, journal.Rebooting} {
		words = append(words, string(s))
	}
	return words
}

// knownWords refuses a word that no machine of any run can have: it would show an empty list.
func knownWords(words []string) error {
	known := stateWords()
	for _, word := range words {
		if slices.Contains(known, word) {
			continue
		}
		err := fmt.Errorf("--outcome %q is none of %s", word, strings.Join(known, ", "))
		if near := hint.Nearest(word, known); near != "" {
			return command.Usage(err, "did you mean %s?", near)
		}
		return command.Usage(err, "take one of them, or several with commas between")
	}
	return nil
}

func withOutcome(machines []journal.Machine, outcomes []string) []journal.Machine {
	if len(outcomes) == 0 {
		return machines
	}
	wanted := map[string]bool{}
	for _, o := range outcomes {
		wanted[o] = true
	}
	var kept []journal.Machine
	for _, m := range machines {
		if wanted[stateWord(m)] {
			kept = append(kept, m)
		}
	}
	return kept
}

func (c *Commands) showEvents(ctx context.Context, j *journal.Journal, id string) error {
	events, err := j.Events(ctx, id, 0)
	if err != nil {
		return err
	}
	return command.List(c.Context, events, []terminal.Column[journal.Event]{
		terminal.Col("time", func(e journal.Event) string { return e.Time.UTC().Format("2006-01-02 15:04:05Z") }),
		terminal.Col("kind", func(e journal.Event) string { return string(e.Kind) }),
		terminal.Col("wave", func(e journal.Event) string { return number(e.Wave) }),
		terminal.Col("machine", func(e journal.Event) string { return e.Machine }),
		terminal.Col("state", func(e journal.Event) string { return string(e.State) }),
		terminal.Col("outcome", func(e journal.Event) string { return string(e.Outcome) }),
		terminal.Col("text", func(e journal.Event) string { return e.Text }),
	})
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
	cmd = named(c, cmd, func(ctx context.Context, d *desk.Desk, r *journal.Run) error {
		next, err := make(ctx, d, r.ID, rules)
		if empty := (*plan.EmptyError)(nil); errors.As(err, &empty) {
			return command.Coded(command.ExitNothing, err)
		}
		if err != nil {
			return err
		}
		return c.carryOut(ctx, d, next, f)
	})
	cmd.Flags().StringVar(&rules.Waves, "waves", "", "sizes of the waves (default: as in the run)")
	f.Add(cmd)
	return cmd
}
