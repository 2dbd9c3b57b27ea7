package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/internal/question"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/journal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
	"github.com/fleetmend/fleetmend/remediate/report"
	"github.com/fleetmend/fleetmend/remediate/route"
	"github.com/fleetmend/fleetmend/remediate/run"
)

// carryFlags are the flags of everything that carries out a plan.
type carryFlags struct {
	yes          bool
	passwordFile string
	html         string
	detailed     bool
}

func (c *carryFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask for confirmation")
	f.StringVar(&c.passwordFile, "password-file", "", "file with the password in its first line")
	f.StringVar(&c.html, "html", "", "write the report into this HTML file when the run ends")
	f.BoolVar(&c.detailed, "detailed-exitcode", false, "exit code 10 when a dry run found affected machines")
	exits(cmd, exitSomeFailed, exitAuth, exitGate, exitNothing, exitChanges, exitLocked, exitTimeout, exitInterrupted)
}

func newRun(a *app) *cobra.Command {
	var p planFlags
	var c carryFlags
	cmd := &cobra.Command{
		Use:     "run PLAYBOOK",
		Short:   "Plan, confirm and carry out a playbook",
		GroupID: "work",
		Long: `Run a playbook on the machines of a selector, in waves, behind gates.

Ctrl-C once: no further machine is started, those in flight end, the run can be resumed.
Ctrl-C twice: everything ends at once; what became of the machines in flight is asked when the run is resumed.`,
		Example: `fleetmend run crowdstrike-channel-file-291 --dry-run
fleetmend run crowdstrike-channel-file-291 --on 'site == "LON"' --waves 1,10,100% --max-fail 10%
fleetmend run disable-service --set service=BadAgent --on @machines.txt --yes
fleetmend run --script fix.ps1 --on 'WS0*' --waves 1,100%`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.ttl = plan.DefaultTTL
			frozen, err := a.freeze(cmd, &p, args)
			if err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), frozen, c)
		},
	}
	p.add(a, cmd)
	c.add(cmd)
	return cmd
}

func newApply(a *app) *cobra.Command {
	var c carryFlags
	cmd := &cobra.Command{
		Use:     "apply PLAN",
		Short:   "Carry out a plan file, exactly as it was frozen",
		GroupID: "work",
		Example: "fleetmend apply london.plan\nfleetmend apply london.plan --yes --html london.html",
		Args:    exactly(1, "the file of a plan"),
		RunE: func(cmd *cobra.Command, args []string) error {
			frozen, err := plan.Load(args[0], time.Now())
			if err != nil {
				return err
			}
			if err := a.unchanged(frozen); err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), frozen, c)
		},
	}
	c.add(cmd)
	return cmd
}

// unchanged refuses a plan whose playbook is not the one any more that was looked at. A file that is gone changes nothing:
// the plan holds the whole playbook.
func (a *app) unchanged(p *plan.Plan) error {
	name := p.PlaybookFile
	if name == "" {
		name = p.Playbook.Name
	}
	source, err := playbook.Find(name)
	switch {
	case err == nil:
		return p.Check(source.Digest)
	case errors.Is(err, fs.ErrNotExist):
		a.say("%s is gone; the playbook is applied as it stands in the plan", name)
		return nil
	case p.PlaybookFile == "": // made of a script or a command
		return nil
	}
	return err
}

// carryOut shows the plan, asks, runs it and says how it ended.
func (a *app) carryOut(ctx context.Context, p *plan.Plan, c carryFlags) error {
	total := 0
	for _, wave := range p.Waves {
		total += len(wave.Entries)
	}
	if !a.quiet && !a.jsonLines {
		if err := showPlan(a.streams.Err, p, a.streams.Width); err != nil {
			return err
		}
	}
	if p.Mode != agent.Detect {
		affected := ""
		if p.Mode == agent.Fix {
			affected = ", where they are affected"
		}
		if err := a.confirm(ctx, c.yes, fmt.Sprintf("%s will be changed%s.", machinesText(total), affected), itoa(total)); err != nil {
			return err
		}
	}
	return a.execute(ctx, p, c, func(ctx context.Context, e *run.Engine) (*journal.Run, error) { return e.Start(ctx, p) })
}

// execute lets start run an engine, and reports.
func (a *app) execute(ctx context.Context, p *plan.Plan, c carryFlags, start func(context.Context, *run.Engine) (*journal.Run, error)) error {
	j, result, err := a.drive(ctx, p, c, start)
	if result == nil {
		return err
	}
	concluded := a.conclude(context.WithoutCancel(ctx), j, result.ID, c)
	if err != nil && !errors.Is(err, context.Canceled) { // the journal could not be written, say: that is said last
		return err
	}
	return concluded
}

