// Package inventorycmd is the noun inventory of the command line: sync, import, list, show, probe, tag, export.
//
// [New] makes the command. What it does is in internal/desk/machines.
package inventorycmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

// New makes the command inventory.
func New(c *command.Context) *cobra.Command {
	cmd := &cobra.Command{
		Use: "inventory", Short: "The machines: sync, import, list, show, probe, tag", GroupID: "know", Args: command.NoArgs,
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
func selected(ctx context.Context, c *command.Context, d *desk.Desk, args []string, o cases.Options) ([]machines.Machine, error) {
	return machines.SelectIn(ctx, d, command.Argument(args), o, c.In)
}

// selecting makes a command of its words that may take a selector.
func selecting(c *command.Context, cmd *cobra.Command) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = atMostOne, command.First(command.Completing(c.SelectorWords))
	command.Exits(cmd, command.ExitNothing)
	return cmd
}

var machineColumns = []terminal.Column[machines.Machine]{
	terminal.Col("name", machines.Called),
	terminal.WideCol("fqdn", func(m machines.Machine) string { return m.FQDN }),
	terminal.WideCol("address", func(m machines.Machine) string { return m.Address }),
	terminal.Col("site", func(m machines.Machine) string { return m.Site }),
	terminal.WideCol("subnet", func(m machines.Machine) string { return m.Subnet }),
	terminal.WideCol("ou", func(m machines.Machine) string { return m.OU }),
	terminal.Col("class", func(m machines.Machine) string { return string(m.Class) }),
	terminal.Col("os", func(m machines.Machine) string { return m.OS.Name }),
	terminal.Col("build", func(m machines.Machine) string { return prose.Number(m.OS.Build) }),
	terminal.WideCol("serial", func(m machines.Machine) string { return m.Serial }),
	terminal.WideCol("priority", func(m machines.Machine) string { return strconv.Itoa(m.Priority) }),
	terminal.Col("tags", func(m machines.Machine) string { return strings.Join(m.Tags, ",") }),
	terminal.WideCol("groups", func(m machines.Machine) string { return strings.Join(m.Groups, ",") }),
	terminal.Col("health", func(m machines.Machine) string { return string(m.Health) }),
	terminal.Col("winrm", func(m machines.Machine) string { return m.Probe.Word() }),
	terminal.Col("last seen", func(m machines.Machine) string { return prose.Ago(m.LastSeen, time.Now()) }),
	terminal.WideCol("sources", func(m machines.Machine) string { return strings.Join(m.Sources, ", ") }),
	terminal.WideCol("conflicts", func(m machines.Machine) string { return prose.Number(len(m.Conflicts)) }),
}

// caseColumns stand behind the others while an incident is open.
var caseColumns = []terminal.Column[machines.Machine]{
	terminal.WideCol("verdict", func(m machines.Machine) string { return m.Case.Verdict }),
	terminal.Col("route", func(m machines.Machine) string { return m.Case.Route }),
	terminal.Col("keys", func(m machines.Machine) string { return m.Case.Keys }),
	terminal.Col("next", func(m machines.Machine) string { return m.Case.Next }),
	terminal.WideCol("because", func(m machines.Machine) string { return m.Case.Because }),
}

func newList(c *command.Context) *cobra.Command {
	o := cases.Options{Keys: true}
	cmd := selecting(c, &cobra.Command{
		Use: "list [SELECTOR]", Short: "List machines",
		Example: "fleetmend inventory list\nfleetmend inventory list 'site == \"LON\" && os.build < 22631' -o csv\nfleetmend inventory list 'WS0*' -o name",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			found, err := selected(ctx, c, d, args, o)
			if err != nil {
				return err
			}
			columns := machineColumns
			if slices.ContainsFunc(found, func(m machines.Machine) bool { return m.Absence() != "" }) {
				columns = slices.Insert(slices.Clone(columns), 1, terminal.Col("absent", machines.Absence))
			} else {
				columns = append(slices.Clone(columns), terminal.WideCol("absent", machines.Absence))
			}
			if found[0].Case != nil {
				columns = slices.Concat(columns, caseColumns)
			}
			return command.List(c, found, columns)
		}),
	})
	var fields strings.Builder
	for _, f := range machines.Fields() {
		fmt.Fprintf(&fields, "  %s%s\n", prose.Pad(f.Name, 16), f.Doc)
	}
	cmd.Long = "List the machines a selector picks, all without one.\n\nFields of an expression:\n" + strings.TrimRight(fields.String(), "\n")
	return command.Formats(c.InIncident(cmd, &o.Incident), terminal.ListFormats...)
}

func newShow(c *command.Context) *cobra.Command {
	var incident string
	cmd := &cobra.Command{
		Use: "show MACHINE", Short: "Show one machine: every field with where it came from, records and conflicts",
		Example: "fleetmend inventory show WS00042\nfleetmend inventory show 52:54:00:12:34:56\nfleetmend inventory show WS00042 -o json",
		Args:    command.Exactly(1, "a machine by its name, ID, MAC address or mainboard UUID"), ValidArgsFunction: command.First(command.Completing(c.MachineNames)),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			file, err := cases.History(ctx, d, args[0], incident)
			if err != nil {
				return err
			}
			return c.Page(struct {
				machines.Machine
				Visits []machines.Visit `json:"visits"`
			}{file.Machine, file.Visits}, file.Text(time.Now()))
		}),
	}
	return command.Formats(c.InIncident(cmd, &incident), terminal.OneFormats...)
}

func newTag(c *command.Context) *cobra.Command {
	var remove bool
	cmd := selecting(c, &cobra.Command{
		Use: "tag SELECTOR TAG...", Short: "Give machines a tag, or take it away",
		Example: "fleetmend inventory tag WS0001,WS0002 canary\nfleetmend inventory tag tag:canary canary --remove",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			found, err := selected(ctx, c, d, args, cases.Options{})
			if err != nil {
				return err
			}
			add, del := args[1:], []string(nil)
			if remove {
				add, del = nil, args[1:]
			}
			n, err := machines.Tag(ctx, d, found, add, del)
			if err == nil {
				c.Say("%s changed", prose.Machines(n))
			}
			return err
		}),
	})
	cmd.Args = command.Between(2, 1000, "a selector and tags")
	cmd.Flags().BoolVar(&remove, "remove", false, "take the tags away")
	return cmd
}

func newExport(c *command.Context) *cobra.Command {
	var file string
	cmd := selecting(c, &cobra.Command{
		Use: "export [SELECTOR]", Short: "Write machines as CSV that Excel opens and import reads, or as JSON",
		Example: "fleetmend inventory export > machines.csv\nfleetmend inventory export 'site == \"LON\"' -o json --file london.json",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			found, err := selected(ctx, c, d, args, cases.Options{})
			if err != nil {
				return err
			}
			write := func(w io.Writer) error { return machines.Write(w, found, nil) }
			inFile := table.Marked(write)
			if c.Output.Format == terminal.JSON {
				write = func(w io.Writer) error { return machines.WriteJSON(w, found) }
				inFile = write
			}
			if file == "" {
				return write(c.Out)
			}
			return c.WriteFile(prose.Machines(len(found)), file, inFile)
		}),
	})
	cmd.Flags().StringVar(&file, "file", "", "write into this file instead of stdout")
	return command.Formats(cmd, terminal.CSV, terminal.JSON)
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return command.Usage(fmt.Errorf("%s takes one selector, but got %d arguments", cmd.CommandPath(), len(args)), "put the selector in quotes, and names behind each other with commas: WS1,WS2")
}
