// Package runscmd are the commands around runs: plan, apply, run, and the noun runs.
//
// [New] makes them all. Each reads flags into a [runs.Request] or names a run, asks for what must be agreed to, lets the desk do it,
// and shows progress and report. [Carry] is what other commands use that end in a run. No use case lives here.
package runscmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/report"
)

// Formats are those that the end of a run can be printed in.
var Formats = []string{terminal.Table, terminal.JSON, terminal.YAML, terminal.CSV}

// Commands adds what has to happen after a run and is no part of it.
type Commands struct {
	*command.Context
	Ended func(ctx context.Context, d *desk.Desk, id string) error // may be nil
}

// New makes the commands.
func New(c *Commands) []*cobra.Command {
	return []*cobra.Command{newPlan(c), newApply(c), newRun(c), newRuns(c), newRunner(c)}
}

func newRun(c *Commands) *cobra.Command {
	var p planFlags
	var f CarryFlags
	cmd := &cobra.Command{
		Use: "run PLAYBOOK", Short: "Plan, confirm and carry out a playbook", GroupID: "work", Args: command.Between(0, 1, "one playbook"),
		Long: `Run a playbook on the machines of a selector, in waves, behind gates.

The run is a process of its own, which this command only follows: a closed terminal or a lost connection does not touch it.
fleetmend runs watch follows it again.

Ctrl-C once: no further machine is started, those in flight end, the run can be resumed.
Ctrl-C twice: everything ends at once; what became of the machines in flight is asked when the run is resumed.`,
		Example: `fleetmend run crowdstrike-channel-file-291 --dry-run
fleetmend run crowdstrike-channel-file-291 --on 'site == "LON"' --waves 1,10,100% --max-fail 10%
fleetmend run disable-service --set service=BadAgent --on @machines.txt --yes
fleetmend run --script fix.ps1 --on 'WS0*' --waves 1,100%
fleetmend run --script remediate.ps1 --detect detect.ps1 --arg 'C:\ProgramData\Example' --dry-run`,
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			p.Rules.Attended = !f.Yes && c.CanAsk()
			frozen, err := c.freeze(ctx, d, p.asked(args))
			if err != nil {
				return err
			}
			return c.carryOut(ctx, d, frozen, f)
		}),
	}
	p.add(c.Context, cmd)
	f.Add(cmd)
	return cmd
}

// freeze makes the plan and says what lint has found.
func (c *Commands) freeze(ctx context.Context, d *desk.Desk, r runs.Request) (*plan.Plan, error) {
	frozen, err := runs.Freeze(ctx, d, r, c.In)
	findings := frozen.Findings
	if lint := (*runs.LintError)(nil); errors.As(err, &lint) {
		findings = lint.Findings
	}
	for _, finding := range findings {
		c.Say("%s", finding)
	}
	return frozen.Plan, err
}

func newApply(c *Commands) *cobra.Command {
	var f CarryFlags
	cmd := &cobra.Command{
		Use: "apply PLAN", Short: "Carry out a plan file, exactly as it was frozen", GroupID: "work", Args: command.Exactly(1, "the file of a plan"),
		Example: "fleetmend apply london.plan\nfleetmend apply london.plan --yes --html london.html",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			frozen, err := plan.Load(args[0], d.Now())
			if err != nil {
				return err
			}
			remark, err := runs.Unchanged(frozen)
			if err != nil {
				return err
			}
			if remark != "" {
				c.Say("%s", remark)
			}
			return c.carryOut(ctx, d, frozen, f)
		}),
	}
	f.Add(cmd)
	return cmd
}

// carryOut shows the plan, asks, runs it and says how it ended.
func (c *Commands) carryOut(ctx context.Context, d *desk.Desk, p *plan.Plan, f CarryFlags) error {
	if !c.Quiet && !c.JSONLines {
		fmt.Fprint(c.Err, prose.Clean(runs.PlanText(p, c.Width)))
	}
	if runs.Fixing(p) {
		if err := c.Confirm(ctx, f.Yes, runs.ChangeText(p), strconv.Itoa(p.Machines())); err != nil {
			return err
		}
	}
	return c.carry(ctx, d, p, f, func(ctx context.Context, o runs.Options) (*runs.Run, error) { return runs.Start(ctx, d, p, o) })
}

