package inventorycmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/desk"
	"github.com/fleetmend/fleetmend/internal/desk/cases"
	"github.com/fleetmend/fleetmend/internal/desk/machines"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
)

func newProbe(c *command.Context) *cobra.Command {
	var o cases.Options
	var p machines.ProbeOptions
	cmd := selecting(c, &cobra.Command{
		Use: "probe [SELECTOR]", Short: "Ask machines whether they answer: TCP, WinRM, latency, ways to sign in",
		Long: `Connect to every machine, ask its WinRM who it is, and keep the answers in the inventory. No credential is sent and nothing is
changed.`,
		Example: "fleetmend inventory probe\nfleetmend inventory probe 'site == \"LON\"' -o csv\nfleetmend inventory list 'probe.winrm == false'",
		RunE: c.At(func(ctx context.Context, d *desk.Desk, args []string) error {
			if p.Forks < 1 || p.Wait <= 0 {
				return command.Usage(fmt.Errorf("--forks %d and --wait %s: both must be more than nothing", p.Forks, p.Wait), "leave them out for what is usual")
			}
			found, err := selected(ctx, c, d, args, o)
			if err != nil {
				return err
			}
			answered, done := 0, 0
			p.Each = func(_ machines.Machine, r machines.ProbeResult) {
				done++
				if r.WinRM {
					answered++
				}
				if !c.Quiet && (done%50 == 0 || done == len(found)) {
					c.Status(fmt.Sprintf("%d/%d asked, %d answer", done, len(found), answered))
				}
			}
			err = machines.Probe(ctx, d, found, p)
			c.Status("")
			if err != nil {
				return err
			}
			err = command.List(c, found, probeColumns)
			c.Say("%s asked: %d answer, %d do not", prose.Machines(len(found)), answered, len(found)-answered)
			return err
		}),
	})
	cmd.Flags().IntVar(&p.Forks, "forks", 256, "machines at once")
	cmd.Flags().DurationVar(&p.Wait, "wait", 5*time.Second, "time for one machine")
	return command.Formats(c.InIncident(cmd, &o.Incident), terminal.ListFormats...)
}

// probed is a cell of an answer, empty where there is none.
func probed(cell func(*machines.ProbeResult) string) func(machines.Machine) string {
	return func(m machines.Machine) string {
		if m.Probe == nil {
			return ""
		}
		return cell(m.Probe)
	}
}

var probeColumns = []terminal.Column[machines.Machine]{
	terminal.Col("name", func(m machines.Machine) string { return m.Name }),
	terminal.WideCol("address", func(m machines.Machine) string { return m.Address }),
	terminal.WideCol("site", func(m machines.Machine) string { return m.Site }),
	terminal.Col("winrm", func(m machines.Machine) string { return m.Probe.Word() }),
	terminal.Col("latency", probed(func(p *machines.ProbeResult) string {
		if !p.Open {
			return ""
		}
		return p.Latency.Round(100 * time.Microsecond).String()
	})),
	terminal.Col("signs in by", probed(func(p *machines.ProbeResult) string { return strings.Join(p.Auth, ", ") })),
	terminal.WideCol("product", probed(func(p *machines.ProbeResult) string { return p.Product })),
	terminal.Col("reason", probed(func(p *machines.ProbeResult) string { return p.Error })),
}
