package cli

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
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
	"github.com/fleetmend/fleetmend/inventory/csv"
	"github.com/fleetmend/fleetmend/remediate/journal"
)

func newInventory(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "inventory",
		Short:   "The machines: sync, import, look, probe, tag",
		GroupID: "know",
		Args:    noArgs,
		Long: `The inventory holds every machine that any source knows, merged into one entry each.

A SELECTOR picks machines:
  all                                     every machine
  WS1,WS2   WS*                           by name, with * and ?
  @machines.txt   -                       names from a file or from stdin, one a line
  tag:canary   group:helpdesk             by tag or group
  'site == "LON" && os.build < 22631'     by an expression over the fields; --help of list names them`,
	}
	cmd.AddCommand(newInventorySync(a), newInventoryImport(a), newInventoryList(a), newInventoryShow(a), newInventoryProbe(a), newInventoryTag(a), newInventoryExport(a))
	return cmd
}

// selectMachines returns the machines of a selector, in the order of their names; none at all is exit code 6.
func (a *app) selectMachines(cmd *cobra.Command, text string) ([]inventory.Machine, error) {
	d, err := a.Desk()
	if err != nil {
		return nil, err
	}
	if _, err := a.openStore(cmd.Context()); err != nil {
		return nil, err
	}
	return machines.SelectIn(cmd.Context(), d, text, cases.Options{Incident: command.Incident(cmd)}, a.In)
}

var machineColumns = []column[inventory.Machine]{
	{"name", false, shownName},
	{"fqdn", true, func(m inventory.Machine) string { return m.FQDN }},
	{"address", true, func(m inventory.Machine) string { return m.Address }},
	{"site", false, func(m inventory.Machine) string { return m.Site }},
	{"subnet", true, func(m inventory.Machine) string { return m.Subnet }},
	{"ou", true, func(m inventory.Machine) string { return m.OU }},
	{"class", false, func(m inventory.Machine) string { return string(m.Class) }},
	{"os", false, func(m inventory.Machine) string { return m.OS.Name }},
	{"build", false, func(m inventory.Machine) string { return number(m.OS.Build) }},
	{"serial", true, func(m inventory.Machine) string { return m.Serial }},
	{"priority", true, func(m inventory.Machine) string { return itoa(m.Priority) }},
	{"tags", false, func(m inventory.Machine) string { return strings.Join(m.Tags, ",") }},
	{"groups", true, func(m inventory.Machine) string { return strings.Join(m.Groups, ",") }},
	{"health", false, func(m inventory.Machine) string { return string(m.Health) }},
	{"winrm", false, func(m inventory.Machine) string { return probeWord(m.Probe) }},
	{"last seen", false, func(m inventory.Machine) string { return ago(m.LastSeen, time.Now()) }},
	{"sources", true, func(m inventory.Machine) string { return joined(m.Sources) }},
	{"conflicts", true, func(m inventory.Machine) string { return number(len(m.Conflicts)) }},
}

// caseColumns stand behind the others while an incident is open.
var caseColumns = []column[inventory.Machine]{
	{"verdict", true, func(m inventory.Machine) string { return m.Case.Verdict }},
	{"route", false, func(m inventory.Machine) string { return m.Case.Route }},
	{"keys", false, func(m inventory.Machine) string { return m.Case.Keys }},
	{"next", false, func(m inventory.Machine) string { return m.Case.Next }},
	{"because", true, func(m inventory.Machine) string { return m.Case.Because }},
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

func newInventoryList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list [SELECTOR]",
		Short:             "List machines",
		Example:           "fleetmend inventory list\nfleetmend inventory list 'site == \"LON\" && os.build < 22631' -o csv\nfleetmend inventory list 'WS0*' -o name",
		Args:              atMostOne,
		ValidArgsFunction: first(completing(a.selectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.Desk()
			if err != nil {
				return err
			}
			found, err := machines.SelectIn(cmd.Context(), d, argument(args), cases.Options{Incident: command.Incident(cmd), Keys: true}, a.In)
			if err != nil {
				return err
			}
			columns := machineColumns
			if found[0].Case != nil {
				columns = slices.Concat(columns, caseColumns)
			}
			return list(a.out, a.streams.Out, found, columns)
		},
	}
	var fields strings.Builder
	for _, f := range inventory.Fields() {
		fmt.Fprintf(&fields, "  %s%s\n", pad(f.Name, 16), f.Doc)
	}
	command.InIncident(a.Context, cmd)
	cmd.Long = "List the machines a selector picks, all without one.\n\nFields of an expression:\n" + strings.TrimRight(fields.String(), "\n")
	exits(cmd, exitNothing)
	return cmd
}

func newInventoryShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show MACHINE",
		Short:             "Show one machine: every field with where it came from, records and conflicts",
		Example:           "fleetmend inventory show WS00042\nfleetmend inventory show 52:54:00:12:34:56\nfleetmend inventory show WS00042 -o json",
		Args:              exactly(1, "a machine by its name, ID, MAC address or mainboard UUID"),
		ValidArgsFunction: first(completing(a.machineNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.Desk()
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
			return one(a.out, a.streams.Out, shown, func(w io.Writer) error {
				return errors.Join(showMachine(w, file.Machine), showVisits(w, file.Visits))
			})
		},
	}
	return command.InIncident(a.Context, cmd)
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
		fmt.Fprintf(w, "%s%s %s by %s, %s, %s%s\n", pad("run", 14), v.Run, oneLine(v.Playbook+" ("+v.Mode+")"), v.Machine.Route, state, ago(v.Started, time.Now()), oneLine(reason))
	}
	return nil
}

