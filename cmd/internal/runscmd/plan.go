package runscmd

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fleetmend/fleetmend/cmd/internal/command"
	"github.com/fleetmend/fleetmend/internal/commandline"
	"github.com/fleetmend/fleetmend/internal/prose"
	"github.com/fleetmend/fleetmend/internal/terminal"
	"github.com/fleetmend/fleetmend/remediate/agent"
	"github.com/fleetmend/fleetmend/remediate/plan"
	"github.com/fleetmend/fleetmend/remediate/playbook"
)

func newPlan(c *Commands) *cobra.Command {
	var p planFlags
	var file string
	var detailed bool
	cmd := &cobra.Command{
		Use:     "plan PLAYBOOK",
		Short:   "Freeze what a run would do into a file, to look at and to apply later",
		GroupID: "work",
		Example: `fleetmend plan crowdstrike-channel-file-291 --on 'site == "LON"' --out london.plan
fleetmend plan disable-service --set service=BadAgent --waves 1,10,100% --max-fail 5% --out off.plan
fleetmend apply london.plan`,
		Args: command.Between(0, 1, "one playbook"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.request.TTL <= 0 {
				return command.Usage(fmt.Errorf("--ttl %s: such a plan could never be applied", p.request.TTL), "give a time such as 24h")
			}
			_, frozen, err := c.freeze(cmd, p.asked(cmd, args))
			if err != nil {
				return err
			}
			if file != "" {
				if err := frozen.Save(file); err != nil {
					return err
				}
				c.Say("plan written to %s, good until %s; next: %s", file, frozen.Expires.Local().Format("2006-01-02 15:04"), commandline.Line("apply", file))
			}
			if err := c.One(frozen, func(w io.Writer) error { return showPlan(w, frozen, c.Width) }); err != nil {
				return err
			}
			if detailed {
				return command.Silently(command.ExitChanges)
			}
			return nil
		},
	}
	p.add(c.Context, cmd)
	cmd.Flags().StringVar(&file, "out", "", "write the plan into this file")
	cmd.Flags().DurationVar(&p.request.TTL, "ttl", 24*time.Hour, "how long the plan may be applied")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit code 10 when the plan has machines")
	command.Exits(cmd, command.ExitNothing, command.ExitChanges)
	return command.Formats(cmd, terminal.OneFormats...)
}

// showPlan says in plain words what will happen.
func showPlan(w io.Writer, p *plan.Plan, width int) error {
	verb := map[agent.Mode]string{agent.Fix: "fix", agent.Detect: "look only, nothing is changed", agent.Undo: "take back what run " + p.Undoes + " changed"}[p.Mode]
	fmt.Fprintf(w, "%s on %s: %s\n", p.Playbook.Name, prose.Machines(p.Machines()), verb)
	if p.Mode == agent.Fix {
		for _, line := range playbook.Describe(p.Playbook) {
			fmt.Fprintln(w, prose.Wrapped("  "+prose.OneLine(line), width))
		}
	}
	if n := p.Playbook.WithoutUndo(); p.Mode == agent.Undo && n > 0 {
		fmt.Fprintf(w, "not taken back: what %s without undo did\n", prose.Counted(n, "script", "scripts"))
	}
	for i, wave := range p.Waves {
		fmt.Fprintln(w, hanging(fmt.Sprintf("wave %d (%s): %s: %s", i+1, wave.Name, prose.Machines(len(wave.Entries)), prose.OneLine(Names(wave.Entries))), width))
	}
	for i, s := range p.Skipped {
		if i == 10 {
			fmt.Fprintf(w, "left out: and %d more; -o json lists all\n", len(p.Skipped)-i)
			break
		}
		fmt.Fprintf(w, "left out: %s, %s\n", prose.OneLine(s.Name), prose.OneLine(s.Reason))
	}
	_, err := fmt.Fprintf(w, "gate: %s; %d at once\n", GateText(p.Options), p.Options.Forks)
	return err
}

// Names are the first names of entries.
func Names(entries []plan.Entry) string {
	const shown = 6
	var list []string
	for i, e := range entries {
		if i == shown {
			return strings.Join(list, ", ") + ", ..."
		}
		list = append(list, e.Name)
	}
	return strings.Join(list, ", ")
}

// GateText is the gate of a plan in words.
func GateText(o plan.Options) string {
	if !o.MaxFail.Set && !o.MaxUnreach.Set {
		return "none"
	}
	var parts []string
	if o.MaxFail.Set {
		parts = append(parts, "at most "+o.MaxFail.String()+" may fail")
	}
	if o.MaxUnreach.Set {
		parts = append(parts, "at most "+o.MaxUnreach.String()+" may be unreachable")
	}
	return "in each wave " + strings.Join(parts, ", ")
}
