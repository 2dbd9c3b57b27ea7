package keyscmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/keys"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newCoverage(c *command.Context) *cobra.Command {
	var o cases.Options
	var html, csvFile, by string
	cmd := &cobra.Command{
		Use: "coverage [SELECTOR]", Short: "Whose key is missing: machines with one, several, none, stale or wrong ones, by OU or site",
		Long: `Compare the machines of the inventory with the keys that are known: per OU which machines have a key, none, several, only stale
ones, one that cannot be right, or one that is not ours to read. Make this report before you need it. It needs no passphrase.
Machines that no source lists any more, or whose account is disabled, are left out and counted.

Keys of machines outside the selector are listed as keys of no machine; without a selector those are machines that nobody
knows any more.`,
		Example: "fleetmend keys coverage\nfleetmend keys coverage 'site == \"LON\"' --by site --html coverage.html --csv coverage.csv",
		Args:    command.Between(0, 1, "one selector"), ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			if by != "ou" && by != "site" {
				return command.Usage(fmt.Errorf("--by %q is neither ou nor site", by), "take one of them")
			}
			selected, err := machines.SelectIn(ctx, d, strings.Join(args, ""), o, c.In)
			if err != nil {
				return err
			}
			report, err := keys.Coverage(ctx, d, selected, by == "site")
			if err != nil {
				return err
			}
			if err := c.WriteFile("", html, report.HTML); err != nil {
				return err
			}
			if err := c.WriteFile("", csvFile, table.Marked(report.CSV)); err != nil {
				return err
			}
			if c.Output.Format == terminal.CSV {
				return report.CSV(c.Out)
			}
			return c.One(report, report.Text)
		}),
	}
	c.InIncident(cmd, &o.Incident)
	cmd.Flags().StringVar(&html, "html", "", "write a page that stands alone into this file")
	cmd.Flags().StringVar(&csvFile, "csv", "", "write a row per machine into this file")
	cmd.Flags().StringVar(&by, "by", "ou", "divide by ou or site")
	command.Complete(cmd, "by", "ou", "site")
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(cmd, append([]string{terminal.CSV}, terminal.OneFormats...)...)
}
