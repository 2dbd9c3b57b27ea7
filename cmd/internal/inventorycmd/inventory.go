// Package inventorycmd is the noun inventory of the command line: sync, import, list, show, probe, tag, export.
//
// [New] makes the command. What it does is in internal/desk/machines.
package inventorycmd

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

// New makes the command inventory.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "inventory",
		Short:   "The machines: sync, import, look, probe, tag",
		GroupID: "know",
		Args:    command.NoArgs,
		Long: `The inventory holds every machine that any source knows, merged into one entry each.

A SELECTOR picks machines:
  all                                     every machine
  WS1,WS2   WS*                           by name, with * and ?
  @machines.txt   -                       names from a file or from stdin, one a line
  tag:canary   group:helpdesk             by tag or group
  'site == "LON" && os.build < 22631'     by an expression over the fields; --help of list names them`,
	}
	cmd.AddCommand(newSync(c), newImport(c), newList(c), newShow(c), newProbe(c), newTag(c), newExport(c))
	return cmd
}

// selected are the machines of the selector that is the first argument, in the order of their names; none at all is exit code 6.
func selected(c *command.Context, cmd *cobra.Command, args []string) (*desk.Desk, []inventory.Machine, error) {
	d, err := c.Desk()
	if err != nil {
		return nil, nil, err
	}
	found, err := machines.SelectIn(cmd.Context(), d, argument(args), cases.Options{Incident: command.Incident(cmd)}, c.In)
	return d, found, err
}

var machineColumns = []terminal.Column[inventory.Machine]{
	terminal.Col("name", shownName),
	terminal.WideCol("fqdn", func(m inventory.Machine) string { return m.FQDN }),
	terminal.WideCol("address", func(m inventory.Machine) string { return m.Address }),
	terminal.Col("site", func(m inventory.Machine) string { return m.Site }),
	terminal.WideCol("subnet", func(m inventory.Machine) string { return m.Subnet }),
	terminal.WideCol("ou", func(m inventory.Machine) string { return m.OU }),
	terminal.Col("class", func(m inventory.Machine) string { return string(m.Class) }),
	terminal.Col("os", func(m inventory.Machine) string { return m.OS.Name }),
	terminal.Col("build", func(m inventory.Machine) string { return number(m.OS.Build) }),
	terminal.WideCol("serial", func(m inventory.Machine) string { return m.Serial }),
	terminal.WideCol("priority", func(m inventory.Machine) string { return terminal.Itoa(m.Priority) }),
	terminal.Col("tags", func(m inventory.Machine) string { return strings.Join(m.Tags, ",") }),
	terminal.WideCol("groups", func(m inventory.Machine) string { return strings.Join(m.Groups, ",") }),
	terminal.Col("health", func(m inventory.Machine) string { return string(m.Health) }),
	terminal.Col("winrm", func(m inventory.Machine) string { return probeWord(m.Probe) }),
	terminal.Col("last seen", func(m inventory.Machine) string { return terminal.Ago(m.LastSeen, time.Now()) }),
	terminal.WideCol("sources", func(m inventory.Machine) string { return terminal.Joined(m.Sources) }),
	terminal.WideCol("conflicts", func(m inventory.Machine) string { return number(len(m.Conflicts)) }),
}

// caseColumns stand behind the others while an incident is open.
var caseColumns = []terminal.Column[inventory.Machine]{
	terminal.WideCol("verdict", func(m inventory.Machine) string { return m.Case.Verdict }),
	terminal.Col("route", func(m inventory.Machine) string { return m.Case.Route }),
	terminal.Col("keys", func(m inventory.Machine) string { return m.Case.Keys }),
	terminal.Col("next", func(m inventory.Machine) string { return m.Case.Next }),
	terminal.WideCol("because", func(m inventory.Machine) string { return m.Case.Because }),
}