// carry lets start run an engine, and reports.
func (c *Commands) carry(ctx context.Context, d *desk.Desk, p *plan.Plan, f CarryFlags, start func(context.Context, runs.Options) (*runs.Run, error)) error {
	r, err := c.Drive(ctx, d, p, f, start)
	if r == nil {
		return err
	}
	if gone, ok := errors.AsType[*runs.GoneError](err); ok { // what is left of it is where the copy lies
		if at, failed := d.At(gone.Folder); failed == nil {
			d = at
		}
	}
	concluded := c.Conclude(context.WithoutCancel(ctx), d, r.ID, f)
	if err != nil && !errors.Is(err, context.Canceled) { // the journal could not be written, say: that is said last
		return err
	}
	return concluded
}

// Drive lets start carry a run out, and shows how it goes. Without a run there is an error; with one there may be.
func (c *Commands) Drive(ctx context.Context, d *desk.Desk, p *plan.Plan, f CarryFlags, start func(context.Context, runs.Options) (*runs.Run, error)) (*runs.Run, error) {
	release := func() {}
	options := runs.Options{PasswordFile: f.PasswordFile, Runner: c.RunnerLine()}
	if f.Foreground {
		options.Runner = nil
	}
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	defer unfollow()
	var showing, talking sync.WaitGroup
	say := func(text string) { talking.Go(func() { c.Say("%s", text) }) } // a terminal that takes nothing holds up no Ctrl-C
	options.Begun = func(id string, first int64, stop func()) {
		free := terminal.OnFirstInterrupt(ctx, func() {
			stop()
			say("stopping: no further machine is started, those in flight end. Ctrl-C again ends at once.")
		}, func() {
			say("stopping at once: machines in flight go on by themselves, and what became of them is asked when the run is resumed")
		})
		kept := func() {}
		if options.Runner == nil {
			kept = terminal.OnHangup(stop)
		}
		release = func() { free(); kept() }
		showing.Go(func() {
			if err := c.follow(following, d, p, id, first-1); err != nil && following.Err() == nil {
				c.Say("the run cannot be followed any more: %v", err)
			}
		})
	}
	r, err := start(ctx, options)
	if r == nil || r.Owner != nil { // somebody works on it still: he did not stop, and there is no end to wait for
		unfollow()
	}
	showing.Wait()
	release()
	talking.Wait()
	if r == nil {
		return nil, err
	}
	if c.Ended != nil {
		if noted := c.Ended(context.WithoutCancel(ctx), d, r.ID); noted != nil {
			c.Say("what follows from the run could not be noted elsewhere; the journal has it: %v", noted)
		}
	}
	return r, err
}

// Conclude prints the summary of a run, writes its HTML report where asked, and returns its exit code.
func (c *Commands) Conclude(ctx context.Context, d *desk.Desk, id string, f CarryFlags) error {
	r, rep, err := runs.Report(ctx, d, id)
	if err != nil {
		return err
	}
	if err := c.WriteFile("report", f.HTML, rep.WriteHTML); err != nil {
		return err
	}
	if c.JSONLines {
		err = terminal.WriteJSONLine(c.Out, map[string]any{"v": 1, "type": "summary", "run": r})
	} else {
		err = c.writeReport(rep)
	}
	if err != nil {
		return err
	}
	return command.Silently(Code(r, f.Detailed))
}

// writeReport prints a report in the format of -o.
func (c *Commands) writeReport(rep *report.Report) error {
	switch c.Output.Format {
	case terminal.JSON:
		return rep.WriteJSON(c.Out)
	case terminal.YAML:
		return terminal.WriteYAML(c.Out, rep)
	case terminal.CSV:
		return rep.WriteCSV(c.Out)
	}
	return rep.WriteText(c.Out, report.TextOptions{Width: c.Width, Color: c.Color()})
}

// Code is the exit code of a run that has ended.
func Code(r *runs.Run, detailed bool) int {
	if runs.KeptBack(r) {
		return command.ExitAuth
	}
	switch r.Status {
	case runs.Gated:
		return command.ExitGate
	case runs.Interrupted, runs.Cancelled, runs.Running, runs.Paused, runs.Waiting:
		return command.ExitInterrupted
	}
	switch {
	case r.Counts[runs.Failed]+r.Counts[runs.Unreachable]+r.Counts[runs.Unknown]+r.Counts[runs.Held] > 0, runs.Taken(r) > 0:
		return command.ExitSomeFailed
	case detailed && r.Counts[runs.Affected] > 0:
		return command.ExitChanges
	}
	return command.ExitOK
}
