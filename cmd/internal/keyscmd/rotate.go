package keyscmd

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/runscmd"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/desk/runs"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/plan"
)

// rotateFlags are the flags of keys rotate.
type rotateFlags struct {
	runscmd.RuleFlags
	runscmd.CarryFlags
	request keys.RotateRequest
	reason  string
}

func newRotate(c *command.Context) *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use: "rotate [KEY-ID|HOST]...", Short: "Replace recovery passwords that were read aloud, printed or used",
		Long: `Give machines new recovery passwords: by the ID of a key that was used, by host name, or with --on for a selector. For one
key ID that password alone is replaced; else every recovery password of the volume is, by one new.

Each machine goes one of two ways, and the overview says which and why, before anything is done:
  winrm    machines whose keys are in Active Directory. The playbook rotate-recovery-password runs on them, in waves and behind
           gates as with fleetmend run. The new password is added and escrowed first, to every directory that keeps keys of
           the machine, and the old one goes last: an error in between leaves the old one valid.
  intune   machines whose keys are in Entra ID alone. Intune is asked, and passes it on when the device next reports.
Entra ID keeps 200 keys of a device: a machine that has as many there is left out, and says so.

Every machine is in the audit, with the reason. Keys whose protector a machine has removed are marked in the vault, and
stay there; fleetmend keys sync reads the new ones in afterwards. With --dry-run nothing is changed and nobody is asked.`,
		Example: `fleetmend keys rotate 4C4B6D8A --reason "INC-1234, read to the user by phone"
fleetmend keys rotate LON-WS-00042 LON-WS-00043 --reason "INC-1234" --dry-run
fleetmend keys rotate --on 'case.next == "rotate"' --reason "keys shown during the incident"
fleetmend keys rotate --on 'site == "LON"' --waves 1,10,100% --max-fail 5% --reason "sheets of the incident"
fleetmend keys rotate PF3ABCDE --via winrm --escrow entra --reason "not managed by Intune"`,
		ValidArgsFunction: command.Completing(func(ctx context.Context, prefix string) ([]string, error) {
			names, err := c.MachineNames(ctx, prefix)
			if err != nil {
				return nil, err
			}
			ids, err := c.KeyIDs(ctx, prefix)
			return append(names, ids...), err
		}),
	}
	fs := cmd.Flags()
	cmd.RunE = c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
		if f.request.Via == keys.WayIntune && (fs.Changed("escrow") || fs.Changed("volume")) {
			return command.Usage(errors.New("which volumes are rotated, and where they escrow, is for Intune to decide"), "leave out --escrow and --volume")
		}
		return f.rotate(ctx, c, d, args)
	})
	c.SelectorFlag(cmd, &f.request.On, "on", "", "selector of the machines, instead of names (see fleetmend inventory --help)")
	c.SelectorFlag(cmd, &f.request.Exclude, "exclude", "", "selector of machines to leave out")
	fs.StringVar(&f.reason, "reason", "", "why, for the audit")
	fs.StringVar(&f.request.Via, "via", keys.Ways[0], "winrm or intune, instead of what the keys' places say")
	fs.StringVar(&f.request.Escrow, "escrow", keys.Escrows[0], "ad, entra or both: where the machines escrow, instead of where their keys are now")
	fs.StringVar(&f.request.Volume, "volume", "C:", "the volume, over WinRM")
	c.InIncident(cmd, &f.request.Incident)
	f.RuleFlags.Add(cmd)
	f.CarryFlags.Add(cmd)
	command.Complete(cmd, "via", keys.Ways...)
	command.Complete(cmd, "escrow", keys.Escrows...)
	return command.Formats(cmd, terminal.ListFormats...)
}

