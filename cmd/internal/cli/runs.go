package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/run"
)

func newRuns(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "What was done: list, show, resume, retry, undo, report", GroupID: "work", Args: noArgs,
		Long: "Every run is in the journal. RUN is a run's ID, the beginning of one, or last.",
	}
	cmd.AddCommand(
		newRunsList(a), newRunsShow(a), newRunsWatch(a), newRunsResume(a), newRunsRetry(a), newRunsUndo(a), newRunsReport(a),
		newRunsControl(a, journal.Pause, "pause", "Start no further machine until it is continued", "run %s is pausing; fleetmend runs resume goes on"),
		newRunsControl(a, journal.Approve, "approve", "Let a run that waits go on with its next wave", "run %s may go on"),
		newRunsControl(a, journal.Cancel, "cancel", "Stop a run: those in flight end, the rest is held", "run %s is stopping"),
	)
	return cmd
}

// findRun is the run named by an ID, the beginning of one, or "last".
func (a *app) findRun(ctx context.Context, name string) (*journal.Journal, *journal.Run, error) {
	j, err := a.openJournal(ctx)
	if err != nil {
		return nil, nil, err
	}
	if name == "last" {
		runs, err := j.Runs(ctx)
		if err != nil {
			return nil, nil, err
		}
		if len(runs) == 0 {
			return nil, nil, coded(exitNothing, hint.Wrap(errorf("there is no run yet"), "fleetmend run starts one"))
		}
		return j, &runs[0], nil
	}
	id, err := j.Resolve(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	r, err := j.Run(ctx, id)
	return j, r, err
}

func newRunsList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the runs, newest first", Args: noArgs,
		Example: "fleetmend runs list\nfleetmend runs list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			j, err := a.openJournal(cmd.Context())
			if err != nil {
				return err
			}
			runs, err := j.Runs(cmd.Context())
			if err != nil {
				return err
			}
			count := func(outcomes ...journal.Outcome) func(journal.Run) string {
				return func(r journal.Run) string {
					n := 0
					for _, o := range outcomes {
						n += r.Counts[o]
					}
					return number(n)
				}
			}
			return list(a.out, a.streams.Out, runs, []column[journal.Run]{
				{"run", false, func(r journal.Run) string { return r.ID }},
				{"playbook", false, func(r journal.Run) string { return r.Playbook }},
				{"mode", false, func(r journal.Run) string { return string(r.Mode) }},
				{"status", false, func(r journal.Run) string { return string(r.Status) }},
				{"machines", false, func(r journal.Run) string { return itoa(r.Machines) }},
				{"fixed", false, count(journal.Fixed, journal.Undone)},
				{"clean", false, count(journal.Clean)},
				{"affected", true, count(journal.Affected)},
				{"failed", false, count(journal.Failed)},
				{"not reached", false, count(journal.Unreachable, journal.Unknown)},
				{"held", false, count(journal.Held)},
				{"started", false, func(r journal.Run) string { return ago(r.Started, time.Now()) }},
				{"operator", true, func(r journal.Run) string { return r.Operator }},
				{"reason", true, func(r journal.Run) string { return r.Reason }},
			})
		},
	}
}

func newRunsShow(a *app) *cobra.Command {
	var outcomes []string
	var events bool
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show the machines of a run, or its history",
		Example:           "fleetmend runs show last\nfleetmend runs show last --outcome failed,unreachable -o csv\nfleetmend runs show last --events",
		Args:              exactly(1, "a run"),
		ValidArgsFunction: first(completing(a.runIDs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, r, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if events {
				return a.showEvents(cmd.Context(), j, r.ID)
			}
			machines, err := j.Machines(cmd.Context(), r.ID)
			if err != nil {
				return err
			}
			machines = withOutcome(machines, outcomes)
			if a.out.Format == "json" || a.out.Format == "yaml" {
				return one(a.out, a.streams.Out, map[string]any{"run": r, "machines": machines}, nil)
			}
			return list(a.out, a.streams.Out, machines, runMachineColumns)
		},
	}
	cmd.Flags().StringSliceVar(&outcomes, "outcome", nil, "only machines with these outcomes")
	cmd.Flags().BoolVar(&events, "events", false, "the history of the run instead of its machines")
	complete(cmd, "outcome", "clean", "affected", "fixed", "undone", "failed", "unreachable", "unknown", "held", "skipped")
	return cmd
}

