// Package incidentcmd is `fleetmend incident`: where the fleet stands in an incident, and what comes next.
//
// [New] makes the command. It reads flags, asks internal/desk/cases and prints.
package incidentcmd

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/casefile"
)

// New makes the command.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "incident", Short: "Where the fleet stands: status, machines, mark, report", GroupID: "work", Args: command.NoArgs,
		Long: `An incident is the question "is it affected?" under a name: a playbook whose detect decides, the time in which the harm was
done, and one case for each machine, with what runs, boot media and people found, how the machine is reached, what is known of
its recovery key, and what comes next.

The first run of a cure, also a dry one, opens an incident by itself. INCIDENT is its ID or the beginning of one; without it
the open one is meant. Selectors everywhere know health, case.verdict, case.route, case.keys and case.next.`,
	}
	cmd.AddCommand(newStatus(c), newMachines(c), newMark(c), newReport(c), newList(c), newOpen(c), newClose(c))
	return cmd
}

// incidents completes the first argument by an incident.
func incidents(c *command.Context, cmd *cobra.Command) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = command.Between(0, 1, "at most one incident"), command.First(c.Offering(cases.IDs))
	return cmd
}

var incidentColumns = []terminal.Column[cases.Incident]{
	terminal.Col("incident", func(i cases.Incident) string { return i.ID }),
	terminal.Col("playbook", func(i cases.Incident) string { return i.Playbook }),
	terminal.Col("began", func(i cases.Incident) string { return prose.Minute(i.Start) }),
	terminal.WideCol("ended", func(i cases.Incident) string { return prose.Minute(i.End) }),
	terminal.Col("opened", func(i cases.Incident) string { return prose.Ago(i.Opened, time.Now()) }),
	terminal.Col("by", func(i cases.Incident) string { return i.Operator }),
	terminal.Col("closed", func(i cases.Incident) string { return prose.Ago(i.Closed, time.Now()) }),
	terminal.WideCol("closed by", func(i cases.Incident) string { return i.ClosedBy }),
	terminal.WideCol("replaces", func(i cases.Incident) string { return i.Replaces }),
}

func newList(c *command.Context) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "list", Short: "List the incidents, open ones first", Args: command.NoArgs,
		Example: "fleetmend incident list\nfleetmend incident list -o json",
		RunE: command.Listed(c, incidentColumns, func(ctx context.Context, d *desk.Desk, _ []string) ([]cases.Incident, error) {
			return cases.Incidents(ctx, d)
		}),
	}, terminal.ListFormats...)
}

func newOpen(c *command.Context) *cobra.Command {
	var o cases.Opening
	cmd := &cobra.Command{
		Use: "open [INCIDENT]", Short: "Open an incident, set when the harm was done, or open a closed one again",
		Long: `Open an incident by hand: where the time of the harm is known, or for a playbook whose detect was edited (--replaces asks anew
and carries the machines of the other incident over as suspect). For an incident that is open --start and --end set its window.`,
		Example: `fleetmend incident open --playbook crowdstrike-channel-file-291 --start 2024-07-19T04:09Z --end 2024-07-19T05:27Z
fleetmend incident open 20240719-crowdstrike --start 2024-07-19T04:09Z
fleetmend incident open --playbook ./mine.yaml --replaces 20240719-mine
fleetmend incident open 20240719-crowdstrike --again`,
	}
	var start, end string
	f := cmd.Flags()
	cmd.RunE = c.At(func(ctx context.Context, d *desk.Desk, args []string) (err error) {
		o.ID = command.Argument(args)
		if o.Start, err = prose.Moment("--start", start, d.Now()); err != nil {
			return err
		}
		if o.End, err = prose.Moment("--end", end, d.Now()); err != nil {
			return err
		}
		i, err := cases.Open(ctx, d, o)
		if err != nil {
			return err
		}
		c.Say("incident %s is open: %s decides who is affected; next: `fleetmend incident status %s`", i.ID, i.Playbook, i.ID)
		return c.Page(i, i.ID+"\n")
	})
	f.StringVar(&o.Playbook, "playbook", "", "whose detect decides: a built-in one or a file")
	f.StringToStringVar(&o.Set, "set", nil, "name=value for a parameter of the playbook")
	f.StringVar(&start, "start", "", "when the harm began, e.g. 2024-07-19T04:09Z")
	f.StringVar(&end, "end", "", "when it was taken back (default: it goes on)")
	f.StringVar(&o.Replaces, "replaces", "", "incident whose machines are carried over as suspect")
	f.BoolVar(&o.Again, "again", false, "open a closed incident again")
	command.CompleteBy(cmd, "playbook", command.Playbooks)
	command.CompleteBy(cmd, "replaces", c.Offering(cases.IDs))
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}

func newClose(c *command.Context) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "close [INCIDENT]", Short: "Close an incident; says what stays open first",
		Example: "fleetmend incident close\nfleetmend incident close 20240719-crowdstrike --yes",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			s, err := status(ctx, d, command.Argument(args), "")
			if err != nil {
				return err
			}
			if open := s.Left + s.Verdicts["unknown"]; open > 0 && s.Incident.IsOpen() {
				c.Say("%s: %s not done: %s", s.Incident.ID, prose.Machines(open), prose.Counts(s.Verdicts, casefile.Affected, casefile.Undone, casefile.Suspect, casefile.Unknown))
				for _, group := range s.Next {
					c.Say("  %5d  %s", group.Machines, group.Verb)
				}
				if err := c.Confirm(ctx, yes, "They leave every list when the incident is closed.", strconv.Itoa(open)); err != nil {
					return err
				}
			}
			i, err := cases.Close(ctx, d, s.Incident.ID)
			if err != nil {
				return err
			}
			c.Say("incident %s is closed; `fleetmend incident open %s --again` opens it again", i.ID, i.ID)
			return c.Page(i, "")
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for confirmation")
	command.Exits(cmd, command.ExitInterrupted)
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}