func (f *rotateFlags) rotate(ctx context.Context, c *command.Context, d *desk.Desk, args []string) error {
	f.request.Names, f.request.DryRun, f.request.Rules, f.request.Stdin = args, f.DryRun, f.Rules, c.In
	if err := f.request.Rules.Check(); err != nil {
		return err
	}
	r, err := keys.Rotate(ctx, d, f.request)
	if r != nil && !c.JSONLines && (!c.Quiet || !f.Yes) {
		for _, line := range r.Overview() {
			c.Say("%s", prose.Wrapped(line, c.Width))
		}
	}
	if err != nil {
		return coded(err)
	}
	if !f.DryRun {
		if f.reason, err = d.Reason(ctx, f.reason, "Why are they rotated", "a reason is needed, and nothing was done"); err != nil {
			return err
		}
		text := prose.Machines(r.Included()) + " will get new recovery passwords, and the old ones will open nothing any more."
		if err := c.Confirm(ctx, f.Yes, text, strconv.Itoa(r.Included())); err != nil {
			return err
		}
	}
	code := command.ExitOK
	err = r.CarryOut(ctx, d, f.reason, func(ctx context.Context, p *plan.Plan) (*runs.Run, bool, error) {
		done, ended, err := f.run(ctx, c, d, p)
		code = max(code, ended)
		return done, ended == command.ExitOK || ended == command.ExitSomeFailed || ended == command.ExitChanges, err
	})
	if printed := printRows(c, r.Rows); err == nil {
		err = printed
	}
	if err != nil {
		return coded(err)
	}
	for _, line := range r.Next(c.Output.Format == terminal.Table) {
		c.Say("%s", line)
	}
	if code == command.ExitOK && r.IntuneFailed() {
		code = command.ExitSomeFailed
	}
	return command.Silently(code)
}

// run carries one plan out, says how it ended, and returns the exit code for that.
func (f *rotateFlags) run(ctx context.Context, c *command.Context, d *desk.Desk, p *plan.Plan) (*runs.Run, int, error) {
	cmds := &runscmd.Commands{Context: c, Ended: Ended}
	done, err := cmds.Drive(ctx, d, p, f.CarryFlags, func(ctx context.Context, o runs.Options) (*runs.Run, error) { return runs.Start(ctx, d, p, o) })
	if done == nil || err != nil && !errors.Is(err, context.Canceled) {
		return done, command.ExitError, err
	}
	ctx = context.WithoutCancel(ctx)
	if format := c.Output.Format; format == terminal.Table || format == terminal.Wide || c.JSONLines {
		err := cmds.Conclude(ctx, d, done.ID, f.CarryFlags)
		if command.Silent(err) {
			return done, command.ExitCode(err), nil
		}
		return done, command.ExitOK, err
	}
	if done, err = runs.Find(ctx, d, done.ID); err != nil {
		return nil, command.ExitError, err
	}
	return done, runscmd.Code(done, f.Detailed), nil
}

// Ended is what has to happen after every run: vault and audit hear what a rotation did.
func Ended(ctx context.Context, d *desk.Desk, _ string) error { return keys.Fold(ctx, d) }

var rowColumns = []terminal.Column[*keys.Row]{
	terminal.Col("machine", func(r *keys.Row) string { return r.Name }),
	terminal.Col("way", func(r *keys.Row) string { return r.Way }),
	terminal.Col("escrow", func(r *keys.Row) string { return r.Escrow }),
	terminal.Col("outcome", func(r *keys.Row) string { return r.Outcome }),
	terminal.Col("new key id", func(r *keys.Row) string { return string(r.New) }),
	terminal.Col("reason", func(r *keys.Row) string { return r.Reason }),
	terminal.WideCol("why", func(r *keys.Row) string { return r.Why }),
	terminal.WideCol("run", func(r *keys.Row) string { return r.Run }),
}

// printRows prints the machines for programs; for people the runs were printed already.
func printRows(c *command.Context, rows []*keys.Row) error {
	switch {
	case c.JSONLines:
		for _, r := range rows {
			if err := terminal.WriteJSONLine(c.Out, map[string]any{"v": 1, "type": "rotation", "rotation": r}); err != nil {
				return err
			}
		}
		return nil
	case c.Output.Format == terminal.Table:
		rows = slices.DeleteFunc(slices.Clone(rows), func(r *keys.Row) bool { return r.Way != keys.WayIntune || r.Outcome == "" })
		if len(rows) == 0 {
			return nil
		}
	}
	return command.List(c, rows, rowColumns)
}
