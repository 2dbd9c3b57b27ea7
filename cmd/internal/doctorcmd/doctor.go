// Package doctorcmd is the command doctor: it prints what desk/doctor finds, and the worst of it decides the exit code.
//
// [New] makes the command. It checks nothing itself.
package doctorcmd

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk/doctor"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// New makes the command doctor.
func New(c *command.Context) *cobra.Command {
	var request doctor.Request
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check before the day: names, ports, clocks, sign-ins, rights, keys, settings", GroupID: "start", Args: command.NoArgs,
		Long: `Check everything that a repair will need, without changing anything: the settings and the files of passwords they name, the
domain controllers (name, port, clock, certificate, sign-in) and what the account may do there, Entra ID (sign-in, permissions),
the key database, the routes to machines, whether the key vault opens and how old its keys are, how old the inventory is, and the
playbooks.

Every line says ok, warn or fail, and what to do. A password is sent once, so that no account gets locked, and no
recovery key and no password that is read for the check is shown or kept. No machine is asked anything but those of --on, a few
of them, and those without signing in.`,
		Example: "fleetmend doctor\nfleetmend doctor --dc dc1.corp.example=10.0.0.5\nfleetmend doctor --on 'site == \"LON\"' --playbook ./remove-bad-driver.yaml\nfleetmend doctor -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			desk, err := c.Desk()
			if err != nil {
				return show(c, doctor.Unreadable(err))
			}
			report, err := doctor.Examine(cmd.Context(), desk, request)
			if err != nil {
				return err
			}
			return show(c, report)
		},
	}
	cmd.Flags().StringSliceVar(&request.DCs, "dc", nil, "domain controllers to ask: dc1.corp.example, or dc1.corp.example=10.0.0.5 without DNS")
	c.SelectorFlag(cmd, &request.On, "on", "", "ask some of these machines whether their WinRM answers")
	cmd.Flags().StringVar(&request.Playbook, "playbook", "", "look at this playbook too, by name or file")
	command.CompleteBy(cmd, "playbook", command.Playbooks)
	command.Exits(cmd, command.ExitAuth, command.ExitNothing)
	return command.Formats(cmd, terminal.ListFormats...)
}

// show prints the findings; the worst decides the exit code.
func show(c *command.Context, r doctor.Report) error {
	columns := []terminal.Column[doctor.Finding]{
		terminal.Col("check", func(f doctor.Finding) string { return f.Check }), terminal.Col("status", func(f doctor.Finding) string { return string(f.Status) }),
		terminal.Col("detail", func(f doctor.Finding) string { return f.Detail }), terminal.Col("do", func(f doctor.Finding) string { return f.Do }),
	}
	var err error
	if c.Output.Format == terminal.Table || c.Output.Format == terminal.Wide {
		_, err = io.WriteString(c.Out, r.Text())
	} else {
		err = command.List(c, r.Findings, columns)
	}
	switch {
	case err != nil:
		return err
	case r.Rejected:
		return command.Silently(command.ExitAuth)
	case r.Count(doctor.Fail) > 0:
		return command.Silently(command.ExitError)
	}
	return nil
}