// shownName is what a machine can be called by: those that only asked for a boot file have no name yet.
func shownName(m inventory.Machine) string {
	switch {
	case m.Name != "":
		return m.Name
	case len(m.MACs) > 0:
		return m.MACs[0]
	}
	return m.ID
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func probeWord(p *inventory.ProbeResult) string {
	switch {
	case p == nil:
		return "not probed"
	case p.WinRM:
		return "answers"
	case p.Open:
		return "open, no WinRM"
	}
	return "silent"
}

func newList(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list [SELECTOR]",
		Short:             "List machines",
		Example:           "fleetmend inventory list\nfleetmend inventory list 'site == \"LON\" && os.build < 22631' -o csv\nfleetmend inventory list 'WS0*' -o name",
		Args:              atMostOne,
		ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			found, err := machines.SelectIn(cmd.Context(), d, argument(args), cases.Options{Incident: command.Incident(cmd), Keys: true}, c.In)
			if err != nil {
				return err
			}
			columns := machineColumns
			if found[0].Case != nil {
				columns = slices.Concat(columns, caseColumns)
			}
			return command.List(c, found, columns)
		},
	}
	var fields strings.Builder
	for _, f := range inventory.Fields() {
		fmt.Fprintf(&fields, "  %s%s\n", terminal.Pad(f.Name, 16), f.Doc)
	}
	command.InIncident(c, cmd)
	cmd.Long = "List the machines a selector picks, all without one.\n\nFields of an expression:\n" + strings.TrimRight(fields.String(), "\n")
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(cmd, terminal.ListFormats...)
}

func newShow(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show MACHINE",
		Short:             "Show one machine: every field with where it came from, records and conflicts",
		Example:           "fleetmend inventory show WS00042\nfleetmend inventory show 52:54:00:12:34:56\nfleetmend inventory show WS00042 -o json",
		Args:              command.Exactly(1, "a machine by its name, ID, MAC address or mainboard UUID"),
		ValidArgsFunction: command.First(command.Completing(c.MachineNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.Desk()
			if err != nil {
				return err
			}
			file, err := cases.History(cmd.Context(), d, args[0], command.Incident(cmd))
			if err != nil {
				return err
			}
			shown := struct {
				inventory.Machine
				Visits []journal.Visit `json:"visits"`
			}{file.Machine, file.Visits}
			return c.One(shown, func(w io.Writer) error {
				return errors.Join(showMachine(w, file.Machine), showVisits(w, file.Visits))
			})
		},
	}
	return command.Formats(command.InIncident(c, cmd), terminal.OneFormats...)
}

// showVisits lists the runs that had the machine.
func showVisits(w io.Writer, visits []journal.Visit) error {
	for _, v := range visits {
		state := string(v.Machine.Outcome)
		if state == "" {
			state = string(v.Machine.State)
		}
		reason := v.Machine.Reason
		if reason != "" {
			reason = ": " + reason
		}
		fmt.Fprintf(w, "%s%s %s by %s, %s, %s%s\n", terminal.Pad("run", 14), v.Run, terminal.OneLine(v.Playbook+" ("+v.Mode+")"), v.Machine.Route, state, terminal.Ago(v.Started, time.Now()), terminal.OneLine(reason))
	}
	return nil
}