// drive opens journal and route and lets start run an engine. Without a run there is an error; with one there may be.
func (a *app) drive(ctx context.Context, p *plan.Plan, c carryFlags, start func(context.Context, *run.Engine) (*journal.Run, error)) (*journal.Journal, *journal.Run, error) {
	began := time.Now()
	j, err := a.openJournal(ctx)
	if err != nil {
		return nil, nil, err
	}
	winrm, err := a.winrmRoute(ctx, c.passwordFile)
	if err != nil {
		return nil, nil, err
	}
	shown := a.newProgress(p)
	engine, err := run.New(run.Options{
		Journal: j, Routes: map[string]route.Route{winrm.Name(): winrm}, Observer: shown, Logger: a.logger, Approve: a.approver(),
	})
	if err != nil {
		return nil, nil, err
	}
	release := onFirstInterrupt(ctx, func(text string) { a.say("\n%s", text) }, func() {
		a.say("\nstopping: no further machine is started, those in flight end. Ctrl-C again ends at once.")
		engine.Stop()
	})
	result, err := start(ctx, engine)
	release()
	if dropped := shown.close(); dropped > 0 {
		a.say("%s not shown; the journal has them all", counted(dropped, "event was", "events were"))
	}
	if result == nil {
		return nil, nil, err
	}
	if noted := a.noteRotations(context.WithoutCancel(ctx), j, result.ID, began); noted != nil {
		a.say("the rotation could not be noted in vault and audit; the journal has it: %v", noted)
	}
	return j, result, err
}

// approver asks a person between waves, or leaves it to `runs approve` from elsewhere.
func (a *app) approver() func(context.Context, run.Wave) (bool, error) {
	if !a.canAsk() {
		return nil
	}
	return func(ctx context.Context, w run.Wave) (bool, error) {
		_, err := a.Ask(ctx, question.Question{ID: "wave.approve", Kind: question.YesNo, About: w, Text: fmt.Sprintf("wave %d (%s) is over: %s. Go on with %s of wave %d (%s)?",
			w.Number, w.Name, countsText(w.Counts), machinesText(w.Machines), w.Number+1, w.Next)})
		if errors.Is(err, question.ErrDeclined) {
			return false, nil
		}
		return err == nil, err
	}
}

// conclude prints the summary of a run, writes its HTML report where asked, and returns its exit code.
func (a *app) conclude(ctx context.Context, j *journal.Journal, id string, c carryFlags) error {
	r, rep, err := buildReport(ctx, j, id)
	if err != nil {
		return err
	}
	if c.html != "" {
		if err := textfile.Write(c.html, textfile.Shared, rep.WriteHTML); err != nil {
			return err
		}
		a.say("report written to %s", c.html)
	}
	switch {
	case a.jsonLines:
		err = writeJSONLine(a.streams.Out, map[string]any{"v": 1, "type": "summary", "run": r})
	case a.out.Format == "json":
		err = rep.WriteJSON(a.streams.Out)
	case a.out.Format == "csv":
		err = rep.WriteCSV(a.streams.Out)
	default:
		err = rep.WriteText(a.streams.Out, a.textOptions())
	}
	if err != nil {
		return err
	}
	return silently(runCode(r, c.detailed))
}

func (a *app) textOptions() report.TextOptions {
	return report.TextOptions{Width: a.streams.Width, Color: a.streams.OutTTY && !a.noColor && !envNoColor()}
}

func buildReport(ctx context.Context, j *journal.Journal, id string) (*journal.Run, *report.Report, error) {
	r, err := j.Run(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	machines, err := j.Machines(ctx, r.ID)
	if err != nil {
		return nil, nil, err
	}
	events, err := j.Events(ctx, r.ID, 0)
	if err != nil {
		return nil, nil, err
	}
	built := report.Build(*r, machines, events)
	if r.Playbook == rotatePlaybook {
		built.Next = afterRotate(r, built.Next)
	}
	return r, built, nil
}

func countsText(counts map[journal.Outcome]int) string {
	var parts []string
	for _, outcome := range outcomeOrder {
		if n := counts[outcome]; n > 0 {
			parts = append(parts, itoa(n)+" "+string(outcome))
		}
	}
	return strings.Join(parts, ", ")
}

// runCode is the exit code of a run that has ended.
func runCode(r *journal.Run, detailed bool) int {
	switch r.Status {
	case journal.RunAuth:
		return exitAuth
	case journal.RunGated:
		return exitGate
	case journal.RunInterrupted, journal.RunCancelled, journal.RunRunning, journal.RunPaused, journal.RunWaiting:
		return exitInterrupted
	}
	switch {
	case r.Counts[journal.Failed]+r.Counts[journal.Unreachable]+r.Counts[journal.Unknown]+r.Counts[journal.Held] > 0:
		return exitSomeFailed
	case detailed && r.Counts[journal.Affected] > 0:
		return exitChanges
	}
	return exitOK
}
