package cli

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/inventory"
)

func newInventoryProbe(a *app) *cobra.Command {
	var concurrency int
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "probe [SELECTOR]",
		Short: "Ask machines whether they answer: TCP, WinRM, latency, ways to sign in",
		Long: `Connect to every machine, ask its WinRM who it is, and keep the answers in the inventory. No credential is sent and nothing is
changed.`,
		Example:           "fleetmend inventory probe\nfleetmend inventory probe 'site == \"LON\"' -o csv\nfleetmend inventory list 'probe.winrm == false'",
		Args:              atMostOne,
		ValidArgsFunction: first(completing(a.selectorWords)),
		RunE: func(cmd *cobra.Command, args []string) error {
			machines, err := a.selectMachines(cmd, argument(args))
			if err != nil {
				return err
			}
			d, err := a.Desk()
			if err != nil {
				return err
			}
			identifier, port, err := d.Connect.Identifier()
			if err != nil {
				return err
			}
			var answered, done atomic.Int64
			results := map[string]inventory.ProbeResult{}
			err = a.store.Probe(cmd.Context(), machines, inventory.ProbeOptions{
				Identifier: identifier, Port: port, Concurrency: concurrency, Timeout: wait,
				OnResult: func(m inventory.Machine, r inventory.ProbeResult) {
					results[m.ID] = r
					if r.WinRM {
						answered.Add(1)
					}
					if n := done.Add(1); a.streams.ErrTTY && !a.quiet && (n%50 == 0 || int(n) == len(machines)) {
						fmt.Fprintf(a.streams.Err, "\r%d/%d asked, %d answer", n, len(machines), answered.Load())
					}
				},
			})
			if a.streams.ErrTTY && !a.quiet {
				fmt.Fprintln(a.streams.Err)
			}
			if err != nil {
				return err
			}
			return a.showProbes(machines, results)
		},
	}
	command.InIncident(a.Context, cmd)
	cmd.Flags().IntVar(&concurrency, "forks", 256, "machines at once")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "time for one machine")
	exits(cmd, exitNothing)
	return cmd
}

func (a *app) showProbes(machines []inventory.Machine, results map[string]inventory.ProbeResult) error {
	answered := 0
	for i, m := range machines {
		if r, ok := results[m.ID]; ok {
			machines[i].Probe = &r
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
	err := list(a.out, a.streams.Out, machines, []column[inventory.Machine]{
		{"name", false, func(m inventory.Machine) string { return m.Name }},
		{"address", true, func(m inventory.Machine) string { return m.Address }},
		{"site", true, func(m inventory.Machine) string { return m.Site }},
		{"winrm", false, func(m inventory.Machine) string { return probeWord(m.Probe) }},
		{"latency", false, probed(func(p *inventory.ProbeResult) string {
			if !p.Open {
				return ""
			}
			return p.Latency.Round(100 * time.Microsecond).String()
		})},
		{"signs in by", false, probed(func(p *inventory.ProbeResult) string { return joined(p.Auth) })},
		{"product", true, probed(func(p *inventory.ProbeResult) string { return p.Product })},
		{"reason", false, probed(func(p *inventory.ProbeResult) string { return p.Error })},
	})
	a.say("%s asked: %d answer, %d do not", machinesText(len(machines)), answered, len(machines)-answered)
	return err
}
