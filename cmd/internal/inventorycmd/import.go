package inventorycmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/hint"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newImport(c *command.Context) *cobra.Command {
	var f command.TableFlags
	var source string
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Read machines from a CSV or JSON file",
		Long: `Read machines from a table, as Excel, PowerShell and consoles write it, or from JSON; - reads stdin. docs/tables.md lists
the exports that are known.

Encoding, delimiter and header names are found out and said; flags set them. A row that cannot be read is reported with
its line, and the rest is imported: the exit code is then 3. Machines that run no Windows are counted and left out.
Importing a file again changes nothing that has not changed in it.`,
		Example: "fleetmend inventory import machines.csv\nfleetmend inventory import export.csv --map \"Asset Tag\"=name --map Standort=site\nfleetmend inventory import hosts.csv --encoding 850 --date-order dmy",
		Args:    command.Exactly(1, "a file"),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) (err error) {
			o := machines.TableOptions{Source: source, Map: f.Map, Encoding: f.Encoding}
			if o.Delimiter, o.DateOrder, err = f.Parse(); err != nil {
				return err
			}
			got, err := machines.Import(ctx, d, args[0], c.In, o)
			if err != nil {
				return err
			}
			if err := c.Page(got, got.Text()); err != nil {
				return err
			}
			switch {
			case len(got.BadRows) > 0 && got.Records == 0:
				return hint.Wrap(fmt.Errorf("%s: no row could be read", args[0]), "the lines above say why")
			case len(got.BadRows) > 0:
				return command.Silently(command.ExitSomeFailed)
			}
			return nil
		}),
	}
	f.Add(cmd, "column=field, where the header is not understood; column=- leaves one out")
	cmd.Flags().StringVar(&source, "source", "", "name of the source (default: csv: and the file's name)")
	command.Exits(cmd, command.ExitSomeFailed)
	return command.Formats(cmd, terminal.OneFormats...)
}
