package incidentcmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// status takes the status over the machines of a selector; none at all is a *machines.NoMachineError.
func status(ctx context.Context, d *desk.Desk, incident, selector string) (*cases.Status, error) {
	parsed, err := cases.Parse(selector, nil)
	if err != nil {
		return nil, err
	}
	s, err := cases.Take(ctx, d, incident, parsed)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(nobody(s, selector), keys.AddStopped(ctx, d, s))
}

// nobody is a *machines.NoMachineError where a selector picked no machine for a status.
func nobody(s *cases.Status, selector string) error {
	if s.Machines == 0 && len(s.Out) == 0 && selector != "" {
		return hint.Wrap(&machines.NoMachineError{Selector: selector}, "`fleetmend incident status` shows all of them")
	}
	return nil
}

func newStatus(c *command.Context) *cobra.Command {
	var on string
	var detailed bool
	cmd := &cobra.Command{
		Use: "status [INCIDENT]", Short: "The one screen: how many of what, by site, how fast, what comes next",
		Example: "fleetmend incident status\nfleetmend incident status --on 'site == \"LON\"'\nfleetmend incident status -o json",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			s, err := status(ctx, d, command.Argument(args), on)
			if err != nil {
				return err
			}
			if err := c.Page(s, s.Text(c.Width)); err != nil || !detailed || s.Left == 0 {
				return err
			}
			return command.Silently(command.ExitChanges)
		}),
	}
	c.SelectorFlag(cmd, &on, "on", "", "selector of the machines that are looked at (default: all)")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit code 10 while machines are affected or suspect")
	command.Exits(cmd, command.ExitNothing, command.ExitChanges)
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}

func newReport(c *command.Context) *cobra.Command {
	var html, on string
	cmd := &cobra.Command{
		Use: "report [INCIDENT]", Short: "Report an incident to others: every machine, across runs, boot media and work by hand",
		Example: "fleetmend incident report --html incident.html\nfleetmend incident report -o json",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			parsed, err := cases.Parse(on, nil)
			if err != nil {
				return err
			}
			r, err := cases.Tell(ctx, d, command.Argument(args), parsed)
			if err != nil {
				return err
			}
			if err := errors.Join(nobody(&r.Status, on), keys.AddStopped(ctx, d, &r.Status)); err != nil {
				return err
			}
			if err := c.WriteFile("report", html, r.WriteHTML); err != nil {
				return err
			}
			return c.Page(r, r.Text(c.Width))
		}),
	}
	cmd.Flags().StringVar(&html, "html", "", "write a page that stands alone into this file")
	c.SelectorFlag(cmd, &on, "on", "", "selector of the machines (default: all)")
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}
