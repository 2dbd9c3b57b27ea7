package inventorycmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/inventory/csv"
)

func newImport(c *command.Context) *cobra.Command {
	var f command.TableFlags
	var source string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Read machines from a CSV or JSON file",
		Long: `Read machines from a table, as Excel, PowerShell and consoles write it, or from JSON; - reads stdin. docs/tables.md lists
the exports that are known.

Encoding, delimiter and header names are found out and said; flags set them. A row that cannot be read is reported with
its line, and the rest is imported: the exit code is then 3. Machines that run no Windows are counted and left out.
Importing a file again changes nothing that has not changed in it.`,
		Example: "fleetmend inventory import machines.csv\nfleetmend inventory import export.csv --map \"Asset Tag\"=name --map Standort=site\nfleetmend inventory import hosts.csv --encoding 850 --date-order dmy",
		Args:    command.Exactly(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return importMachines(c, cmd, args[0], source, f)
		},
	}
	f.Add(cmd, "column=field, where the header is not understood; column=- leaves one out")
	cmd.Flags().StringVar(&source, "source", "", "name of the source (default: csv: and the file's name)")
	command.Exits(cmd, command.ExitSomeFailed)
	return command.Formats(cmd, terminal.OneFormats...)
}

func importMachines(c *command.Context, cmd *cobra.Command, file, source string, f command.TableFlags) error {
	delimiter, order, err := f.Parse()
	if err != nil {
		return err
	}
	d, err := c.Desk()
	if err != nil {
		return err
	}
	got, err := machines.Import(cmd.Context(), d, file, c.In, csv.Options{Source: source, Map: f.Map, Encoding: f.Encoding, Delimiter: delimiter, DateOrder: order})
	if err != nil {
		return err
	}
	if err := c.One(got, func(w io.Writer) error { return writeImported(w, got) }); err != nil {
		return err
	}
	switch {
	case len(got.BadRows) > 0 && got.Records == 0:
		return hint.Wrap(fmt.Errorf("%s: no row could be read", file), "the lines above say why")
	case len(got.BadRows) > 0:
		return command.Silently(command.ExitSomeFailed)
	}
	return nil
}

func writeImported(w io.Writer, s machines.Imported) error {
	fmt.Fprintf(w, "%s: %s read, %s new, %d updated, %d unchanged\n", terminal.OneLine(s.Source), terminal.Counted(s.Rows, "row", "rows"), terminal.Machines(s.New), s.Updated, s.Unchanged)
	fmt.Fprintf(w, "  read as %s\n", terminal.OneLine(s.ReadAs))
	if n := len(s.BadRows); n > 0 {
		fmt.Fprintf(w, "  %s left out\n", terminal.Counted(n, "row was", "rows were"))
	}
	terminal.Lines(w, "left out", s.BadRows)
	if len(s.Other) > 0 {
		var systems []string
		for _, name := range slices.Sorted(maps.Keys(s.Systems)) {
			systems = append(systems, fmt.Sprintf("%d with %s", s.Systems[name], name))
		}
		fmt.Fprintf(w, "  %s left out, for they run no Windows: %s\n", terminal.Counted(len(s.Other), "machine was", "machines were"), strings.Join(systems, ", "))
	}
	terminal.Lines(w, "no Windows", s.Other)
	terminal.Lines(w, "remark", s.Remarks)
	terminal.Lines(w, "conflict", s.Conflicts)
	return nil
}
