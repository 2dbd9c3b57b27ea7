// Package incidentcmd is `fleetmend incident`: where the fleet stands in an incident, and what comes next.
//
// [New] makes the command. It reads flags, asks internal/desk/cases and prints.
package incidentcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// New makes the command.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "incident", Short: "Where the fleet stands: status, machines, marks, report", GroupID: "work", Args: command.NoArgs,
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
	cmd.Args, cmd.ValidArgsFunction = command.Between(0, 1, "at most one incident"), command.First(command.Completing(c.IncidentWords))
	return cmd
}

func argument(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newList(c *command.Context) *cobra.Command {
	return command.Formats(&cobra.Command{
		Use: "list", Short: "List the incidents, open ones first", Args: command.NoArgs,
		Example: "fleetmend incident list\nfleetmend incident list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			all, err := cases.Incidents(cmd.Context(), d)
			if err != nil {
				return err
			}
			return command.List(c, all, []terminal.Column[journal.Incident]{
				terminal.Col("incident", func(i journal.Incident) string { return i.ID }),
				terminal.Col("playbook", func(i journal.Incident) string { return i.Playbook }),
				terminal.Col("began", func(i journal.Incident) string { return moment(i.Start) }),
				terminal.WideCol("ended", func(i journal.Incident) string { return moment(i.End) }),
				terminal.Col("opened", func(i journal.Incident) string { return terminal.Ago(i.Opened, time.Now()) }),
				terminal.Col("by", func(i journal.Incident) string { return i.Operator }),
				terminal.Col("closed", func(i journal.Incident) string { return terminal.Ago(i.Closed, time.Now()) }),
				terminal.WideCol("closed by", func(i journal.Incident) string { return i.ClosedBy }),
				terminal.WideCol("replaces", func(i journal.Incident) string { return i.Replaces }),
			})
		},
	}, terminal.ListFormats...)
}

// moment is a time for people and for spreadsheets alike; empty for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

func newOpen(c *command.Context) *cobra.Command {
	var o cases.Opening
	var start, end string
	cmd := &cobra.Command{
		Use: "open [INCIDENT]", Short: "Open an incident, set when the harm was done, or open a closed one again",
		Long: `Open an incident by hand: where the time of the harm is known, or for a playbook whose detect was edited (--replaces asks anew
and carries the machines of the other incident over as suspect). For an incident that is open --start and --end set its window.`,
		Example: `fleetmend incident open --playbook crowdstrike-channel-file-291 --start 2024-07-19T04:09Z --end 2024-07-19T05:27Z
fleetmend incident open 20240719-crowdstrike --start 2024-07-19T04:09Z
fleetmend incident open --playbook ./mine.yaml --replaces 20240719-mine
fleetmend incident open 20240719-crowdstrike --again`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ID = argument(args)
			for flag, point := range map[string]struct {
				text string
				to   *time.Time
			}{"start": {start, &o.Start}, "end": {end, &o.End}} {
				if !cmd.Flags().Changed(flag) {
					continue
				}
				var err error
				if *point.to, err = pointInTime("--"+flag, point.text); err != nil {
					return err
				}
			}
			d, err := c.Desk()
			if err != nil {
				return err
			}
			i, err := cases.Open(cmd.Context(), d, o)
			if err != nil {
				return err
			}
			c.Say("incident %s is open: %s decides who is affected; next: %s", i.ID, i.Playbook, c.Program().In("fleetmend incident status "+i.ID))
			return c.One(i, func(io writer) error { _, err := fmt.Fprintln(io, i.ID); return err })
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Playbook, "playbook", "", "whose detect decides: a built-in one or a file")
	f.StringToStringVar(&o.Set, "set", nil, "name=value for a parameter of the playbook")
	f.StringVar(&start, "start", "", "when the harm began, e.g. 2024-07-19T04:09Z")
	f.StringVar(&end, "end", "", "when it was taken back (default: it goes on)")
	f.StringVar(&o.Replaces, "replaces", "", "incident whose machines are carried over as suspect")
	f.BoolVar(&o.Again, "again", false, "open a closed incident again")
	_ = cmd.RegisterFlagCompletionFunc("playbook", command.Playbooks)
	_ = cmd.RegisterFlagCompletionFunc("replaces", command.Completing(c.IncidentWords))
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}

var timeForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04:05Z07:00"}

func pointInTime(flag, text string) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, strings.TrimSpace(text)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, command.Usage(fmt.Errorf("%s %q is no point in time", flag, text), "write it as 2024-07-19T04:09Z, or with an offset: 2024-07-19T06:09+02:00")
}

func newClose(c *command.Context) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "close [INCIDENT]", Short: "Close an incident; says what stays open first",
		Example: "fleetmend incident close\nfleetmend incident close 20240719-crowdstrike --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			s, err := status(cmd.Context(), d, argument(args), "")
			if err != nil {
				return err
			}
			if open := s.Left + s.Verdicts["unknown"]; open > 0 && s.Incident.IsOpen() {
				c.Say("%s: %s not done: %s", s.Incident.ID, terminal.Machines(open), verdicts(s.Verdicts, "affected", "undone", "suspect", "unknown"))
				for _, group := range s.Next {
					c.Say("  %5d  %s", group.Machines, group.Verb)
				}
				if err := c.Confirm(cmd.Context(), yes, "They leave every list when the incident is closed.", terminal.Itoa(open)); err != nil {
					return err
				}
			}
			i, err := cases.Close(cmd.Context(), d, s.Incident.ID)
			if err != nil {
				return err
			}
			c.Say("incident %s is closed; %s opens it again", i.ID, c.Program().In("fleetmend incident open "+i.ID+" --again"))
			return c.One(i, func(writer) error { return nil })
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask for confirmation")
	command.Exits(cmd, command.ExitInterrupted)
	return command.Formats(incidents(c, cmd), terminal.OneFormats...)
}

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
	return s, nobody(s, selector)
}

// nobody is a *machines.NoMachineError where a selector picked no machine for a status.
func nobody(s *cases.Status, selector string) error {
	if s.Machines == 0 && len(s.Out) == 0 && selector != "" {
		return hint.Wrap(&machines.NoMachineError{Selector: selector}, "fleetmend incident status shows all of them")
	}
	return nil
}

// nothing is the error of a list that names no machine.
var errNobody = errors.New("nobody on the list is a machine of the inventory")
