package inventorycmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/cmd/internal/terminal"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/inventory"
)

func newProbe(c *command.Context) *cobra.Command {
	var concurrency int
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "probe [SELECTOR]",
		Short: "Ask machines whether they answer: TCP, WinRM, latency, ways to sign in",
		Long: `Connect to every machine, ask its WinRM who it is, and keep the answers in the inventory. No credential is sent and nothing is
changed.`,
		Example:           "fleetmend inventory probe\nfleetmend inventory probe 'site == \"LON\"' -o csv\nfleetmend inventory list 'probe.winrm == false'",
		Args:              atMostOne,
		ValidArgsFunction: command.First(command.Completing(c.SelectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if concurrency < 1 || wait <= 0 {
				return command.Usage(fmt.Errorf("--forks %d and --wait %s: both must be more than nothing", concurrency, wait), "leave them out for what is usual")
			}
			d, found, err := selected(c, cmd, args)
			if err != nil {
				return err
			}
			answered, done, results := 0, 0, map[string]inventory.ProbeResult{}
			err = machines.Probe(cmd.Context(), d, found, machines.ProbeOptions{Forks: concurrency, Wait: wait, Each: func(m inventory.Machine, r inventory.ProbeResult) {
				results[m.ID] = r
				done++
				if r.WinRM {
					answered++
				}
				if !c.Quiet && (done%50 == 0 || done == len(found)) {
					c.Status(fmt.Sprintf("%d/%d asked, %d answer", done, len(found), answered))
				}
			}})
			c.Status("")
			if err != nil {
				return err
			}
			return showProbes(c, found, results)
		},
	}
	command.InIncident(c, cmd)
	cmd.Flags().IntVar(&concurrency, "forks", 256, "machines at once")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "time for one machine")
	command.Exits(cmd, command.ExitNothing)
	return command.Formats(cmd, terminal.ListFormats...)
}

func showProbes(c *command.Context, found []inventory.Machine, results map[string]inventory.ProbeResult) error {
	answered := 0
	for i, m := range found {
		if r, ok := results[m.ID]; ok {
			found[i].Probe = &r
			if r.WinRM {
				answered++
			}
		}
	}
	probed := func(cell func(*inventory.ProbeResult) string) func(inventory.Machine) string {
		return func(m inventory.Machine) string {
			if m.Probe == nil {
				return ""
			}
			return cell(m.Probe)
		}
	}
	err := command.List(c, found, []terminal.Column[inventory.Machine]{
		terminal.Col("name", func(m inventory.Machine) string { return m.Name }),
		terminal.WideCol("address", func(m inventory.Machine) string { return m.Address }),
		terminal.WideCol("site", func(m inventory.Machine) string { return m.Site }),
		terminal.Col("winrm", func(m inventory.Machine) string { return probeWord(m.Probe) }),
		terminal.Col("latency", probed(func(p *inventory.ProbeResult) string {
			if !p.Open {
				return ""
			}
			return p.Latency.Round(100 * time.Microsecond).String()
		})),
		terminal.Col("signs in by", probed(func(p *inventory.ProbeResult) string { return terminal.Joined(p.Auth) })),
		terminal.WideCol("product", probed(func(p *inventory.ProbeResult) string { return p.Product })),
		terminal.Col("reason", probed(func(p *inventory.ProbeResult) string { return p.Error })),
	})
	c.Say("%s asked: %d answer, %d do not", terminal.Machines(len(found)), answered, len(found)-answered)
	return err
}