func showMachine(w io.Writer, m inventory.Machine) error {
	type row struct{ field, value string }
	rows := []row{
		{"name", m.Name}, {"fqdn", m.FQDN}, {"address", m.Address}, {"domain", m.Domain}, {"ou", m.OU}, {"site", m.Site},
		{"subnet", m.Subnet}, {"class", string(m.Class)}, {"os.name", m.OS.Name}, {"os.version", m.OS.Version},
		{"os.build", number(m.OS.Build)}, {"serial", m.Serial}, {"manufacturer", m.Manufacturer}, {"model", m.Model},
		{"owner", m.Owner}, {"macs", strings.Join(m.MACs, ", ")}, {"priority", terminal.Itoa(m.Priority)}, {"tags", strings.Join(m.Tags, ", ")},
		{"groups", strings.Join(m.Groups, ", ")}, {"health", strings.TrimSpace(string(m.Health) + " " + m.HealthReason)},
		{"last_seen", when(m.LastSeen)}, {"installed", when(m.Installed)}, {"encrypted", m.Encrypted}, {"smbios", m.Claims.SMBIOS}, {"sid", m.Claims.SID}, {"object_guid", m.Claims.ObjectGUID},
	}
	for _, r := range rows {
		if r.value == "" {
			continue
		}
		origin := ""
		if o, ok := m.Provenance[r.field]; ok {
			origin = "   (" + o.Source + ", " + terminal.Ago(o.SeenAt, time.Now()) + ")"
		}
		fmt.Fprintf(w, "%s%s%s\n", terminal.Pad(r.field, 14), terminal.OneLine(r.value), terminal.OneLine(origin))
	}
	if c := m.Case; c != nil {
		fmt.Fprintf(w, "%s%s in %s: %s\n", terminal.Pad("case", 14), c.Verdict, c.Incident, terminal.OneLine(c.Because))
		if c.Next != "" {
			fmt.Fprintf(w, "%s%s: %s\n%s%s\n%s%s: %s\n", terminal.Pad("route", 14), c.Route, terminal.OneLine(c.RouteWhy), terminal.Pad("keys", 14), c.Keys, terminal.Pad("next", 14), c.Next, terminal.OneLine(c.NextWhy))
		}
	}
	if p := m.Probe; p != nil {
		fmt.Fprintf(w, "%s%s %s, %s, offers %s %s\n", terminal.Pad("probe", 14), probeWord(p), terminal.Ago(p.At, time.Now()), p.Latency.Round(time.Millisecond), strings.Join(p.Auth, ", "), terminal.OneLine(p.Error))
	}
	for _, r := range m.Records {
		gone := ""
		if r.Gone {
			gone = ", gone there"
		}
		fmt.Fprintf(w, "%s%s %s, seen %s%s\n", terminal.Pad("record", 14), terminal.OneLine(r.Source), terminal.OneLine(r.SourceKey), terminal.Ago(r.SeenAt, time.Now()), gone)
	}
	for _, c := range m.Conflicts {
		fmt.Fprintf(w, "%s%s\n", terminal.Pad("conflict", 14), terminal.OneLine(c))
	}
	return nil
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func newTag(c *command.Context) *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:               "tag SELECTOR TAG...",
		Short:             "Give machines a tag, or take it away",
		Example:           "fleetmend inventory tag WS0001,WS0002 canary\nfleetmend inventory tag tag:canary canary --remove",
		Args:              command.Between(2, 1000, "a selector and tags"),
		ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, found, err := selected(c, cmd, args)
			if err != nil {
				return err
			}
			add, del := args[1:], []string(nil)
			if remove {
				add, del = nil, args[1:]
			}
			n, err := machines.Tag(cmd.Context(), d, found, add, del)
			if err != nil {
				return err
			}
			c.Say("%s changed", terminal.Machines(n))
			return nil
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the tags away")
	command.Exits(cmd, command.ExitNothing)
	return cmd
}

func newExport(c *command.Context) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:               "export [SELECTOR]",
		Short:             "Write machines as CSV that Excel opens and import reads, or as JSON",
		Example:           "fleetmend inventory export > machines.csv\nfleetmend inventory export 'site == \"LON\"' -o json --file london.json",
		Args:              atMostOne,
		ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, found, err := selected(c, cmd, args)
			if err != nil {
				return err
			}
			write := func(w io.Writer) error { return csv.Write(w, found, nil) }
			inFile := table.Marked(write)
			if c.Output.Format == terminal.JSON {
				write = func(w io.Writer) error { return csv.WriteJSON(w, found) }
				inFile = write
			}
			if file == "" {
				return write(c.Out)
			}
			if err := textfile.Write(file, textfile.Shared, inFile); err != nil {
				return err
			}
			c.Say("%s written to %s", terminal.Machines(len(found)), file)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "write into this file instead of stdout")
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(cmd, terminal.CSV, terminal.JSON)
}

func argument(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return command.Usage(fmt.Errorf("%s takes one selector, but got %d arguments", cmd.CommandPath(), len(args)), "put the selector in quotes, and names behind each other with commas: WS1,WS2")
}