var runMachineColumns = []column[journal.Machine]{
	{"machine", false, func(m journal.Machine) string { return m.Target.Name }},
	{"wave", false, func(m journal.Machine) string { return number(m.Wave) }},
	{"state", false, func(m journal.Machine) string { return stateWord(m) }},
	{"changed", false, func(m journal.Machine) string { return number(m.Changed) }},
	{"attempts", true, func(m journal.Machine) string { return number(m.Attempts) }},
	{"restarted", true, func(m journal.Machine) string { return yes(m.Rebooted) }},
	{"site", true, func(m journal.Machine) string { return m.Target.Site }},
	{"route", true, func(m journal.Machine) string { return m.Route }},
	{"time", false, func(m journal.Machine) string { return took(m) }},
	{"reason", false, func(m journal.Machine) string { return m.Reason }},
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
	return span(m.Ended.Sub(m.Started))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
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

func (a *app) showEvents(ctx context.Context, j *journal.Journal, id string) error {
	events, err := j.Events(ctx, id, 0)
	if err != nil {
		return err
	}
	return list(a.out, a.streams.Out, events, []column[journal.Event]{
		{"time", false, func(e journal.Event) string { return when(e.Time) }},
		{"kind", false, func(e journal.Event) string { return string(e.Kind) }},
		{"wave", false, func(e journal.Event) string { return number(e.Wave) }},
		{"machine", false, func(e journal.Event) string { return e.Machine }},
		{"state", false, func(e journal.Event) string { return string(e.State) }},
		{"outcome", false, func(e journal.Event) string { return string(e.Outcome) }},
		{"text", false, func(e journal.Event) string { return e.Text }},
	})
}

func newRunsWatch(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "watch RUN", Short: "Follow a run that goes on elsewhere until it ends",
		Example:           "fleetmend runs watch last",
		Args:              exactly(1, "a run"),
		ValidArgsFunction: first(completing(a.runIDs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, r, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.watch(cmd.Context(), j, r)
		},
	}
}

// watch prints the run's events as they are committed. It ends with the run, or when nobody works on the run any more.
func (a *app) watch(ctx context.Context, j *journal.Journal, r *journal.Run) error {
	var f face = &plainFace{w: a.streams.Out}
	if a.jsonLines {
		f = &jsonFace{w: a.streams.Out}
	}
	seq := int64(0)
	for {
		events, err := j.Events(ctx, r.ID, seq)
		if err != nil {
			return err
		}
		for _, e := range events {
			seq = e.Seq
			f.event(e)
		}
		if r, err = j.Run(ctx, r.ID); err != nil {
			return err
		}
		if len(events) == 0 && (over(r.Status) || !carriedOut(j, r.ID)) {
			a.say("run %s: %s %s", r.ID, r.Status, r.Reason)
			return silently(runCode(r, false))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// carriedOut reports whether some process is at work on the run.
func carriedOut(j *journal.Journal, id string) bool {
	owner, held, err := j.Owner()
	return err == nil && held && owner.Run == id
}

func over(s journal.Status) bool {
	return s != journal.RunRunning && s != journal.RunPaused && s != journal.RunWaiting
}

func newRunsResume(a *app) *cobra.Command {
	var c carryFlags
	cmd := &cobra.Command{
		Use: "resume RUN", Short: "Go on with a run that was paused, interrupted or killed",
		Long: `Go on where a run stopped. Machines that had been asked are asked again under the same run ID: they answer from their
own record and do nothing twice. A paused run goes on where it is being carried out.`,
		Example:           "fleetmend runs resume last",
		Args:              exactly(1, "a run"),
		ValidArgsFunction: first(completing(a.runIDs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, r, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if r.Status == journal.RunPaused && carriedOut(j, r.ID) {
				if err := j.Control(cmd.Context(), r.ID, journal.Resume, operator()); err != nil {
					return err
				}
				a.say("run %s goes on; fleetmend runs watch %s follows it", r.ID, r.ID)
				return nil
			}
			frozen, err := j.Plan(cmd.Context(), r.ID)
			if err != nil {
				return err
			}
			return a.execute(cmd.Context(), frozen, c, func(ctx context.Context, e *run.Engine) (*journal.Run, error) { return e.Resume(ctx, r.ID) })
		},
	}
	c.add(cmd)
	return cmd
}

func newRunsRetry(a *app) *cobra.Command {
	return newFollowUp(a, run.RetryPlan, &cobra.Command{
		Use: "retry RUN", Short: "Run again on the machines that failed, were not reached, are unknown or were held",
		Example: "fleetmend runs retry last\nfleetmend runs retry last --waves 5,100% --yes",
	})
}

func newRunsUndo(a *app) *cobra.Command {
	return newFollowUp(a, run.UndoPlan, &cobra.Command{
		Use: "undo RUN", Short: "Take back what a run changed, on every machine it changed",
		Long: `Bring every quarantined file back to its place with its times, and every changed value to what it was. A machine
refuses where something else has changed the thing since, and says so.`,
		Example: "fleetmend runs undo last\nfleetmend runs undo 20240719-0612 --waves 100% --yes",
	})
}

type followUpPlan = func(context.Context, *journal.Journal, string, run.Follow) (*plan.Plan, error)

// newFollowUp makes a command of its words: it plans on the machines of an earlier run.
func newFollowUp(a *app, make followUpPlan, cmd *cobra.Command) *cobra.Command {
	var c carryFlags
	var waves string
	cmd.Args, cmd.ValidArgsFunction = exactly(1, "a run"), first(completing(a.runIDs))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.followUp(cmd.Context(), args[0], waves, c, make)
	}
	cmd.Flags().StringVar(&waves, "waves", "", "sizes of the waves (default: as in the run)")
	c.add(cmd)
	return cmd
}

// followUp plans on the machines of an earlier run and carries the plan out.
func (a *app) followUp(ctx context.Context, name, waves string, c carryFlags, make followUpPlan) error {
	j, r, err := a.findRun(ctx, name)
	if err != nil {
		return err
	}
	next, err := make(ctx, j, r.ID, run.Follow{Operator: operator(), Now: time.Now()})
	if empty := (*plan.EmptyError)(nil); errors.As(err, &empty) {
		return coded(exitNothing, err)
	}
	if err != nil {
		return err
	}
	return a.carryOut(ctx, next, c)
}

func newRunsReport(a *app) *cobra.Command {
	var html, csvFile, junit, jsonFile string
	cmd := &cobra.Command{
		Use: "report RUN", Short: "Write the report of a run: terminal, HTML, CSV, JSON, JUnit",
		Example:           "fleetmend runs report last\nfleetmend runs report last --html report.html --csv report.csv",
		Args:              exactly(1, "a run"),
		ValidArgsFunction: first(completing(a.runIDs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, r, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, rep, err := buildReport(cmd.Context(), j, r.ID)
			if err != nil {
				return err
			}
			written := false
			for _, out := range []struct {
				file  string
				write func(io.Writer) error
			}{{html, rep.WriteHTML}, {csvFile, rep.WriteCSV}, {junit, rep.WriteJUnit}, {jsonFile, rep.WriteJSON}} {
				if out.file == "" {
					continue
				}
				written = true
				if err := textfile.Write(out.file, textfile.Shared, out.write); err != nil {
					return err
				}
				a.say("report written to %s", out.file)
			}
			switch {
			case written:
				return nil
			case a.out.Format == "json":
				return rep.WriteJSON(a.streams.Out)
			case a.out.Format == "csv":
				return rep.WriteCSV(a.streams.Out)
			}
			return rep.WriteText(a.streams.Out, a.textOptions())
		},
	}
	f := cmd.Flags()
	f.StringVar(&html, "html", "", "one self-contained HTML file")
	f.StringVar(&csvFile, "csv", "", "CSV file")
	f.StringVar(&junit, "junit", "", "JUnit XML file")
	f.StringVar(&jsonFile, "json-file", "", "JSON file")
	return cmd
}

func newRunsControl(a *app, control journal.ControlKind, verb, short, said string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " RUN", Short: short,
		Example:           "fleetmend runs " + verb + " last",
		Args:              exactly(1, "a run"),
		ValidArgsFunction: first(completing(a.runIDs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, r, err := a.findRun(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := j.Control(cmd.Context(), r.ID, control, operator()); err != nil {
				return err
			}
			a.say(said, r.ID)
			return nil
		},
	}
}
