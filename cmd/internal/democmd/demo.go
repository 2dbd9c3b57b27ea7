// Package democmd are the commands around simulated fleets: demo, which shows the main job on one, and sim, which serves one.
//
// [New] and [NewSim] make them; package internal/desk/demo does the work. Nothing outside this computer is contacted.
package democmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/runscmd"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/demo"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/simfleet"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/report"
)

// New makes the command demo. What has to happen after a run comes with c.
func New(c *runscmd.Commands) *cobra.Command {
	var r demo.Request
	var headless bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Repair a simulated fleet: the whole main job in a minute, no Windows needed", GroupID: "start", Args: command.NoArgs,
		Long: `Start a simulated fleet on this computer, in which a faulty update has broken many machines, and do the main job on it with
the real parts: read the machines, see who is affected, fix them over WinRM in waves, verify, report.

Nothing outside this computer is contacted. Inventory, journal and report stay in a folder that is named at the end.`,
		Example: "fleetmend demo\nfleetmend demo --media\nfleetmend demo --headless --machines 200 --seed 7 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			silent := headless || c.Output.Format == terminal.JSON || c.JSONLines
			c.Quiet, r.Ask = c.Quiet || silent, !silent
			ended, summary, err := demo.Show(cmd.Context(), r, face{c, silent})
			if ended == nil {
				return err
			}
			if silent && err == nil {
				err = c.Page(summary, summary.Text())
			}
			return errors.Join(err, command.Silently(code(ended)))
		},
	}
	fleetFlags(cmd, &r.Fleet)
	cmd.Flags().BoolVar(&headless, "headless", false, "only print the result")
	cmd.Flags().BoolVar(&r.Medium, "media", false, "build a USB image for the machines that stayed unreachable, at the end (asked for at a terminal)")
	cmd.Flags().StringVar(&r.Dir, "dir", "", "folder for inventory, journal and report (default: a new temporary one)")
	command.Exits(cmd, command.ExitGate, command.ExitInterrupted)
	return command.Formats(cmd, terminal.OneFormats...)
}

// face shows the story on the terminal, with the commands' own parts.
type face struct {
	*runscmd.Commands
	silent bool
}

// Desk implements [demo.Face].
func (f face) Desk(config string) (*desk.Desk, error) {
	f.Use(config)
	return f.Context.Desk()
}

// Tell implements [demo.Face].
func (f face) Tell(text string) {
	if line := strings.TrimLeft(text, "\n"); !f.silent {
		fmt.Fprintln(f.Out, text[:len(text)-len(line)]+prose.Wrapped(line, f.Width))
	}
}

// Carry implements [demo.Face].
func (f face) Carry(ctx context.Context, d *desk.Desk, p *plan.Plan) (*runs.Run, error) {
	return f.Drive(ctx, d, p, runscmd.CarryFlags{Foreground: true}, func(ctx context.Context, o runs.Options) (*runs.Run, error) { return runs.Start(ctx, d, p, o) })
}

// Result implements [demo.Face].
func (f face) Result(r *report.Report) error {
	if f.silent {
		return nil
	}
	return r.WriteText(f.Out, report.TextOptions{Width: f.Width, Color: f.Color()})
}

// code is 0 for a demonstration that came to its end: that some of its machines cannot be fixed is part of the story.
func code(r *runs.Run) int {
	if code := runscmd.Code(r, false); code != command.ExitSomeFailed {
		return code
	}
	return command.ExitOK
}

// fleetFlags are the flags of everything that serves a simulated fleet.
func fleetFlags(cmd *cobra.Command, s *demo.Fleet) {
	f := cmd.Flags()
	f.IntVar(&s.Machines, "machines", 200, "how many machines")
	f.Uint64Var(&s.Seed, "seed", 1, "same seed, same fleet")
	f.DurationVar(&s.Latency, "latency", 0, "time each answer takes (0: none)")
	f.Float64Var(&s.Broken, "broken", -1, "share of machines on which the fix fails (0 to 1; negative: a few)")
	f.Float64Var(&s.Silent, "unreachable", -1, "share of machines that do not answer (0 to 1; negative: some)")
}