func showMachine(w io.Writer, m inventory.Machine) error {
	type row struct{ field, value string }
	rows := []row{
		{"name", m.Name}, {"fqdn", m.FQDN}, {"address", m.Address}, {"domain", m.Domain}, {"ou", m.OU}, {"site", m.Site},
		{"subnet", m.Subnet}, {"class", string(m.Class)}, {"os.name", m.OS.Name}, {"os.version", m.OS.Version},
		{"os.build", number(m.OS.Build)}, {"serial", m.Serial}, {"manufacturer", m.Manufacturer}, {"model", m.Model},
		{"owner", m.Owner}, {"macs", strings.Join(m.MACs, ", ")}, {"priority", itoa(m.Priority)}, {"tags", strings.Join(m.Tags, ", ")},
		{"groups", strings.Join(m.Groups, ", ")}, {"health", strings.TrimSpace(string(m.Health) + " " + m.HealthReason)},
		{"last_seen", when(m.LastSeen)}, {"installed", when(m.Installed)}, {"encrypted", m.Encrypted}, {"smbios", m.Claims.SMBIOS}, {"sid", m.Claims.SID}, {"object_guid", m.Claims.ObjectGUID},
	}
	for _, r := range rows {
		if r.value == "" {
			continue
		}
		origin := ""
		if o, ok := m.Provenance[r.field]; ok {
			origin = "   (" + o.Source + ", " + ago(o.SeenAt, time.Now()) + ")"
		}
		fmt.Fprintf(w, "%s%s%s\n", pad(r.field, 14), oneLine(r.value), oneLine(origin))
	}
	if c := m.Case; c != nil {
		fmt.Fprintf(w, "%s%s in %s: %s\n", pad("case", 14), c.Verdict, c.Incident, oneLine(c.Because))
		if c.Next != "" {
			fmt.Fprintf(w, "%s%s: %s\n%s%s\n%s%s: %s\n", pad("route", 14), c.Route, oneLine(c.RouteWhy), pad("keys", 14), c.Keys, pad("next", 14), c.Next, oneLine(c.NextWhy))
		}
	}
	if p := m.Probe; p != nil {
		fmt.Fprintf(w, "%s%s %s, %s, offers %s %s\n", pad("probe", 14), probeWord(p), ago(p.At, time.Now()), p.Latency.Round(time.Millisecond), strings.Join(p.Auth, ", "), oneLine(p.Error))
	}
	for _, r := range m.Records {
		gone := ""
		if r.Gone {
			gone = ", gone there"
		}
		fmt.Fprintf(w, "%s%s %s, seen %s%s\n", pad("record", 14), oneLine(r.Source), oneLine(r.SourceKey), ago(r.SeenAt, time.Now()), gone)
	}
	for _, c := range m.Conflicts {
		fmt.Fprintf(w, "%s%s\n", pad("conflict", 14), oneLine(c))
	}
	return nil
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func newInventoryTag(a *app) *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:               "tag SELECTOR TAG...",
		Short:             "Give machines a tag, or take it away",
		Example:           "fleetmend inventory tag WS0001,WS0002 canary\nfleetmend inventory tag tag:canary canary --remove",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: first(completing(a.selectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			machines, err := a.selectMachines(cmd, args[0])
			if err != nil {
				return err
			}
			ids := make([]string, len(machines))
			for i, m := range machines {
				ids[i] = m.ID
			}
			add, del := args[1:], []string(nil)
			if remove {
				add, del = nil, args[1:]
			}
			if err := a.store.Tag(cmd.Context(), ids, add, del); err != nil {
				return err
			}
			a.say("%s changed", machinesText(len(ids)))
			return nil
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the tags away")
	exits(cmd, exitNothing)
	return cmd
}

func newInventoryExport(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:               "export [SELECTOR]",
		Short:             "Write machines as CSV that Excel opens and import reads, or as JSON",
		Example:           "fleetmend inventory export > machines.csv\nfleetmend inventory export 'site == \"LON\"' -o json --file london.json",
		Args:              atMostOne,
		ValidArgsFunction: first(completing(a.selectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			machines, err := a.selectMachines(cmd, argument(args))
			if err != nil {
				return err
			}
			write := func(w io.Writer) error { return csv.Write(w, machines, nil) }
			inFile := table.Marked(write)
			if a.out.Format == "json" {
				write = func(w io.Writer) error { return csv.WriteJSON(w, machines) }
				inFile = write
			}
			if file == "" {
				return write(a.streams.Out)
			}
			if err := textfile.Write(file, textfile.Shared, inFile); err != nil {
				return err
			}
			a.say("%s written to %s", machinesText(len(machines)), file)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "write into this file instead of stdout")
	exits(cmd, exitNothing)
	return cmd
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
	return usage(fmt.Errorf("%s takes one selector, but got %d arguments", cmd.CommandPath(), len(args)), "put the selector in quotes, and names behind each other with commas: WS1,WS2")
}
