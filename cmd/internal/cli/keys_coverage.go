package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/bitlocker"
	"github.com/fleetmend/fleetmend/bitlocker/coverage"
	"github.com/fleetmend/fleetmend/internal/table"
	"github.com/fleetmend/fleetmend/internal/textfile"
	"github.com/fleetmend/fleetmend/inventory"
)

func newKeysCoverage(a *app) *cobra.Command {
	var html, csvFile, by string
	cmd := &cobra.Command{
		Use:   "coverage [SELECTOR]",
		Short: "Whose key is missing: machines with one, several, none, stale or wrong ones, by OU or site",
		Long: `Compare the machines of the inventory with the keys that are known: per OU which machines have a key, none, several, only stale
ones, one that cannot be right, or one that is not ours to read. Make this report before you need it. It needs no passphrase.
Machines that no source lists any more, or whose account is disabled, are left out and counted.

Keys of machines outside the selector are listed as keys of no machine; without a selector those are machines that nobody
knows any more.`,
		Example:           "fleetmend keys coverage\nfleetmend keys coverage 'site == \"LON\"' --by site --html coverage.html --csv coverage.csv",
		Args:              atMostOne,
		ValidArgsFunction: first(completing(a.selectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if by != "ou" && by != "site" {
				return usage(fmt.Errorf("--by %q is neither ou nor site", by), "take one of them")
			}
			report, err := a.coverage(cmd, argument(args), by)
			if err != nil {
				return err
			}
			for _, file := range []struct {
				name  string
				write func(io.Writer) error
			}{{html, report.HTML}, {csvFile, table.Marked(report.CSV)}} {
				if file.name == "" {
					continue
				}
				if err := textfile.Write(file.name, textfile.Shared, file.write); err != nil {
					return err
				}
				a.say("written to %s", file.name)
			}
			if a.out.Format == "csv" {
				return report.CSV(a.streams.Out)
			}
			return one(a.out, a.streams.Out, report, report.Text)
		},
	}
	cmd.Flags().StringVar(&html, "html", "", "write a page that stands alone into this file")
	cmd.Flags().StringVar(&csvFile, "csv", "", "write a row per machine into this file")
	cmd.Flags().StringVar(&by, "by", "ou", "divide by ou or site")
	complete(cmd, "by", "ou", "site")
	exits(cmd, exitNothing)
	return cmd
}

func (a *app) coverage(cmd *cobra.Command, selector, by string) (coverage.Report, error) {
	machines, err := a.selectMachines(cmd, selector)
	if err != nil {
		return coverage.Report{}, err
	}
	d, err := a.openDesk(cmd.Context())
	if err != nil {
		return coverage.Report{}, err
	}
	var keys []bitlocker.Match
	err = d.All(cmd.Context(), func(m bitlocker.Match) error {
		keys = append(keys, m)
		return nil
	})
	if err != nil {
		return coverage.Report{}, err
	}
	facts := make([]coverage.Machine, len(machines))
	for i, m := range machines {
		facts[i] = coverageMachine(m, by)
	}
	return coverage.Build(time.Now(), facts, keys), nil
}

func coverageMachine(m inventory.Machine, by string) coverage.Machine {
	out := coverage.Machine{ID: m.ID, Name: m.Name, FQDN: m.FQDN, Serial: m.Serial, Group: m.OU, Reimaged: m.Installed, NoDrive: m.Encrypted == "no"}
	if strings.Contains(strings.ToUpper(m.OU), "DC=") {
		out.DN = "CN=" + m.Name + "," + m.OU
	}
	out.GUID = m.Claims.ObjectGUID
	switch {
	case m.Gone:
		out.LeftOut = "gone"
	case !m.Enabled:
		out.LeftOut = "disabled"
	}
	if by == "site" {
		out.Group = m.Site
	}
	if id := m.Claims.EntraDeviceID; id != "" {
		out.DeviceIDs = []string{id}
	}
	return out
}