// NewSim makes the command sim.
func NewSim(c *command.Context) *cobra.Command {
	var r demo.Rehearsal
	cmd := &cobra.Command{
		Use: "sim", Short: "Serve a simulated fleet for rehearsals, until Ctrl-C", GroupID: "start", Args: command.NoArgs,
		Long: `Serve machines that speak real WinRM on the loopback address, each with a small Windows in memory: files, registry, services,
boot configuration, restarts. Any WinRM client can talk to them.

The folder gets fleetmend.yaml, machines.csv, ca.pem, password and ansible.ini. One JSON line on stdout says when the
fleet is ready. What the machines hold can be read at the control address in that line, and there the password is changed in the
middle of a run. Kinds of machines, accounts and addresses: docs/sim.md.

With --powershell /path/to/pwsh (PowerShell 7 on Linux or macOS) the script that came over the wire is run by that PowerShell on each machine,
in the place of a simulation of it: a second of computing for every request. The machines lie in a temporary folder meanwhile, and none
of them restarts by itself again and again.`,
		Example: `fleetmend sim --dir drill --machines 200 --seed 7
fleetmend --config drill/fleetmend.yaml inventory import drill/machines.csv
fleetmend --config drill/fleetmend.yaml run crowdstrike-channel-file-291 --waves 1,10,100% --yes
ansible -i drill/ansible.ini all -m raw -a hostname`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(r.Kinds) > 0 && !cmd.Flags().Changed("machines") {
				r.Machines = 0
			}
			err := demo.Serve(cmd.Context(), r, func(fleet *simfleet.Fleet) error {
				if err := terminal.WriteJSONLine(c.Out, fleet.Ready(r.Dir)); err != nil {
					return err
				}
				c.Say("%s are up; settings and machines are in %s. Ctrl-C ends it.", prose.Machines(len(fleet.Machines())), r.Dir)
				return nil
			})
			if err == nil {
				c.Say("the fleet is gone")
			}
			return err
		},
	}
	fleetFlags(cmd, &r.Fleet)
	cmd.Flags().StringVar(&r.Dir, "dir", "", "folder to write settings and machines into")
	cmd.Flags().StringToStringVar(&r.Kinds, "mix", nil, "exact numbers of machines by kind, as affected=165,broken=14; with --machines the others are clean")
	cmd.Flags().IntVar(&r.Reject, "reject", 0, "how many machines answer 401 to the good account, as one whose trust is broken does")
	cmd.Flags().IntVar(&r.Cut, "cut", 0, "how many machines cut the line when somebody signs in")
	cmd.Flags().IntVar(&r.Domains, "domains", 1, "to how many domains the machines belong, by turns (1 to 4)")
	cmd.Flags().BoolVar(&r.Distrust, "distrust", false, "the last domain rejects the account: it has one of that name with another password")
	cmd.Flags().IntVar(&r.Lockout, "lockout", 10, "wrong passwords in a row that lock the account of a domain (negative: none do)")
	cmd.Flags().DurationVar(&r.CrashUp, "crash-up", 0, "how long a machine that crashes again and again is up (0: 2s to 5s)")
	cmd.Flags().DurationVar(&r.CrashDown, "crash-down", 0, "how long it is down in between (0: 2s to 5s)")
	cmd.Flags().StringVar(&r.PowerShell, "powershell", "", "a PowerShell that runs the real agent on the machines; it must not be a Windows one")
	cmd.Flags().IntVar(&r.Chunk, "chunk", 0, "bytes of output in one answer (0: 32 KiB)")
	cmd.Flags().BoolVar(&r.Plain, "plain", false, "every machine answers and can be fixed: no silent, broken or moody ones")
	cmd.Flags().BoolVar(&r.Unencrypted, "allow-unencrypted", false, "accept requests in the clear over HTTP, as no Windows does by default")
	cmd.Flags().BoolVar(&r.Strict, "strict-channel-binding", false, "refuse NTLM over HTTPS without a channel binding token")
	return cmd
}
